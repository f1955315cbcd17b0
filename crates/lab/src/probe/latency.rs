//! A small collection of times.

use std::time::Duration;

use super::units::show;

/// Times that are kept; a probe runs for minutes, not days.
const KEPT_MAX: usize = 1 << 20;

/// Times, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies {
    values: Vec<Duration>,
}

impl Latencies {
    /// Adds one.
    pub(super) fn add(&mut self, time: Duration) {
        if self.values.len() < KEPT_MAX {
            self.values.push(time);
        }
    }

    /// The value below which `share` of all lie; zero of none.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.values.clone();
        sorted.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "at most 2^20 values")]
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^20 values")]
        #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
        let place = (share * sorted.len() as f64) as usize;
        sorted.get(place).or(sorted.last()).copied().unwrap_or_default()
    }

    /// Median, 99th percentile and the longest.
    pub(super) fn summary(&self) -> String {
        if self.values.is_empty() {
            return "unknown".to_owned();
        }
        let longest = self.values.iter().max().copied().unwrap_or_default();
        let (middle, high) = (self.quantile(0.5), self.quantile(0.99));
        format!("p50 {}, p99 {}, longest {}", show(middle), show(high), show(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let mut latencies = Latencies::default();
        for millis in (1..=100).rev() {
            latencies.add(Duration::from_millis(millis));
        }
        assert_eq!(latencies.quantile(0.5), Duration::from_millis(51));
        assert_eq!(latencies.quantile(0.99), Duration::from_millis(100));
        assert_eq!(latencies.quantile(1.0), Duration::from_millis(100));
        assert_eq!(Latencies::default().quantile(0.5), Duration::ZERO);
    }
}
