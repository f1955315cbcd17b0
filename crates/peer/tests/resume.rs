//! Transfers that break off: they go on by themselves, and nothing that has arrived comes again.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{fs, path::PathBuf, time::Duration};

use portolan_peer::{
    Config, Direction, Event, Events, Existing, FileError, FilePhase, FileRule, FileUpdate, Peer,
};
use portolan_protocol::GROUP_MIN;

use self::support::{Harbour, bytes, entries, name, wait_for, within};

const SIZE: usize = 24 << 20;
const RESTARTS: u64 = 10;
/// Between two restarts.
const STEP: u64 = SIZE as u64 / (RESTARTS + 2);

/// Impatient, and told of every byte.
fn config(harbour: &Harbour, of: &str) -> Config {
    let mut config = harbour.config(of);
    config.timing.progress = Duration::ZERO;
    config.timing.retry = Duration::from_millis(20);
    config.limits.retries = 10_000;
    config
}

fn sharing(harbour: &Harbour, of: &str) -> Config {
    let shared = harbour.directory.path().join("shared");
    fs::create_dir_all(&shared).unwrap();
    fs::write(shared.join("much"), bytes(SIZE)).unwrap();
    let mut config = config(harbour, of);
    config.share = Some(shared);
    config
}

/// Waits for the next report of a file that `wanted` likes.
async fn report(
    events: &mut Events,
    what: &str,
    wanted: impl Fn(&FileUpdate) -> bool,
) -> FileUpdate {
    let is = |event: &Event| matches!(event, Event::File(update) if wanted(update));
    match wait_for(events, what, is).await {
        Event::File(update) => update,
        other => panic!("{other:?}"),
    }
}

fn getting(alice: &Peer) -> tokio::task::JoinHandle<Result<PathBuf, FileError>> {
    let alice = alice.clone();
    tokio::spawn(async move {
        let received = alice.get_file(&name("bob"), "much", None, Existing::Keep).await?;
        Ok(received.path)
    })
}

fn sending(alice: &Peer, path: PathBuf) -> tokio::task::JoinHandle<Result<u64, FileError>> {
    let alice = alice.clone();
    tokio::spawn(async move { Ok(alice.send_file(&name("bob"), &path).await?.size) })
}

#[tokio::test]
async fn a_file_is_fetched_from_an_owner_who_restarts_ten_times() {
    let harbour = Harbour::open().await;
    let (alice, mut events) = harbour.peer_with(config(&harbour, "alice")).await;
    let mut bob = Some(harbour.peer_with(sharing(&harbour, "bob")).await);
    let outcome = getting(&alice);
    let (mut read, mut restarts, mut began, mut number) = (0, 0, 0, None);
    loop {
        let update = report(&mut events, "news", |_| true).await;
        assert_eq!(*number.get_or_insert(update.id), update.id, "one transfer has one number");
        match update.phase {
            FilePhase::Started => {
                assert!(update.bytes + GROUP_MIN > read, "{read} bytes came, {update:?} is asked");
                assert_eq!(update.bytes, update.resumed);
                began += 1;
            }
            FilePhase::Progress => {
                read = update.bytes;
                if restarts < RESTARTS && read > (restarts + 1) * STEP && bob.is_some() {
                    restarts += 1;
                    bob = None;
                }
            }
            FilePhase::Interrupted { .. } => {
                if bob.is_none() {
                    bob = Some(harbour.peer_with(sharing(&harbour, "bob")).await);
                }
            }
            FilePhase::Done { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(restarts, RESTARTS);
    assert!(began > RESTARTS, "{began}");
    let path = within("the outcome", outcome).await.unwrap().unwrap();
    assert!(fs::read(path).unwrap() == bytes(SIZE));
    assert_eq!(entries(&harbour.downloads("alice")), ["much"]);
}

#[tokio::test]
async fn a_file_is_sent_on_to_a_receiver_who_restarts() {
    let harbour = Harbour::open().await;
    let (alice, mut events) = harbour.peer_with(config(&harbour, "alice")).await;
    let mut bob = Some(harbour.peer_with(config(&harbour, "bob")).await);
    let outcome = sending(&alice, harbour.file("much", SIZE));
    for round in 1..=3 {
        // The receiver has that much for certain: fewer bytes are on their way.
        let is_far = |update: &FileUpdate| {
            update.phase == FilePhase::Progress && update.bytes > round * (SIZE as u64 / 6)
        };
        report(&mut events, "progress", is_far).await;
        drop(bob.take());
        let interrupted =
            |update: &FileUpdate| matches!(update.phase, FilePhase::Interrupted { .. });
        report(&mut events, "the break", interrupted).await;
        bob = Some(harbour.peer_with(config(&harbour, "bob")).await);
        let started =
            report(&mut events, "the next try", |update| update.phase == FilePhase::Started).await;
        assert!(started.resumed > 0, "{started:?}");
    }
    assert_eq!(within("the outcome", outcome).await.unwrap().unwrap(), SIZE as u64);
    assert!(fs::read(harbour.downloads("bob").join("much")).unwrap() == bytes(SIZE));
    assert_eq!(entries(&harbour.downloads("bob")), ["much"]);
}

#[tokio::test]
async fn a_sender_who_comes_back_goes_on_unasked_and_under_the_same_number() {
    let harbour = Harbour::open().await;
    let mut bobs = config(&harbour, "bob");
    bobs.accept_files = FileRule::Ask;
    let (bob, mut events) = harbour.peer_with(bobs).await;
    let path = harbour.file("much", SIZE);
    let (alice, alice_events) = harbour.peer_with(config(&harbour, "alice")).await;
    let first = sending(&alice, path.clone());
    let offered =
        report(&mut events, "an offer", |update| update.phase == FilePhase::Offered).await;
    bob.accept_file(offered.id).unwrap();
    report(&mut events, "progress", |update| update.bytes > SIZE as u64 / 2).await;
    first.abort();
    drop((alice, alice_events));
    let failed =
        report(&mut events, "the break", |update| matches!(update.phase, FilePhase::Failed { .. }))
            .await;
    assert_eq!((failed.id, failed.direction), (offered.id, Direction::Receive));

    let (alice, _alice_events) = harbour.peer_with(config(&harbour, "alice")).await;
    let second = sending(&alice, path);
    let started = report(&mut events, "the next try", |update| {
        assert_ne!(update.phase, FilePhase::Offered, "nobody is asked twice");
        update.phase == FilePhase::Started
    })
    .await;
    assert_eq!(started.id, offered.id);
    assert!(started.resumed > 0 && started.resumed == failed.bytes, "{started:?} {failed:?}");
    within("the outcome", second).await.unwrap().unwrap();
    assert!(fs::read(harbour.downloads("bob").join("much")).unwrap() == bytes(SIZE));
}

#[tokio::test]
async fn an_owner_who_stays_away_is_given_up_and_the_part_is_kept_for_later() {
    let harbour = Harbour::open().await;
    let mut alices = config(&harbour, "alice");
    alices.limits.retries = 3;
    let (alice, mut events) = harbour.peer_with(alices).await;
    let bob = harbour.peer_with(sharing(&harbour, "bob")).await;
    let outcome = getting(&alice);
    report(&mut events, "progress", |update| update.bytes > STEP).await;
    drop(bob);
    let error = within("the outcome", outcome).await.unwrap().unwrap_err();
    assert!(matches!(error, FileError::Interrupted { .. } | FileError::Reach(_)), "{error}");
    assert_eq!(entries(&harbour.downloads("alice")).len(), 1);

    // Another content under the same name is another file: nothing of the part is used.
    let _bob = harbour.peer_with(sharing(&harbour, "bob")).await;
    fs::write(harbour.directory.path().join("shared/much"), bytes(9)).unwrap();
    let path = within("the other", getting(&alice)).await.unwrap().unwrap();
    assert_eq!(fs::read(path).unwrap(), bytes(9));
    assert_eq!(entries(&harbour.downloads("alice")).len(), 2);
}

#[tokio::test]
async fn a_file_that_becomes_another_meanwhile_is_not_mixed() {
    let harbour = Harbour::open().await;
    let (alice, mut events) = harbour.peer_with(config(&harbour, "alice")).await;
    let bob = harbour.peer_with(sharing(&harbour, "bob")).await;
    let outcome = getting(&alice);
    report(&mut events, "progress", |update| update.bytes > STEP).await;
    drop(bob);
    let interrupted = |update: &FileUpdate| matches!(update.phase, FilePhase::Interrupted { .. });
    report(&mut events, "the break", interrupted).await;
    let config = sharing(&harbour, "bob");
    fs::write(harbour.directory.path().join("shared/much"), bytes(SIZE - 1)).unwrap();
    let _bob = harbour.peer_with(config).await;
    let error = within("the outcome", outcome).await.unwrap().unwrap_err();
    assert!(matches!(error, FileError::Changed { .. }), "{error}");
}
