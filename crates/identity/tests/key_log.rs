//! Secrets are written down for those who asked for it, and for nobody else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use portolan_identity::{Alpn, Expect, Identity, KeyLogFile};

/// What RFC 8446 §7.1 derives and Wireshark needs of a connection without early data.
const LABELS: [&str; 4] = [
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "SERVER_TRAFFIC_SECRET_0",
];

fn bob() -> Identity {
    Identity::from_seed([2; 32])
}

/// A handshake in memory over records, as TCP's.
fn over_records(alice: &Identity, bob: &Identity) {
    let name = Expect::Id(bob.id()).server_name();
    let mut client = rustls::ClientConnection::new(alice.client_config(Alpn::Tcp), name).unwrap();
    let mut server = rustls::ServerConnection::new(bob.server_config(Alpn::Tcp)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets().unwrap();
    }
}

/// A handshake in memory as our UDP and QUIC have it.
fn over_packets(alice: &Identity, bob: &Identity) {
    use rustls::quic::{ClientConnection, ServerConnection, Version};

    let name = Expect::Id(bob.id()).server_name();
    let config = alice.client_config(Alpn::Udp);
    let mut client = ClientConnection::new(config, Version::V2, name, vec![]).unwrap();
    let config = bob.server_config(Alpn::Udp);
    let mut server = ServerConnection::new(config, Version::V2, vec![]).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.write_hs(&mut wire).is_some() {}
        server.read_hs(&wire).unwrap();
        // The levels of one flight go in pieces of their own.
        loop {
            wire.clear();
            let change = server.write_hs(&mut wire);
            client.read_hs(&wire).unwrap();
            if change.is_none() {
                break;
            }
        }
    }
}

fn labels(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .map(|fields| {
            let [label, random, secret] = fields[..] else { panic!("three fields: {text}") };
            assert_eq!(random.len(), 64);
            assert!(secret.len() >= 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()));
            label.to_owned()
        })
        .collect()
}

#[test]
fn a_connection_of_any_kind_can_be_decrypted_from_the_file() {
    for shake in [over_records, over_packets] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let alice = Identity::from_seed([1; 32]).with_key_log(KeyLogFile::append(&path).unwrap());
        shake(&alice, &bob());
        let found = labels(&path);
        assert!(LABELS.iter().all(|label| found.contains(*label)), "{found:?}");
    }
}

#[test]
fn both_ends_write_the_same_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["alice", "bob"].map(|name| directory.path().join(name));
    let [alice, bob] = [[1; 32], [2; 32]].map(Identity::from_seed);
    let alice = alice.with_key_log(KeyLogFile::append(&paths[0]).unwrap());
    let bob = bob.with_key_log(KeyLogFile::append(&paths[1]).unwrap());
    over_records(&alice, &bob);
    let lines = |path: &Path| -> BTreeSet<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter(|line| line.contains("TRAFFIC")).map(str::to_owned).collect()
    };
    assert!(!lines(&paths[0]).is_empty());
    assert_eq!(lines(&paths[0]), lines(&paths[1]));
}

#[test]
fn an_identity_that_was_not_asked_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let alice = Identity::from_seed([1; 32]);
    let watched = alice.with_key_log(KeyLogFile::append(&path).unwrap());
    assert_eq!(watched.id(), alice.id());
    over_records(&alice, &bob());
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert!(!Arc::ptr_eq(&alice.client_config(Alpn::Tcp), &watched.client_config(Alpn::Tcp)));
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    KeyLogFile::append(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
