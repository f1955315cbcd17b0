//! Two machines and the pipe between them.

#![allow(dead_code, reason = "each test uses its part")]

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use portolan_mux::{
    Config, Event, Mux, Priority, ReadError, Reader, SentFrame, Side, StreamId, Violation,
    frame::is_stream_frame,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How a pipe treats packets, in chances out of 100.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) lose: u32,
    pub(crate) duplicate: u32,
    pub(crate) delay: u32,
    /// An acknowledgement is lost, so that what arrived is declared lost.
    pub(crate) lose_ack: u32,
}

/// One end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) mux: Mux,
    pub(crate) events: Vec<Event>,
}

#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    sent: Vec<SentFrame>,
}

#[derive(Debug)]
enum Report {
    Acked(Vec<SentFrame>),
    Lost(Vec<SentFrame>),
}

/// Two machines that know each other's parameters, and packets on their way.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) alice: End,
    pub(crate) bob: End,
    pub(crate) now: Instant,
    pub(crate) faults: Faults,
    pub(crate) packet_max: usize,
    rng: ChaCha8Rng,
    to_bob: VecDeque<Packet>,
    to_alice: VecDeque<Packet>,
    reports_to_alice: VecDeque<Report>,
    reports_to_bob: VecDeque<Report>,
}

/// An arbitrary start; tests add to it.
#[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

impl Pair {
    pub(crate) fn new(config: Config) -> Self {
        Self::with(config, Faults::default(), 0)
    }

    pub(crate) fn with(config: Config, faults: Faults, seed: u64) -> Self {
        let mut pair = Self {
            alice: End { mux: Mux::new(Side::Client, config), events: Vec::new() },
            bob: End { mux: Mux::new(Side::Server, config), events: Vec::new() },
            now: epoch(),
            faults,
            packet_max: 1200,
            rng: ChaCha8Rng::seed_from_u64(seed),
            to_bob: VecDeque::new(),
            to_alice: VecDeque::new(),
            reports_to_alice: VecDeque::new(),
            reports_to_bob: VecDeque::new(),
        };
        pair.alice.mux.on_params(pair.bob.mux.params()).expect("bob's parameters");
        pair.bob.mux.on_params(pair.alice.mux.params()).expect("alice's parameters");
        pair
    }

    /// Carries packets until neither side has anything to send and none is on its way.
    pub(crate) fn settle(&mut self) {
        while self.step().expect("both obey the rules") {}
    }

    /// A packet each way, if there is one; answers whether anything happened.
    pub(crate) fn step(&mut self) -> Result<bool, Violation> {
        self.now += Duration::from_millis(1);
        let before = (self.to_bob.len(), self.to_alice.len());
        let waits = [&mut self.alice.mux, &mut self.bob.mux].map(|mux| {
            mux.handle_timeout(self.now);
            mux.poll_timeout().is_some()
        });
        send(&mut self.alice.mux, self.now, self.packet_max, &mut self.to_bob);
        send(&mut self.bob.mux, self.now, self.packet_max, &mut self.to_alice);
        let sent = before != (self.to_bob.len(), self.to_alice.len());
        let to_bob = self.carry(Side::Server)?;
        let to_alice = self.carry(Side::Client)?;
        let reported = self.report();
        drain(&mut self.alice);
        drain(&mut self.bob);
        Ok(sent || to_bob || to_alice || reported || waits.contains(&true))
    }

    fn carry(&mut self, to: Side) -> Result<bool, Violation> {
        let faults = self.faults;
        let rng = &mut self.rng;
        let mut chance = |percent| rng.random_range(0..100) < percent;
        let (queue, reports, end) = match to {
            Side::Server => (&mut self.to_bob, &mut self.reports_to_alice, &mut self.bob),
            Side::Client => (&mut self.to_alice, &mut self.reports_to_bob, &mut self.alice),
        };
        let Some(packet) = queue.pop_front() else { return Ok(false) };
        if chance(faults.delay) && !queue.is_empty() {
            queue.push_back(packet);
            return Ok(true);
        }
        if chance(faults.lose) {
            reports.push_back(Report::Lost(packet.sent));
            return Ok(true);
        }
        let copies = if chance(faults.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            receive(&mut end.mux, self.now, &packet.bytes)?;
        }
        if chance(faults.lose_ack) {
            // Declared lost first, acknowledged in the end.
            reports.push_back(Report::Lost(packet.sent.clone()));
        }
        reports.push_back(Report::Acked(packet.sent));
        Ok(true)
    }

    fn report(&mut self) -> bool {
        let alice = report(&mut self.alice.mux, self.now, self.reports_to_alice.pop_front());
        let bob = report(&mut self.bob.mux, self.now, self.reports_to_bob.pop_front());
        alice || bob
    }

    /// A stream that alice opened and bob accepted, with a byte on it that bob has read.
    pub(crate) fn stream(&mut self, priority: Priority) -> StreamId {
        let id = self.alice.mux.open(priority).expect("room for a stream");
        self.alice.mux.write(id, b"!").expect("room for a byte");
        self.settle();
        assert_eq!(self.bob.mux.accept(), Some(id));
        assert_eq!(self.bob.mux.read(id, &mut [0; 8]), Ok(1));
        id
    }
}

fn send(mux: &mut Mux, now: Instant, max: usize, queue: &mut VecDeque<Packet>) {
    if !mux.wants_to_send() {
        return;
    }
    let (mut bytes, mut sent) = (Vec::new(), Vec::new());
    let len = mux.poll_frames(now, &mut bytes, max, &mut sent);
    assert_eq!(len, bytes.len());
    assert!(len <= max);
    assert_eq!(bytes.is_empty(), sent.is_empty());
    if len > 0 {
        queue.push_back(Packet { bytes, sent });
    }
}

/// Gives all frames of a packet to `mux`.
pub(crate) fn receive(mux: &mut Mux, now: Instant, bytes: &[u8]) -> Result<(), Violation> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let kind = reader.varint().expect("a type");
        assert!(is_stream_frame(kind));
        mux.handle_frame(now, kind, &mut reader)?;
    }
    Ok(())
}

fn report(mux: &mut Mux, now: Instant, report: Option<Report>) -> bool {
    match report {
        None => return false,
        Some(Report::Acked(frames)) => frames.iter().for_each(|frame| mux.on_acked(now, frame)),
        Some(Report::Lost(frames)) => frames.iter().for_each(|frame| mux.on_lost(now, frame)),
    }
    true
}

fn drain(end: &mut End) {
    while let Some(event) = end.mux.poll_event() {
        end.events.push(event);
    }
}

/// Reads all that is there; answers whether the end was reached.
pub(crate) fn read_all(mux: &mut Mux, id: StreamId, into: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 5000];
    loop {
        match mux.read(id, &mut buffer) {
            Ok(0) => return true,
            Ok(read) => into.extend_from_slice(&buffer[..read]),
            Err(ReadError::Blocked) => return false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The seeds to try: those of `SEED`, or as many as asked for.
pub(crate) fn seeds(count: u64) -> Box<dyn Iterator<Item = u64>> {
    match std::env::var("SEED") {
        Ok(seed) => Box::new(std::iter::once(seed.parse().expect("SEED is a number"))),
        Err(_) => Box::new(0..count),
    }
}
