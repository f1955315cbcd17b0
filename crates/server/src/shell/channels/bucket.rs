//! How much a side may send: so much a second, and a second's worth at once.

use std::time::Instant;

/// Counts bytes and datagrams against a rate.
#[derive(Debug)]
pub(super) struct Bucket {
    rates: [u64; 2],
    left: [u64; 2],
    filled: Instant,
}

impl Bucket {
    /// Full.
    pub(super) fn new(now: Instant, bytes: u64, datagrams: u64) -> Self {
        let rates = [bytes, datagrams];
        Self { rates, left: rates, filled: now }
    }

    /// Takes both, or nothing and says no.
    pub(super) fn take(&mut self, now: Instant, bytes: u64, datagrams: u64) -> bool {
        self.fill(now);
        let [has_bytes, has_datagrams] = self.left;
        let is_enough = bytes <= has_bytes && datagrams <= has_datagrams;
        if is_enough {
            self.left = [has_bytes - bytes, has_datagrams - datagrams];
        }
        is_enough
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_micros();
        let gain = self.rates.map(|rate| u128::from(rate) * elapsed / 1_000_000);
        // Until one more of the slower kind is due, the time is kept.
        if gain.contains(&0) && elapsed < 1_000_000 {
            return;
        }
        self.filled = now;
        for ((left, rate), gain) in self.left.iter_mut().zip(self.rates).zip(gain) {
            *left = left.saturating_add(u64::try_from(gain).unwrap_or(u64::MAX)).min(rate);
        }
    }
}
