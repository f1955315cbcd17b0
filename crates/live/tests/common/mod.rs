//! A sender and a receiver with a path between them, in virtual time.

#![allow(
    clippy::allow_attributes,
    dead_code,
    clippy::unwrap_used,
    reason = "each test program uses a part of what they share"
)]

pub(crate) mod paths;
pub(crate) mod signal;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use portolan_live::{
    Buffer, Channels, FRAME, FRAME_SAMPLES, Made, Receiver, ReceiverConfig, ReceiverStats, Sender,
    SenderConfig,
};

/// Samples that the sink takes at a time: 10 ms, as devices do.
pub(crate) const PORTION: usize = FRAME_SAMPLES / 2;

/// The start of virtual time.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// When each datagram arrives after it was sent, or that it does not.
pub(crate) type Path<'a> = &'a mut dyn FnMut(Duration) -> Option<Duration>;

/// What is done.
pub(crate) struct Talk<'a> {
    pub(crate) sender: SenderConfig,
    pub(crate) buffer: Buffer,
    /// Samples of the next frame.
    pub(crate) source: &'a mut dyn FnMut() -> Vec<f32>,
    pub(crate) path: Path<'a>,
    pub(crate) time: Duration,
    /// How much faster the sink's clock is than the source's, in millionths.
    pub(crate) drift_ppm: f64,
}

/// What was heard.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) pcm: Vec<f32>,
    pub(crate) made: Vec<Made>,
    /// From the sending of a frame to the ear, of sound that was played or repaired, with the time at which.
    pub(crate) delays: Vec<(Duration, Duration)>,
    pub(crate) stats: ReceiverStats,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) end: Instant,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(Bytes),
    Report(Bytes),
    Speak,
    Pull,
}

impl Talk<'_> {
    pub(crate) fn run(self) -> Heard {
        let mut sender = Sender::new(self.sender.clone()).unwrap();
        let config = ReceiverConfig {
            stream: self.sender.stream,
            channels: self.sender.channels,
            buffer: self.buffer,
        };
        let mut receiver = Receiver::new(config).unwrap();
        let mut events = BinaryHeap::new();
        let mut number = 0_u64;
        let mut at = |events: &mut BinaryHeap<_>, time: Duration, event| {
            number += 1;
            events.push(Reverse((time, number, event)));
        };
        let between = (FRAME / 2).mul_f64(1.0 - self.drift_ppm / 1e6);
        at(&mut events, Duration::ZERO, Event::Speak);
        // The sink's ticks have nothing to do with the source's.
        at(&mut events, Duration::from_micros(7_300), Event::Pull);
        let mut frame = vec![0.0; PORTION * channels(self.sender.channels)];
        let (mut pcm, mut made, mut delays) = (Vec::new(), Vec::new(), Vec::new());
        let mut pulls = 0_u32;
        while let Some(Reverse((time, _, event))) = events.pop() {
            if time > self.time {
                break;
            }
            let now = start() + time;
            match event {
                Event::Speak => {
                    if let Some(bytes) = sender.send(now, &(self.source)()).unwrap()
                        && let Some(delay) = (self.path)(time)
                    {
                        at(&mut events, time + delay, Event::Arrival(bytes));
                    }
                    at(&mut events, time + FRAME, Event::Speak);
                }
                Event::Arrival(bytes) => {
                    let _ = receiver.handle_datagram(now, &bytes);
                }
                Event::Report(bytes) => sender.handle_datagram(now, &bytes).unwrap(),
                Event::Pull => {
                    let pulled = receiver.pull(now, &mut frame);
                    pcm.extend_from_slice(&frame);
                    made.push(pulled.made);
                    let spoken = pulled
                        .spoken
                        .filter(|_| matches!(pulled.made, Made::Played | Made::Repaired));
                    if let Some(spoken) = spoken {
                        let spoken =
                            Duration::from_micros(u64::try_from(spoken).unwrap() * 125 / 6);
                        delays.push((time, time.saturating_sub(spoken)));
                    }
                    if let Some(report) = receiver.poll_report(now) {
                        at(&mut events, time + Duration::from_millis(30), Event::Report(report));
                    }
                    pulls += 1;
                    let next = Duration::from_micros(7_300) + between * pulls;
                    at(&mut events, next, Event::Pull);
                }
            }
        }
        let stats = receiver.stats();
        Heard { pcm, made, delays, stats, sender, receiver, end: start() + self.time }
    }
}

impl Heard {
    /// The share of portions made in this way, pauses apart, of those from `after` on.
    pub(crate) fn share(&self, made: Made, after: Duration) -> f64 {
        let skip = usize::try_from(2 * after.as_millis() / FRAME.as_millis()).unwrap();
        let rest = self.made.get(skip..).unwrap_or_default();
        let sound = rest.iter().filter(|one| **one != Made::Silence).count();
        let count = rest.iter().filter(|one| **one == made).count();
        count as f64 / sound.max(1) as f64
    }

    /// The mean from mouth to ear, in milliseconds, from `after` on.
    pub(crate) fn mean_delay(&self, after: Duration) -> f64 {
        let of = self.delays.iter().filter(|(time, _)| *time >= after);
        let delays: Vec<_> = of.map(|(_, delay)| delay.as_secs_f64() * 1e3).collect();
        delays.iter().sum::<f64>() / delays.len().max(1) as f64
    }
}

const fn channels(channels: Channels) -> usize {
    channels.count()
}
