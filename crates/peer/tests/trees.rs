//! Directories between peers: whole, again, in part, and from those who lie.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use portolan_peer::{
    Config, Event, Events, Existing, FileError, FileRule, Keep, Peer, Place, TreePhase,
    TreeSummary, TreeUpdate,
};
use portolan_protocol::{
    Batch, BatchFile, Entries, ErrorCode, GROUP_MIN, Hash, LeftOut, OfferTree, PeerCommand,
    PeerEvent, PeerMessage, PeerReply, Received, RequestId, Sending, Small, TreeEntry, TreeInfo,
    Walk,
};
use portolan_transport::Connection;
use tokio::io::AsyncWriteExt;

use self::support::{
    Harbour, Reader, Writer, bytes, entries, kind, name, next_request, open, reply, wait_for,
    within,
};

/// Larger than a batch's files: three groups.
const LARGE: usize = 600_000;

/// Every file and empty directory below, with what is in it.
fn content(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let mut empty = true;
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            empty = false;
            if path.is_dir() {
                open.push(path);
            } else {
                let below = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(below, fs::read(&path).unwrap());
            }
        }
        if empty {
            let below = directory.strip_prefix(root).unwrap().to_str().unwrap();
            found.insert(format!("{below}/"), Vec::new());
        }
    }
    found
}

fn fill(root: &Path, files: &[(&str, usize)]) {
    for (path, size) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes(*size)).unwrap();
    }
}

/// Bob shares `music`, with small and large files, nested and empty directories.
fn music(harbour: &Harbour) -> Config {
    let shared = harbour.directory.path().join("shared");
    fill(
        &shared.join("music"),
        &[("a.txt", 5), ("empty.txt", 0), ("old/b.bin", LARGE), ("old/deep/c", 70_000)],
    );
    fs::create_dir_all(shared.join("music/nothing")).unwrap();
    fs::write(shared.join("beside"), "beside").unwrap();
    let mut config = harbour.config("bob");
    config.share = Some(shared);
    config
}

async fn get(alice: &Peer, path: &str, existing: Existing) -> Result<TreeSummary, FileError> {
    within("the directory", alice.get_directory(&name("bob"), path, None, existing)).await
}

async fn tree_event(
    events: &mut Events,
    what: &str,
    wanted: impl Fn(&TreePhase) -> bool,
) -> TreeUpdate {
    let is = |event: &Event| matches!(event, Event::Tree(update) if wanted(&update.phase));
    match wait_for(events, what, is).await {
        Event::Tree(update) => update,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_shared_directory_arrives_whole_and_the_second_time_nothing_goes_over() {
    let harbour = Harbour::open().await;
    let (_bob, _bob_events) = harbour.peer_with(music(&harbour)).await;
    let (alice, mut events) = harbour.peer("alice").await;
    let summary = get(&alice, "music", Existing::Keep).await.unwrap();
    let total = 5 + LARGE as u64 + 70_000;
    assert_eq!((summary.files, summary.same, summary.failed), (4, 0, 0), "{summary:?}");
    assert_eq!(summary.bytes, total);
    let arrived = harbour.downloads("alice").join("music");
    assert_eq!(summary.path.as_deref(), Some(arrived.as_path()));
    let wanted = content(&harbour.directory.path().join("shared/music"));
    assert!(content(&arrived) == wanted);
    let done = tree_event(&mut events, "the end", |phase| matches!(phase, TreePhase::Done { .. }));
    let done = done.await;
    assert_eq!((done.files, done.files_total, done.bytes, done.total), (4, 4, total, total));
    assert!(done.via.is_some(), "{done:?}");

    let before = alice.stats().bytes_received;
    let again = get(&alice, "music", Existing::Keep).await.unwrap();
    assert_eq!((again.files, again.same, again.bytes), (4, 4, total));
    let came = alice.stats().bytes_received - before;
    assert!(came < 50_000, "{came} bytes came for nothing");
    assert!(content(&arrived) == wanted);
}

#[tokio::test]
async fn all_that_is_shared_goes_under_its_owners_name_and_a_part_straight_into_a_directory() {
    let harbour = Harbour::open().await;
    let (_bob, _bob_events) = harbour.peer_with(music(&harbour)).await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    get(&alice, "", Existing::Keep).await.unwrap();
    let shared = content(&harbour.directory.path().join("shared"));
    assert!(content(&harbour.downloads("alice").join("bob")) == shared);

    let into = harbour.directory.path().join("chosen");
    let place = Some(Place::Into(into.clone()));
    let bob = name("bob");
    let got = alice.get_directory(&bob, "music/old/", place, Existing::Keep);
    let summary = within("the directory", got).await.unwrap();
    assert_eq!(summary.files, 2);
    assert_eq!(entries(&into), ["b.bin", "deep"]);
    for bad in ["nothing", "beside", "../shared", "/etc", "music/../..", ".hidden"] {
        let result = get(&alice, bad, Existing::Keep).await;
        assert!(result.is_err(), "{bad}: {result:?}");
    }
    assert_eq!(entries(&harbour.downloads("alice")), ["bob"], "nothing is made for nothing");
}

#[tokio::test]
async fn an_offered_directory_is_decided_about_once_and_arrives_whole() {
    let harbour = Harbour::open().await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let mut config = harbour.config("bob");
    config.accept_files = FileRule::Ask;
    let (bob, mut events) = harbour.peer_with(config).await;
    let sent = harbour.directory.path().join("photos");
    fill(&sent, &[("1.jpg", 10), ("2/3.jpg", LARGE), (".hidden", 3), ("2/nul", 3)]);
    for accept in [false, true] {
        let sending = {
            let (alice, sent) = (alice.clone(), sent.clone());
            tokio::spawn(async move { alice.send_directory(&name("bob"), &sent).await })
        };
        let offered = tree_event(&mut events, "an offer", |phase| *phase == TreePhase::Offered);
        let offered = offered.await;
        let shown = (offered.name.as_str(), offered.files_total, offered.total);
        assert_eq!(shown, ("photos", 2, 10 + LARGE as u64));
        match accept {
            true => bob.accept_file(offered.id).unwrap(),
            false => bob.deny_file(offered.id, "not today").unwrap(),
        }
        match within("the outcome", sending).await.unwrap() {
            Ok(summary) => {
                assert!(accept);
                assert_eq!((summary.files, summary.failed), (2, 0));
                let left_out = LeftOut { hidden: 1, names: 1, ..LeftOut::default() };
                assert_eq!(summary.left_out, left_out);
            }
            Err(FileError::Refused { body, .. }) => {
                assert!(!accept);
                assert_eq!((body.code, body.message.as_str()), (ErrorCode::Denied, "not today"));
                assert_eq!(entries(&harbour.downloads("bob")), [] as [&str; 0]);
            }
            Err(error) => panic!("{error}"),
        }
    }
    let arrived = content(&harbour.downloads("bob").join("photos"));
    let names: Vec<&str> = arrived.keys().map(String::as_str).collect();
    assert_eq!(names, ["1.jpg", "2/3.jpg"]);
    assert!(arrived["2/3.jpg"] == bytes(LARGE));
}

/// `TREE_FILES=100000` makes them as many as are meant.
#[tokio::test]
async fn two_thousand_small_files_arrive_and_are_told_of_together() {
    let harbour = Harbour::open().await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let (_bob, mut events) = harbour.peer("bob").await;
    let sent = harbour.directory.path().join("many");
    let asked = std::env::var("TREE_FILES").ok().and_then(|text| text.parse::<u64>().ok());
    let files = asked.unwrap_or(2000);
    for directory in 0..20 {
        fs::create_dir_all(sent.join(format!("{directory}"))).unwrap();
        for number in 0..files / 20 {
            fs::write(sent.join(format!("{directory}/{number}")), number.to_string()).unwrap();
        }
    }
    let bob = name("bob");
    let summary = within("many files", alice.send_directory(&bob, &sent)).await.unwrap();
    assert_eq!((summary.files, summary.failed), (files, 0));
    assert!(content(&harbour.downloads("bob").join("many")) == content(&sent));
    let (mut reports, mut done) = (0, false);
    while !done {
        match within("a report", events.next()).await.unwrap() {
            Event::Tree(update) => {
                reports += 1;
                done = matches!(update.phase, TreePhase::Done { .. });
            }
            Event::File(update) => panic!("a file of its own: {update:?}"),
            _ => {}
        }
    }
    assert!(reports < files / 4, "{reports} reports");
}

#[tokio::test]
async fn what_is_there_stays_or_is_replaced_and_the_others_go_on() {
    let harbour = Harbour::open().await;
    let (_bob, _bob_events) = harbour.peer_with(music(&harbour)).await;
    let (alice, mut events) = harbour.peer("alice").await;
    let there = harbour.downloads("alice").join("music");
    fill(&there, &[("old/b.bin", 9)]);
    fs::write(there.join("a.txt"), "other").unwrap();
    fs::create_dir_all(there.join("empty.txt")).unwrap();
    let summary = get(&alice, "music", Existing::Keep).await.unwrap();
    assert_eq!((summary.files, summary.failed), (1, 3), "{summary:?}");
    let missed: BTreeSet<_> =
        summary.misses.iter().map(|miss| (miss.path.as_str(), miss.code.as_str())).collect();
    let wanted = [("a.txt", "conflict"), ("empty.txt", "bad_request"), ("old/b.bin", "conflict")];
    assert_eq!(missed, BTreeSet::from(wanted));
    tree_event(&mut events, "the end", |phase| matches!(phase, TreePhase::Partial { .. })).await;
    assert_eq!(fs::read(there.join("a.txt")).unwrap(), b"other");
    assert_eq!(fs::read(there.join("old/b.bin")).unwrap(), bytes(9));

    fs::remove_dir(there.join("empty.txt")).unwrap();
    let summary = get(&alice, "music", Existing::Replace).await.unwrap();
    assert_eq!((summary.files, summary.same, summary.failed), (4, 1, 0), "{summary:?}");
    assert!(content(&there) == content(&harbour.directory.path().join("shared/music")));
}

#[cfg(unix)]
#[tokio::test]
async fn times_and_modes_are_kept_by_choice_of_the_receiver() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let harbour = Harbour::open().await;
    let sent = harbour.directory.path().join("sent");
    fill(&sent, &[("small", 5), ("large", LARGE), ("deep/er/file", 5)]);
    let then = std::time::UNIX_EPOCH + Duration::from_millis(1_000_000_000_500);
    for directory in ["deep/er", "deep", ""] {
        let directory = fs::File::open(sent.join(directory)).unwrap();
        directory.set_permissions(fs::Permissions::from_mode(0o1551)).unwrap();
        directory.set_modified(then).unwrap();
    }
    for file in ["small", "large"] {
        let file = fs::File::options().write(true).open(sent.join(file)).unwrap();
        file.set_modified(then).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o6711)).unwrap();
    }
    let (alice, _alice_events) = harbour.peer("alice").await;
    for (who, keep) in [("bob", Keep::default()), ("carol", Keep { times: true, modes: true })] {
        let mut config = harbour.config(who);
        config.keep = keep;
        let (_peer, _events) = harbour.peer_with(config).await;
        let to = name(who);
        within("sending", alice.send_directory(&to, &sent)).await.unwrap();
        let single = within("sending", alice.send_file(&to, &sent.join("small"))).await;
        single.unwrap();
        for directory in ["sent", "sent/deep", "sent/deep/er"] {
            let there = harbour.downloads(who).join(directory).metadata().unwrap();
            let (mode, time) = (there.permissions().mode() & 0o7777, there.mtime());
            match keep.times {
                // Its owner goes on to be able to write into it.
                true => assert_eq!((mode, time), (0o751, 1_000_000_000), "{directory}"),
                false => {
                    assert_ne!(time, 1_000_000_000, "{directory}");
                    assert_ne!(mode, 0o751, "{directory}");
                }
            }
        }
        for file in ["sent/small", "sent/large", "small"] {
            let there = harbour.downloads(who).join(file).metadata().unwrap();
            let mode = there.permissions().mode() & 0o7777;
            match keep.times {
                true => {
                    let time = (there.mtime(), there.mtime_nsec());
                    assert_eq!((time, mode), ((1_000_000_000, 500_000_000), 0o711), "{file}");
                }
                false => {
                    assert_ne!(there.mtime(), 1_000_000_000, "{file}");
                    assert_eq!(mode & 0o7111, 0, "{file}: {mode:o}");
                }
            }
        }
    } // So that what they hold can be removed.
    for directory in ["", "deep", "deep/er"] {
        let path = sent.join(directory);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_in_the_target_are_not_followed_and_nothing_lands_outside() {
    use std::os::unix::fs::symlink;

    let harbour = Harbour::open().await;
    let (_bob, _bob_events) = harbour.peer_with(music(&harbour)).await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let outside = harbour.directory.path().join("outside");
    fill(&outside, &[("a.txt", 3)]);
    let there = harbour.downloads("alice").join("music");
    fs::create_dir_all(&there).unwrap();
    symlink(&outside, there.join("old")).unwrap();
    symlink(outside.join("a.txt"), there.join("a.txt")).unwrap();
    let summary = get(&alice, "music", Existing::Replace).await.unwrap();
    let missed: BTreeSet<&str> = summary.misses.iter().map(|miss| miss.path.as_str()).collect();
    let wanted = ["a.txt", "old", "old/b.bin", "old/deep", "old/deep/c"];
    assert_eq!(missed, BTreeSet::from(wanted), "{summary:?}");
    assert_eq!(summary.files, 1);
    assert_eq!(entries(&outside), ["a.txt"]);
    assert_eq!(fs::read(outside.join("a.txt")).unwrap(), bytes(3));

    let elsewhere = harbour.downloads("carol");
    symlink(&outside, elsewhere.join("music")).unwrap();
    let under = Some(Place::Under(elsewhere));
    let bob = name("bob");
    let result = alice.get_directory(&bob, "music", under, Existing::Keep);
    let result = within("the refusal", result).await;
    assert!(matches!(result, Err(FileError::Name { .. })), "{result:?}");
    assert_eq!(entries(&outside), ["a.txt"]);
}

/// Impatient with breaks.
fn impatient(harbour: &Harbour, of: &str) -> Config {
    let mut config = harbour.config(of);
    config.timing.progress = Duration::ZERO;
    config.timing.retry = Duration::from_millis(20);
    config.limits.retries = 10_000;
    config
}

/// Much enough to be broken in the middle.
fn much(root: &Path) -> u64 {
    for number in 0..1500 {
        fill(root, &[(&format!("{}/{number}", number % 7), 20_000 + number)]);
    }
    fill(root, &[("3/large", 5_000_000), ("6/large", 3_000_000)]);
    1502
}

#[tokio::test]
async fn a_directory_is_fetched_from_an_owner_who_restarts_and_nothing_is_counted_twice() {
    let harbour = Harbour::open().await;
    let shared = harbour.directory.path().join("shared");
    let files = much(&shared.join("much"));
    let owner = || {
        let mut config = impatient(&harbour, "bob");
        config.share = Some(shared.clone());
        config
    };
    let (alice, mut events) = harbour.peer_with(impatient(&harbour, "alice")).await;
    let mut bob = Some(harbour.peer_with(owner()).await);
    let outcome = {
        let alice = alice.clone();
        let bob = name("bob");
        tokio::spawn(async move { alice.get_directory(&bob, "much", None, Existing::Keep).await })
    };
    let (mut breaks, mut highest) = (0, 0);
    loop {
        let update = tree_event(&mut events, "news", |_| true).await;
        assert!(update.files <= files && update.bytes <= update.total, "{update:?}");
        match update.phase {
            TreePhase::Progress => {
                assert!(update.files + 1 >= highest, "{highest} files, then {update:?}");
                highest = highest.max(update.files);
                if breaks < 3 && update.files > files * (breaks + 1) / 5 && bob.is_some() {
                    breaks += 1;
                    bob = None;
                }
            }
            TreePhase::Interrupted { .. } => {
                if bob.is_none() {
                    bob = Some(harbour.peer_with(owner()).await);
                }
            }
            TreePhase::Done { .. } => break,
            TreePhase::Started => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(breaks, 3);
    let summary = within("the outcome", outcome).await.unwrap().unwrap();
    assert_eq!((summary.files, summary.failed), (files, 0), "{summary:?}");
    let arrived = harbour.downloads("alice").join("much");
    assert!(content(&arrived) == content(&shared.join("much")), "and no part is left");
}

#[tokio::test]
async fn an_offered_directory_goes_on_with_a_receiver_who_restarts_and_asks_nobody_again() {
    let harbour = Harbour::open().await;
    let sent = harbour.directory.path().join("much");
    let files = much(&sent);
    let (alice, mut events) = harbour.peer_with(impatient(&harbour, "alice")).await;
    let mut bob = Some(harbour.peer_with(impatient(&harbour, "bob")).await);
    let outcome = {
        let (alice, sent) = (alice.clone(), sent.clone());
        tokio::spawn(async move { alice.send_directory(&name("bob"), &sent).await })
    };
    for round in 1..=2 {
        let far = files * round / 4;
        let is_far = |event: &Event| {
            matches!(event, Event::Tree(update)
                if update.phase == TreePhase::Progress && update.files > far)
        };
        wait_for(&mut events, "progress", is_far).await;
        drop(bob.take());
        let interrupted = |phase: &TreePhase| matches!(phase, TreePhase::Interrupted { .. });
        tree_event(&mut events, "the break", interrupted).await;
        bob = Some(harbour.peer_with(impatient(&harbour, "bob")).await);
    }
    let drain = async { while events.next().await.is_some() {} };
    let summary = tokio::select! {
        () = drain => panic!("the session is over"),
        summary = within("the outcome", outcome) => summary.unwrap().unwrap(),
    };
    assert_eq!((summary.files, summary.failed), (files, 0), "{summary:?}");
    // What the sender has told of may still have been on its way when the receiver went.
    assert!(summary.same > 0, "{summary:?}");
    assert!(content(&harbour.downloads("bob").join("much")) == content(&sent));
}

#[tokio::test]
async fn what_is_gone_or_has_changed_since_it_was_listed_is_told_and_the_others_come() {
    let harbour = Harbour::open().await;
    let (bob, _bob_events) = harbour.peer_with(music(&harbour)).await;
    let asker = harbour.raw("eve").await;
    let connection = within("calling", asker.call("bob", bob.id())).await;
    let file = |path: &str| BatchFile { path: path.into(), have: None, keep: false };
    let same = BatchFile { have: Some(hash(&bytes(5))), ..file("a.txt") };
    let differs = BatchFile { have: Some(hash(b"x")), keep: true, ..file("a.txt") };
    let files = [
        file("gone"),
        file("old/b.bin"),
        file("../beside"),
        file("old"),
        same,
        differs,
        file("a.txt"),
    ];
    let (mut writer, mut reader) = open(&connection).await;
    let batch = Batch { tree: None, path: "music".into(), files: files.to_vec() };
    writer.send(&PeerMessage::Request(RequestId(1), batch.into())).await.unwrap();
    let mut kinds = Vec::new();
    for _ in 0..8 {
        let message: PeerMessage = within("an answer", reader.next_message()).await.unwrap();
        let word = match &message {
            PeerMessage::Event(PeerEvent::Unsent(unsent)) => {
                assert!(!unsent.message.contains('/'), "no path is told: {unsent:?}");
                unsent.code.clone()
            }
            PeerMessage::Event(PeerEvent::Compared(compared)) => format!("{}", compared.same),
            message => kind(message).to_owned(),
        };
        kinds.push(word);
    }
    let unknown = "unknown_file";
    let wanted = ["sending", unknown, "too_large", unknown, unknown, "true", "false", "small"];
    assert_eq!(kinds, wanted);
}

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}

#[tokio::test]
async fn an_offered_directory_is_for_its_receiver_alone_and_only_while_it_is_offered() {
    let harbour = Harbour::open().await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let sent = harbour.directory.path().join("sent");
    fill(&sent, &[("a", 5)]);
    let (bob, eve) = (harbour.raw("bob").await, harbour.raw("eve").await);
    let sending = {
        let (alice, sent) = (alice.clone(), sent.clone());
        tokio::spawn(async move { alice.send_directory(&name("bob"), &sent).await })
    };
    let connection = within("a call", bob.answer_call()).await;
    let (command, mut writer, _reader) = within("the offer", next_request(&connection)).await;
    let PeerCommand::OfferTree(offer) = command else { panic!("{command:?}") };
    assert_eq!((offer.name.as_str(), offer.files, offer.bytes), ("sent", 1, 5));
    let eves = within("calling", eve.call("alice", alice.id())).await;
    let walk = |tree| PeerCommand::Walk(Walk { tree, ..Walk::default() });
    for (connection, tree, wanted) in [
        (&eves, Some(offer.tree), "forbidden"),
        (&eves, None, "unknown_file"),
        (&connection, Some(offer.tree ^ 1), "forbidden"),
        (&connection, Some(offer.tree), "tree"),
    ] {
        let answer = ask(connection, walk(tree)).await;
        assert_eq!(kind(&answer), wanted, "{tree:?}");
    }
    reply(&mut writer, PeerReply::Received(Received { failed: 1, ..Received::default() })).await;
    let error = within("the outcome", sending).await.unwrap().unwrap_err();
    assert!(matches!(error, FileError::Protocol { .. }), "it was not accepted first: {error}");
    let answer = ask(&connection, walk(Some(offer.tree))).await;
    assert_eq!(kind(&answer), "forbidden", "the offer is over");
}

async fn ask(connection: &Arc<dyn Connection>, command: PeerCommand) -> PeerMessage {
    let (mut writer, mut reader) = open(connection).await;
    writer.send(&PeerMessage::Request(RequestId(1), command)).await.unwrap();
    within("the answer", reader.next_message()).await.unwrap()
}

/// A dishonest owner: what it lists, and what it sends for each.
struct Liar {
    offered: (u64, u64),
    pages: Vec<Vec<(&'static str, u64)>>,
    sent: fn(&str) -> (Small, Vec<u8>),
}

fn honest(path: &str) -> (Small, Vec<u8>) {
    let content = path.as_bytes().to_vec();
    let small =
        Small { size: content.len() as u64, hash: hash(&content), modified: None, mode: None };
    (small, content)
}

impl Liar {
    /// Offers its directory to bob and serves him until he has said what came of it.
    async fn offer(self, harbour: &Harbour, bob: &Peer) -> PeerMessage {
        let mallory = harbour.raw("mallory").await;
        let connection = within("calling", mallory.call("bob", bob.id())).await;
        let (mut writer, mut reader) = open(&connection).await;
        let (files, bytes) = self.offered;
        let offer = OfferTree { name: "tree".into(), files, bytes, tree: 1 };
        writer.send(&PeerMessage::Request(RequestId(1), offer.into())).await.unwrap();
        let accepted: PeerMessage = within("the decision", reader.next_message()).await.unwrap();
        assert_eq!(kind(&accepted), "accepted");
        let serving = async {
            loop {
                let (command, writer, reader) = next_request(&connection).await;
                self.serve(command, writer, reader).await;
            }
        };
        let outcome = async {
            loop {
                let message: PeerMessage = reader.next_message().await.unwrap();
                if kind(&message) != "hashing" {
                    return message;
                }
            }
        };
        tokio::select! {
            () = serving => unreachable!(),
            outcome = within("the outcome", outcome) => outcome,
        }
    }

    async fn serve(&self, command: PeerCommand, mut writer: Writer, _reader: Reader) {
        match command {
            PeerCommand::Walk(_) => {
                reply(&mut writer, PeerReply::Tree(TreeInfo::default())).await;
                let last = self.pages.len() - 1;
                for (number, page) in self.pages.iter().enumerate() {
                    let entries = page.iter().map(|(path, size)| TreeEntry {
                        path: path.trim_end_matches('/').to_owned(),
                        directory: path.ends_with('/'),
                        size: *size,
                        ..TreeEntry::default()
                    });
                    let entries = Entries { entries: entries.collect(), more: number < last };
                    let event = PeerMessage::Event(PeerEvent::Entries(entries));
                    if writer.send(&event).await.is_err() {
                        return;
                    }
                }
            }
            PeerCommand::Batch(batch) => {
                reply(&mut writer, PeerReply::Sending(Sending {})).await;
                for file in batch.files {
                    let (small, content) = (self.sent)(&file.path);
                    let event = PeerMessage::Event(PeerEvent::Small(small));
                    let sent = writer.send(&event).await.is_ok();
                    if !sent || writer.get_mut().write_all(&content).await.is_err() {
                        return;
                    }
                }
            }
            other => panic!("{other:?}"),
        }
        let _ = writer.get_mut().finish();
    }
}

fn received(message: &PeerMessage) -> &Received {
    match message {
        PeerMessage::Answer(_, PeerReply::Received(received)) => received,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn bad_names_and_collisions_are_refused_one_by_one() {
    let harbour = Harbour::open().await;
    let (bob, _events) = harbour.peer("bob").await;
    let long = "n".repeat(300);
    let deep = "d/".repeat(40) + "d";
    let path_long = ["p".repeat(250).as_str(); 5].join("/");
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let bad = [
        "../outside",
        "./dot",
        ".hidden",
        "/etc/passwd",
        "C:\\x",
        "a\\..\\b",
        "COM1.txt",
        "NUL",
        "a\u{0}b",
        "b/../../outside",
        "con/",
        "con/inside",
        "good",
        "gooD",
        "goox/",
        "goox/same",
        "goox/Same",
        "trailing.",
    ];
    let mut names: Vec<&'static str> = bad.to_vec();
    names.extend([leak(long), leak(deep), leak(path_long)]);
    names
        .sort_by(|a, b| a.trim_end_matches('/').split('/').cmp(b.trim_end_matches('/').split('/')));
    let files = names.len() as u64;
    let page: Vec<(&'static str, u64)> = names
        .iter()
        .map(|path| (*path, if path.ends_with('/') { 0 } else { path.len() as u64 }))
        .collect();
    let liar = Liar { offered: (files, 1 << 20), pages: vec![page], sent: honest };
    let outcome = liar.offer(&harbour, &bob).await;
    let arrived = content(&harbour.downloads("bob").join("tree"));
    let there: Vec<&str> = arrived.keys().map(String::as_str).collect();
    // Of names that differ in case only the first in order is taken.
    assert_eq!(there, ["gooD", "goox/Same"], "{outcome:?}");
    assert_eq!(entries(&harbour.downloads("bob")), ["tree"], "nothing is outside");
    assert!(!harbour.directory.path().join("outside").exists());
    let received = received(&outcome);
    assert_eq!((received.files, received.failed), (2, files - 3), "{received:?}");
    let of = |path: &str| received.misses.iter().find(|miss| miss.path == path).unwrap();
    assert_eq!(of("good").code, "conflict");
    assert_eq!(of("NUL").code, "name_invalid");
}

#[tokio::test]
async fn more_than_was_offered_is_not_taken() {
    let harbour = Harbour::open().await;
    let (bob, _events) = harbour.peer("bob").await;
    // One file more than offered, one that is listed small and sent large.
    let grown = |path: &str| match path {
        "b" => honest(&"grown".repeat(50)),
        path => honest(path),
    };
    let pages = vec![vec![("a", 1), ("b", 1)], vec![("c", 1), ("d", 1), ("e", 0)]];
    let liar = Liar { offered: (4, 4), pages, sent: grown };
    let outcome = liar.offer(&harbour, &bob).await;
    let arrived = content(&harbour.downloads("bob").join("tree"));
    let bytes: usize = arrived.values().map(Vec::len).sum();
    assert!(bytes <= 4 && !arrived.contains_key("b"), "{arrived:?}");
    assert!(arrived.contains_key("a"));
    assert!(received(&outcome).failed >= 1, "{outcome:?}");
}

#[tokio::test]
async fn wrong_hashes_keep_single_files_out() {
    let harbour = Harbour::open().await;
    let (bob, _events) = harbour.peer("bob").await;
    let wrong = |path: &str| {
        let (small, content) = honest(path);
        match path {
            "b" => (Small { hash: Hash([7; 32]), ..small }, content),
            _ => (small, content),
        }
    };
    let pages = vec![vec![("a", 1), ("b", 1), ("c", 1)]];
    let outcome = Liar { offered: (3, 3), pages, sent: wrong }.offer(&harbour, &bob).await;
    let received = received(&outcome);
    assert_eq!((received.files, received.failed), (2, 1));
    assert_eq!(received.misses[0].code, "integrity");
    assert_eq!(entries(&harbour.downloads("bob").join("tree")), ["a", "c"]);
}

#[tokio::test]
async fn lists_that_no_owner_makes_end_the_transfer() {
    let harbour = Harbour::open().await;
    let (bob, _events) = harbour.peer("bob").await;
    let huge = |path: &str| {
        let (small, content) = honest(path);
        (Small { size: GROUP_MIN + 1, ..small }, content)
    };
    let cut = |path: &str| {
        let (small, content) = honest(path);
        (Small { size: 1000, ..small }, content)
    };
    let many: Vec<(&'static str, u64)> =
        (0..257).map(|number| (&*Box::leak(format!("{number:04}").into_boxed_str()), 1)).collect();
    let rows: [(&str, Liar); 4] = [
        (
            "out of order",
            Liar { offered: (2, 9), pages: vec![vec![("b", 1), ("a", 1)]], sent: honest },
        ),
        ("too long a page", Liar { offered: (300, 900), pages: vec![many], sent: honest }),
        (
            "too large for a batch",
            Liar { offered: (1, 1 << 30), pages: vec![vec![("a", 1)]], sent: huge },
        ),
        ("cut short", Liar { offered: (1, 1 << 30), pages: vec![vec![("a", 1)]], sent: cut }),
    ];
    for (what, liar) in rows {
        let outcome = liar.offer(&harbour, &bob).await;
        assert!(matches!(outcome, PeerMessage::Error(..)), "{what}: {outcome:?}");
        let tree = harbour.downloads("bob").join("tree");
        assert_eq!(entries(&tree), [] as [&str; 0], "{what}");
    }
}

#[tokio::test]
async fn a_directory_is_held_and_let_go_on_by_whoever_began_it_and_given_up_by_either() {
    let harbour = Harbour::open().await;
    let shared = harbour.directory.path().join("shared");
    let files = much(&shared.join("much"));
    let mut config = impatient(&harbour, "bob");
    config.share = Some(shared.clone());
    let (bob, mut bob_events) = harbour.peer_with(config).await;
    let (alice, mut events) = harbour.peer_with(impatient(&harbour, "alice")).await;
    let outcome = {
        let alice = alice.clone();
        let bob = name("bob");
        tokio::spawn(async move { alice.get_directory(&bob, "much", None, Existing::Keep).await })
    };
    let far = |event: &Event| {
        matches!(event, Event::Tree(update)
            if update.phase == TreePhase::Progress && update.files > 200)
    };
    let Event::Tree(update) = wait_for(&mut events, "progress", far).await else { unreachable!() };
    let listed = alice.transfers();
    assert_eq!(listed.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["much/"]);
    alice.pause_file(update.id).await.unwrap();
    tree_event(&mut events, "the pause", |phase| matches!(phase, TreePhase::Paused { .. })).await;
    let there = content(&harbour.downloads("alice").join("much")).len() as u64;
    assert!(there < files, "{there} files are there");
    alice.resume_file(update.id).await.unwrap();
    tree_event(&mut events, "the end", |phase| matches!(phase, TreePhase::Done { .. })).await;
    let summary = within("the outcome", outcome).await.unwrap().unwrap();
    assert_eq!((summary.files, summary.failed), (files, 0), "{summary:?}");
    assert_eq!(alice.transfers(), []);

    // Offered, held by its receiver, let go on, and given up by its receiver.
    let sending = {
        let (alice, sent) = (alice.clone(), shared.join("much"));
        tokio::spawn(async move { alice.send_directory(&name("bob"), &sent).await })
    };
    let Event::Tree(update) = wait_for(&mut bob_events, "progress", far).await else {
        unreachable!()
    };
    bob.pause_file(update.id).await.unwrap();
    tree_event(&mut bob_events, "the pause", |phase| matches!(phase, TreePhase::Paused { .. }))
        .await;
    tree_event(&mut events, "the word", |phase| matches!(phase, TreePhase::Paused { .. })).await;
    bob.resume_file(update.id).await.unwrap();
    let again = tree_event(&mut bob_events, "it goes on", |phase| *phase == TreePhase::Started);
    assert_eq!(again.await.id, update.id);
    bob.cancel_file(update.id).await.unwrap();
    let error = within("the outcome", sending).await.unwrap().unwrap_err();
    assert!(matches!(error, FileError::Stopped { .. }), "{error}");
}

#[tokio::test]
async fn what_people_allow_of_files_bounds_directories_too() {
    let harbour = Harbour::open().await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let mut config = harbour.config("bob");
    config.file_rules.file_max = Some(1000);
    config.file_rules.total_max = Some(5000);
    let (_bob, _bob_events) = harbour.peer_with(config).await;
    let sent = harbour.directory.path().join("sent");
    fill(&sent, &[("a", 900), ("b", 2000), ("c", 900)]);
    let bob = name("bob");
    let summary = within("sending", alice.send_directory(&bob, &sent)).await.unwrap();
    assert_eq!((summary.files, summary.failed), (2, 1), "{summary:?}");
    assert_eq!(
        (summary.misses[0].path.as_str(), summary.misses[0].code.as_str()),
        ("b", "too_large")
    );
    let more = harbour.directory.path().join("more");
    fill(&more, &[("1", 900), ("2", 900), ("3", 900), ("4", 900)]);
    let error = within("sending", alice.send_directory(&bob, &more)).await.unwrap_err();
    assert!(
        matches!(&error, FileError::Refused { body, .. } if body.code == ErrorCode::Quota),
        "{error}"
    );
    assert_eq!(entries(&harbour.downloads("bob")), ["sent"]);
}
