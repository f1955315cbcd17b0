//! Files that come again: what is there already is not sent, and not refused either.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{fs, sync::Arc};

use portolan_peer::{Event, Existing, FileError, FilePhase, FileRule};
use portolan_protocol::{
    ErrorCode, FileEnd, Hash, Offer, PeerCommand, PeerEvent, PeerMessage, RequestId, Want,
};
use portolan_transport::Connection;
use tokio::io::AsyncWriteExt;

use self::support::{
    Harbour, Reader, Writer, bytes, entries, identity, kind, name, open, wait_for, within,
};

const GROUP: usize = 256 << 10;

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
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

async fn offer(connection: &Arc<dyn Connection>, whole: &[u8]) -> (Writer, Reader) {
    let (mut writer, reader) = open(connection).await;
    let size = whole.len() as u64;
    let offer = Offer { name: "file".into(), size, hash: Some(hash(whole)), ..Offer::default() };
    let request = PeerMessage::Request(RequestId(1), PeerCommand::Offer(offer));
    writer.send(&request).await.unwrap();
    (writer, reader)
}

async fn hear(reader: &mut Reader) -> PeerMessage {
    loop {
        match within("a word", reader.next_message()).await.unwrap() {
            PeerMessage::Event(PeerEvent::Hashing(_)) => {}
            other => return other,
        }
    }
}

/// Sends what is asked for, and says how many groups that were.
async fn send(whole: &[u8], writer: &mut Writer, reader: &mut Reader) -> u32 {
    assert_eq!(kind(&hear(reader).await), "accepted");
    writer.get_mut().write_all(&list_of(whole)).await.unwrap();
    let PeerMessage::Event(PeerEvent::Want(Want { groups, .. })) = hear(reader).await else {
        panic!("nothing is wanted")
    };
    for range in &groups {
        let first = range.first as usize * GROUP;
        let end = (first + range.count as usize * GROUP).min(whole.len());
        writer.get_mut().write_all(&whole[first..end]).await.unwrap();
    }
    let end = FileEnd { hash: hash(whole) };
    writer.send(&PeerMessage::Event(PeerEvent::End(end))).await.unwrap();
    writer.get_mut().finish().unwrap();
    groups.iter().map(|range| range.count).sum()
}

fn is_done(event: &Event) -> bool {
    matches!(event, Event::File(update) if matches!(update.phase, FilePhase::Done { .. }))
}

#[tokio::test]
async fn a_sender_who_missed_the_last_word_hears_it_when_it_comes_back() {
    let harbour = Harbour::open().await;
    let mut config = harbour.config("alice");
    config.accept_files = FileRule::Ask;
    let (alice, mut events) = harbour.peer_with(config).await;
    let whole = bytes(GROUP * 3 + 5);
    for round in 0..3 {
        let mallory = harbour.raw("mallory").await;
        let connection = within("calling", mallory.call("alice", identity("alice").id())).await;
        let (mut writer, mut reader) = offer(&connection, &whole).await;
        if round == 0 {
            let offered = wait_for(
                &mut events,
                "an offer",
                |event| matches!(event, Event::File(update) if update.phase == FilePhase::Offered),
            );
            let Event::File(update) = offered.await else { unreachable!() };
            alice.accept_file(update.id).unwrap();
        }
        let sent = send(&whole, &mut writer, &mut reader).await;
        assert_eq!(sent, if round == 0 { 4 } else { 0 }, "try {round}");
        let done = wait_for(&mut events, "the end", is_done).await;
        let Event::File(update) = done else { unreachable!() };
        assert_eq!(update.bytes, whole.len() as u64);
        if round == 2 {
            assert_eq!(kind(&hear(&mut reader).await), "verified");
        }
        // The answer is lost with the connection.
        drop((writer, reader, connection, mallory));
    }
    assert_eq!(entries(&harbour.downloads("alice")), ["file"]);

    // Another content of that size and name is another file, and a person decides again.
    let mallory = harbour.raw("mallory").await;
    let connection = within("calling", mallory.call("alice", identity("alice").id())).await;
    let other = vec![1; whole.len()];
    let (_writer, mut reader) = offer(&connection, &other).await;
    let offered = wait_for(
        &mut events,
        "an offer",
        |event| matches!(event, Event::File(update) if update.phase == FilePhase::Offered),
    );
    let Event::File(update) = offered.await else { unreachable!() };
    alice.accept_file(update.id).unwrap();
    assert_eq!(kind(&hear(&mut reader).await), "conflict");
    assert!(fs::read(harbour.downloads("alice").join("file")).unwrap() == whole);
}

#[tokio::test]
async fn what_was_put_away_since_is_asked_about_again() {
    let harbour = Harbour::open().await;
    let mut config = harbour.config("bob");
    config.accept_files = FileRule::Ask;
    let (bob, mut events) = harbour.peer_with(config).await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let path = harbour.file("file", 1000);
    for _ in 0..2 {
        let sending = {
            let (alice, path) = (alice.clone(), path.clone());
            tokio::spawn(async move { alice.send_file(&name("bob"), &path).await })
        };
        let offered = wait_for(
            &mut events,
            "an offer",
            |event| matches!(event, Event::File(update) if update.phase == FilePhase::Offered),
        );
        let Event::File(update) = offered.await else { unreachable!() };
        bob.accept_file(update.id).unwrap();
        within("sending", sending).await.unwrap().unwrap();
        fs::remove_file(harbour.downloads("bob").join("file")).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_there_is_not_fetched_or_sent_again() {
    let harbour = Harbour::open().await;
    let shared = harbour.directory.path().join("shared");
    fs::create_dir_all(&shared).unwrap();
    let mut config = harbour.config("bob");
    config.share = Some(shared.clone());
    let (_bob, mut bob_events) = harbour.peer_with(config).await;
    let (alice, mut events) = harbour.peer("alice").await;
    for (file, size) in [("empty", 0), ("small", 9), ("large", GROUP * 2 + 1)] {
        fs::write(shared.join(file), bytes(size)).unwrap();
        fs::write(harbour.downloads("alice").join(file), bytes(size)).unwrap();
        let bob = name("bob");
        let got = within("getting", alice.get_file(&bob, file, None, Existing::Keep)).await;
        assert_eq!(got.unwrap().hash, hash(&bytes(size)), "{file}");
        for events in [&mut events, &mut bob_events] {
            let Event::File(done) = wait_for(events, "the end", is_done).await else {
                unreachable!()
            };
            assert_eq!((done.resumed, done.total), (size as u64, size as u64), "{file}");
        }
    }
    let path = harbour.file("large", GROUP * 2 + 1);
    fs::write(harbour.downloads("bob").join("large"), bytes(GROUP * 2 + 1)).unwrap();
    let sent = within("sending", alice.send_file(&name("bob"), &path)).await.unwrap();
    assert_eq!(sent.hash, hash(&bytes(GROUP * 2 + 1)));
    let Event::File(done) = wait_for(&mut events, "the end", is_done).await else { unreachable!() };
    assert_eq!(done.resumed, done.total);
    fs::write(harbour.downloads("bob").join("large"), vec![0; GROUP * 2 + 1]).unwrap();
    let result = within("sending", alice.send_file(&name("bob"), &path)).await;
    assert!(
        matches!(&result, Err(FileError::Refused { body, .. }) if body.code == ErrorCode::Conflict),
        "{result:?}"
    );
}
