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
        let mut alice = harbour.peer_unready("alice", transport, &["--no-reconnect"]);
        alice.wait_event("ready");
        harbour.server.kill();
        alice.wait_event("closed");
        assert_eq!(alice.finish().code(), Some(3), "{transport}");
    }
}

#[test]
fn a_peer_comes_back_to_a_server_that_died() {
    for transport in ["tcp", "udp", "quic", "auto"] {
        let mut harbour = Harbour::open();
        let mut alice = harbour.peer("alice", transport);
        harbour.server.kill();
        let attempt = alice.wait_event("reconnecting");
        assert_eq!(attempt["attempt"], 1, "{transport}");
        harbour.crash_and_restart();
        let back = alice.wait_event("reconnected");
        assert_eq!(back["server"], harbour.address, "{transport}");
        assert!(transport == "auto" || back["transport"] == transport, "{back}");
        alice.say("/echo still me");
        alice.wait_event("echo");
        assert!(alice.finish().success(), "{transport}");
    }
}

#[test]
fn what_was_answered_stored_arrives_once_and_in_order_though_the_server_dies_again_and_again() {
    const MESSAGES: usize = 500;
    let mut harbour = Harbour::open();
    let mut bob = harbour.peer("bob", "udp");
    let mut alice = harbour.peer("alice", "tcp");
    for number in 0..MESSAGES {
        alice.say(&format!("/msg bob {number}"));
    }
    // One command after another: each answer is the one to the next message.
    let mut stored = Vec::new();
    for number in 0..MESSAGES {
        let answer = alice
            .wait_for("an answer", |event| event["event"] == "error" || event["state"] == "stored");
        if answer["event"] == "receipt" {
            stored.push(number);
        }
        if number % 100 == 50 {
            harbour.crash_and_restart();
        }
    }
    assert!(stored.len() > MESSAGES / 2, "only {} were stored", stored.len());
    alice.say("/msg bob last");
    let mut arrived = Vec::new();
    loop {
        let message = bob.wait_event("message");
        match message["text"].as_str().unwrap() {
            "last" => break,
            number => arrived.push(number.parse::<usize>().unwrap()),
        }
    }
    assert!(arrived.is_sorted_by(|one, next| one < next), "twice, or out of order: {arrived:?}");
    let lost: Vec<_> = stored.iter().filter(|number| !arrived.contains(number)).collect();
    assert!(lost.is_empty(), "stored and lost: {lost:?}");
    for peer in [&mut alice, &mut bob] {
        let attempts = peer.seen().filter(|event| event["event"] == "reconnected").count();
        assert!(attempts >= 1, "nobody noticed that the server died");
    }
}

#[test]
fn a_file_under_way_goes_on_over_the_new_connection() {
    let mut harbour = Harbour::open();
    let (mut alice, mut bob) = (harbour.peer("alice", "udp"), harbour.peer("bob", "tcp"));
    let large = harbour.file("large.bin", 256 << 20, 1);
    alice.say(&format!("/send bob {}", large.display()));
    bob.wait_for("bytes", |event| event["event"] == "file" && event["phase"] == "progress");
    harbour.crash_and_restart();
    // Who began it tries again; the other side cannot know that it will.
    for (peer, phase) in [(&mut alice, "interrupted"), (&mut bob, "failed")] {
        let broken = peer.wait_for("the break", |event| event["phase"] == phase);
        assert_eq!(broken["name"], "large.bin");
        let done = peer.wait_for("the rest", |event| event["phase"] == "done");
        assert_eq!(done["id"], broken["id"], "the same transfer");
    }
    let arrived = harbour.downloads("bob");
    let names: Vec<_> =
        std::fs::read_dir(&arrived).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["large.bin"], "nothing else is left");
    assert!(std::fs::read(large).unwrap() == std::fs::read(arrived.join("large.bin")).unwrap());
    let small = harbour.file("small.bin", 100_000, 2);
    for (from, to, name) in [(&mut alice, "bob", "alice"), (&mut bob, "alice", "bob")] {
        from.say(&format!("/send {to} {}", small.display()));
        let done = from
            .wait_for("the file", |event| event["phase"] == "done" && event["direction"] == "send");
        assert_eq!(done["bytes"], 100_000, "sent by {name}");
    }
}

#[test]
fn clients_survive_a_restart_of_the_server_in_good_order() {
    let mut harbour = Harbour::open();
    let (mut alice, mut bob) = (harbour.peer("alice", "tcp"), harbour.peer("bob", "quic"));
    alice.say("/chat bob");
    bob.wait_for("a request", |event| event["state"] == "requested");
    bob.say("/accept alice");
    alice.wait_for("acceptance", |event| event["state"] == "accepted");
    harbour.shut_down_and_restart();
    for (peer, other) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        let closing = peer.wait_event("closing");
        assert_eq!(closing["why"], "shutdown");
        let attempt = peer.wait_event("reconnecting");
        assert!(attempt["after_ms"].as_u64() >= closing["reconnect_after_ms"].as_u64());
        peer.wait_event("reconnected");
        // Conversations are the server's memory, and it has a new one.
        let gone = peer.wait_for("the end", |event| event["state"] == "vanished");
        assert_eq!(gone["with"], other);
    }
    alice.say("/msg bob here again");
    bob.wait_message("here again");
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
