//! Directories between real programs: killed on the way, and onto a disk that is too small.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::harness::{Harbour, Program, run};

const FILES: usize = 1200;
/// The sender and the receiver are killed in turns.
const KILLS: usize = 10;

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

/// The files below a directory that have their names, and when each was written.
fn written(directory: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().map_while(Result::ok) {
            // One that is still being written has a hidden name, and may be gone by now.
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            let Some(metadata) = entry.metadata().ok().filter(|_| !is_hidden) else { continue };
            match metadata.is_dir() {
                true => open.push(entry.path()),
                false => drop(found.insert(entry.path(), metadata.modified().unwrap())),
            }
        }
    }
    found
}

/// Waits until so many files are on the receiver's disk.
#[expect(clippy::disallowed_methods, reason = "another process's disk can only be looked at")]
fn wait_for_files(directory: &Path, count: usize) {
    for _ in 0..30_000 {
        if written(directory).len() >= count {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{count} files did not arrive in {}", directory.display());
}

fn is_tree(event: &Value, phase: &str) -> bool {
    event["event"] == "tree" && event["phase"] == phase
}

/// Waits until files begin to flow; `false`: all had come already.
fn flows(peer: &mut Program) -> bool {
    let news = |event: &Value| is_tree(event, "started") || is_tree(event, "done");
    peer.wait_for("a start", news)["phase"] == "started"
}

/// What a receiver has told of the files that came, offer by offer, without those that were there.
fn came(bob: &Program) -> u64 {
    let (mut all, mut latest) = (0, 0);
    for event in bob.seen().filter(|event| event["event"] == "tree") {
        if event["phase"] == "started" {
            (all, latest) = (all + latest, 0);
        }
        let count = |what: &str| event[what].as_u64().unwrap();
        latest = latest.max(count("files") - count("same"));
    }
    all + latest
}

#[test]
fn a_directory_whose_sender_and_receiver_are_killed_in_turns_arrives_and_no_file_twice() {
    let harbour = Harbour::open_patient();
    let sent = harbour.data("alice").join("photos");
    fill(&harbour, &sent);
    let send = format!("/send bob {}", sent.display());
    let photos = harbour.downloads("bob").join("photos");
    let (mut bob, mut alice) = (harbour.peer("bob", "tcp"), harbour.peer("alice", "tcp"));
    alice.say(&send);
    let (mut there, mut all_came, mut kills) = (BTreeMap::new(), 0, 0);
    // Where the machine is so busy that all is there before the last kill, there are fewer.
    while kills < KILLS && flows(&mut alice) && flows(&mut bob) {
        kills += 1;
        wait_for_files(&photos, FILES * kills / (KILLS + 1));
        if kills % 2 == 0 {
            bob.kill();
            all_came += came(&bob);
            there = written(&photos);
            bob = harbour.peer("bob", "tcp");
        } else {
            alice.kill();
            there = written(&photos);
            alice = harbour.peer("alice", "tcp");
            alice.say(&send);
        }
    }
    assert!(kills >= 2, "all was there before both were killed");
    if kills == KILLS {
        let done = bob.wait_for("the end", |event| is_tree(event, "done"));
        assert_eq!((&done["files"], &done["failed"]), (&(FILES + 1).into(), &0.into()), "{done}");
        let same = done["same"].as_u64().unwrap();
        assert!(same >= there.len() as u64, "{} files were there: {done}", there.len());
        alice.wait_for("the end", |event| is_tree(event, "done"));
    }
    all_came += came(&bob);
    assert!(all_came <= FILES as u64 + 1, "{all_came} files came");
    let now = written(&photos);
    assert!(there.iter().all(|(path, time)| now.get(path) == Some(time)), "some came twice");
    assert!(Command::new("diff").arg("-r").args([&sent, &photos]).status().unwrap().success());
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
