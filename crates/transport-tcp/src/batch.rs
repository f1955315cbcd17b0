//! How much to take from the machine at once.

use std::time::Duration;

use tokio::time::Instant;

/// The least: one record of TLS.
const MIN: usize = 16 << 10;

/// The most: more gains nothing on the fastest carriers, and leaves the processor's cache.
const MAX: usize = 128 << 10;

/// What an urgent frame may wait for a batch that is under way.
const WAIT: Duration = Duration::from_millis(5);

/// How much to take from the machine at once: what the carrier takes in [`WAIT`], as far as the
/// batches before tell.
#[derive(Debug)]
pub(crate) struct Batch {
    max: usize,
    /// Bytes taken from the machine.
    len: usize,
    started: Instant,
}

impl Batch {
    pub(crate) fn new(now: Instant) -> Self {
        Self { max: 4 * MIN, len: 0, started: now }
    }

    /// Whether another record may be taken from the machine.
    pub(crate) const fn has_room(&self) -> bool {
        self.len < self.max
    }

    /// Whether nothing is under way.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `len` more bytes were taken from the machine.
    pub(crate) const fn on_given(&mut self, len: usize) {
        self.len += len;
    }

    /// The carrier has taken all of the batch, and the next one starts.
    pub(crate) fn on_taken(&mut self, now: Instant) {
        let took = now - self.started;
        let len = std::mem::take(&mut self.len);
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
            fill(&mut batch);
            batch.on_taken(now);
        }
        assert_eq!(batch.max, MAX);
        // 10 MB/s: 50 KB in five milliseconds.
        for _ in 0..3 {
            now += Duration::from_nanos(100) * fill(&mut batch);
            batch.on_taken(now);
        }
        assert!((40_000..80_000).contains(&batch.max), "{}", batch.max);
        // 100 KB/s.
        for _ in 0..3 {
            now += Duration::from_micros(10) * fill(&mut batch);
            batch.on_taken(now);
        }
        assert_eq!(batch.max, MIN);
    }

    /// Gives it a batch as long as it may be, in bytes.
    fn fill(batch: &mut Batch) -> u32 {
        while batch.has_room() {
            batch.on_given(1000);
        }
        u32::try_from(batch.len).expect("small")
    }

    #[test]
    fn a_few_bytes_say_nothing_about_the_carrier() {
        let now = Instant::now();
        let mut batch = Batch::new(now);
        let before = batch.max;
        batch.on_given(100);
        batch.on_taken(now + Duration::from_secs(9));
        assert_eq!(batch.max, before);
        assert!(batch.is_empty());
    }
}
