//! One suite over both kinds of presence, and what only a file can show.

use portolan_identity::PeerId;
use portolan_protocol::{Name, Timestamp};

use super::{MemoryPresence, Place, Presence, Sighting, SqlitePresence};

const HERE: PeerId = PeerId::from_bytes([1; 32]);
const ELSEWHERE: PeerId = PeerId::from_bytes([2; 32]);

fn over_both(test: impl Fn(&mut dyn Presence)) {
    let directory = tempfile::tempdir().unwrap();
    let mut sqlite = SqlitePresence::open(&directory.path().join("presence.db")).unwrap();
    for presence in [&mut MemoryPresence::default() as &mut dyn Presence, &mut sqlite] {
        test(presence);
    }
}

fn there(text: &str, server: PeerId, at: u64) -> Sighting {
    let place = Place { server, transport: "udp".into(), since: Timestamp(at) };
    Sighting { name: Name::new(text).unwrap(), place: Some(place), at: Timestamp(at) }
}

fn gone(text: &str, at: u64) -> Sighting {
    Sighting { name: Name::new(text).unwrap(), place: None, at: Timestamp(at) }
}

#[test]
fn the_last_sighting_of_each_name_is_remembered() {
    over_both(|presence| {
        presence.note(HERE, Timestamp(1), &[gone("Bob", 1), there("alice", HERE, 1)]).unwrap();
        presence.note(HERE, Timestamp(9), &[gone("alice", 7), gone("BOB", 8)]).unwrap();
        assert_eq!(presence.recall(HERE).unwrap(), [gone("alice", 7), gone("BOB", 8)]);
    });
}

#[test]
fn who_was_there_when_the_server_died_was_last_seen_when_it_last_lived() {
    over_both(|presence| {
        presence.note(HERE, Timestamp(5), &[there("alice", HERE, 5)]).unwrap();
        presence.note(HERE, Timestamp(60), &[]).unwrap();
        presence.note(HERE, Timestamp(61), &[there("bob", HERE, 70)]).unwrap();
        assert_eq!(presence.recall(HERE).unwrap(), [gone("alice", 61), gone("bob", 70)]);
        assert_eq!(presence.recall(HERE).unwrap(), [gone("alice", 61), gone("bob", 70)]);
    });
}

#[test]
fn who_is_with_another_server_stays_there() {
    over_both(|presence| {
        presence.note(ELSEWHERE, Timestamp(3), &[there("carol", ELSEWHERE, 3)]).unwrap();
        presence.note(HERE, Timestamp(9), &[there("alice", HERE, 9)]).unwrap();
        let expected = [gone("alice", 9), there("carol", ELSEWHERE, 3)];
        assert_eq!(presence.recall(HERE).unwrap(), expected);
    });
}

#[test]
fn a_file_outlives_the_process_and_one_of_another_program_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("presence.db");
    let mut presence = SqlitePresence::open(&path).unwrap();
    presence.note(HERE, Timestamp(5), &[there("alice", HERE, 5)]).unwrap();
    // As a killed process leaves it: nothing was closed.
    let copy = directory.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(directory.path().join("presence.db-wal"), directory.path().join("copy.db-wal"))
        .unwrap();
    let mut copy = SqlitePresence::open(&copy).unwrap();
    assert_eq!(copy.recall(HERE).unwrap(), [gone("alice", 5)]);

    let foreign = directory.path().join("foreign.db");
    rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (x); PRAGMA user_version = 1;")
        .unwrap();
    std::fs::write(directory.path().join("text"), "no database at all ".repeat(99)).unwrap();
    for name in ["foreign.db", "text", "presence.db"] {
        let error = SqlitePresence::open(&directory.path().join(name)).unwrap_err().to_string();
        assert!(error.contains("move it away") && error.contains(name), "{error}");
    }
}
