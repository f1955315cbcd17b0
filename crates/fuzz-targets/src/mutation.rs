//! Cuts and mutations of valid inputs, from a seed.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// Derives damaged inputs from valid ones.
#[derive(Debug)]
pub struct Mutator {
    random: ChaCha8Rng,
}

impl Mutator {
    /// The same seed always makes the same damage.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// One damaged copy of `valid`: cut, extended, or with some bits or bytes changed.
    pub fn damage(&mut self, valid: &[u8]) -> Vec<u8> {
        let mut bytes = valid.to_vec();
        match self.below(5) {
            0 => bytes.truncate(self.below(bytes.len())),
            1 => self.change(&mut bytes, |byte, draw| byte ^ (1 << (draw % 8))),
            2 => self.change(&mut bytes, |_, draw| [0, 0x3f, 0x7f, 0xbf, 0xc0, 0xff][draw % 6]),
            3 => self.repeat_a_part(&mut bytes),
            _ => self.remove_a_part(&mut bytes),
        }
        bytes
    }

    /// Changes one to four bytes.
    fn change(&mut self, bytes: &mut [u8], change: fn(u8, usize) -> u8) {
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len());
            let draw = self.below(1 << 16);
            if let Some(byte) = bytes.get_mut(place) {
                *byte = change(*byte, draw);
            }
        }
    }

    fn repeat_a_part(&mut self, bytes: &mut Vec<u8>) {
        let start = self.below(bytes.len());
        let end = (start + 1 + self.below(16)).min(bytes.len());
        let part = bytes.get(start..end).unwrap_or_default().to_vec();
        bytes.splice(start..start, part);
    }

    fn remove_a_part(&mut self, bytes: &mut Vec<u8>) {
        let start = self.below(bytes.len());
        let end = (start + 1 + self.below(8)).min(bytes.len());
        bytes.drain(start..end);
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        let draw = usize::try_from(self.random.next_u32()).unwrap_or_default();
        draw.checked_rem(bound).unwrap_or_default()
    }
}
