//! Files whose sender or receiver is killed again and again, and files that are mostly nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::harness::{Harbour, Program};

const SIZE: u64 = 96 << 20;
const KILLS: u64 = 10;
const GROUP: u64 = 256 << 10;
/// Bytes that a receiver may have heard of and not yet written: a group that is being written, four
/// in the queue before it, and one that is arriving.
const UNWRITTEN: u64 = 6 * GROUP;

fn parts(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "part")).collect()
}

/// Waits until so many bytes are on the receiver's disk.
#[expect(clippy::disallowed_methods, reason = "another process's file can only be looked at")]
fn wait_for_bytes(directory: &Path, bytes: u64) {
    for _ in 0..60_000 {
        let there: u64 = parts(directory)
            .iter()
            .filter_map(|path| fs::metadata(path).ok())
            .map(|metadata| metadata.len())
            .sum();
        if there >= bytes {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{bytes} bytes did not arrive in {}", directory.display());
}

fn started(peer: &mut Program) -> Value {
    peer.wait_for("a start", |event| event["event"] == "file" && event["phase"] == "started")
}

fn resumed(event: &Value) -> u64 {
    event["resumed"].as_u64().unwrap_or(0)
}

/// What has gone over so far by the reports of a receiver, without what was there before.
fn received(peer: &Program) -> u64 {
    let reports = peer.seen().filter(|event| event["event"] == "file");
    let counts = reports.map(|event| event["bytes"].as_u64().unwrap_or(0) - resumed(&event));
    counts.max().unwrap_or(0)
}

fn whole_file(harbour: &Harbour, original: &Path) {
    let arrived = harbour.downloads("bob");
    let names: Vec<_> =
        fs::read_dir(&arrived).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["large.bin"], "nothing else is left");
    assert!(fs::read(original).unwrap() == fs::read(arrived.join("large.bin")).unwrap());
}

/// Sends a file; whom `kill` names is killed ten times on the way and started again.
fn survives(transport: &str, kill: &str) {
    let harbour = Harbour::open_patient();
    let large = harbour.file("large.bin", usize::try_from(SIZE).unwrap(), 3);
    let send = format!("/send bob {}", large.display());
    let mut bob = harbour.peer("bob", transport);
    let mut alice = harbour.peer("alice", transport);
    alice.say(&send);
    let (mut all_received, mut written) = (0, 0);
    for number in 1..=KILLS {
        let before = resumed(&started(&mut bob));
        assert!(before + GROUP > written, "{written} bytes were there, {before} are used");
        let due = SIZE * number / (KILLS + 1);
        wait_for_bytes(&harbour.downloads("bob"), due.max(before + GROUP));
        if kill == "bob" {
            bob.kill();
            all_received += received(&bob);
            bob = harbour.peer("bob", transport);
        } else {
            alice.kill();
            alice = harbour.peer("alice", transport);
            alice.say(&send);
        }
        written = fs::metadata(&parts(&harbour.downloads("bob"))[0]).unwrap().len();
        assert!(written >= due, "{written} of {due} bytes are left after kill {number}");
    }
    let last = resumed(&started(&mut bob));
    assert!(last + GROUP > written, "{written} bytes were there, {last} are used");
    let done = bob.wait_for("the end", |event| event["phase"] == "done");
    assert_eq!(done["bytes"], SIZE);
    alice.wait_for("the end", |event| event["phase"] == "done");
    all_received += received(&bob);
    let bound = SIZE + KILLS * UNWRITTEN;
    assert!(all_received <= bound, "{all_received} bytes came, {bound} are enough");
    whole_file(&harbour, &large);
}

#[test]
fn a_receiver_killed_ten_times_gets_the_file_and_no_group_twice() {
    survives("tcp", "bob");
}

#[test]
fn a_sender_killed_ten_times_sends_the_file_and_no_group_twice() {
    survives("udp", "alice");
}

/// `SPARSE_GIB=10` makes it as large as it is meant.
#[test]
fn a_large_file_of_holes_goes_over_and_takes_no_more_room_than_before() {
    use std::io::{Seek, SeekFrom, Write};

    let gib = std::env::var("SPARSE_GIB").ok().and_then(|text| text.parse::<u64>().ok());
    let size = gib.map_or(192 << 20, |gib| gib << 30);
    let harbour = Harbour::open_patient();
    let path = harbour.file("large.bin", 0, 0);
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    for at in [0, size / 2, size - 5] {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(b"bytes").unwrap();
    }
    file.sync_all().unwrap();
    let (mut alice, mut bob) = (harbour.peer("alice", "tcp"), harbour.peer("bob", "tcp"));
    alice.say(&format!("/send bob {}", path.display()));
    let first = bob.wait_for_long("the end", |event| event["phase"] == "done");
    let last = alice.wait_for_long("the end", |event| event["phase"] == "done");
    assert_eq!((&first["bytes"], &first["hash"]), (&last["bytes"], &last["hash"]));
    let arrived = harbour.downloads("bob").join("large.bin");
    assert_eq!(fs::metadata(&arrived).unwrap().len(), size);
    assert!(std::process::Command::new("cmp").args([&path, &arrived]).status().unwrap().success());
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let taken = fs::metadata(&arrived).unwrap().blocks() * 512;
        assert!(taken <= 8 * GROUP, "{taken} bytes on the disk");
    }
}

/// A small file system of its own for a directory; `None`: that needs rights we do not have.
#[cfg(target_os = "linux")]
struct SmallDisk(PathBuf);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn at(directory: &Path, mib: u64) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "portolan-test"])
            .arg(directory)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(directory.to_owned()))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes a file until its disk is full.
#[cfg(target_os = "linux")]
fn fill_up(path: &Path) {
    use std::io::{ErrorKind, Write};

    let mut file = fs::File::create(path).unwrap();
    let error = loop {
        if let Err(error) = file.write_all(&[1; 64 << 10]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_becomes_full_ends_the_transfer_and_what_has_arrived_is_used_later() {
    let harbour = Harbour::open_patient();
    let downloads = harbour.downloads("bob");
    let Some(disk) = SmallDisk::at(&downloads, 160) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    let large = harbour.file("large.bin", 128 << 20, 5);
    let (mut alice, mut bob) = (harbour.peer("alice", "tcp"), harbour.peer("bob", "tcp"));
    let too_large = harbour.file("too-large.bin", 161 << 20, 6);
    alice.say(&format!("/send bob {}", too_large.display()));
    let refused = alice.wait_for("a refusal", |event| event["phase"] == "failed");
    assert_eq!(refused["code"], "quota", "it is refused before it is sent: {refused}");
    bob.wait_for("a refusal", |event| event["phase"] == "failed");

    alice.say(&format!("/send bob {}", large.display()));
    wait_for_bytes(&downloads, 8 << 20);
    // While it is filled nothing more arrives, however fast things go.
    bob.signal("-STOP");
    let filler = downloads.join("filler");
    fill_up(&filler);
    bob.signal("-CONT");
    let full = bob.wait_for("the end", |event| event["phase"] == "failed");
    assert_eq!(full["code"], "quota");
    let reason = full["reason"].as_str().unwrap();
    assert!(reason.contains("is full") && reason.contains("were kept"), "{reason}");
    fs::remove_file(&filler).unwrap();
    // Its sender tries again by itself.
    let started = bob.wait_for("the next try", |event| event["phase"] == "started");
    assert!(resumed(&started) >= 8 << 20, "{started}");
    bob.wait_for("the end", |event| event["phase"] == "done");
    alice.wait_for("the end", |event| event["phase"] == "done");
    assert!(fs::read(large).unwrap() == fs::read(downloads.join("large.bin")).unwrap());
    alice.finish();
    bob.finish();
    drop(disk);
}
