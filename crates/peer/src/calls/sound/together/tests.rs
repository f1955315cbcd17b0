//! Several listeners with ways and clocks of their own, in virtual time.

#![expect(clippy::cast_possible_truncation, reason = "the test's own small numbers")]

use std::collections::BTreeMap;

use portolan_live::{
    Buffer, Channels, FRAME_SAMPLES, Receiver, ReceiverConfig, Sender, SenderConfig,
};
use tokio::time::{Duration, Instant};

use super::{Aim, BUFFER, LAG, Together};
use crate::calls::clock::ClockWatch;

const STEP: Duration = Duration::from_millis(10);
const STEP_SAMPLES: usize = FRAME_SAMPLES / 2;

/// One who listens, over a way that takes so long, and as much longer as chance says.
struct Listener {
    way: Duration,
    jitter_ms: u64,
    /// When this one joins.
    joins: Duration,
    clock: ClockWatch,
    receiver: Receiver,
    together: Together,
    mail: BTreeMap<(Instant, u32), bytes::Bytes>,
    /// When the mark was heard.
    heard: Option<Instant>,
}

impl Listener {
    fn new(start: Instant, way_ms: u64, jitter_ms: u64, joins_ms: u64) -> Self {
        let config = ReceiverConfig {
            buffer: Buffer::Fixed(BUFFER),
            ..ReceiverConfig::new(1, Channels::Mono)
        };
        Self {
            way: Duration::from_millis(way_ms),
            jitter_ms,
            joins: Duration::from_millis(joins_ms),
            // No two clocks begin at the same time.
            clock: ClockWatch::new(start - Duration::from_millis(way_ms * 977)),
            receiver: Receiver::new(config).unwrap(),
            together: Together::new(1),
            mail: BTreeMap::new(),
            heard: None,
        }
    }

    /// Asks the host's clock, over a way that is slower in one direction.
    fn ask(&mut self, now: Instant, host: &mut ClockWatch, delays: [Duration; 2]) {
        if let Some(question) = self.clock.question(now) {
            let answer = host.on_clock(now + self.way + delays[0], question).unwrap();
            self.clock.on_clock(now + self.way * 2 + delays[0] + delays[1], answer);
        }
    }

    fn step(&mut self, now: Instant) {
        while let Some(entry) = self.mail.first_entry().filter(|entry| entry.key().0 <= now) {
            let (at, bytes) = (entry.key().0, entry.remove());
            let _ = self.receiver.handle_datagram(at.into_std(), &bytes);
        }
        let mut sound = [0.0; STEP_SAMPLES];
        let pulled = self.receiver.pull(now.into_std(), &mut sound);
        let timestamp = pulled.spoken.map(|spoken| u32::try_from(spoken).unwrap());
        self.together.pass(now, timestamp, &mut sound);
        let loud = sound.iter().position(|sample| sample.abs() > 0.2);
        if let (Some(at), None) = (loud, self.heard) {
            self.heard = Some(now + Duration::from_micros(at as u64 * 1000 / 48));
        }
    }
}

#[test]
fn all_hear_the_same_at_the_same_time_whatever_their_ways_and_clocks() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    println!("SEED={seed}");
    let mut state = seed | 1;
    let mut chance = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Duration::from_millis(state % (below + 1))
    };
    let start = Instant::now() + Duration::from_secs(3600);
    let mut host = ClockWatch::new(start - Duration::from_secs(100));
    let mut sender = Sender::new(SenderConfig::music(1, 0, Channels::Mono)).unwrap();
    let mut listeners = [
        Listener::new(start, 1, 2, 0),
        Listener::new(start, 20, 30, 0),
        Listener::new(start, 90, 60, 0),
        Listener::new(start, 5, 10, 2500),
    ];
    // A soft tone, and a loud one that begins at four seconds.
    let mark = 4 * 48_000_u32;
    let mut wave = 0_u32;
    for step in 0..600_u64 {
        let now = start + STEP * u32::try_from(step).unwrap();
        if step % 2 == 0 {
            let timestamp = wave;
            let pcm: Vec<f32> = (0..FRAME_SAMPLES as u32)
                .map(|sample| {
                    let at = wave + sample;
                    let loud = if at >= mark { 0.6 } else { 0.05 };
                    ((f64::from(at) * 440.0 * std::f64::consts::TAU / 48_000.0).sin() * loud) as f32
                })
                .collect();
            wave += FRAME_SAMPLES as u32;
            let datagram = sender.send(now.into_std(), &pcm).unwrap();
            for listener in listeners.iter_mut().filter(|one| start + one.joins <= now) {
                let arrives = now + listener.way + chance(listener.jitter_ms);
                listener.mail.insert((arrives, timestamp), datagram.clone().unwrap());
                // Where the sound is, twice a second, by the host's clock.
                if step % 50 == 0
                    && let Some(at) = listener.clock.instant_of(host.micros(now))
                {
                    let position = Duration::from_millis(step * 10);
                    listener.together.aim(Aim { timestamp, at, position });
                }
            }
        }
        for listener in &mut listeners {
            let delays = [chance(listener.jitter_ms), chance(listener.jitter_ms)];
            listener.ask(now, &mut host, delays);
            listener.step(now);
        }
    }
    let heard: Vec<Instant> = listeners.iter().map(|one| one.heard.expect("the mark")).collect();
    let (first, last) = (*heard.iter().min().unwrap(), *heard.iter().max().unwrap());
    println!("heard within {:?}", last - first);
    assert!(last - first <= Duration::from_millis(50));
    // Where the ways are short, as in one house, also by the host's own clock.
    let wanted = start + Duration::from_secs(4) + LAG;
    for (listener, heard) in listeners.iter().zip(heard) {
        let off = heard.max(wanted) - heard.min(wanted);
        println!("way {:?}: {off:?} off", listener.way);
        let allowed = if listener.way < Duration::from_millis(50) { 25 } else { 50 };
        assert!(off <= Duration::from_millis(allowed), "{off:?}");
        assert!(listener.together.off_ms().abs() <= 25);
    }
}
