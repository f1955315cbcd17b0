//! What programs write down for those who look for a fault, and only for them.

use std::{fs, path::Path};

use crate::harness::Harbour;

/// The files of a directory with their contents; none if it is not there.
fn files(directory: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let named = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(|entry| named(entry.unwrap())).collect()
}

#[test]
fn a_peer_leaves_a_whole_qlog_file_of_its_connection_over_udp() {
    const WORDS: &str = "what nobody should find in a file";
    let harbour = Harbour::open();
    let directory = harbour.data("logs");
    let ways = [("alice", "udp", 1), ("bob", "tcp", 0)];
    for (name, transport, count) in ways {
        let logs = directory.join(transport);
        let mut peer = harbour.peer_unready(name, transport, &["--qlog", logs.to_str().unwrap()]);
        peer.wait_event("ready");
        peer.say(&format!("/echo {WORDS}"));
        peer.wait_event("echo");
        peer.say("/quit");
        peer.wait_event("closed");
        assert!(peer.finish().success());
        let files = files(&logs);
        assert_eq!(files.len(), count, "over {transport}");
        for (name, text) in files {
            assert!(name.ends_with("_client.sqlog"), "{name}");
            let last = text.lines().last().unwrap();
            assert!(last.contains("end of log"), "{last}");
            assert!(text.contains("transport:packet_sent"));
            assert!(text.contains("connectivity:connection_closed"));
            assert!(!text.contains(WORDS));
        }
    }
}

#[test]
fn keys_are_written_down_over_every_transport_for_who_asks_for_it() {
    let harbour = Harbour::open();
    for (name, transport) in [("alice", "tcp"), ("bob", "udp"), ("carol", "quic")] {
        let keys = harbour.data("keys").join(transport);
        let asked = ("SSLKEYLOGFILE", keys.as_path());
        let peer = harbour.peer_with_variable((name, transport), asked);
        assert!(peer.finish().success());
        let text = fs::read_to_string(&keys).unwrap();
        for label in ["CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 "] {
            assert!(text.contains(label), "{label} over {transport}: {text}");
        }
    }
    // A peer that was not asked has its data and nothing else.
    let quiet = harbour.peer("dave", "udp");
    assert!(quiet.finish().success());
    let names = files_below(&harbour.data("dave"));
    let suspicious = |name: &String| name.contains("sqlog") || name.contains("keys");
    assert!(!names.iter().any(suspicious), "{names:?}");
}

fn files_below(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn status_says_what_the_transport_knows() {
    let harbour = Harbour::open();
    for (name, transport, knows) in [("alice", "tcp", false), ("bob", "udp", true)] {
        let mut peer = harbour.peer(name, transport);
        peer.say("/status");
        let connection = peer.wait_event("status")["connection"].clone();
        assert!(connection["packets_sent"].as_u64().unwrap() > 0, "{connection}");
        assert_eq!(connection["congestion_window"].is_u64(), knows, "{connection}");
        assert_eq!(connection["waited_us"]["application"].is_u64(), knows, "{connection}");
    }
}
