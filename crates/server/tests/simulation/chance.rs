//! Draws from a seed.

use std::ops::RangeInclusive;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// One stream of draws: the same seed always gives the same run.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number within the range, evenly drawn (the bias of the remainder does not matter here).
    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + self.number() % (high - low + 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.within(0..=end as u64 - 1) as usize
    }

    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.within(1..=times) == 1
    }
}
