//! How much to take from the machine at once.

use std::time::Duration;

use tokio::time::Instant;

/// The least: one record of TLS.
const MIN: usize = 16 << 10;

/// The most: more gains nothing on the fastest carriers.
const MAX: usize = 256 << 10;

/// What an urgent frame may wait for a batch that is under way.
const WAIT: Duration = Duration::from_millis(5);

/// How much to take from the machine at once: what the carrier takes in [`WAIT`], as far as the
/// batches before tell.
#[derive(Debug)]
pub(crate) struct Batch {
    max: usize,
    started: Instant,
}

impl Batch {
    pub(crate) fn new(now: Instant) -> Self {
        Self { max: 4 * MIN, started: now }
    }

    /// Bytes to take next.
    pub(crate) const fn max(&self) -> usize {
        self.max
    }

    /// The carrier has taken a batch of `len` bytes, and the next one starts.
    pub(crate) fn on_taken(&mut self, now: Instant, len: usize) {
        let took = now - self.started;
        self.started = now;
        // A small batch says little about the carrier.
        if len < self.max / 2 {
            return;
        }
        let fits = if took < WAIT {
            // It may be much faster than can be told from one batch.
            2 * self.max
        } else {
            usize::try_from(len as u128 * WAIT.as_nanos() / took.as_nanos()).unwrap_or(MAX)
        };
        self.max = fits.clamp(MIN, MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_carrier_gets_large_batches_and_a_slow_one_small_ones() {
        let mut now = Instant::now();
        let mut batch = Batch::new(now);
        for _ in 0..5 {
            batch.on_taken(now, batch.max());
        }
        assert_eq!(batch.max(), MAX);
        // 10 MB/s: 50 KB in five milliseconds.
        for _ in 0..3 {
            now += Duration::from_nanos(100) * u32::try_from(batch.max()).expect("small");
            batch.on_taken(now, batch.max());
        }
        assert!((40_000..120_000).contains(&batch.max()), "{}", batch.max());
        // 100 KB/s.
        for _ in 0..3 {
            now += Duration::from_micros(10) * u32::try_from(batch.max()).expect("small");
            batch.on_taken(now, batch.max());
        }
        assert_eq!(batch.max(), MIN);
    }

    #[test]
    fn a_few_bytes_say_nothing_about_the_carrier() {
        let now = Instant::now();
        let mut batch = Batch::new(now);
        let before = batch.max();
        batch.on_taken(now + Duration::from_secs(9), 100);
        assert_eq!(batch.max(), before);
    }
}
