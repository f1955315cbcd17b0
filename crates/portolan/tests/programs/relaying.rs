//! Relays as programs of their own: one server, two relays, of which one is killed.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Harbour, Program};

const SIZE: usize = 12 << 20;
/// Bytes a second that a relay carries: the file takes long enough for news of it.
const RATE: &str = "limits.relay_rate=4000000";

/// A relay program for the server of that key, and what names it in a server's configuration.
fn relay(data: &TempDir, server_key: &str) -> (Program, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(["--json", "--listen", "127.0.0.1:0", "--relay-only", "--relay-for", server_key]);
    command.args(["--set", RATE, "--data"]).arg(data.path());
    let mut relay = Program::start("relay", command);
    let ready = relay.wait_event("ready");
    let address = ready["addresses"][0]["address"].as_str().unwrap();
    (relay, format!("{address}={}", ready["id"].as_str().unwrap()))
}

fn relays_up(status: &Value) -> usize {
    let relays = status["relay_servers"].as_array().map(Vec::as_slice).unwrap_or_default();
    relays.iter().filter(|relay| relay["up"] == true).count()
}

#[test]
fn a_file_goes_through_one_relay_and_when_that_is_killed_through_the_other() {
    let mut harbour = Harbour::open_patient();
    let data = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let mut relays = data.each_ref().map(|data| relay(data, &harbour.key));
    let options: Vec<String> =
        relays.iter().flat_map(|(_, named)| ["--relay".to_owned(), named.clone()]).collect();
    harbour.server.kill();
    harbour.start_with(&options);
    while relays_up(&harbour.status()) < 2 {}

    let mut alice = harbour.peer_with("alice", "udp", &["--relay-only"]);
    let mut bob = harbour.peer_with("bob", "udp", &["--relay-only"]);
    let file = harbour.file("cargo", SIZE, 7);
    alice.say(&format!("/send bob {}", file.display()));
    let is_under_way = |event: &Value| {
        event["event"] == "file"
            && event["phase"] == "progress"
            && event["bytes"].as_u64() > Some(SIZE as u64 / 8)
    };
    alice.wait_for("a part of the file", is_under_way);
    alice.say("/path bob");
    let path = alice.wait_for("the path", |event| event["event"] == "path");
    let through = path["addr"].as_str().unwrap().to_owned();
    let dead = relays.iter().position(|(_, named)| named.starts_with(&through)).unwrap();
    relays[dead].0.kill();
    bob.wait_for_long("the whole file", |event| {
        event["event"] == "file" && event["phase"] == "done"
    });
    let arrived = std::fs::read(harbour.downloads("bob").join("cargo")).unwrap();
    assert!(arrived == std::fs::read(file).unwrap(), "as it was sent");

    // The server has carried nothing of it, and knows who has died.
    while relays_up(&harbour.status()) != 1 {}
    let status = harbour.status();
    let handed = |relay: &Value| relay["handed"].as_u64().unwrap();
    let relays_said = status["relay_servers"].as_array().unwrap();
    assert!(relays_said.iter().all(|relay| handed(relay) > 0), "{status}");
    assert!(relays_said.iter().any(|relay| !relay["why"].as_str().unwrap_or("").is_empty()));
    let alive = data[1 - dead].path();
    let output = Command::new(env!("CARGO_BIN_EXE_server"))
        .args(["status", "--json", "--data"])
        .arg(alive)
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["relays"], 1, "a relay tells its admin too: {status}");
}
