//! The two ends of a talk, whatever carries it and whatever the time is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use portolan_live::{
    Channels, FRAME, FRAME_SAMPLES, Receiver, ReceiverConfig, ReceiverStats, Sender, SenderConfig,
};

use super::source::{Generator, Source};

/// The only stream.
const STREAM: u32 = 1;

/// Samples that the sink takes at a time: 10 ms, as devices do.
const PORTION: usize = FRAME_SAMPLES / 2;

/// For how much longer than the listener listens the speaker speaks.
const BEYOND: Duration = Duration::from_secs(4);

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) source: Source,
    /// How long the listener listens.
    pub(crate) time: Duration,
    /// How long a frame is of use.
    pub(crate) until: Duration,
    pub(crate) beside: Beside,
}

/// What else the connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    Nothing,
    /// Bytes without end, as a file that is being sent, from [`BESIDE_AFTER`] on.
    Bulk,
}

/// How long a talk goes on before a file begins beside it.
pub(crate) const BESIDE_AFTER: Duration = Duration::from_secs(3);

/// The side that speaks.
#[derive(Debug)]
pub(crate) struct Speaker {
    sender: Sender,
    generator: Generator,
    begun: Option<Instant>,
    spoken: u32,
    frames: u32,
}

impl Speaker {
    pub(crate) fn new(plan: &Plan) -> Self {
        let frames = (plan.time + BEYOND).as_millis() / FRAME.as_millis();
        Self {
            sender: Sender::new(SenderConfig::voice(STREAM, 0)).expect("Opus takes its own rates"),
            generator: Generator::new(plan.source),
            begun: None,
            spoken: 0,
            frames: u32::try_from(frames).unwrap_or(u32::MAX),
        }
    }

    /// When the next frame is to be sent; the first at once.
    pub(crate) fn due(&self) -> Option<Instant> {
        let begun = self.begun?;
        (!self.is_over()).then(|| begun + FRAME * self.spoken)
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.spoken >= self.frames
    }

    /// The datagram of the frame that is due; `None` when none is, or in a pause.
    pub(crate) fn speak(&mut self, now: Instant) -> Option<Bytes> {
        self.begun.get_or_insert(now);
        self.due().filter(|due| *due <= now)?;
        self.spoken += 1;
        let frame = self.generator.frame();
        self.sender.send(now, &frame).expect("a whole frame, and Opus takes every sound")
    }

    /// What the other side says about us.
    pub(crate) fn on_datagram(&mut self, now: Instant, bytes: &Bytes) {
        // There is one stream: all that comes is a report of it.
        let _ = self.sender.handle_datagram(now, bytes);
    }

    /// When the first frame was sent.
    pub(crate) const fn begun(&self) -> Option<Instant> {
        self.begun
    }
}

/// The side that listens.
#[derive(Debug)]
pub(crate) struct Ear {
    receiver: Receiver,
    time: Duration,
    begun: Option<Instant>,
    pulls: u32,
    portion: Vec<f32>,
    heard: Heard,
}

/// What was heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) pcm: Vec<f32>,
    /// When sound was heard, and when it was spoken in samples.
    pub(crate) moments: Vec<(Instant, i64)>,
    pub(crate) stats: ReceiverStats,
}

impl Ear {
    pub(crate) fn new(plan: &Plan) -> Self {
        let config = ReceiverConfig::new(STREAM, Channels::Mono);
        Self {
            receiver: Receiver::new(config).expect("Opus takes its own rate"),
            time: plan.time,
            begun: None,
            pulls: 0,
            portion: vec![0.0; PORTION],
            heard: Heard::default(),
        }
    }

    /// When the sink takes its next portion.
    pub(crate) fn due(&self) -> Option<Instant> {
        let begun = self.begun?;
        (!self.is_over()).then(|| begun + FRAME / 2 * self.pulls)
    }

    pub(crate) fn is_over(&self) -> bool {
        FRAME / 2 * self.pulls >= self.time
    }

    /// What was spoken; listening begins with the first.
    pub(crate) fn on_datagram(&mut self, now: Instant, bytes: &Bytes) {
        self.begun.get_or_insert(now);
        // What is refused is in the receiver's counters.
        let _ = self.receiver.handle_datagram(now, bytes);
    }

    /// What the connection knows of the way.
    pub(crate) fn set_round_trip(&mut self, round_trip: Duration) {
        self.receiver.set_round_trip(round_trip);
    }

    /// Takes the portion that is due, if one is; answers the report that is due.
    pub(crate) fn listen(&mut self, now: Instant) -> Option<Bytes> {
        let at = self.due().filter(|due| *due <= now)?;
        self.pulls += 1;
        let pulled = self.receiver.pull(now, &mut self.portion);
        self.heard.pcm.extend_from_slice(&self.portion);
        self.heard.moments.extend(pulled.spoken.map(|spoken| (at, spoken)));
        self.receiver.poll_report(now)
    }

    pub(crate) fn into_heard(self) -> Heard {
        Heard { stats: self.receiver.stats(), ..self.heard }
    }
}
