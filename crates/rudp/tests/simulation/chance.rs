//! Draws from a seed.

use std::{ops::RangeInclusive, time::Duration};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// A stream of draws; each `purpose` has its own, so that more draws for one never change another.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(purpose);
        Self(random)
    }

    /// A number within the range, evenly drawn (the bias of the remainder does not matter here).
    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + self.0.next_u64() % (high - low + 1)
    }

    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.within(1..=times) == 1
    }

    pub(crate) fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// Zero to `2^bits - 1`, every order of magnitude as likely as any other.
    pub(crate) fn size(&mut self, bits: u64) -> u64 {
        let bits = self.within(0..=bits);
        self.within(0..=(1 << bits) - 1)
    }

    pub(crate) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }
}
