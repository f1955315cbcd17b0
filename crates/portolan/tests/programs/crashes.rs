//! `kill -9`, of either side.

use crate::harness::Harbour;

#[test]
fn the_other_side_is_told_when_a_peer_is_killed() {
    for transport in ["tcp", "udp", "quic"] {
        let harbour = Harbour::open();
        let mut alice = harbour.peer("alice", "tcp");
        let mut bob = harbour.peer("bob", transport);
        alice.say("/chat bob");
        bob.wait_for("a request", |event| event["state"] == "requested");
        bob.say("/accept alice");
        alice.wait_for("acceptance", |event| event["state"] == "accepted");
        bob.kill();
        let told = alice.wait_for("the news", |event| event["state"] == "vanished");
        assert_eq!(told["with"], "bob", "{transport}");
    }
}

#[test]
fn what_the_server_called_stored_survives_its_death() {
    let mut harbour = Harbour::open();
    harbour.peer("bob", "udp").finish();
    let mut alice = harbour.peer("alice", "tcp");
    for number in 0..20 {
        alice.say(&format!("/msg bob message {number}"));
    }
    for _ in 0..20 {
        alice.wait_for("stored", |event| event["state"] == "stored");
    }
    harbour.crash_and_restart();
    let mut bob = harbour.peer("bob", "udp");
    for number in 0..20 {
        let message = bob.wait_for("a message", |event| event["event"] == "message");
        assert_eq!(message["text"], format!("message {number}"), "in order, each once");
    }
    // Delivered for good: after another crash nothing comes twice.
    bob.say("/echo settled");
    bob.wait_for("the echo", |event| event["text"] == "settled");
    bob.finish();
    harbour.crash_and_restart();
    let mut bob = harbour.peer("bob", "quic");
    bob.say("/msg bob last");
    let first = bob.wait_for("a message", |event| event["event"] == "message");
    assert_eq!(first["text"], "last");
}

#[test]
fn a_peer_says_so_when_its_server_dies() {
    for transport in ["tcp", "udp", "quic"] {
        let mut harbour = Harbour::open();
        let mut alice = harbour.peer("alice", transport);
        harbour.server.kill();
        alice.wait_event("closed");
        assert_eq!(alice.finish().code(), Some(3), "{transport}");
    }
}

#[test]
fn a_name_stays_with_its_key_across_a_crash() {
    let mut harbour = Harbour::open();
    harbour.peer("alice", "tcp").finish();
    harbour.crash_and_restart();
    let thief = harbour.peer_unready("alice", "tcp", &["--data", &other_data(&harbour)]);
    assert_eq!(thief.finish().code(), Some(4));
    let mut alice = harbour.peer("alice", "udp");
    assert!(alice.is_running());
}

fn other_data(harbour: &Harbour) -> String {
    harbour.data("thief").display().to_string()
}
