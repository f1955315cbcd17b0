//! One name on several devices, sessions that move, and what the owner of a name may choose.

use serde_json::Value;

use crate::harness::{Harbour, Program, run};

/// The words for `run`: a command of `peer` as `name`, beside other sessions of that name.
fn one_shot(harbour: &Harbour, name: &str, words: &[&str]) -> Value {
    let data = harbour.data(name);
    let common = [
        "--json",
        "--beside",
        "--as",
        name,
        "--data",
        data.to_str().unwrap(),
        "--server",
        &harbour.address,
        "--server-key",
        &harbour.key,
    ];
    let (code, output, error) = run("peer", &[words, &common].concat());
    assert_eq!(code, Some(0), "{words:?}: {output}{error}");
    serde_json::from_str(output.lines().last().unwrap()).unwrap()
}

fn beside(harbour: &Harbour, name: &str, transport: &str) -> Program {
    let mut peer = harbour.peer_unready(name, transport, &["--beside"]);
    peer.wait_event("ready");
    peer
}

fn conversation(peer: &mut Program, with: &str, state: &str) -> Value {
    peer.wait_for(state, |event| {
        event["event"] == "conversation" && event["with"] == with && event["state"] == state
    })
}

fn texts(peer: &Program) -> Vec<Value> {
    peer.seen()
        .filter(|event| event["event"] == "message")
        .map(|event| event["text"].clone())
        .collect()
}

#[test]
fn two_devices_of_a_name_show_the_same_and_one_that_was_away_catches_up() {
    let harbour = Harbour::open();
    let mut bob = harbour.peer("bob", "quic");
    let mut desk = beside(&harbour, "alice", "tcp");
    let mut sofa = beside(&harbour, "alice", "udp");
    bob.say("/msg alice hello");
    for device in [&mut desk, &mut sofa] {
        device.wait_message("hello");
    }
    desk.say("/msg bob from the desk");
    bob.wait_message("from the desk");
    let copy = sofa.wait_message("from the desk");
    assert_eq!((&copy["own"], &copy["to"]), (&Value::from(true), &Value::from("bob")));

    // A request rings on both; the first to answer has it.
    bob.say("/chat alice");
    for device in [&mut desk, &mut sofa] {
        conversation(device, "bob", "requested");
    }
    sofa.say("/accept bob");
    assert_eq!(conversation(&mut sofa, "bob", "accepted")["elsewhere"], Value::Null);
    assert_eq!(conversation(&mut desk, "bob", "accepted")["elsewhere"], true);
    conversation(&mut bob, "alice", "accepted");
    bob.say("/list");
    let users = bob.wait_event("users")["users"].clone();
    let alice: Vec<&Value> =
        users.as_array().unwrap().iter().filter(|user| user["name"] == "alice").collect();
    assert_eq!(alice.len(), 1);
    assert_eq!((&alice[0]["transport"], &alice[0]["also"][0]), (&"udp".into(), &"tcp".into()));

    assert!(desk.finish().success());
    bob.say("/msg alice while the desk was away");
    sofa.wait_message("while the desk was away");
    let mut desk = beside(&harbour, "alice", "tcp");
    desk.wait_message("while the desk was away");
    bob.say("/msg alice last");
    desk.wait_message("last");
    assert_eq!(texts(&desk), ["while the desk was away", "last"], "and nothing twice");
    // A command that does one thing ends none of them.
    one_shot(&harbour, "alice", &["say", "bob", "one thing"]);
    bob.wait_message("one thing");
    desk.wait_message("one thing");
    sofa.wait_message("one thing");
}

#[test]
fn a_login_from_elsewhere_moves_the_session_and_loses_nothing_however_the_old_one_hangs() {
    let harbour = Harbour::open_patient();
    let mut bob = harbour.peer("bob", "tcp");
    for (from, to) in [("tcp", "tcp"), ("udp", "udp"), ("quic", "quic"), ("udp", "tcp")] {
        let mut older = harbour.peer("alice", from);
        bob.say("/chat alice");
        conversation(&mut older, "bob", "requested");
        older.say("/accept bob");
        conversation(&mut bob, "alice", "accepted");
        // Its connection is open at one end only from now on.
        older.signal("-STOP");
        let said = ["one", "two", "three"].map(|number| format!("{number} {from} {to}"));
        for text in &said {
            bob.say(&format!("/msg alice {text}"));
            bob.wait_event("receipt");
        }
        let mut newer = harbour.peer("alice", to);
        conversation(&mut newer, "bob", "accepted");
        newer.wait_message(&said[2]);
        assert_eq!(texts(&newer), said);
        bob.say("/list");
        let users = bob.wait_event("users")["users"].clone();
        assert_eq!((&users[0]["name"], &users[0]["transport"]), (&"alice".into(), &to.into()));
        assert_eq!(users[0]["state"], "busy");
        older.signal("-CONT");
        assert_eq!(older.wait_event("closing")["why"], "replaced");
        assert!(newer.is_running());
        newer.say("/end bob");
        conversation(&mut bob, "alice", "ended");
        assert!(newer.finish().success());
    }
    let unwanted = |event: &Value| event["event"] == "conversation" && event["state"] == "vanished";
    assert!(!bob.seen().any(|event| unwanted(&event)), "for the other nothing had changed");
}

#[test]
fn settings_are_kept_and_several_conversations_are_switched_between() {
    let mut harbour = Harbour::open();
    let set = one_shot(&harbour, "alice", &["settings", "conversations=2", "seen=off"]);
    assert_eq!((&set["conversations"], &set["seen"]), (&Value::from(2), &Value::from(false)));
    harbour.crash_and_restart();
    let mut alice = harbour.peer("alice", "udp");
    alice.say("/set");
    let kept = alice.wait_event("settings");
    assert_eq!((&kept["conversations"], &kept["seen"]), (&Value::from(2), &Value::from(false)));

    let [mut bob, mut carol] = [("bob", "tcp"), ("carol", "quic")].map(|(name, transport)| {
        alice.say(&format!("/msg {name} who?"));
        alice.wait_event("error");
        let mut peer = harbour.peer(name, transport);
        alice.say(&format!("/chat {name}"));
        conversation(&mut peer, "alice", "requested");
        peer.say("/accept");
        conversation(&mut alice, name, "accepted");
        peer
    });
    alice.say("to the latest");
    carol.wait_message("to the latest");
    alice.say("/switch bob");
    let talking = alice.wait_event("talking");
    assert_eq!((&talking["with"], &talking["others"][0]), (&"bob".into(), &"carol".into()));
    alice.say("to bob");
    let id = bob.wait_message("to bob")["id"].clone();
    // Who tells nobody what was seen is not told of it.
    bob.say(&format!("/seen {id}"));
    bob.say("/end");
    conversation(&mut alice, "bob", "ended");
    let seen = |event: &Value| event["event"] == "receipt" && event["state"] == "seen";
    assert!(!alice.seen().any(|event| seen(&event)));
    // Nobody takes the place of the one that has ended by itself.
    alice.say("to whom?");
    assert_eq!(alice.wait_event("error")["code"], "usage");
}

#[test]
fn what_waits_can_be_looked_at_and_thrown_away() {
    let harbour = Harbour::open();
    harbour.peer("bob", "udp").finish();
    one_shot(&harbour, "alice", &["say", "bob", "for later"]);
    let waiting = one_shot(&harbour, "bob", &["mailbox"]);
    assert_eq!(waiting["messages"][0]["text"], "for later");
    let cleared = one_shot(&harbour, "bob", &["mailbox", "--clear"]);
    assert_eq!(cleared["messages"], Value::Array(Vec::new()));
    let mut bob = harbour.peer("bob", "tcp");
    bob.say("/mailbox");
    assert_eq!(bob.wait_event("mailbox")["messages"], Value::Array(Vec::new()));
    bob.say("/echo still there");
    bob.wait_event("echo");
    assert!(texts(&bob).is_empty());
}
