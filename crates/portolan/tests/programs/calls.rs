//! Two programs call each other: a tone goes in at one end and comes out at the other.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Harbour, Program};

pub(crate) fn phase<'a>(word: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["event"] == "call" && event["phase"] == word
}

/// Waits until so many frames have come.
pub(crate) fn hear(program: &mut Program, frames: u64) {
    program.wait_for("sound", |event| {
        event["event"] == "audio"
            && event["received"]["played"].as_u64().is_some_and(|played| played >= frames)
    });
}

/// The share of stretches of 40 ms with sound in them that are a tone of `hertz`: the distance
/// between upward zero crossings tells.
pub(crate) fn tone_share(path: &Path, hertz: f64) -> f64 {
    let bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(4).position(|word| word == b"data").unwrap() + 8;
    let samples: Vec<f32> = bytes[at..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let loud: Vec<&[f32]> = samples
        .chunks_exact(1920)
        .filter(|stretch| stretch.iter().any(|sample| sample.abs() > 0.02))
        .collect();
    let is_tone = |stretch: &&&[f32]| {
        let rises = stretch.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
        (rises as f64 - hertz * 0.04).abs() <= 2.0
    };
    assert!(loud.len() >= 20, "{} is nearly silent", path.display());
    loud.iter().filter(is_tone).count() as f64 / loud.len() as f64
}

#[test]
fn two_programs_hear_each_others_tones_over_every_transport() {
    let harbour = Harbour::open();
    for transport in ["tcp", "udp", "quic"] {
        let files = ["alice", "bob"].map(|who| harbour.downloads(who).join("heard.wav"));
        let sinks = files.each_ref().map(|file| format!("wav:{}", file.display()));
        let mut alice = harbour.peer_unready(
            "alice",
            transport,
            &["--source", "tone:440", "--sink", &sinks[0]],
        );
        let rule = ["--answer", "alice", "--source", "tone:1000", "--sink", &sinks[1]];
        let mut bob = harbour.peer_unready("bob", transport, &rule);
        alice.wait_event("ready");
        bob.wait_event("ready");
        alice.say("/call bob");
        hear(&mut alice, 60);
        hear(&mut bob, 60);
        alice.say("/hangup");
        for program in [&mut alice, &mut bob] {
            program.wait_for("the end", phase("ended"));
            program.wait_for("the last report", |event| event["last"] == true);
        }
        assert!(tone_share(&files[0], 1000.0) > 0.8, "{transport}");
        assert!(tone_share(&files[1], 440.0) > 0.8, "{transport}");
        assert!(alice.finish().success() && bob.finish().success());
    }
}

#[test]
fn a_call_that_is_asked_about_is_taken_or_not_by_a_word() {
    let harbour = Harbour::open();
    let silent = ["--answer", "ask", "--source", "silence", "--sink", "null"];
    let mut alice = harbour.peer_unready("alice", "udp", &silent);
    let mut bob = harbour.peer_unready("bob", "tcp", &silent);
    alice.wait_event("ready");
    bob.wait_event("ready");
    alice.say("/call bob");
    bob.wait_for("ringing", phase("ringing"));
    bob.say("/deny alice not now");
    let denied = alice.wait_for("the refusal", phase("denied"));
    assert_eq!(denied["reason"], "not now");
    alice.say("/call bob");
    bob.wait_for("ringing", phase("ringing"));
    bob.say("/accept");
    alice.wait_for("the answer", phase("accepted"));
    bob.say("/hold");
    let held = alice.wait_for("the hold", phase("held"));
    assert_eq!((&held["on"], &held["by_us"]), (&Value::Bool(true), &Value::Bool(false)));
    bob.kill();
    alice.wait_for("the loss", phase("interrupted"));
}

#[test]
fn who_talks_is_busy_and_a_microphone_that_is_off_is_heard_as_silence() {
    let harbour = Harbour::open();
    let heard = harbour.downloads("bob").join("heard.wav");
    let sink = format!("wav:{}", heard.display());
    let tone = ["--source", "tone:440", "--sink", "null"];
    let mut alice = harbour.peer_unready("alice", "udp", &tone);
    let answers = ["--answer", "all", "--source", "silence", "--sink", &sink];
    let mut bob = harbour.peer_unready("bob", "udp", &answers);
    let silent = ["--source", "silence", "--sink", "null"];
    let mut carol = harbour.peer_unready("carol", "udp", &silent);
    for program in [&mut alice, &mut bob, &mut carol] {
        program.wait_event("ready");
    }
    alice.say("/call bob");
    hear(&mut bob, 20);
    carol.say("/call bob");
    carol.wait_for("the refusal", phase("busy"));
    alice.say("/mute");
    let muted = bob.wait_for("the silence", phase("muted"));
    assert_eq!((&muted["on"], &muted["by_us"]), (&Value::Bool(true), &Value::Bool(false)));
    alice.say("/mute off");
    let muted = bob.wait_for("the sound", phase("muted"));
    assert_eq!(muted["on"], false);
    hear(&mut bob, 60);
    bob.say("/hangup");
    alice.wait_for("the end", phase("ended"));
    bob.wait_for("the last report", |event| event["last"] == true);
    assert!(tone_share(&heard, 440.0) > 0.7);
    assert!(alice.finish().success() && bob.finish().success() && carol.finish().success());
}
