//! One file from several owners: each sends a part, and one that lies is left out.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{fs, sync::Arc, time::Duration};

use portolan_peer::{
    Config, Event, Events, Existing, FileError, FilePhase, FileUpdate, Peer, ReceivedFile, Wanted,
};
use portolan_protocol::{
    Content, ErrorCode, Found, GROUP_MIN, Hash, Name, PeerEvent, PeerMessage, PeerReply, Table,
    Want,
};
use portolan_transport::Connection;
use tokio::io::AsyncWriteExt;

use self::support::{
    Harbour, Reader, Writer, bytes, entries, name, next_request, reply, wait_for, within,
};

const GROUP: usize = 256 << 10;
const SIZE: usize = 40 * GROUP + 11;

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}

fn config(harbour: &Harbour, of: &str) -> Config {
    let mut config = harbour.config(of);
    config.timing.progress = Duration::ZERO;
    config.timing.retry = Duration::from_millis(20);
    config
}

/// An owner who shares that content as `path`.
async fn owner(harbour: &Harbour, of: &str, path: &str, content: &[u8]) -> (Peer, Events) {
    let shared = harbour.directory.path().join(format!("{of}-shared"));
    let file = shared.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
    let mut config = config(harbour, of);
    config.share = Some(shared);
    harbour.peer_with(config).await
}

type Outcome = tokio::task::JoinHandle<Result<ReceivedFile, FileError>>;

fn gathering(alice: &Peer, owners: &[&str], wanted: Wanted) -> Outcome {
    let (alice, owners) = (alice.clone(), owners.iter().map(|of| name(of)).collect::<Vec<Name>>());
    tokio::spawn(async move { alice.gather_file(&owners, wanted, None, Existing::Keep).await })
}

async fn done(events: &mut Events) -> FileUpdate {
    let is_done = |event: &Event| matches!(event, Event::File(update) if matches!(update.phase, FilePhase::Done { .. }));
    match wait_for(events, "the end", is_done).await {
        Event::File(update) => update,
        other => panic!("{other:?}"),
    }
}

fn path(path: &str) -> Wanted {
    Wanted::Path(path.to_owned())
}

#[tokio::test]
async fn two_owners_send_a_part_each_whatever_they_call_the_file() {
    let harbour = Harbour::open().await;
    let whole = bytes(SIZE);
    let (_bob, mut bobs) = owner(&harbour, "bob", "film", &whole).await;
    let (_carol, mut carols) = owner(&harbour, "carol", "deep/other-name", &whole).await;
    let (_dave, _daves) = owner(&harbour, "dave", "film", b"another film").await;
    let (alice, mut events) = harbour.peer_with(config(&harbour, "alice")).await;
    // Both are reached already: neither has sent all before the other has begun.
    for owner in ["bob", "carol"] {
        within("listing", alice.files(&name(owner))).await.unwrap();
    }
    let outcome = gathering(&alice, &["bob", "carol", "dave", "nobody-here"], path("film"));
    let received = within("the outcome", outcome).await.unwrap().unwrap();
    assert_eq!(received.hash, hash(&whole));
    assert!(fs::read(&received.path).unwrap() == whole);
    assert_eq!(entries(&harbour.downloads("alice")), ["film"]);
    let update = done(&mut events).await;
    assert_eq!((update.bytes, update.total), (SIZE as u64, SIZE as u64));
    let (bob, carol) = (done(&mut bobs).await, done(&mut carols).await);
    assert!(bob.bytes > 0 && carol.bytes > 0, "each sent something: {bob:?} {carol:?}");
    assert_eq!(bob.bytes + carol.bytes, SIZE as u64, "no group came twice");
}

#[tokio::test]
async fn a_file_is_found_by_its_hash_if_it_was_hashed_lately_or_its_size_is_known() {
    let harbour = Harbour::open().await;
    let whole = bytes(GROUP * 3);
    let (_bob, _bobs) = owner(&harbour, "bob", "a", &whole).await;
    let (alice, _events) = harbour.peer_with(config(&harbour, "alice")).await;
    let by_hash = |size| Wanted::Hash { hash: hash(&whole), size };
    let error = within("asking", gathering(&alice, &["bob"], by_hash(None))).await.unwrap();
    assert!(
        matches!(&error, Err(FileError::Refused { body, .. }) if body.code == ErrorCode::UnknownFile),
        "{error:?}"
    );
    let wrong = gathering(&alice, &["bob"], by_hash(Some(5)));
    assert!(within("asking", wrong).await.unwrap().is_err());
    let found = gathering(&alice, &["bob"], by_hash(Some(GROUP_MIN * 3)));
    let received = within("getting", found).await.unwrap().unwrap();
    assert!(fs::read(&received.path).unwrap() == whole);
    fs::remove_file(&received.path).unwrap();
    let known = gathering(&alice, &["bob"], by_hash(None));
    let received = within("getting", known).await.unwrap().unwrap();
    assert_eq!(received.path.file_name().unwrap(), "a");

    // Who has fetched it and shares it is an owner too, without hashing it again.
    alice.share(Some(&harbour.downloads("alice"))).await.unwrap();
    let (carol, _carols) = harbour.peer_with(config(&harbour, "carol")).await;
    let again = gathering(&carol, &["alice"], by_hash(None));
    assert_eq!(within("getting", again).await.unwrap().unwrap().hash, hash(&whole));
}

#[tokio::test]
async fn an_owner_who_goes_away_is_replaced_by_the_others() {
    let harbour = Harbour::open().await;
    let whole = bytes(SIZE * 3);
    let (bob, bobs) = owner(&harbour, "bob", "film", &whole).await;
    let (_carol, _carols) = owner(&harbour, "carol", "film", &whole).await;
    let (alice, mut events) = harbour.peer_with(config(&harbour, "alice")).await;
    let outcome = gathering(&alice, &["bob", "carol"], path("film"));
    let moves = |event: &Event| matches!(event, Event::File(update) if update.bytes > 1 << 20);
    wait_for(&mut events, "progress", moves).await;
    drop((bob, bobs));
    let received = within("the outcome", outcome).await.unwrap().unwrap();
    assert!(fs::read(&received.path).unwrap() == whole);
}

/// The hashes of a file's groups, as they go over.
fn list_of(bytes: &[u8]) -> Vec<u8> {
    use blake3::hazmat::HasherExt;
    let groups = bytes.chunks(GROUP).zip((0..).step_by(GROUP));
    let leaf = |(group, start): (&[u8], u64)| {
        blake3::Hasher::new().set_input_offset(start).update(group).finalize_non_root()
    };
    groups.flat_map(leaf).collect()
}

/// An owner who knows the hashes of a file and sends other bytes.
async fn lie(connection: Arc<dyn Connection>, whole: Vec<u8>) {
    let size = whole.len() as u64;
    loop {
        let (command, mut writer, mut reader): (_, Writer, Reader) =
            next_request(&connection).await;
        if command.kind() == "find" {
            let found = Found { path: "film".into(), size, modified: None };
            reply(&mut writer, PeerReply::Found(found)).await;
            continue;
        }
        let content =
            Content { size, modified: None, hash: Some(hash(&whole)), mode: None, pieces: false };
        reply(&mut writer, PeerReply::Content(content)).await;
        writer.get_mut().write_all(&list_of(&whole)).await.unwrap();
        while let Ok(PeerMessage::Event(PeerEvent::Want(Want { groups, .. }))) =
            reader.next_message().await
        {
            for range in groups {
                let start = range.first as usize * GROUP;
                let end = (start + range.count as usize * GROUP).min(whole.len());
                if writer.get_mut().write_all(&vec![7; end - start]).await.is_err() {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_owner_who_lies_is_left_out_and_the_file_is_whole() {
    let harbour = Harbour::open().await;
    let whole = bytes(SIZE);
    let (_bob, _bobs) = owner(&harbour, "bob", "film", &whole).await;
    for owners in [["mallory", "bob"], ["bob", "mallory"]] {
        let (alice, mut events) = harbour.peer_with(config(&harbour, "alice")).await;
        let mallory = harbour.raw("mallory").await;
        let outcome = gathering(&alice, &owners, path("film"));
        let lying = {
            let whole = whole.clone();
            tokio::spawn(async move {
                let connection = mallory.answer_call().await;
                lie(connection, whole).await;
            })
        };
        let received = within("the outcome", outcome).await.unwrap().unwrap();
        assert!(fs::read(&received.path).unwrap() == whole);
        fs::remove_file(received.path).unwrap();
        lying.abort();
        if owners[0] == "bob" {
            // He may have sent everything before she had said a word.
            continue;
        }
        let warned = wait_for(&mut events, "a warning", |event| matches!(event, Event::Warning(_)));
        let Event::Warning(warning) = warned.await else { unreachable!() };
        assert_eq!(warning.code, ErrorCode::Integrity);
        assert!(warning.message.starts_with("mallory sent"), "{}", warning.message);
    }
}

#[tokio::test]
async fn when_every_owner_lies_nothing_wrong_is_kept() {
    let harbour = Harbour::open().await;
    let (alice, _events) = harbour.peer_with(config(&harbour, "alice")).await;
    let mallory = harbour.raw("mallory").await;
    let outcome = gathering(&alice, &["mallory"], path("film"));
    let lying = tokio::spawn(async move {
        let connection = mallory.answer_call().await;
        lie(connection, bytes(SIZE)).await;
    });
    let error = within("the outcome", outcome).await.unwrap().unwrap_err();
    assert!(matches!(error, FileError::Protocol { .. }), "{error}");
    assert!(error.to_string().contains("mallory"), "{error}");
    assert_eq!(entries(&harbour.downloads("alice")), [] as [&str; 0]);
    lying.abort();
}

#[tokio::test]
async fn what_is_gathered_can_be_held_and_goes_on() {
    let harbour = Harbour::open().await;
    let whole = bytes(SIZE * 3);
    let (_bob, mut bobs) = owner(&harbour, "bob", "film", &whole).await;
    let (_carol, _carols) = owner(&harbour, "carol", "film", &whole).await;
    let (alice, mut events) = harbour.peer_with(config(&harbour, "alice")).await;
    let outcome = gathering(&alice, &["bob", "carol"], path("film"));
    let moves = |event: &Event| matches!(event, Event::File(update) if update.bytes > 1 << 20);
    let Event::File(update) = wait_for(&mut events, "progress", moves).await else {
        unreachable!()
    };
    alice.pause_file(update.id).await.unwrap();
    let paused = |event: &Event| matches!(event, Event::File(update) if matches!(update.phase, FilePhase::Paused { .. }));
    wait_for(&mut events, "the hold", paused).await;
    wait_for(&mut bobs, "the hold", paused).await;
    alice.resume_file(update.id).await.unwrap();
    let received = within("the outcome", outcome).await.unwrap().unwrap();
    assert!(fs::read(&received.path).unwrap() == whole);
    let update = done(&mut events).await;
    assert!(update.resumed >= 1 << 20, "{update:?}");
}
