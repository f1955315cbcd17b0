//! What people type and what lies in files: peer ids, known hosts, key files.

use std::io::Write;

use portolan_identity::{Identity, KnownHosts, KnownHostsLimits};
use portolan_peer_id::PeerId;
use tempfile::NamedTempFile;

pub(crate) fn peer_id(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<PeerId>() {
        Ok(id) => assert_eq!(id.to_string().parse(), Ok(id), "the printed form reads back"),
        Err(error) => assert!(error.to_string().len() < 200, "an error stays short"),
    }
}

pub(crate) fn peer_id_seeds() -> Vec<Vec<u8>> {
    let id = identity().id().to_string();
    vec![
        id.clone().into_bytes(),
        id.to_uppercase().into_bytes(),
        id.replace('-', "").into_bytes(),
        id.replace('-', " ").into_bytes(),
        id.replacen('a', "á", 1).into_bytes(),
        PeerId::from_bytes([0; 32]).to_string().into_bytes(),
        PeerId::from_bytes([255; 32]).to_string().into_bytes(),
    ]
}

pub(crate) fn known_hosts(bytes: &[u8]) {
    let file = file_with(bytes);
    let limits = KnownHostsLimits { lines: 64, ..KnownHostsLimits::default() };
    let Ok(mut hosts) = KnownHosts::load_with(file.path(), limits) else { return };
    let id = identity().id();
    if hosts.remember("example.org:7275", id).is_ok() {
        let again = KnownHosts::load_with(file.path(), limits).expect("our own file can be read");
        assert_eq!(
            again.check("EXAMPLE.org:7275", &id),
            portolan_identity::Verdict::Known,
            "what was written down is known"
        );
    }
}

pub(crate) fn known_hosts_seeds() -> Vec<Vec<u8>> {
    let (alice, bob) = (identity().id(), Identity::from_seed([2; 32]).id());
    let text = format!("# met in Lisbon\n\nexample.org:7275 {alice}\n[::1]:7275\t{bob}\r\n");
    vec![
        text.into_bytes(),
        format!("example.org:7275 {bob}\n").into_bytes(),
        format!("example.org:70000 {alice}\n").into_bytes(),
        format!("example.org:1 {alice}\nexample.org:1 {bob}\n").into_bytes(),
        format!(":7275 {alice}").into_bytes(),
        b"#\n".repeat(70),
        Vec::new(),
    ]
}

/// Only files that exist are tried: a key for a missing one would be made.
pub(crate) fn key_file(bytes: &[u8]) {
    let file = file_with(bytes);
    let Ok(loaded) = Identity::load_or_create(file.path()) else { return };
    let again = Identity::load_or_create(file.path()).expect("it could be read before");
    assert_eq!(loaded.id(), again.id());
    let shown = String::from_utf8_lossy(bytes);
    let secret = shown.lines().find_map(|line| line.strip_prefix("secret:")).unwrap_or_default();
    assert!(!format!("{loaded:?}").contains(secret.trim()), "a secret was printed");
}

pub(crate) fn key_file_seeds() -> Vec<Vec<u8>> {
    // The content of a fresh file, with a key that everyone may know.
    let header = "portolan secret key, version 1";
    let secret = "01".repeat(32);
    let id = identity().id();
    let other = PeerId::from_bytes([3; 32]);
    vec![
        format!("{header}\n# a remark\nid: {id}\nsecret: {secret}\n").into_bytes(),
        format!("{header}\r\nsecret:{secret}\r\nid:{id}\r\n").into_bytes(),
        format!("{header}\nid: {other}\nsecret: {secret}\n").into_bytes(),
        format!("{header}\nid: {id}\nsecret: {}\n", "0g".repeat(32)).into_bytes(),
        format!("{header}\nid: {id}\n").into_bytes(),
        format!("{}2\nid: {id}\nsecret: {secret}\n", header.trim_end_matches('1')).into_bytes(),
        [header.as_bytes(), &b"#".repeat(5_000)].concat(),
    ]
}

fn identity() -> Identity {
    Identity::from_seed([1; 32])
}

/// A file that only we can read, gone when dropped.
fn file_with(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for a small file");
    file
}
