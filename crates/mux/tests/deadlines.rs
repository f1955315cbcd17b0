//! Messages with a deadline over a way with a delay and losses: what arrives in time, what it
//! costs, and what the sender knows of it.

#![expect(clippy::print_stdout, reason = "a seed, and what came of it")]

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use portolan_mux::{Config, Mux, MuxStats, Reader, SentFrame, Side};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const MS: Duration = Duration::from_millis(1);

/// Bytes of headers and tag, as over UDP and IPv4.
const OVERHEAD: usize = 54;

/// A flow, and the way it takes.
#[derive(Debug, Clone, Copy)]
struct Flow {
    size: usize,
    interval: Duration,
    lifetime: Duration,
    /// One way.
    delay: Duration,
    /// Chance of a packet to be lost, in percent.
    loss: f64,
    /// Packets that are lost together.
    burst: u32,
    messages: u32,
    redundancy_percent: u32,
}

/// Speech over 50 ms there and back.
const SPEECH: Flow = Flow {
    size: 100,
    interval: Duration::from_millis(20),
    lifetime: Duration::from_millis(150),
    delay: Duration::from_millis(25),
    loss: 5.0,
    burst: 1,
    messages: 20_000,
    redundancy_percent: 70,
};

/// Pictures: two hundred packets a second, and no time to repair one.
const PICTURES: Flow = Flow {
    size: 1_000,
    interval: Duration::from_millis(5),
    lifetime: Duration::from_millis(90),
    delay: Duration::from_millis(30),
    ..SPEECH
};

/// What became of a flow.
#[derive(Debug)]
struct Told {
    /// In percent.
    on_time: f64,
    /// Bytes on the wire of all packets beside those of the messages alone.
    weight: f64,
    alice: MuxStats,
    bob: MuxStats,
}

struct Packet {
    arrives: Instant,
    bytes: Vec<u8>,
    sent: Vec<SentFrame>,
    is_lost: bool,
}

struct Way {
    flow: Flow,
    start: Instant,
    now: Instant,
    alice: Mux,
    bob: Mux,
    rng: ChaCha8Rng,
    burst_left: u32,
    packets: VecDeque<Packet>,
    reports: Vec<(Instant, bool, Vec<SentFrame>)>,
    wire: usize,
    on_time: u32,
}

#[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
fn epoch() -> Instant {
    Instant::now()
}

impl Way {
    fn new(flow: Flow, seed: u64) -> Self {
        let config = Config { redundancy_percent: flow.redundancy_percent, ..Config::default() };
        let (mut alice, mut bob) = (Mux::new(Side::Client, config), Mux::new(Side::Server, config));
        alice.on_params(bob.params()).expect("bob's parameters");
        bob.on_params(alice.params()).expect("alice's parameters");
        alice.set_path_datagram_max(1_150);
        alice.set_packet_overhead(OVERHEAD);
        alice.on_round_trip(flow.delay * 2);
        let start = epoch();
        Self {
            flow,
            start,
            now: start,
            alice,
            bob,
            rng: ChaCha8Rng::seed_from_u64(seed),
            burst_left: 0,
            packets: VecDeque::new(),
            reports: Vec::new(),
            wire: 0,
            on_time: 0,
        }
    }

    fn loses(&mut self) -> bool {
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return true;
        }
        let begins = self.rng.random_bool(self.flow.loss / 100.0 / f64::from(self.flow.burst));
        self.burst_left = if begins { self.flow.burst - 1 } else { 0 };
        begins
    }

    fn transmit(&mut self) {
        self.alice.handle_timeout(self.now);
        while self.alice.wants_to_send() {
            let (mut bytes, mut sent) = (Vec::new(), Vec::new());
            if self.alice.poll_frames(self.now, &mut bytes, 1_160, &mut sent) == 0 {
                return;
            }
            self.wire += bytes.len() + OVERHEAD;
            let (arrives, is_lost) = (self.now + self.flow.delay, self.loses());
            self.packets.push_back(Packet { arrives, bytes, sent, is_lost });
        }
    }

    /// Packets that arrive now, and what alice hears of them a way later: of lost ones from the
    /// packet after.
    fn deliver(&mut self) {
        while self.packets.front().is_some_and(|packet| packet.arrives <= self.now) {
            let Some(packet) = self.packets.pop_front() else { return };
            if packet.is_lost {
                let heard = self.now + self.flow.delay + self.flow.interval;
                self.reports.push((heard, false, packet.sent));
                continue;
            }
            self.receive(&packet.bytes);
            self.reports.push((self.now + self.flow.delay, true, packet.sent));
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let kind = reader.varint().expect("a type");
            self.bob.handle_frame(self.now, kind, &mut reader).expect("alice obeys");
        }
        while let Some(message) = self.bob.recv_datagram() {
            let number = u32::from_be_bytes(message[..4].try_into().expect("four bytes"));
            assert_eq!(message.len(), self.flow.size - number as usize % 7, "message {number}");
            assert!(message[4..].iter().all(|&byte| byte == message[3]), "message {number}");
            let age = self.now - self.sent_at(number);
            self.on_time += u32::from(age <= self.flow.lifetime);
        }
    }

    fn sent_at(&self, number: u32) -> Instant {
        self.start + self.flow.interval * number
    }

    fn report(&mut self) {
        let now = self.now;
        let (due, later) = self.reports.drain(..).partition(|(at, ..)| *at <= now);
        self.reports = later;
        let due: Vec<(Instant, bool, Vec<SentFrame>)> = due;
        // Of one acknowledgement, what arrived counts before what did not.
        for (_, _, sent) in due.iter().filter(|(_, arrived, _)| *arrived) {
            sent.iter().for_each(|frame| self.alice.on_acked(now, frame));
        }
        for (_, _, sent) in due.iter().filter(|(_, arrived, _)| !*arrived) {
            sent.iter().for_each(|frame| self.alice.on_lost(now, frame));
        }
    }

    fn run(mut self) -> Told {
        let Flow { interval, messages, .. } = self.flow;
        let end = self.start + interval * messages + Duration::from_secs(2);
        let (mut next, mut plain) = (0, 0);
        while self.now < end {
            self.deliver();
            self.report();
            if next < messages && self.sent_at(next) <= self.now {
                let size = self.flow.size - next as usize % 7;
                let mut payload = next.to_be_bytes().to_vec();
                payload.resize(size, payload[3]);
                plain += size + OVERHEAD + 3;
                let expires = Some(self.now + self.flow.lifetime);
                self.alice.send_datagram(self.now, Bytes::from(payload), expires).expect("short");
                next += 1;
            }
            self.transmit();
            self.now += MS;
        }
        Told {
            on_time: f64::from(self.on_time) * 100.0 / f64::from(messages),
            weight: self.wire as f64 / plain as f64,
            alice: self.alice.stats(),
            bob: self.bob.stats(),
        }
    }
}

fn told(flow: Flow) -> Told {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"));
    let told = Way::new(flow, seed).run();
    println!("SEED={seed} {flow:?}: {told:?}");
    told
}

#[test]
fn speech_comes_in_time_at_a_loss_of_five_percent() {
    let told = told(SPEECH);
    assert!(told.on_time >= 99.95, "{} %", told.on_time);
    assert!(told.weight <= 1.75, "{} times the bytes", told.weight);
}

#[test]
fn without_copies_one_repair_is_all_there_is_time_for() {
    let told = told(Flow { redundancy_percent: 0, ..SPEECH });
    assert!((99.5..99.95).contains(&told.on_time), "{} %", told.on_time);
    assert!(told.weight < 1.1, "{} times the bytes", told.weight);
}

#[test]
fn a_clean_way_carries_hardly_more_than_the_messages() {
    let told = told(Flow { loss: 0.0, ..SPEECH });
    assert!(told.on_time >= 100.0 && told.weight < 1.03, "{} times the bytes", told.weight);
    let told = self::told(Flow { loss: 0.0, ..PICTURES });
    assert!(told.on_time >= 100.0 && told.weight < 1.03, "{} times the bytes", told.weight);
}

#[test]
fn a_deadline_far_away_needs_no_copies() {
    let told = told(Flow { lifetime: Duration::from_secs(2), ..SPEECH });
    assert!(told.on_time >= 100.0, "{} %", told.on_time);
    assert!(told.weight < 1.1, "{} times the bytes", told.weight);
}

#[test]
fn long_messages_share_parities_and_come_in_time_although_no_repair_could() {
    let told = told(PICTURES);
    assert!(told.on_time >= 99.9, "{} %", told.on_time);
    assert!(told.weight <= 1.7, "{} times the bytes", told.weight);
    assert!(told.bob.datagrams_repaired > 500, "{}", told.bob.datagrams_repaired);
    let unprotected = self::told(Flow { redundancy_percent: 0, ..PICTURES });
    assert!(unprotected.on_time < 96.0, "{} %", unprotected.on_time);
}

#[test]
fn a_burst_is_made_good_by_copies_that_keep_their_distance() {
    let told = told(Flow { burst: 2, ..SPEECH });
    assert!(told.on_time >= 99.8, "{} %", told.on_time);
    assert!(told.weight <= 1.75, "{} times the bytes", told.weight);
}

#[test]
fn redundancy_keeps_to_its_bound_however_much_is_lost() {
    for loss in [10.0, 30.0] {
        for flow in [SPEECH, PICTURES] {
            let told = told(Flow { loss, ..flow });
            // Repairs of what was lost come on top: each loss asks for one, which may be lost too.
            let repairs = loss / 100.0 / (1.0 - loss / 100.0);
            assert!(told.weight <= 1.75 + repairs, "{} times the bytes", told.weight);
        }
    }
}

/// The sender knows of every message what the receiver has seen of it.
#[test]
fn every_message_has_one_outcome() {
    for flow in [SPEECH, PICTURES, Flow { loss: 30.0, ..SPEECH }, Flow { loss: 30.0, ..PICTURES }] {
        let Told { on_time, alice, bob, .. } = told(flow);
        let arrived = alice.datagrams_in_time + alice.datagrams_late;
        assert_eq!(arrived + alice.datagrams_lost, flow.messages.into());
        assert_eq!(alice.datagrams_sent, flow.messages.into());
        assert_eq!(alice.datagrams_expired, 0);
        assert!(arrived <= bob.datagrams_received, "{arrived} of {}", bob.datagrams_received);
        let in_time = alice.datagrams_in_time as f64 * 100.0 / f64::from(flow.messages);
        assert!((in_time - on_time).abs() < 0.3, "told {in_time} %, were {on_time} %");
    }
}
