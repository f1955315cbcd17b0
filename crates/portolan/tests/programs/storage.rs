//! What is kept: copies, restoring them, and files that are not what they should be.

use std::{fs, path::Path};

use serde_json::Value;

use crate::harness::{Harbour, Program, run};

fn wait_stored(peer: &mut Program) {
    peer.wait_for("stored", |event| event["state"] == "stored");
}

/// A server that has ended and left a few hundred messages.
fn filled() -> Harbour {
    let mut harbour = Harbour::open();
    harbour.peer("bob", "tcp").finish();
    let mut alice = harbour.peer("alice", "tcp");
    let text = "x".repeat(1_000);
    for number in 0..200 {
        alice.say(&format!("/msg bob {number} {text}"));
        wait_stored(&mut alice);
    }
    alice.finish();
    harbour.shut_down(&[]);
    harbour
}

/// What a server says that is to start on this data; it must not.
fn refused(data: &Path) -> String {
    let data = data.to_str().unwrap();
    let (code, _, errors) = run("server", &["--listen", "127.0.0.1:0", "--data", data]);
    assert_eq!(code, Some(1), "{errors}");
    errors
}

#[test]
fn a_copy_made_under_traffic_brings_back_all_that_was_stored_before_it() {
    const MESSAGES: usize = 300;
    let mut harbour = Harbour::open();
    harbour.peer("bob", "tcp").finish();
    let mut alice = harbour.peer("alice", "tcp");
    for number in 0..MESSAGES {
        alice.say(&format!("/msg bob {number}"));
    }
    for _ in 0..100 {
        wait_stored(&mut alice);
    }
    // The rest is on its way while the copy is made.
    let data = harbour.server_data();
    let (code, output, errors) =
        run("server", &["backup", "--json", "--data", data.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{errors}");
    let copy: Value = serde_json::from_str(&output).unwrap();
    for _ in 100..MESSAGES {
        wait_stored(&mut alice);
    }
    alice.finish();
    harbour.server.kill();
    // As docs/server.md says.
    for name in ["server.db", "server.db-wal"] {
        let _may_be_missing = fs::remove_file(data.join(name));
    }
    fs::copy(copy["path"].as_str().unwrap(), data.join("server.db")).unwrap();
    harbour.start_again();
    let mut bob = harbour.peer("bob", "udp");
    let mut alice = harbour.peer("alice", "quic");
    alice.say("/msg bob last");
    let mut arrived = Vec::new();
    loop {
        let message = bob.wait_event("message");
        match message["text"].as_str().unwrap() {
            "last" => break,
            number => arrived.push(number.parse::<usize>().unwrap()),
        }
    }
    assert!(arrived.len() >= 100, "only {} came back", arrived.len());
    assert_eq!(arrived, (0..arrived.len()).collect::<Vec<_>>(), "in order, without a gap");
}

#[test]
fn a_damaged_foreign_or_newer_file_is_refused_with_advice_and_left_as_it_is() {
    let harbour = filled();
    let path = harbour.server_data().join("server.db");
    let good = fs::read(&path).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let half = good.len() / 2;
    // SQLite's header (its file format, §1.3): user version at 60, application id at 68.
    let rows = [
        ("cut off", good[..half].to_vec(), "is damaged"),
        ("cut off in a page", good[..half + 100].to_vec(), "is damaged"),
        ("garbage in the middle", with(half - half % 4_096, &[0xA5; 8_192]), "is damaged"),
        ("a text", b"Dear diary,\n".repeat(1_000), "is damaged or not a database"),
        ("of a newer version", with(60, &999_u32.to_be_bytes()), "newer version"),
        ("of another program", with(68, &7_u32.to_be_bytes()), "another program's"),
    ];
    for (what, bytes, expected) in rows {
        fs::write(&path, &bytes).unwrap();
        let errors = refused(&harbour.server_data());
        assert!(errors.contains(expected), "{what}: {errors}");
        assert!(errors.contains("server.db") && errors.contains("data"), "{what}: {errors}");
        assert!(fs::read(&path).unwrap() == bytes, "{what}: the file was changed");
        let _may_be_missing = fs::remove_file(path.with_extension("db-wal"));
    }
    fs::write(&path, &good).unwrap();
    let mut harbour = harbour;
    harbour.start_again();
    let mut bob = harbour.peer("bob", "tcp");
    for _ in 0..200 {
        bob.wait_event("message");
    }
}

#[test]
fn a_database_in_use_is_refused_and_its_server_goes_on() {
    let harbour = Harbour::open();
    let mut alice = harbour.peer("alice", "tcp");
    let errors = refused(&harbour.server_data());
    assert!(errors.contains("in use by another server"), "{errors}");
    alice.say("/echo undisturbed");
    alice.wait_for("the echo", |event| event["text"] == "undisturbed");
}

#[test]
fn a_directory_in_the_place_of_the_database_is_said_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("server.db")).unwrap();
    let errors = refused(directory.path());
    assert!(errors.contains("server.db"), "{errors}");
}
