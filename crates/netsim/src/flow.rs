//! Chance, one stream of it for each flow.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::Loss;

/// The packets from one address to another.
#[derive(Debug)]
pub(crate) struct Flow {
    random: ChaCha8Rng,
    in_burst: bool,
    /// Nothing that keeps its order arrives before this.
    pub(crate) last_arrival: Option<Instant>,
}

impl Flow {
    /// The same seed and addresses always give the same chances.
    pub(crate) fn new(seed: u64, from: SocketAddr, to: SocketAddr) -> Self {
        Self::of_stream(seed, Name::default().addresses(from, to))
    }

    /// Chances for a world, where packets meet several lanes on their way: those of one lane say
    /// nothing about those of the next.
    pub(crate) fn in_lane(
        seed: u64,
        lane: &str,
        protocol: u8,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Self {
        let name = Name::default().bytes(lane.bytes()).bytes([0, protocol]);
        Self::of_stream(seed, name.addresses(from, to))
    }

    fn of_stream(seed: u64, Name(number): Name) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number);
        Self { random, in_burst: false, last_arrival: None }
    }

    /// The draws of the next packet: always as many, and all of them, whatever it meets.
    pub(crate) fn draw(&mut self) -> Draws {
        Draws {
            step: self.random.next_u64(),
            loss: self.random.next_u64(),
            jitter: self.random.next_u64(),
            reorder: self.random.next_u64(),
            duplicate: self.random.next_u64(),
            duplicate_jitter: self.random.next_u64(),
            corrupt: self.random.next_u64(),
            corrupt_bit: self.random.next_u64(),
        }
    }

    /// Steps the chain of bursts and decides whether the packet is lost.
    pub(crate) fn loses(&mut self, loss: Loss, draws: &Draws) -> bool {
        match loss {
            Loss::None => false,
            Loss::Random(probability) => happens(probability, draws.loss),
            Loss::Burst { begin, end, good, bad } => {
                let turns = happens(if self.in_burst { end } else { begin }, draws.step);
                self.in_burst ^= turns;
                happens(if self.in_burst { bad } else { good }, draws.loss)
            }
        }
    }
}

/// One packet's share of chance: eight numbers, one block of ChaCha.
#[derive(Debug)]
pub(crate) struct Draws {
    step: u64,
    loss: u64,
    pub(crate) jitter: u64,
    pub(crate) reorder: u64,
    pub(crate) duplicate: u64,
    pub(crate) duplicate_jitter: u64,
    pub(crate) corrupt: u64,
    pub(crate) corrupt_bit: u64,
}

/// Whether something of this probability happens under this draw.
pub(crate) fn happens(probability: f64, draw: u64) -> bool {
    unit(draw) < probability
}

/// A part of `whole`, evenly drawn.
pub(crate) fn part(whole: Duration, draw: u64) -> Duration {
    whole.mul_f64(unit(draw))
}

/// The draw as a number from 0 to just under 1.
fn unit(draw: u64) -> f64 {
    const STEPS: f64 = (1_u64 << 53) as f64;
    (draw >> 11) as f64 / STEPS
}

/// A number for what a flow is called that is the same on every system (FNV-1a, 64 bits).
struct Name(u64);

impl Default for Name {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Name {
    fn bytes(self, bytes: impl IntoIterator<Item = u8>) -> Self {
        let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.into_iter().fold(self.0, mix))
    }

    fn addresses(self, from: SocketAddr, to: SocketAddr) -> Self {
        self.address(from).address(to)
    }

    fn address(self, address: SocketAddr) -> Self {
        match address.ip() {
            IpAddr::V4(ip) => self.bytes(ip.octets()),
            IpAddr::V6(ip) => self.bytes(ip.octets()),
        }
        .bytes(address.port().to_be_bytes())
    }
}
