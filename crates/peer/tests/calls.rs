//! Calls between peers: who rings, who answers, what breaks and what does not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    time::Duration,
};

use portolan_media::open_source;
use portolan_peer::{
    Addresses, CallDirection, CallError, CallId, CallMedia, CallPhase, CallRule, Config, Event,
    Events, Peer, Stage, Switch,
};
use portolan_protocol::{Call, ErrorCode, PeerCommand, PeerMessage, RequestId};

use self::support::{Harbour, kind, name, open, wait_for, within};

/// A machine whose address is what the test says; the one before is gone.
#[derive(Debug, Default)]
struct Machine(AtomicU8);

impl Machine {
    fn go_elsewhere(&self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Addresses for Machine {
    fn towards(&self, _remote: SocketAddr) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, self.0.load(SeqCst)]))
    }

    fn has(&self, _addr: IpAddr) -> bool {
        false
    }
}

/// A configuration whose calls ring.
fn answering(harbour: &Harbour, who: &str) -> Config {
    let mut config = harbour.config(who);
    config.accept_calls = CallRule::Ask;
    config
}

async fn callable(harbour: &Harbour, who: &str) -> (Peer, Events) {
    harbour.peer_with(answering(harbour, who)).await
}

fn silent() -> CallMedia {
    CallMedia::words("silence", "null")
}

/// Waits for the next news of a call whose phase has this word.
async fn phase(events: &mut Events, word: &str) -> (CallId, CallPhase) {
    let event = wait_for(events, word, |event| match event {
        Event::Call(update) => {
            assert!(
                update.phase.as_str() == word || !update.phase.is_last(),
                "{word} was to come, not {:?}",
                update.phase
            );
            update.phase.as_str() == word
        }
        _ => false,
    });
    match event.await {
        Event::Call(update) => (update.id, update.phase),
        other => unreachable!("{other:?}"),
    }
}

/// Alice calls and bob takes it; the numbers that the call has on both sides.
async fn talk(alice: &mut (Peer, Events), bob: &mut (Peer, Events)) -> (CallId, CallId) {
    let ours = alice.0.call(bob.0.name(), silent()).unwrap();
    let (theirs, _) = phase(&mut bob.1, "ringing").await;
    bob.0.accept_call(theirs, silent()).unwrap();
    phase(&mut bob.1, "accepted").await;
    phase(&mut alice.1, "accepted").await;
    (ours, theirs)
}

#[tokio::test]
async fn a_call_is_taken_switched_and_hung_up() {
    let harbour = Harbour::open().await;
    let mut alice = callable(&harbour, "alice").await;
    let mut bob = callable(&harbour, "bob").await;
    let (ours, theirs) = talk(&mut alice, &mut bob).await;

    alice.0.mute(ours, Switch::On).unwrap();
    assert_eq!(
        phase(&mut bob.1, "muted").await.1,
        CallPhase::Muted { by_us: false, on: Switch::On }
    );
    bob.0.hold(theirs, Switch::On).unwrap();
    assert_eq!(
        phase(&mut alice.1, "held").await.1,
        CallPhase::Held { by_us: false, on: Switch::On }
    );
    bob.0.hang_up(theirs, Some("tea is ready".into())).unwrap();
    let (id, end) = phase(&mut alice.1, "ended").await;
    assert_eq!(id, ours);
    assert_eq!(end, CallPhase::Ended { reason: Some("tea is ready".into()) });
    phase(&mut bob.1, "ended").await;
    // Both are free again.
    talk(&mut alice, &mut bob).await;
}

#[tokio::test]
async fn who_does_not_want_is_not_rung_and_who_denies_says_so() {
    let harbour = Harbour::open().await;
    let mut alice = callable(&harbour, "alice").await;
    let (bob, mut bob_events) = callable(&harbour, "bob").await;
    let (_carol, _carol_events) = harbour.peer("carol").await;

    alice.0.call(&name("carol"), silent()).unwrap();
    let (_, denied) = phase(&mut alice.1, "denied").await;
    assert!(matches!(denied, CallPhase::Denied { reason } if reason.contains("not taken")));

    alice.0.call(&name("bob"), silent()).unwrap();
    let (id, _) = phase(&mut bob_events, "ringing").await;
    bob.deny_call(id, "later").unwrap();
    let (_, denied) = phase(&mut alice.1, "denied").await;
    assert_eq!(denied, CallPhase::Denied { reason: "later".into() });

    alice.0.call(&name("dave"), silent()).unwrap();
    let (_, failed) = phase(&mut alice.1, "failed").await;
    assert!(matches!(failed, CallPhase::Failed { code: ErrorCode::UnknownUser, .. }), "{failed:?}");
    let ourselves = alice.0.call(&name("alice"), silent());
    assert!(matches!(ourselves, Err(CallError::Ourselves { .. })));
}

#[tokio::test]
async fn who_is_in_a_call_is_busy_and_hears_who_has_called() {
    let harbour = Harbour::open().await;
    let mut alice = callable(&harbour, "alice").await;
    let mut bob = callable(&harbour, "bob").await;
    let mut carol = callable(&harbour, "carol").await;
    talk(&mut alice, &mut bob).await;
    carol.0.call(&name("bob"), silent()).unwrap();
    phase(&mut carol.1, "busy").await;
    let missed = wait_for(&mut bob.1, "the missed call", |event| match event {
        Event::Call(update) => update.phase == CallPhase::Busy,
        _ => false,
    });
    let Event::Call(missed) = missed.await else { unreachable!() };
    assert_eq!((missed.with, missed.direction), (name("carol"), CallDirection::Incoming));
    let second = alice.0.call(&name("carol"), silent());
    assert!(matches!(second, Err(CallError::InCall { .. })), "{second:?}");
}

#[tokio::test]
async fn a_call_that_nobody_takes_lapses_and_one_that_is_taken_back_stops_ringing() {
    let harbour = Harbour::open().await;
    let mut alice = callable(&harbour, "alice").await;
    let mut config = answering(&harbour, "bob");
    config.timing.ring = Duration::from_millis(300);
    let mut bob = harbour.peer_with(config).await;
    alice.0.call(&name("bob"), silent()).unwrap();
    phase(&mut bob.1, "timed_out").await;
    phase(&mut alice.1, "timed_out").await;

    let id = bob.0.call(&name("alice"), silent()).unwrap();
    phase(&mut alice.1, "ringing").await;
    bob.0.hang_up(id, None).unwrap();
    phase(&mut alice.1, "ended").await;
}

#[tokio::test]
async fn both_call_at_once_and_talk() {
    let harbour = Harbour::open().await;
    for _ in 0..8 {
        let (alice, mut alice_events) = callable(&harbour, "alice").await;
        let (bob, mut bob_events) = callable(&harbour, "bob").await;
        let (one, other) = (
            alice.call(&name("bob"), silent()).unwrap(),
            bob.call(&name("alice"), silent()).unwrap(),
        );
        // Each side's own number is the one that goes on, whichever call stays.
        assert_eq!(phase(&mut alice_events, "accepted").await.0, one);
        assert_eq!(phase(&mut bob_events, "accepted").await.0, other);
        alice.hang_up(one, None).unwrap();
        phase(&mut bob_events, "ended").await;
        alice.logout().await;
        bob.logout().await;
    }
}

#[tokio::test]
async fn a_call_outlives_its_connection() {
    let harbour = Harbour::open().await;
    let machines = [Arc::<Machine>::default(), Arc::default()];
    let on = |who: &str, machine: &Arc<Machine>| {
        let mut config = answering(&harbour, who);
        config.addresses = machine.clone();
        config.timing.network = Some(Duration::from_millis(20));
        config
    };
    let mut alice = harbour.peer_with(on("alice", &machines[0])).await;
    let mut bob = harbour.peer_with(on("bob", &machines[1])).await;
    let (ours, theirs) = talk(&mut alice, &mut bob).await;
    bob.0.mute(theirs, Switch::On).unwrap();
    phase(&mut alice.1, "muted").await;
    // First the caller's network changes, then the other's.
    for machine in &machines {
        machine.go_elsewhere();
        phase(&mut alice.1, "interrupted").await;
        phase(&mut bob.1, "interrupted").await;
        phase(&mut alice.1, "resumed").await;
        phase(&mut bob.1, "resumed").await;
    }
    bob.0.mute(theirs, Switch::Off).unwrap();
    phase(&mut alice.1, "muted").await;
    alice.0.hang_up(ours, None).unwrap();
    phase(&mut bob.1, "ended").await;
}

#[tokio::test]
async fn a_call_whose_other_side_stays_away_ends() {
    let harbour = Harbour::open().await;
    let mut alices = answering(&harbour, "alice");
    alices.timing.call_resume = Duration::from_millis(300);
    let mut alice = harbour.peer_with(alices).await;
    let mut bob = callable(&harbour, "bob").await;
    talk(&mut alice, &mut bob).await;
    // No logout: the program is gone from one moment to the next.
    drop(bob);
    phase(&mut alice.1, "interrupted").await;
    let (_, end) = phase(&mut alice.1, "ended").await;
    assert!(matches!(end, CallPhase::Ended { reason: Some(_) }), "{end:?}");
}

#[tokio::test]
async fn logging_out_hangs_up() {
    let harbour = Harbour::open().await;
    let mut alice = callable(&harbour, "alice").await;
    let mut bob = callable(&harbour, "bob").await;
    talk(&mut alice, &mut bob).await;
    within("logging out", alice.0.logout()).await;
    phase(&mut bob.1, "ended").await;
}

#[tokio::test]
async fn what_makes_no_sense_on_a_call_is_refused() {
    let harbour = Harbour::open().await;
    let (bob, _bob_events) = callable(&harbour, "bob").await;
    let mallory = harbour.raw("mallory").await;
    let connection = within("calling", mallory.call("bob", bob.id())).await;
    let call = |id, codecs: &[&str], resumes| Call {
        id,
        stream: 1,
        codecs: codecs.iter().map(|codec| (*codec).to_owned()).collect(),
        resumes,
        listen: None,
    };
    let long = "x".repeat(2000);
    let rows = [
        (call(1, &["opus"], true), "no_conversation"),
        (call(2, &["morse"], false), "unsupported"),
        (call(3, &["opus", &long], false), "too_large"),
        (call(4, &["opus"; 100], false), "too_large"),
    ];
    for (call, wanted) in rows {
        let (mut writer, mut reader) = open(&connection).await;
        let request = PeerMessage::Request(RequestId(1), PeerCommand::Call(call));
        writer.send(&request).await.unwrap();
        let answer: PeerMessage = within("the answer", reader.next_message()).await.unwrap();
        assert_eq!(kind(&answer), wanted);
    }
}

/// The share of the energy of `samples` that is at `hertz` (Goertzel's algorithm).
fn share_at(samples: &[f32], hertz: f64) -> f64 {
    let turn = (std::f64::consts::TAU * hertz / 48_000.0).cos() * 2.0;
    let (mut one, mut two, mut energy) = (0.0, 0.0, 0.0);
    for sample in samples.iter().copied().map(f64::from) {
        (one, two) = (sample + turn * one - two, one);
        energy += sample * sample;
    }
    let power = one * one + two * two - turn * one * two;
    if energy < 1e-3 { 0.0 } else { 2.0 * power / (energy * samples.len() as f64) }
}

/// The samples of a file that a sink wrote: 32-bit floats behind the word `data` and their length.
fn samples(path: &std::path::Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(4).position(|word| word == b"data").unwrap() + 8;
    let floats = bytes[at..].chunks_exact(4);
    floats.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// How many stretches of 40 ms of the file are that tone.
fn tone_in(path: &std::path::Path, hertz: f64) -> usize {
    let samples = samples(path);
    samples.chunks_exact(1920).filter(|stretch| share_at(stretch, hertz) > 0.8).count()
}

/// Waits until so many frames were heard as they were sent.
async fn heard(events: &mut Events, frames: u64) {
    wait_for(events, "sound", |event| match event {
        Event::Audio(update) => {
            update.received.is_some_and(|received| received.counts.played >= frames)
        }
        _ => false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_side_hears_the_others_tone_and_a_report_tells_how() {
    let harbour = Harbour::open().await;
    let (alice, mut alice_events) = callable(&harbour, "alice").await;
    let (bob, mut bob_events) = callable(&harbour, "bob").await;
    let file = |of: &str| harbour.directory.path().join(of);
    let media =
        |tone: &str, sink: &str| CallMedia::words(tone, &format!("wav:{}", file(sink).display()));
    let id = alice.call(&name("bob"), media("tone:440", "alice.wav")).unwrap();
    let (theirs, _) = phase(&mut bob_events, "ringing").await;
    assert!(!file("alice.wav").exists(), "nothing is opened while it rings");
    bob.accept_call(theirs, media("tone:1000", "bob.wav")).unwrap();
    heard(&mut alice_events, 50).await;
    heard(&mut bob_events, 50).await;
    alice.hang_up(id, None).unwrap();
    let is_last = |event: &Event| matches!(event, Event::Audio(update) if update.is_last);
    for events in [&mut alice_events, &mut bob_events] {
        let Event::Audio(last) = wait_for(events, "the last report", is_last).await else {
            unreachable!()
        };
        let sent = last.sent.unwrap();
        assert!(sent.counts.frames >= sent.counts.datagrams && sent.counts.datagrams > 50);
    }
    for (path, own, other) in [("alice.wav", 440.0, 1000.0), ("bob.wav", 1000.0, 440.0)] {
        let path = file(path);
        assert!(tone_in(&path, other) >= 20, "{}", path.display());
        assert_eq!(tone_in(&path, own), 0, "nobody hears their own voice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_cannot_be_opened_ends_the_call_and_says_why() {
    let harbour = Harbour::open().await;
    let mut alice = callable(&harbour, "alice").await;
    let mut bob = callable(&harbour, "bob").await;
    alice.0.call(&name("bob"), CallMedia::words("wav:/no/such/file", "null")).unwrap();
    let (theirs, _) = phase(&mut bob.1, "ringing").await;
    bob.0.accept_call(theirs, silent()).unwrap();
    let (_, failed) = phase(&mut alice.1, "failed").await;
    let CallPhase::Failed { reason, .. } = failed else { unreachable!() };
    assert!(reason.contains("/no/such/file"), "{reason}");
    phase(&mut bob.1, "ended").await;
}

/// Waits until what is listened to together is at this place or behind it.
async fn at(events: &mut Events, place: Duration) {
    wait_for(events, "the place", |event| match event {
        Event::Audio(update) => {
            let together = update.received.and_then(|received| received.together);
            together.is_some_and(|together| together.position >= place)
        }
        _ => false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_listen_to_one_also_who_comes_late_and_the_host_seeks_for_all() {
    let harbour = Harbour::open().await;
    let (alice, mut events) = harbour.peer("alice").await;
    let mut bob = callable(&harbour, "bob").await;
    let mut carol = callable(&harbour, "carol").await;
    let file = |of: &str| harbour.directory.path().join(format!("{of}.wav"));
    let media = |of: &str| CallMedia::words("silence", &format!("wav:{}", file(of).display()));
    let stage = Stage::start("a tone", None, |_| open_source("tone:440"));

    alice.invite_to_listen(&name("bob"), &stage).unwrap();
    let (id, _) = phase(&mut bob.1, "ringing").await;
    bob.0.accept_call(id, media("bob")).unwrap();
    heard(&mut bob.1, 50).await;
    // Carol comes later, and hears what bob hears then.
    alice.invite_to_listen(&name("carol"), &stage).unwrap();
    let event = wait_for(&mut carol.1, "the invitation", |event| match event {
        Event::Call(update) => update.phase == CallPhase::Ringing,
        _ => false,
    });
    let Event::Call(invited) = event.await else { unreachable!() };
    assert_eq!(invited.title.as_deref(), Some("a tone"));
    carol.0.accept_call(invited.id, media("carol")).unwrap();
    heard(&mut carol.1, 50).await;
    at(&mut carol.1, Duration::from_secs(1)).await;
    // A host can still be called, and who listens cannot.
    assert!(matches!(bob.0.call(&name("carol"), silent()), Err(CallError::InCall { .. })));

    stage.seek(Duration::from_secs(600)).await;
    at(&mut bob.1, Duration::from_secs(600)).await;
    at(&mut carol.1, Duration::from_secs(600)).await;
    // One leaves; the other is told when it is over.
    bob.0.hang_up(id, None).unwrap();
    phase(&mut bob.1, "ended").await;
    phase(&mut events, "ended").await;
    drop(stage);
    phase(&mut carol.1, "ended").await;
    wait_for(
        &mut carol.1,
        "the last report",
        |event| matches!(event, Event::Audio(update) if update.is_last),
    )
    .await;
    // Left and right are the same.
    let left: Vec<f32> = samples(&file("carol")).iter().copied().step_by(2).collect();
    let pure = left.chunks_exact(1920).filter(|stretch| share_at(stretch, 440.0) > 0.8).count();
    assert!(pure >= 20, "{pure} stretches of 40 ms are the tone");
}
