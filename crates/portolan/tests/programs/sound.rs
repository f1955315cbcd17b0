//! Where sound goes: to a player of the machine, and to several people at the same time.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::{
    calls::{hear, phase, tone_share},
    harness::Harbour,
};

/// A program that a test has put where sound programs are looked for.
fn program(directory: &Path, name: &str, script: &str) {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs `peer` on a machine with no other programs than those in `directory`.
fn peer_with(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command.env("PATH", directory).args(arguments);
    command.arg("--data").arg(directory.join("data"));
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_player_that_does_not_work_is_followed_by_one_that_gets_everything() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    program(at, "pacat", "echo no sound server here >&2; exit 1");
    let (arguments, heard) = (at.join("arguments"), at.join("heard"));
    let script =
        format!("echo \"$@\" > '{}'\nexec /bin/cat > '{}'", arguments.display(), heard.display());
    program(at, "aplay", &script);
    let output = peer_with(at, &["play", "tone:440:1", "--sink", "device"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = fs::read_to_string(&arguments).unwrap();
    assert!(told.contains("-f S16_LE -r 48000 -c 2"), "{told}");
    let bytes = fs::read(&heard).unwrap();
    assert_eq!(bytes.len(), 48_000 * 2 * 2, "a second of two channels");
    let left: Vec<i16> =
        bytes.chunks_exact(4).map(|both| i16::from_le_bytes([both[0], both[1]])).collect();
    let rises = left.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    assert!((438..=441).contains(&rises), "{rises} periods of a tone of 440 Hz");
}

#[test]
fn a_machine_without_a_player_is_told_what_to_install() {
    let directory = tempfile::tempdir().unwrap();
    let output = peer_with(directory.path(), &["play", "tone:440:1", "--sink", "device"]);
    assert!(!output.status.success());
    for name in ["pacat", "pw-cat", "aplay", "ffplay"] {
        assert!(text(&output.stderr).contains(name), "{}", text(&output.stderr));
    }
    program(directory.path(), "pacat", "echo connection refused >&2; exit 1");
    let output = peer_with(directory.path(), &["play", "tone:440:2", "--sink", "device"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("connection refused"), "{}", text(&output.stderr));
    let devices = text(&peer_with(directory.path(), &["devices"]).stdout);
    assert!(devices.contains("pacat") && !devices.contains("aplay"), "{devices}");
}

#[test]
fn what_is_streamed_is_heard_by_one_who_was_asked_first_and_one_who_joins_late() {
    let harbour = Harbour::open();
    let files = ["bob", "carol"].map(|who| harbour.downloads(who).join("heard.wav"));
    let sinks = files.each_ref().map(|file| format!("wav:{}", file.display()));
    let mut alice =
        harbour.peer_unready("alice", "udp", &["--source", "silence", "--sink", "null"]);
    let listens =
        |who, sink: &str| harbour.peer_unready(who, "udp", &["--answer", "alice", "--sink", sink]);
    let (mut bob, mut carol) = (listens("bob", &sinks[0]), listens("carol", &sinks[1]));
    for program in [&mut alice, &mut bob, &mut carol] {
        program.wait_event("ready");
    }
    alice.say("/stream bob tone:440");
    hear(&mut bob, 60);
    alice.say("/stream carol");
    hear(&mut carol, 60);
    let place = carol.wait_for("a place", |event| event["received"]["position_ms"].is_u64());
    assert!(place["received"]["position_ms"].as_u64() > Some(1_000), "{place}");
    alice.say("/stream stop");
    for program in [&mut bob, &mut carol] {
        program.wait_for("the end", phase("ended"));
        program.wait_for("the last report", |event| event["last"] == true);
    }
    for file in &files {
        // Both channels stand beside each other: each stretch is half as long.
        assert!(tone_share(file, 220.0) > 0.8, "{}", file.display());
    }
    assert!(alice.finish().success() && bob.finish().success() && carol.finish().success());
}
