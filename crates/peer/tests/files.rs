//! Files between peers: every size, every refusal, every lie.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{fs, path::Path};

use portolan_peer::{Config, Event, Existing, FileError, FilePhase, FileRule, Peer, ReachError};
use portolan_protocol::{
    Content, ErrorCode, FileEnd, GROUP_MIN, GroupRange, Hash, Offer, PeerCommand, PeerEvent,
    PeerMessage, PeerReply, RequestId, Table, Want,
};
use portolan_transport::PathKind;
use tokio::io::AsyncWriteExt;

use self::support::{
    Harbour, Reader, Writer, bytes, entries, identity, kind, name, next_request, open, reply,
    wait_entries, wait_for, within,
};

const SIZES: [usize; 4] = [0, 1, (1 << 20) + 1, 300_000];

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}

/// Bob shares a directory with these files.
async fn sharing(harbour: &Harbour, files: &[(&str, usize)]) -> Config {
    sharing_as(harbour, "bob", files)
}

fn sharing_as(harbour: &Harbour, who: &str, files: &[(&str, usize)]) -> Config {
    let shared = harbour.directory.path().join("shared");
    for (path, size) in files {
        let path = shared.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes(*size)).unwrap();
    }
    let mut config = harbour.config(who);
    config.share = Some(shared);
    config
}

#[tokio::test]
async fn files_of_every_size_are_sent_and_verified() {
    let harbour = Harbour::open().await;
    let ((alice, _), (_bob, mut events)) = (harbour.peer("alice").await, harbour.peer("bob").await);
    for size in SIZES {
        let path = harbour.file(&format!("sent-{size}"), size);
        let sent = within("sending", alice.send_file(&name("bob"), &path)).await.unwrap();
        assert_eq!((sent.size, sent.hash), (size as u64, hash(&bytes(size))));
        let arrived = harbour.downloads("bob").join(format!("sent-{size}"));
        assert!(fs::read(&arrived).unwrap() == bytes(size), "{size} bytes differ");
        let done = wait_for(
            &mut events,
            "the last report",
            |event| matches!(event, Event::File(update) if matches!(update.phase, FilePhase::Done { .. })),
        );
        let Event::File(update) = done.await else { unreachable!() };
        assert_eq!((update.bytes, update.total), (size as u64, size as u64));
        assert_eq!(update.phase, FilePhase::Done { hash: sent.hash, path: Some(arrived) });
    }
}

#[tokio::test]
async fn shared_files_are_listed_in_pages_and_fetched() {
    let harbour = Harbour::open().await;
    let names: Vec<String> = (0..300).map(|number| format!("many/{number:03}")).collect();
    let mut files: Vec<(&str, usize)> = names.iter().map(|path| (path.as_str(), 3)).collect();
    files.extend([("big", (1 << 20) + 1), ("empty", 0), (".hidden", 1)]);
    let (_bob, _bob_events) = harbour.peer_with(sharing(&harbour, &files).await).await;
    let (alice, _alice_events) = harbour.peer("alice").await;

    let listed = within("listing", alice.files(&name("bob"))).await.unwrap();
    assert_eq!(listed.len(), 302);
    assert!(listed.iter().all(|file| !file.path.contains("hidden")));
    for (path, size) in [("big", (1 << 20) + 1), ("empty", 0), ("many/007", 3)] {
        let bob = name("bob");
        let got = alice.get_file(&bob, path, None, Existing::Keep);
        let received = within("getting", got).await.unwrap();
        assert_eq!(received.hash, hash(&bytes(size)));
        assert!(fs::read(&received.path).unwrap() == bytes(size));
    }
    assert_eq!(entries(&harbour.downloads("alice")), ["007", "big", "empty"]);
    let path = alice.path(&name("bob"));
    assert_eq!(path.kind, Some(PathKind::Direct), "both are on one machine: {path:?}");
}

#[tokio::test]
async fn paths_that_lead_out_are_refused_on_both_sides() {
    let harbour = Harbour::open().await;
    fs::write(harbour.directory.path().join("outside"), "secret").unwrap();
    let (bob, _bob_events) = harbour.peer_with(sharing(&harbour, &[("a", 1)]).await).await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    for path in ["../outside", "/etc/passwd", ".hidden", "a/../../outside", "nul", "c:\\x", ""] {
        let result = alice.get_file(&name("bob"), path, None, Existing::Keep).await;
        assert!(matches!(result, Err(FileError::Name { .. })), "{path:?}: {result:?}");
    }
    let mallory = harbour.raw("mallory").await;
    let connection = within("calling", mallory.call("bob", bob.id())).await;
    for path in ["../outside", "/etc/passwd", "shared/../../outside", "a/..", "missing"] {
        let (mut writer, mut reader) = open(&connection).await;
        let get = PeerCommand::Get(portolan_protocol::Get {
            path: path.to_owned(),
            groups: true,
            tree: None,
            edges: None,
        });
        writer.send(&PeerMessage::Request(RequestId(1), get)).await.unwrap();
        let answer: PeerMessage = within("the answer", reader.next_message()).await.unwrap();
        assert_eq!(kind(&answer), "unknown_file", "{path}");
    }
    assert_eq!(entries(&harbour.downloads("alice")), [] as [&str; 0]);
}

#[tokio::test]
async fn nothing_is_overwritten_unless_asked() {
    let harbour = Harbour::open().await;
    let (_bob, _bob_events) = harbour.peer_with(sharing(&harbour, &[("a", 5)]).await).await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let there = harbour.downloads("alice").join("a");
    fs::write(&there, "mine").unwrap();
    let result = alice.get_file(&name("bob"), "a", None, Existing::Keep).await;
    assert!(matches!(result, Err(FileError::Exists(_))), "{result:?}");
    assert_eq!(fs::read(&there).unwrap(), b"mine");
    alice.get_file(&name("bob"), "a", None, Existing::Replace).await.unwrap();
    assert_eq!(fs::read(&there).unwrap(), bytes(5));

    fs::write(harbour.downloads("bob").join("sent"), "theirs").unwrap();
    let path = harbour.file("sent", 9);
    let result = alice.send_file(&name("bob"), &path).await;
    let Err(FileError::Refused { body, .. }) = result else { panic!("{result:?}") };
    assert_eq!(body.code, ErrorCode::Conflict);
    assert!(!body.message.contains('/'), "no path of the receiver is told: {body}");
    assert_eq!(fs::read(harbour.downloads("bob").join("sent")).unwrap(), b"theirs");
}

#[tokio::test]
async fn the_receiver_decides() {
    let harbour = Harbour::open().await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let mut config = harbour.config("bob");
    config.accept_files = FileRule::Ask;
    let (bob, mut events) = harbour.peer_with(config).await;
    let path = harbour.file("offered", 77);
    for accept in [false, true] {
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
        assert_eq!((update.name.as_str(), update.total), ("offered", 77));
        if accept {
            bob.accept_file(update.id).unwrap();
        } else {
            bob.deny_file(update.id, "not today").unwrap();
        }
        assert!(bob.accept_file(update.id).is_err(), "decided already");
        let result = within("the outcome", sending).await.unwrap();
        match result {
            Ok(_) => assert!(accept),
            Err(FileError::Refused { body, .. }) => {
                assert!(!accept);
                assert_eq!((body.code, body.message.as_str()), (ErrorCode::Denied, "not today"));
            }
            Err(error) => panic!("{error}"),
        }
    }
    let mut config = harbour.config("carol");
    config.accept_files = FileRule::None;
    let (_carol, _carol_events) = harbour.peer_with(config).await;
    let result = alice.send_file(&name("carol"), &path).await;
    assert!(
        matches!(&result, Err(FileError::Refused { body, .. }) if body.code == ErrorCode::Denied)
    );
    assert_eq!(entries(&harbour.downloads("carol")), [] as [&str; 0]);
}

#[tokio::test]
async fn an_offer_taken_back_is_no_longer_asked_about() {
    let harbour = Harbour::open().await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let mut config = harbour.config("bob");
    config.accept_files = FileRule::Ask;
    let (bob, mut events) = harbour.peer_with(config).await;
    let path = harbour.file("offered", 77);
    let sending = {
        let alice = alice.clone();
        tokio::spawn(async move { alice.send_file(&name("bob"), &path).await })
    };
    let is = |phase: fn(&FilePhase) -> bool| move |event: &Event| matches!(event, Event::File(update) if phase(&update.phase));
    let offered = wait_for(&mut events, "an offer", is(|phase| *phase == FilePhase::Offered)).await;
    let Event::File(update) = offered else { unreachable!() };
    sending.abort();
    wait_for(&mut events, "the end", is(|phase| matches!(phase, FilePhase::Failed { .. }))).await;
    assert!(matches!(bob.accept_file(update.id), Err(FileError::NoSuchOffer(_))));
}

#[tokio::test]
async fn many_files_go_at_once_in_both_directions() {
    let harbour = Harbour::open().await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let (bob, _bob_events) = harbour.peer("bob").await;
    drop((_alice_events, _bob_events));
    let mut sending = tokio::task::JoinSet::new();
    for number in 0..40 {
        for (peer, to) in [(&alice, "bob"), (&bob, "alice")] {
            let path = harbour.file(&format!("{to}-{number}"), 10_000 + number);
            let peer: Peer = peer.clone();
            sending.spawn(async move { peer.send_file(&name(to), &path).await });
        }
    }
    while let Some(result) = within("a file", sending.join_next()).await {
        result.unwrap().unwrap();
    }
    for to in ["alice", "bob"] {
        assert_eq!(entries(&harbour.downloads(to)).len(), 40);
    }
}

/// What a dishonest owner of a file sends, and what comes of it.
struct Lie {
    announced: u64,
    sent: usize,
    hash: Hash,
    wanted: fn(&FileError) -> bool,
}

#[tokio::test]
async fn every_lie_of_a_sender_is_found_and_nothing_is_kept() {
    let harbour = Harbour::open().await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let mallory = harbour.raw("mallory").await;
    let right = hash(&bytes(100_000));
    let corrupt = |error: &FileError| matches!(error, FileError::Corrupt { kept: 0, .. });
    let size = |error: &FileError| matches!(error, FileError::Size { .. });
    let lies = [
        // Corrupted on the way, as it were: the hash of other bytes.
        Lie { announced: 100_000, sent: 100_000, hash: Hash([7; 32]), wanted: corrupt },
        Lie { announced: 100_001, sent: 100_000, hash: right, wanted: corrupt },
        Lie {
            announced: 1 << 60,
            sent: 100_000,
            hash: right,
            wanted: |error| matches!(error, FileError::TooLarge { .. }),
        },
        Lie {
            announced: 1 << 42,
            sent: 100_000,
            hash: right,
            wanted: |error| {
                matches!(error, FileError::NoSpace { .. } | FileError::Integrity { .. })
            },
        },
        Lie { announced: 99_999, sent: 100_000, hash: right, wanted: corrupt },
        Lie {
            announced: 0,
            sent: 100_000,
            hash: right,
            wanted: |error| matches!(error, FileError::Integrity { .. }),
        },
        // More than was announced.
        Lie { announced: 100_000, sent: 100_001, hash: right, wanted: size },
        // Fewer, and the list of hashes is not one.
        Lie {
            announced: GROUP_MIN + 1,
            sent: 100_000,
            hash: right,
            wanted: |error| matches!(error, FileError::Integrity { .. }),
        },
    ];
    let mut connection = None;
    for (number, lie) in lies.into_iter().enumerate() {
        let getting = {
            let alice = alice.clone();
            tokio::spawn(async move {
                alice.get_file(&name("mallory"), "file", None, Existing::Keep).await
            })
        };
        if connection.is_none() {
            connection = Some(within("a call", mallory.answer_call()).await);
        }
        let connection = connection.as_ref().unwrap();
        let (command, mut writer, _reader) = within("a request", next_request(connection)).await;
        assert_eq!(command.kind(), "get");
        let content = Content {
            size: lie.announced,
            modified: None,
            hash: Some(lie.hash),
            mode: None,
            pieces: false,
        };
        reply(&mut writer, PeerReply::Content(content)).await;
        let _ = writer.get_mut().write_all(&bytes(lie.sent)).await;
        let _ = writer.send(&PeerMessage::Event(PeerEvent::End(FileEnd { hash: lie.hash }))).await;
        let _ = writer.get_mut().finish();
        let error = within("the outcome", getting).await.unwrap().unwrap_err();
        assert!((lie.wanted)(&error), "lie {number}: {error}");
        assert_eq!(entries(&harbour.downloads("alice")), [] as [&str; 0], "lie {number}");
    }
}

/// The hashes of a file's groups, as they go over; computed another way than the program does.
fn list_of(bytes: &[u8]) -> Vec<u8> {
    use blake3::hazmat::HasherExt;
    let groups = bytes.chunks(GROUP).zip((0..).step_by(GROUP));
    let leaves = groups.flat_map(|(group, start)| {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(start);
        group.chunks(999).for_each(|part| {
            hasher.update(part);
        });
        hasher.finalize_non_root()
    });
    leaves.collect()
}

/// Says as an owner that a file of these bytes follows, and hears what is wanted of it.
async fn begin_content(whole: &[u8], writer: &mut Writer, reader: &mut Reader) -> Vec<GroupRange> {
    let content =
        Content { size: whole.len() as u64, hash: Some(hash(whole)), ..Content::default() };
    reply(writer, PeerReply::Content(content)).await;
    hear_want(whole, writer, reader).await
}

async fn hear_want(whole: &[u8], writer: &mut Writer, reader: &mut Reader) -> Vec<GroupRange> {
    writer.get_mut().write_all(&list_of(whole)).await.unwrap();
    loop {
        match within("what is wanted", reader.next_message()).await.unwrap() {
            PeerMessage::Event(PeerEvent::Want(Want { groups, .. })) => return groups,
            PeerMessage::Event(PeerEvent::Hashing(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

const GROUP: usize = 256 << 10;

#[tokio::test]
async fn what_a_vanished_sender_has_sent_is_kept_and_another_peer_sends_only_the_rest() {
    let harbour = Harbour::open().await;
    let mut config = harbour.config("alice");
    config.timing.progress = std::time::Duration::ZERO;
    let (alice, mut events) = harbour.peer_with(config).await;
    let mallory = harbour.raw("mallory").await;
    let connection = within("calling", mallory.call("alice", identity("alice").id())).await;
    let (mut writer, mut reader) = open(&connection).await;
    let whole = bytes(10 << 20);
    let size = whole.len() as u64;
    let offer = Offer { name: "half".into(), size, hash: Some(hash(&whole)), ..Offer::default() };
    let request = PeerMessage::Request(RequestId(1), PeerCommand::Offer(offer));
    writer.send(&request).await.unwrap();
    let answer: PeerMessage = within("the answer", reader.next_message()).await.unwrap();
    assert_eq!(kind(&answer), "accepted");
    let wanted = hear_want(&whole, &mut writer, &mut reader).await;
    assert_eq!(wanted, [GroupRange { first: 0, count: 40 }]);
    // Four groups, and a part of the fifth.
    writer.get_mut().write_all(&whole[..(1 << 20) + 1000]).await.unwrap();
    wait_for(
        &mut events,
        "progress",
        |event| matches!(event, Event::File(update) if update.bytes >= 1 << 20),
    )
    .await;
    // As a power cut would: without a farewell.
    drop((writer, reader, connection, mallory));
    let failed = wait_for(
        &mut events,
        "the failure",
        |event| matches!(event, Event::File(update) if matches!(update.phase, FilePhase::Failed { .. })),
    );
    let Event::File(update) = failed.await else { unreachable!() };
    let FilePhase::Failed { reason, .. } = update.phase else { unreachable!() };
    assert!(reason.contains("broke off") && reason.contains("1048576 bytes were kept"), "{reason}");
    let part = format!(".portolan-{}.part", hash(&whole));
    assert_eq!(entries(&harbour.downloads("alice")), [part]);

    let (_bob, _bob_events) =
        harbour.peer_with(sharing(&harbour, &[("other-name", 10 << 20)]).await).await;
    let bob = name("bob");
    let received =
        within("the rest", alice.get_file(&bob, "other-name", None, Existing::Keep)).await.unwrap();
    assert!(fs::read(received.path).unwrap() == whole);
    assert_eq!(entries(&harbour.downloads("alice")), ["other-name"]);
    let done = wait_for(
        &mut events,
        "the end",
        |event| matches!(event, Event::File(update) if matches!(update.phase, FilePhase::Done { .. })),
    );
    let Event::File(update) = done.await else { unreachable!() };
    assert_eq!((update.bytes, update.resumed), (size, 1 << 20));
}

#[tokio::test]
async fn a_corrupt_group_is_not_written_and_those_before_it_are_not_asked_for_again() {
    let harbour = Harbour::open().await;
    let (alice, _events) = harbour.peer("alice").await;
    let mallory = harbour.raw("mallory").await;
    let whole = bytes(GROUP * 3 + 7);
    let mut corrupt = whole.clone();
    corrupt[GROUP + 5] ^= 1;
    let mut connection = None;
    for round in 0..2 {
        let getting = {
            let alice = alice.clone();
            tokio::spawn(async move {
                alice.get_file(&name("mallory"), "file", None, Existing::Keep).await
            })
        };
        if connection.is_none() {
            connection = Some(within("a call", mallory.answer_call()).await);
        }
        let connection = connection.as_ref().unwrap();
        let (_, mut writer, mut reader) = within("a request", next_request(connection)).await;
        let wanted = begin_content(&whole, &mut writer, &mut reader).await;
        if round == 0 {
            let _ = writer.get_mut().write_all(&corrupt).await;
            let error = within("the outcome", getting).await.unwrap().unwrap_err();
            let found =
                matches!(&error, FileError::Corrupt { start: GROUP_MIN, kept: GROUP_MIN, .. });
            assert!(found, "{error}");
            continue;
        }
        assert_eq!(wanted, [GroupRange { first: 1, count: 3 }]);
        writer.get_mut().write_all(&whole[GROUP..]).await.unwrap();
        let end = FileEnd { hash: hash(&whole) };
        writer.send(&PeerMessage::Event(PeerEvent::End(end))).await.unwrap();
        writer.get_mut().finish().unwrap();
        let received = within("the outcome", getting).await.unwrap().unwrap();
        assert!(fs::read(received.path).unwrap() == whole);
    }
}

#[tokio::test]
async fn programs_that_cannot_prove_groups_are_told_so() {
    let harbour = Harbour::open().await;
    let (alice, _events) = harbour.peer_with(sharing_as(&harbour, "alice", &[("a", 1)])).await;
    let mallory = harbour.raw("mallory").await;
    let connection = within("calling", mallory.call("alice", alice.id())).await;
    let requests = [
        PeerCommand::Get(portolan_protocol::Get {
            path: "a".into(),
            groups: false,
            tree: None,
            edges: None,
        }),
        PeerCommand::Offer(Offer { name: "b".into(), size: 1, ..Offer::default() }),
    ];
    for request in requests {
        let (mut writer, mut reader) = open(&connection).await;
        writer.send(&PeerMessage::Request(RequestId(1), request)).await.unwrap();
        let answer: PeerMessage = within("the answer", reader.next_message()).await.unwrap();
        assert_eq!(kind(&answer), "unsupported");
    }
    let getting = {
        let alice = alice.clone();
        tokio::spawn(
            async move { alice.get_file(&name("mallory"), "f", None, Existing::Keep).await },
        )
    };
    let (_, mut writer, _reader) = within("a request", next_request(&connection)).await;
    let content = Content { size: 1, modified: None, hash: None, mode: None, pieces: false };
    reply(&mut writer, PeerReply::Content(content)).await;
    let error = within("the outcome", getting).await.unwrap().unwrap_err();
    assert!(matches!(error, FileError::Outdated { .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::Unsupported);
}

#[tokio::test]
async fn wants_that_no_file_has_end_the_transfer() {
    let harbour = Harbour::open().await;
    let (alice, mut events) =
        harbour.peer_with(sharing_as(&harbour, "alice", &[("a", GROUP + 1)])).await;
    let mallory = harbour.raw("mallory").await;
    let connection = within("calling", mallory.call("alice", alice.id())).await;
    for (first, count) in [(2, 1), (0, 3), (0, 0), (u32::MAX, u32::MAX)] {
        let (mut writer, mut reader) = open(&connection).await;
        let get = PeerCommand::Get(portolan_protocol::Get {
            path: "a".into(),
            groups: true,
            tree: None,
            edges: None,
        });
        writer.send(&PeerMessage::Request(RequestId(1), get)).await.unwrap();
        let answer: PeerMessage = within("the answer", reader.next_message()).await.unwrap();
        assert_eq!(kind(&answer), "content");
        let want = Want { groups: vec![GroupRange { first, count }], ..Want::default() };
        writer.send(&PeerMessage::Event(PeerEvent::Want(want))).await.unwrap();
        let failed = |event: &Event| matches!(event, Event::File(update) if matches!(update.phase, FilePhase::Failed { .. }));
        wait_for(&mut events, "the failure", failed).await;
    }
}

#[tokio::test]
async fn a_file_that_changes_behind_its_hash_is_not_sent_and_is_hashed_anew() {
    let harbour = Harbour::open().await;
    let (_bob, _bob_events) = harbour.peer_with(sharing(&harbour, &[("a", GROUP * 2)]).await).await;
    let (alice, _events) = harbour.peer("alice").await;
    let bob = name("bob");
    within("the first", alice.get_file(&bob, "a", None, Existing::Keep)).await.unwrap();
    let path = harbour.directory.path().join("shared/a");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let other = vec![7; GROUP * 2];
    fs::write(&path, &other).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let result = within("the second", alice.get_file(&bob, "a", None, Existing::Replace)).await;
    assert!(matches!(result, Err(FileError::Changed { .. })), "{result:?}");
    let again = within("the third", alice.get_file(&bob, "a", None, Existing::Replace)).await;
    assert!(fs::read(again.unwrap().path).unwrap() == other);
}

#[tokio::test]
async fn offers_with_names_that_lead_out_are_refused() {
    let harbour = Harbour::open().await;
    let (_alice, _events) = harbour.peer("alice").await;
    let mallory = harbour.raw("mallory").await;
    let connection = within("calling", mallory.call("alice", identity("alice").id())).await;
    let long = "n".repeat(300);
    for bad in ["../evil", "/tmp/evil", "a/b", "a\\b", "..", ".bashrc", "nul", "x\u{0}", &long] {
        let (mut writer, mut reader) = open(&connection).await;
        let offer =
            Offer { name: bad.to_owned(), size: 1, hash: Some(Hash([0; 32])), ..Offer::default() };
        let request = PeerMessage::Request(RequestId(1), PeerCommand::Offer(offer));
        writer.send(&request).await.unwrap();
        let answer: PeerMessage = within("the answer", reader.next_message()).await.unwrap();
        assert_eq!(kind(&answer), "bad_request", "{bad:?}");
    }
    assert_eq!(entries(&harbour.downloads("alice")), [] as [&str; 0]);
}

#[tokio::test]
async fn a_transfer_that_is_dropped_before_its_first_group_leaves_nothing() {
    let harbour = Harbour::open().await;
    let (alice, _events) = harbour.peer("alice").await;
    let mallory = harbour.raw("mallory").await;
    let getting = {
        let alice = alice.clone();
        tokio::spawn(
            async move { alice.get_file(&name("mallory"), "file", None, Existing::Keep).await },
        )
    };
    let connection = within("a call", mallory.answer_call()).await;
    let (_, mut writer, mut reader) = within("a request", next_request(&connection)).await;
    begin_content(&bytes(1 << 20), &mut writer, &mut reader).await;
    writer.get_mut().write_all(&bytes(1000)).await.unwrap();
    within("the partial file", async {
        while entries(&harbour.downloads("alice")).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    getting.abort();
    wait_entries(&harbour.downloads("alice"), &[]).await;
    // The session goes on.
    assert_eq!(within("an echo", alice.echo("still here")).await.unwrap(), "still here");
}

#[tokio::test]
async fn a_key_that_changed_is_refused_with_the_fix_spelled_out() {
    let harbour = Harbour::open().await;
    let known = harbour.directory.path().join("known_peers");
    let line = format!("bob@{}:0 {}\n", harbour.id(), identity("another bob").id());
    fs::write(&known, line).unwrap();
    let mut config = harbour.config("alice");
    config.known_peers = Some(known.clone());
    let (alice, mut events) = harbour.peer_with(config).await;
    let (bob, _bob_events) = harbour.peer("bob").await;
    let error = within("refusing", alice.files(&name("bob"))).await.unwrap_err();
    assert!(matches!(error, FileError::Reach(ReachError::KeyChanged(_))), "{error}");
    let text = error.to_string();
    assert!(text.contains("delete line 1") && text.contains("known_peers"), "{text}");

    // The other way round too: who calls with another key than before is not let in.
    let error = within("calling", bob.files(&name("alice"))).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownPeer, "{error}");
    let warning = |event: &Event| matches!(event, Event::Warning(_));
    wait_for(&mut events, "the warning", warning).await;

    fs::remove_file(&known).unwrap();
    within("listing", alice.files(&name("bob"))).await.unwrap();
    assert!(fs::read_to_string(&known).unwrap().contains("bob@"), "remembered from now on");
}

#[tokio::test]
async fn nobody_and_oneself_cannot_be_reached() {
    let harbour = Harbour::open().await;
    let (alice, _events) = harbour.peer("alice").await;
    let error = alice.files(&name("nobody-here")).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownUser, "{error}");
    let error = alice.files(&name("alice")).await.unwrap_err();
    assert!(matches!(error, FileError::Reach(ReachError::Ourselves { .. })), "{error}");
    let error = alice.send_file(&name("bob"), Path::new("/no/such/file")).await.unwrap_err();
    assert!(matches!(error, FileError::Io { .. }), "{error}");
    let directory = harbour.directory.path().to_owned();
    let error = alice.send_file(&name("bob"), &directory).await.unwrap_err();
    assert!(matches!(error, FileError::NotAFile(_) | FileError::Name { .. }), "{error}");
}

#[tokio::test]
async fn an_idle_session_is_closed_and_opened_again_when_needed() {
    let harbour = Harbour::open().await;
    let mut config = harbour.config("alice");
    config.timing.session_idle = std::time::Duration::from_millis(50);
    let (alice, _events) = harbour.peer_with(config).await;
    let (_bob, _bob_events) = harbour.peer("bob").await;
    for _ in 0..3 {
        within("listing", alice.files(&name("bob"))).await.unwrap();
        within("the idle end", async {
            while alice.path(&name("bob")).kind.is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_sender_that_stalls_is_given_up() {
    let harbour = Harbour::open().await;
    let mut config = harbour.config("alice");
    config.timing.stall = std::time::Duration::from_millis(300);
    config.limits.retries = 0;
    let (alice, _events) = harbour.peer_with(config).await;
    let mallory = harbour.raw("mallory").await;
    let getting = tokio::spawn(async move {
        alice.get_file(&name("mallory"), "file", None, Existing::Keep).await
    });
    let connection = within("a call", mallory.answer_call()).await;
    let (_, mut writer, mut reader) = within("a request", next_request(&connection)).await;
    begin_content(&bytes(1 << 20), &mut writer, &mut reader).await;
    writer.get_mut().write_all(&bytes(1000)).await.unwrap();
    let error = within("giving up", getting).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("nothing moved"), "{error}");
    assert_eq!(entries(&harbour.downloads("alice")), [] as [&str; 0]);
}

#[tokio::test]
async fn our_own_transfers_go_on_though_nobody_reads_the_events() {
    let harbour = Harbour::open().await;
    let (_bob, bob_events) = harbour.peer_with(sharing(&harbour, &[("a", 5)]).await).await;
    drop(bob_events);
    let mut config = harbour.config("alice");
    config.limits.events = 1;
    let (alice, _unread) = harbour.peer_with(config).await;
    for _ in 0..5 {
        let bob = name("bob");
        let getting = alice.get_file(&bob, "a", None, Existing::Replace);
        within("getting", getting).await.unwrap();
    }
}
