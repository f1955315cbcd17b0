//! Chance that can be repeated.

use std::env;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const DEFAULT: u64 = 7275;

/// The run's seed: `SEED` of the environment, or always the same.
pub(crate) fn seed() -> u64 {
    env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(DEFAULT)
}

pub(crate) fn chance() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed())
}
