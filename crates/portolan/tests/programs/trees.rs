//! Directories between real programs, onto a disk that is too small.

use std::{fs, path::Path, process::Command};

use crate::harness::{Harbour, run};

const FILES: usize = 1200;
/// Small files in a few directories and a large one; the seeds differ from run to run of a test
/// only by the name.
fn fill(harbour: &Harbour, root: &Path) {
    for number in 0..FILES {
        let path = root.join(format!("{}/{number}.txt", number % 5));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{number} ").repeat(2000)).unwrap();
    }
    let large = harbour.file("large.bin", 20 << 20, 7);
    fs::rename(large, root.join("2/large.bin")).unwrap();
}

/// In a mount namespace of its own; where there is none, the test says so and passes.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_keeps_what_has_arrived_and_the_same_again_goes_on() {
    let apart = ["--user", "--map-root-user", "--mount"];
    let try_it = "mount -t tmpfs -o size=1m tmpfs /mnt";
    let possible = Command::new("unshare").args(apart).args(["sh", "-c", try_it]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("skipped: a small disk needs unshare(1) and user namespaces");
        return;
    }
    let harbour = Harbour::open_patient();
    let sent = harbour.data("alice").join("photos");
    fill(&harbour, &sent);
    let mut alice = harbour.peer_unready("alice", "tcp", &["--share", sent.to_str().unwrap()]);
    alice.wait_event("ready");
    let full = harbour.data("bob").join("full");
    fs::create_dir_all(&full).unwrap();
    // The directory must not look as if it could not fit from the start: it is there already.
    let script = r#"
        mount -t tmpfs -o size=12m tmpfs "$DISK" && mkdir "$DISK/photos" || exit 99
        "$PEER" get alice / --into "$DISK/photos" "$@" && exit 98
        first=$?
        find "$DISK" -type f -name '*.txt' | wc -l
        for file in $(cd "$DISK/photos" && find . -type f -name '*.txt'); do
            cmp "$DISK/photos/$file" "$SENT/$file" || exit 97
        done
        mount -o remount,size=64m "$DISK" || exit 96
        "$PEER" get alice / --into "$DISK/photos" "$@" || exit 95
        diff -r "$SENT" "$DISK/photos" || exit 94
        exit $first
    "#;
    let output = Command::new("unshare")
        .args(apart)
        .args(["sh", "-c", script, "sh", "--as", "bob", "--server", &harbour.address])
        .args(["--server-key", &harbour.key, "--data"])
        .arg(harbour.data("bob"))
        .env("DISK", &full)
        .env("SENT", &sent)
        .env("PEER", env!("CARGO_BIN_EXE_peer"))
        .output()
        .unwrap();
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}{errors}");
    assert!(errors.contains("full") || errors.contains("No space"), "{errors}");
    assert_eq!(fs::read_dir(&full).unwrap().count(), 0, "nothing is beside the small disk");
    let (code, _, _) = run("peer", &["get", "alice", "a", "b/", "--into", "x", "--as", "bob"]);
    assert_eq!(code, Some(2), "--into is for one directory");
}
