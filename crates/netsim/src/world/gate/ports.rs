//! Which outside port an inside socket gets.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::topology::PortAllocation;

/// Ports that are given to sockets with a well-known one (RFC 4787 §4.2.1, REQ-3).
const LOW: Range = Range { first: 2, count: 1022 };
/// Ports that are given to all others.
const HIGH: Range = Range { first: 1024, count: 64_512 };
/// Random ports that are tried before the next free one is taken.
const TRIES_MAX: u32 = 64;

/// The allocation of one translator and protocol.
#[derive(Debug)]
pub(super) struct Ports {
    allocation: PortAllocation,
    random: ChaCha8Rng,
    /// The next of a sequence, counted from the first port of the range.
    next: u32,
    /// What a port that would be kept is moved by, since the last rebinding; even, for parity.
    shift: u32,
}

/// As many even ports as odd ones.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u16,
    count: u16,
}

impl Ports {
    /// All chance comes from the seed; translators and protocols have streams of their own.
    pub(super) fn new(allocation: PortAllocation, seed: u64, stream: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        let next = random.next_u32();
        Self { allocation, random, next, shift: 0 }
    }

    /// Sockets get other ports than before.
    pub(super) fn rebind(&mut self) {
        let skip = u32::from(HIGH.count / 2 - 1);
        self.shift = self.shift.wrapping_add(2 + 2 * (self.random.next_u32() % skip));
        self.next = self.next.wrapping_add(1 + self.random.next_u32() % skip);
    }

    /// A free port for a socket; `None`: there is none.
    pub(super) fn choose(&mut self, inside: u16, is_free: impl Fn(u16) -> bool) -> Option<u16> {
        match self.allocation {
            PortAllocation::Preserving => self.preserve(inside, is_free),
            PortAllocation::Sequential => {
                let port = first_free(HIGH, self.next, 1, is_free)?;
                self.next = HIGH.index(port) + 1;
                Some(port)
            }
            PortAllocation::Random => {
                let tries = (0..TRIES_MAX).map(|_| HIGH.port(self.random.next_u32()));
                let start = self.next;
                let mut tries = tries;
                tries.find(|port| is_free(*port)).or_else(|| first_free(HIGH, start, 1, is_free))
            }
        }
    }

    /// The same port, else the next free one of the same parity (RFC 4787 §4.2.2), else any.
    fn preserve(&self, inside: u16, is_free: impl Fn(u16) -> bool) -> Option<u16> {
        let range = if inside < HIGH.first { LOW } else { HIGH };
        let preferred = range.index(inside).wrapping_add(self.shift % u32::from(range.count));
        first_free(range, preferred, 2, &is_free)
            .or_else(|| first_free(range, preferred + 1, 2, &is_free))
            .or_else(|| first_free(HIGH, 0, 1, &is_free))
    }
}

impl Range {
    /// The port at an index, which may run round and round.
    #[expect(clippy::cast_possible_truncation, reason = "less than count, which is a u16")]
    const fn port(self, index: u32) -> u16 {
        self.first + (index % self.count as u32) as u16
    }

    /// The index of a port; ports below the range count as its first.
    fn index(self, port: u16) -> u32 {
        u32::from(port.saturating_sub(self.first))
    }
}

fn first_free(range: Range, start: u32, step: u32, is_free: impl Fn(u16) -> bool) -> Option<u16> {
    let start = start % u32::from(range.count);
    let count = u32::from(range.count) / step;
    (0..count).map(|turn| range.port(start + turn * step)).find(|port| is_free(*port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(allocation: PortAllocation) -> Ports {
        Ports::new(allocation, 1, 2)
    }

    #[test]
    fn a_port_is_found_while_there_is_one() {
        for allocation in
            [PortAllocation::Preserving, PortAllocation::Sequential, PortAllocation::Random]
        {
            assert_eq!(ports(allocation).choose(5000, |port| port == 40_001), Some(40_001));
            assert_eq!(ports(allocation).choose(5000, |_| false), None);
        }
    }

    #[test]
    fn well_known_ports_stay_so_while_they_can() {
        let mut ports = ports(PortAllocation::Preserving);
        assert_eq!(ports.choose(1023, |port| port != 1023), Some(3));
        assert_eq!(ports.choose(53, |port| port >= 1024), Some(1024));
        assert_eq!(ports.choose(0, |_| true), Some(2));
    }

    #[test]
    fn the_last_port_is_followed_by_the_first_of_its_parity() {
        let mut ports = ports(PortAllocation::Preserving);
        assert_eq!(ports.choose(65_535, |port| port != 65_535), Some(1025));
        assert_eq!(ports.choose(65_534, |port| port != 65_534), Some(1024));
    }

    #[test]
    fn rebinding_moves_kept_ports_and_keeps_their_parity() {
        let mut ports = ports(PortAllocation::Preserving);
        for _ in 0..100 {
            let before = ports.choose(5001, |_| true);
            ports.rebind();
            let after = ports.choose(5001, |_| true);
            assert_ne!(before, after);
            assert_eq!(after.map(|port| port % 2), Some(1));
        }
    }
}
