//! How often something was how large.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets with fixed upper bounds; the last one has none.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    bounds: [f64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    /// In millionths, so that it can be added to without a lock.
    sum: AtomicU64,
}

/// A histogram at one moment: how many were at most so large, for each bound.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) at_most: Vec<(f64, u64)>,
    pub(super) count: u64,
    pub(super) sum: f64,
}

impl<const N: usize> Histogram<N> {
    /// `bounds` in rising order.
    pub(super) fn new(bounds: [f64; N]) -> Self {
        Self {
            bounds,
            counts: [const { AtomicU64::new(0) }; N],
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        let count = bucket.and_then(|bucket| self.counts.get(bucket)).unwrap_or(&self.above);
        count.fetch_add(1, Ordering::Relaxed);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and nothing measured is negative"
        )]
        let millionths = (value * 1e6) as u64;
        self.sum.fetch_add(millionths, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Reading {
        let mut count = 0;
        let buckets = self.bounds.iter().zip(&self.counts);
        let at_most = buckets
            .map(|(bound, bucket)| {
                count += bucket.load(Ordering::Relaxed);
                (*bound, count)
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a sum is read by people")]
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        Reading { at_most, count: count + self.above.load(Ordering::Relaxed), sum }
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn each_bucket_counts_what_is_at_most_its_bound() {
        let histogram = Histogram::new([1.0, 2.5]);
        for value in [0.5, 1.0, 1.25, 9.0] {
            histogram.record(value);
        }
        let reading = histogram.read();
        assert_eq!(reading.at_most, [(1.0, 2), (2.5, 3)]);
        assert_eq!((reading.count, reading.sum), (4, 11.75));
    }
}
