//! The two files: what they keep, and what they refuse.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{error::Error, fs, path::PathBuf, thread};

use portolan_identity::{
    Identity, KeyFileError, KnownHosts, KnownHostsError, KnownHostsLimits, PeerId, Verdict,
};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn written(folder: &TempDir, content: &str) -> PathBuf {
    let path = folder.path().join("key");
    Identity::load_or_create(&path).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_key_is_made_once_and_then_kept() {
    let folder = folder();
    let path = folder.path().join("new/folder/key");
    let made = Identity::load_or_create(&path).unwrap();
    assert_eq!(Identity::load_or_create(&path).unwrap().id(), made.id());
    let content = fs::read_to_string(&path).unwrap();
    assert!(content.starts_with("portolan secret key, version 1\n"));
    assert!(content.contains(&made.id().to_string()));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn programs_that_start_together_end_with_one_key() {
    let folder = folder();
    let path = folder.path().join("key");
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || Identity::load_or_create(&path).unwrap().id())
        })
        .collect();
    let mut ids: Vec<PeerId> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[cfg(unix)]
#[test]
fn the_key_file_is_private() {
    use std::os::unix::fs::PermissionsExt;

    let folder = folder();
    let path = folder.path().join("data/key");
    Identity::load_or_create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[cfg(unix)]
#[test]
fn a_key_file_open_to_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let folder = folder();
    let path = folder.path().join("key");
    let made = Identity::load_or_create(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::OpenToOthers { mode: m, .. } if m == mode));
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(Identity::load_or_create(&path).unwrap().id(), made.id());
}

#[test]
fn a_file_that_is_no_key_is_refused_and_kept() {
    let folder = folder();
    for content in ["", "hello\n", "-----BEGIN PRIVATE KEY-----\n"] {
        let path = written(&folder, content);
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::NotAKeyFile { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        fs::remove_file(path).unwrap();
    }
    let path = written(&folder, &"x".repeat(5000));
    assert!(matches!(Identity::load_or_create(&path), Err(KeyFileError::Io { .. })));
    assert!(matches!(
        Identity::load_or_create(folder.path()),
        Err(KeyFileError::OpenToOthers { .. } | KeyFileError::Io { .. })
    ));
}

#[test]
fn a_cut_or_altered_key_file_is_damaged_wherever_it_is_cut() {
    let folder = folder();
    let path = folder.path().join("key");
    Identity::load_or_create(&path).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    // The last byte is the end of the line and means nothing.
    for length in "portolan secret key, version 1".len()..whole.len() - 1 {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Damaged { .. }), "{length}: {error}");
    }
    let secret = whole.find("secret: ").unwrap() + "secret: ".len();
    for wrong in ["0", "1", "g", "é"] {
        let mut altered = whole.clone();
        if altered[secret..].starts_with(wrong) {
            continue;
        }
        altered.replace_range(secret..=secret, wrong);
        fs::write(&path, altered).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Damaged { .. }), "{wrong}: {error}");
        assert!(!error.to_string().contains(&whole[secret + 1..secret + 20]), "secret in {error}");
    }
}

#[test]
fn a_key_that_cannot_be_written_says_where() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let error = Identity::load_or_create(&file.join("key")).unwrap_err();
    assert!(matches!(&error, KeyFileError::Io { .. }), "{error}");
    assert!(error.source().is_some());
}

fn ids() -> [PeerId; 2] {
    [Identity::from_seed([1; 32]).id(), Identity::from_seed([2; 32]).id()]
}

#[test]
fn a_remembered_host_is_known_from_then_on() {
    let folder = folder();
    let path = folder.path().join("known_hosts");
    let [alice, bob] = ids();
    let mut hosts = KnownHosts::load(&path).unwrap();
    assert_eq!(hosts.check("example.org:7275", &alice), Verdict::New);
    hosts.remember("Example.org:7275", alice).unwrap();
    hosts.remember("[::1]:7275", bob).unwrap();
    hosts.remember("[::1]:7275", bob).unwrap();
    let hosts = KnownHosts::load(&path).unwrap();
    assert_eq!(hosts.check("example.ORG:7275", &alice), Verdict::Known);
    assert_eq!(hosts.check("[::1]:7275", &bob), Verdict::Known);
    assert_eq!(hosts.check("example.org:7276", &alice), Verdict::New);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[test]
fn a_changed_key_is_refused_with_the_fix_spelled_out() {
    let folder = folder();
    let path = folder.path().join("known_hosts");
    let [alice, bob] = ids();
    fs::write(&path, format!("# ours\n\nexample.org:7275 {alice}\n")).unwrap();
    let mut hosts = KnownHosts::load(&path).unwrap();
    assert_eq!(hosts.check("example.org:7275", &bob), Verdict::Changed { known: alice });
    for error in [
        hosts.verify("example.org:7275", &bob).unwrap_err(),
        hosts.remember("example.org:7275", bob).unwrap_err(),
    ] {
        assert!(matches!(error, KnownHostsError::Changed { line: 3, .. }));
        let text = error.to_string();
        assert!(text.contains(&format!("delete line 3 of {}", path.display())), "{text}");
        assert!(text.contains(&alice.to_string()) && text.contains(&bob.to_string()));
    }
    assert_eq!(KnownHosts::load(&path).unwrap().check("example.org:7275", &alice), Verdict::Known);
}

#[test]
fn remarks_and_lines_of_other_programs_survive() {
    let folder = folder();
    let path = folder.path().join("known_hosts");
    let [alice, bob] = ids();
    let mut first = KnownHosts::load(&path).unwrap();
    let mut second = KnownHosts::load(&path).unwrap();
    fs::write(&path, "# written by hand\r\n").unwrap();
    first.remember("a.example:1", alice).unwrap();
    second.remember("b.example:2", bob).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("# written by hand\na.example:1 {alice}\nb.example:2 {bob}\n"));
    assert_eq!(first.check("b.example:2", &bob), Verdict::New, "not read again yet");
}

#[test]
fn a_wrong_line_is_named() {
    let folder = folder();
    let path = folder.path().join("known_hosts");
    let [alice, _] = ids();
    for wrong in [
        "example.org:7275".to_owned(),
        format!("example.org {alice}"),
        format!("example.org:99999 {alice}"),
        format!(":7275 {alice}"),
        format!("{}:1 {alice}", "x".repeat(300)),
        "example.org:7275 abc".to_owned(),
    ] {
        fs::write(&path, format!("a.example:1 {alice}\n{wrong}\n")).unwrap();
        let error = KnownHosts::load(&path).unwrap_err();
        assert!(matches!(error, KnownHostsError::Line { line: 2, .. }), "{error}");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}

#[test]
fn what_is_no_host_is_not_remembered() {
    let folder = folder();
    let path = folder.path().join("known_hosts");
    let mut hosts = KnownHosts::load(&path).unwrap();
    for host in ["", "example.org", "a b:1", "a:1\nevil.example:2", "#a:1", "é:1"] {
        let error = hosts.remember(host, ids()[0]).unwrap_err();
        assert!(matches!(error, KnownHostsError::NotAHost { .. }), "{host}: {error}");
    }
    assert!(!path.exists());
}

#[test]
fn the_file_of_hosts_stays_within_its_bounds() {
    let folder = folder();
    let path = folder.path().join("known_hosts");
    let limits = KnownHostsLimits { lines: 2, host: 259, file: 1024 };
    let mut hosts = KnownHosts::load_with(&path, limits).unwrap();
    hosts.remember("a.example:1", ids()[0]).unwrap();
    hosts.remember("b.example:1", ids()[0]).unwrap();
    let error = hosts.remember("c.example:1", ids()[0]).unwrap_err();
    assert!(matches!(error, KnownHostsError::Full { max: 2, .. }), "{error}");
    fs::write(&path, "#\n".repeat(3)).unwrap();
    assert!(matches!(KnownHosts::load_with(&path, limits), Err(KnownHostsError::Full { .. })));
    fs::write(&path, format!("# {}", "x".repeat(1024))).unwrap();
    assert!(matches!(KnownHosts::load_with(&path, limits), Err(KnownHostsError::Io { .. })));
}
