//! What people do to transfers: they wait in a queue, are held, let go on and given up.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{fs, path::PathBuf, time::Duration};

use portolan_peer::{
    Config, Event, Events, Existing, FileError, FilePhase, FileRule, FileUpdate, Peer, Stop,
    TransferId,
};

use self::support::{Harbour, bytes, entries, name, wait_entries, wait_for, within};

const SIZE: usize = 24 << 20;

fn config(harbour: &Harbour, of: &str) -> Config {
    let mut config = harbour.config(of);
    config.timing.progress = Duration::ZERO;
    config.timing.retry = Duration::from_millis(20);
    config
}

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

async fn phase(events: &mut Events, word: &str) -> FileUpdate {
    report(events, word, |update| update.phase.as_str() == word).await
}

type Outcome = tokio::task::JoinHandle<Result<(), FileError>>;

/// Alice and Bob, who shares a file and takes every other.
struct Pair {
    harbour: Harbour,
    alice: Peer,
    events: Events,
    bob: Peer,
    bob_events: Events,
}

impl Pair {
    async fn new(change: impl Fn(&mut Config)) -> Self {
        let harbour = Harbour::open().await;
        let shared = harbour.directory.path().join("shared");
        fs::create_dir_all(&shared).unwrap();
        fs::write(shared.join("much"), bytes(SIZE)).unwrap();
        let mut configs = ["alice", "bob"].map(|of| config(&harbour, of));
        configs[1].share = Some(shared);
        configs.iter_mut().for_each(&change);
        let [alices, bobs] = configs;
        let (alice, events) = harbour.peer_with(alices).await;
        let (bob, bob_events) = harbour.peer_with(bobs).await;
        Self { harbour, alice, events, bob, bob_events }
    }

    /// Alice begins to fetch or to send.
    fn begin(&self, sends: bool) -> Outcome {
        let alice = self.alice.clone();
        let path = self.harbour.directory.path().join("shared/much");
        tokio::spawn(async move {
            let bob = name("bob");
            match sends {
                true => alice.send_file(&bob, &path).await.map(drop),
                false => alice.get_file(&bob, "much", None, Existing::Keep).await.map(drop),
            }
        })
    }

    /// Both sides have seen bytes move; the numbers under which they know the transfer.
    async fn moving(&mut self) -> (TransferId, TransferId) {
        let moves = |update: &FileUpdate| update.bytes > (1 << 20);
        let here = report(&mut self.events, "progress", moves).await;
        let there = report(&mut self.bob_events, "progress", moves).await;
        (here.id, there.id)
    }

    /// Where the file goes.
    fn arrivals(&self, sends: bool) -> PathBuf {
        self.harbour.downloads(if sends { "bob" } else { "alice" })
    }
}

#[tokio::test]
async fn transfers_beyond_the_bound_wait_and_go_in_order() {
    let mut pair = Pair::new(|config| config.limits.own_transfers = 1).await;
    let mut outcomes = Vec::new();
    for number in 0..4_usize {
        let path = pair.harbour.file(&format!("file-{number}"), 2 << 20);
        let alice = pair.alice.clone();
        outcomes.push(tokio::spawn(async move { alice.send_file(&name("bob"), &path).await }));
        let word = if number == 0 { "waiting" } else { "queued" };
        let update = phase(&mut pair.events, word).await;
        assert_eq!(update.name, format!("file-{number}"));
    }
    for number in 0..4 {
        let done = phase(&mut pair.events, "done").await;
        assert_eq!(done.name, format!("file-{number}"));
    }
    for outcome in outcomes {
        within("the outcome", outcome).await.unwrap().unwrap();
    }
    assert_eq!(pair.alice.transfers(), []);
}

#[tokio::test]
async fn either_side_holds_a_transfer_and_lets_it_go_on_under_its_number() {
    for (sends, alice_holds) in [(false, true), (false, false), (true, true), (true, false)] {
        let row = format!("alice sends: {sends}, alice holds: {alice_holds}");
        let mut pair = Pair::new(|_| {}).await;
        let outcome = pair.begin(sends);
        let (here, there) = pair.moving().await;
        let (holder, id) = if alice_holds { (&pair.alice, here) } else { (&pair.bob, there) };
        holder.pause_file(id).await.unwrap();
        for (events, id, is_holder) in
            [(&mut pair.events, here, alice_holds), (&mut pair.bob_events, there, !alice_holds)]
        {
            let paused = phase(events, "paused").await;
            assert_eq!(paused.id, id, "{row}");
            let FilePhase::Paused { reason } = paused.phase else { unreachable!() };
            let other = if alice_holds { "alice" } else { "bob" };
            assert_eq!(reason.contains(other), !is_holder, "{row}: {reason}");
        }
        for (peer, id) in [(&pair.alice, here), (&pair.bob, there)] {
            let listed = peer.transfers();
            assert_eq!((listed.len(), listed[0].id), (1, id), "{row}");
            assert_eq!(listed[0].phase.as_str(), "paused", "{row}");
        }
        assert_eq!(entries(&pair.arrivals(sends)).len(), 1, "{row}: what has arrived is kept");
        if !alice_holds {
            // Long enough for her to have asked a few times.
            phase(&mut pair.events, "paused").await_nothing().await;
        }
        let holder = if alice_holds { &pair.alice } else { &pair.bob };
        holder.resume_file(id).await.unwrap();
        let started = phase(&mut pair.bob_events, "started").await;
        assert!(started.id == there && started.resumed >= 1 << 20, "{row}: {started:?}");
        let done = phase(&mut pair.events, "done").await;
        assert_eq!(done.id, here, "{row}");
        within("the outcome", outcome).await.unwrap().unwrap();
        phase(&mut pair.bob_events, "done").await;
        assert!(fs::read(pair.arrivals(sends).join("much")).unwrap() == bytes(SIZE), "{row}");
        assert_eq!((pair.alice.transfers(), pair.bob.transfers()), (vec![], vec![]), "{row}");
    }
}

/// A report that must not come within a while of asking again.
trait Silence {
    async fn await_nothing(self);
}

impl<F: Future<Output = FileUpdate>> Silence for F {
    async fn await_nothing(self) {
        let report = tokio::time::timeout(Duration::from_millis(300), self).await;
        assert!(report.is_err(), "told once is enough: {report:?}");
    }
}

#[tokio::test]
async fn either_side_gives_a_transfer_up_and_the_other_is_told() {
    for (sends, alice_ends) in [(false, true), (false, false), (true, true), (true, false)] {
        let row = format!("alice sends: {sends}, alice ends it: {alice_ends}");
        let mut pair = Pair::new(|_| {}).await;
        let outcome = pair.begin(sends);
        let (here, there) = pair.moving().await;
        let (ender, id) = if alice_ends { (&pair.alice, here) } else { (&pair.bob, there) };
        ender.cancel_file(id).await.unwrap();
        let error = within("the outcome", outcome).await.unwrap().unwrap_err();
        let by = (!alice_ends).then(|| name("bob"));
        let FileError::Stopped { stop: Stop::Cancelled, by: told } = &error else {
            panic!("{row}: {error}")
        };
        assert_eq!(*told, by, "{row}");
        for events in [&mut pair.events, &mut pair.bob_events] {
            phase(events, "cancelled").await;
        }
        let receiver_ends = sends != alice_ends;
        let left = usize::from(!receiver_ends);
        let arrivals = pair.arrivals(sends);
        within("what is left", async {
            while entries(&arrivals).len() != left {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!((pair.alice.transfers(), pair.bob.transfers()), (vec![], vec![]), "{row}");
        assert!(pair.alice.cancel_file(here).await.is_err(), "{row}: it has ended");
    }
}

#[tokio::test]
async fn what_is_held_can_be_given_up_by_either_side() {
    for sends in [false, true] {
        for alice_holds in [false, true] {
            let mut pair = Pair::new(|_| {}).await;
            let outcome = pair.begin(sends);
            let (here, there) = pair.moving().await;
            let (holder, id) = if alice_holds { (&pair.alice, here) } else { (&pair.bob, there) };
            holder.pause_file(id).await.unwrap();
            phase(&mut pair.events, "paused").await;
            phase(&mut pair.bob_events, "paused").await;
            if alice_holds {
                let error = pair.bob.resume_file(there).await.unwrap_err();
                assert!(matches!(error, FileError::Stopped { by: Some(_), .. }), "{error}");
            }
            pair.bob.cancel_file(there).await.unwrap();
            phase(&mut pair.bob_events, "cancelled").await;
            if alice_holds {
                pair.alice.resume_file(here).await.unwrap();
            }
            let error = within("the outcome", outcome).await.unwrap().unwrap_err();
            assert!(matches!(error, FileError::Stopped { stop: Stop::Cancelled, .. }), "{error}");
            if sends {
                wait_entries(&pair.arrivals(sends), &[]).await;
            }
        }
    }
}

#[tokio::test]
async fn what_waits_can_be_held_and_given_up_too() {
    let mut pair = Pair::new(|config| {
        config.limits.own_transfers = 1;
        config.accept_files = FileRule::Ask;
    })
    .await;
    let first = pair.begin(true);
    let offered = phase(&mut pair.bob_events, "offered").await;
    let second = {
        let (alice, path) = (pair.alice.clone(), pair.harbour.file("second", 9));
        tokio::spawn(async move { alice.send_file(&name("bob"), &path).await })
    };
    let queued = phase(&mut pair.events, "queued").await;
    pair.alice.pause_file(queued.id).await.unwrap();
    assert_eq!(phase(&mut pair.events, "paused").await.id, queued.id);

    // Given up where it waits for a decision.
    pair.bob.cancel_file(offered.id).await.unwrap();
    let error = within("the outcome", first).await.unwrap().unwrap_err();
    assert!(matches!(error, FileError::Stopped { by: Some(_), .. }), "{error}");

    pair.alice.resume_file(queued.id).await.unwrap();
    let offered = phase(&mut pair.bob_events, "offered").await;
    assert_eq!(offered.name, "second");
    let listed = pair.alice.transfers();
    pair.alice.cancel_file(listed[0].id).await.unwrap();
    let error = within("the outcome", second).await.unwrap().unwrap_err();
    assert!(matches!(error, FileError::Stopped { stop: Stop::Cancelled, by: None }), "{error}");
    phase(&mut pair.bob_events, "failed").await;
    assert!(pair.bob.accept_file(offered.id).is_err(), "it was taken back");
}
