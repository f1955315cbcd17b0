//! Everything written arrives exactly once and in order, whatever happens in between.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use common::{Faults, Pair, read_all, seeds};
use portolan_mux::{Config, Event, Mux, Priority, ReadError, StreamId, WriteError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SMALL: Config = Config {
    streams: 4,
    stream_window: 6_000,
    connection_window: 9_000,
    send_buffer: 5_000,
    datagram_queue: 1 << 20,
    datagram_max: 1_000,
    redundancy_percent: 70,
    stream_frame_max: 700,
};

/// What one side sends on a stream, and how far it is.
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    ends: bool,
}

/// What one side does: streams of its own and answers on those of the other.
#[derive(Default)]
struct Talker {
    outgoing: BTreeMap<StreamId, Outgoing>,
    incoming: BTreeMap<StreamId, Vec<u8>>,
    finished: BTreeMap<StreamId, Vec<u8>>,
    to_open: usize,
}

/// The bytes that `side` (0: alice, 1: bob) sends on a stream.
fn content(seed: u64, side: u64, id: StreamId) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (id.0 << 8 | side << 4));
    let len = if rng.random_range(0..4) == 0 { 0 } else { rng.random_range(0..20_000) };
    (0..len).map(|_| rng.random()).collect()
}

impl Talker {
    fn act(&mut self, mux: &mut Mux, rng: &mut ChaCha8Rng, seed: u64, side: u64) {
        while self.to_open > 0
            && let Some(id) = mux.open(Priority::ALL[rng.random_range(0..4)])
        {
            self.to_open -= 1;
            self.meet(seed, side, id);
        }
        while let Some(id) = mux.accept() {
            self.meet(seed, side, id);
        }
        for (&id, outgoing) in &mut self.outgoing {
            outgoing.push(mux, id, rng);
        }
        self.outgoing.retain(|_, outgoing| !outgoing.ends);
        let ids: Vec<_> = self.incoming.keys().copied().collect();
        for id in ids {
            // Sometimes nobody reads, so that windows fill.
            if rng.random_range(0..3) > 0 && self.read(mux, id, rng) {
                let bytes = self.incoming.remove(&id).expect("there");
                self.finished.insert(id, bytes);
            }
        }
    }

    fn meet(&mut self, seed: u64, side: u64, id: StreamId) {
        let outgoing = Outgoing { bytes: content(seed, side, id), written: 0, ends: false };
        self.outgoing.insert(id, outgoing);
        self.incoming.insert(id, Vec::new());
    }

    fn read(&mut self, mux: &mut Mux, id: StreamId, rng: &mut ChaCha8Rng) -> bool {
        let into = self.incoming.get_mut(&id).expect("there");
        let mut buffer = vec![0; rng.random_range(1..3_000)];
        match mux.read(id, &mut buffer) {
            Ok(0) => return true,
            Ok(read) => into.extend_from_slice(&buffer[..read]),
            Err(ReadError::Blocked) => {}
            Err(error) => panic!("{error}"),
        }
        false
    }

    fn is_done(&self, streams: usize) -> bool {
        self.finished.len() == streams
    }
}

impl Outgoing {
    fn push(&mut self, mux: &mut Mux, id: StreamId, rng: &mut ChaCha8Rng) {
        let left = &self.bytes[self.written..];
        let piece = &left[..left.len().min(rng.random_range(0..4_000))];
        match mux.write(id, piece) {
            Ok(written) => self.written += written,
            Err(WriteError::Blocked) => {}
            Err(error) => panic!("{error}"),
        }
        if self.written == self.bytes.len() {
            mux.finish(id).expect("open");
            self.ends = true;
        }
    }
}

fn converse(seed: u64, faults: Faults) {
    eprintln!("SEED={seed}");
    const STREAMS: usize = 12;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut pair = Pair::with(SMALL, faults, seed);
    let mut alice = Talker { to_open: STREAMS / 2, ..Talker::default() };
    let mut bob = Talker { to_open: STREAMS / 2, ..Talker::default() };
    for _ in 0..200_000 {
        alice.act(&mut pair.alice.mux, &mut rng, seed, 0);
        bob.act(&mut pair.bob.mux, &mut rng, seed, 1);
        pair.step().expect("both obey the rules");
        assert!(pair.bob.mux.memory_received() <= SMALL.memory_max());
        if alice.is_done(STREAMS) && bob.is_done(STREAMS) {
            break;
        }
    }
    for (id, bytes) in &alice.finished {
        assert_eq!(*bytes, content(seed, 1, *id), "what bob sent on {id}");
    }
    for (id, bytes) in &bob.finished {
        assert_eq!(*bytes, content(seed, 0, *id), "what alice sent on {id}");
    }
    assert!(alice.is_done(STREAMS) && bob.is_done(STREAMS), "the conversation never ended");
    pair.settle();
    assert_eq!(pair.alice.mux.stats().stream_bytes_queued, 0);
    assert!(pair.alice.mux.memory() < 12_000, "{} bytes left", pair.alice.mux.memory());
}

#[test]
fn every_byte_arrives_exactly_once_and_in_order() {
    for seed in seeds(150) {
        converse(seed, Faults { lose: 15, duplicate: 10, delay: 30, lose_ack: 10 });
    }
}

#[test]
fn a_perfect_pipe_repeats_nothing() {
    for seed in seeds(20) {
        converse(seed, Faults::default());
    }
    let mut pair = Pair::new(SMALL);
    let id = pair.stream(Priority::Bulk);
    pair.alice.mux.write(id, &[7; 4_000]).expect("room");
    pair.settle();
    assert_eq!(pair.alice.mux.stats().stream_bytes_repeated, 0);
}

#[test]
fn a_hopeless_pipe_still_delivers_in_the_end() {
    for seed in seeds(10) {
        converse(seed, Faults { lose: 60, duplicate: 30, delay: 60, lose_ack: 40 });
    }
}

#[test]
fn a_repairable_datagram_arrives_exactly_once() {
    for seed in seeds(50) {
        eprintln!("SEED={seed}");
        let faults = Faults { lose: 40, duplicate: 30, delay: 30, lose_ack: 30 };
        let mut pair = Pair::with(SMALL, faults, seed);
        let late = pair.now + std::time::Duration::from_secs(3600);
        let mut got = Vec::new();
        for number in 0..500_u32 {
            let payload = Bytes::copy_from_slice(&number.to_be_bytes());
            pair.alice.mux.send_datagram(pair.now, payload, Some(late)).expect("short");
            pair.step().expect("both obey the rules");
            got.extend(std::iter::from_fn(|| pair.bob.mux.recv_datagram()));
        }
        pair.settle();
        got.extend(std::iter::from_fn(|| pair.bob.mux.recv_datagram()));
        assert_eq!(got.len(), 500);
        assert_eq!(got.into_iter().collect::<BTreeSet<_>>().len(), 500);
        let stats = pair.bob.mux.stats();
        assert_eq!(stats.datagrams_received, 500);
        assert!(stats.datagrams_repaired > 50 && stats.datagrams_duplicate > 50, "{stats:?}");
        assert_eq!(pair.alice.mux.stats().datagrams_sent, 500);
    }
}

#[test]
fn a_stream_reset_half_way_ends_on_both_sides_and_returns_its_credit() {
    for seed in seeds(50) {
        eprintln!("SEED={seed}");
        let faults = Faults { lose: 30, duplicate: 20, delay: 30, lose_ack: 20 };
        let mut pair = Pair::with(SMALL, faults, seed);
        for round in 0..20_u32 {
            let id = loop {
                match pair.alice.mux.open(Priority::Bulk) {
                    Some(id) => break id,
                    None => assert!(pair.step().expect("rules"), "no room in round {round}"),
                }
            };
            pair.alice.mux.write(id, &[1; 4_000]).expect("room");
            for _ in 0..seed % 7 {
                pair.step().expect("both obey the rules");
            }
            pair.alice.mux.reset(id, round);
            pair.alice.mux.stop(id, round);
            pair.settle();
            assert_eq!(pair.bob.mux.accept(), Some(id));
            assert_eq!(pair.bob.mux.read(id, &mut [0; 9]), Err(ReadError::Reset(round)));
            assert_eq!(pair.bob.mux.write(id, b"x"), Err(WriteError::Stopped(round)));
            pair.bob.mux.reset(id, 0);
            pair.settle();
            assert_eq!(pair.bob.mux.write(id, b"x"), Err(WriteError::UnknownStream));
        }
        // Twenty streams of 4,000 bytes went over a window of 9,000: all credit came back.
        let id = pair.stream(Priority::Bulk);
        assert_eq!(pair.alice.mux.write(id, &[2; 4_999]), Ok(4_999));
        pair.settle();
        let mut got = Vec::new();
        assert!(!read_all(&mut pair.bob.mux, id, &mut got));
        assert_eq!(got.len(), 4_999);
    }
}

#[test]
fn events_say_when_to_look_again() {
    let mut pair = Pair::new(SMALL);
    let id = pair.stream(Priority::Bulk);
    assert!(pair.bob.events.contains(&Event::StreamOpened));
    assert!(pair.bob.events.contains(&Event::Readable(id)));
    pair.alice.events.clear();
    while pair.alice.mux.write(id, &[0; 1_000]).is_ok() {}
    pair.settle();
    // The remote's window lets everything go, so that there is room again.
    assert_eq!(pair.alice.events, [Event::Writable(id)]);
    pair.bob.events.clear();
    assert!(!read_all(&mut pair.bob.mux, id, &mut Vec::new()));
    pair.alice.mux.finish(id).expect("open");
    pair.settle();
    assert_eq!(pair.bob.events, [Event::Readable(id)]);
    assert!(read_all(&mut pair.bob.mux, id, &mut Vec::new()));
}
