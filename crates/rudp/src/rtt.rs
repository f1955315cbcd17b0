//! How long a round trip takes (RFC 9002 §5).

use std::time::{Duration, Instant};

/// The finest time that a system's timers are trusted with (RFC 9002 §6.1.2).
pub(crate) const GRANULARITY: Duration = Duration::from_millis(1);

#[derive(Debug, Clone)]
pub(crate) struct Rtt {
    latest: Duration,
    smoothed: Duration,
    variation: Duration,
    min: Duration,
    first_sample: Option<Instant>,
}

impl Rtt {
    /// Before any sample, `initial` is believed, and half of it as variation.
    pub(crate) fn new(initial: Duration) -> Self {
        Self {
            latest: initial,
            smoothed: initial,
            variation: initial / 2,
            min: initial,
            first_sample: None,
        }
    }

    /// Takes a sample, of which the remote says that it held back the answer for `delay`.
    pub(crate) fn on_sample(&mut self, now: Instant, sample: Duration, delay: Duration) {
        self.latest = sample;
        if self.first_sample.is_none() {
            self.first_sample = Some(now);
            self.min = sample;
            self.smoothed = sample;
            self.variation = sample / 2;
            return;
        }
        self.min = self.min.min(sample);
        let adjusted = match sample.checked_sub(delay) {
            Some(adjusted) if adjusted >= self.min => adjusted,
            _ => sample,
        };
        let error = self.smoothed.abs_diff(adjusted);
        self.variation = (self.variation * 3 + error) / 4;
        self.smoothed = (self.smoothed * 7 + adjusted) / 8;
    }

    pub(crate) fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// How much the samples differ.
    pub(crate) fn variation(&self) -> Duration {
        self.variation
    }

    /// The last sample.
    pub(crate) fn latest(&self) -> Duration {
        self.latest
    }

    pub(crate) fn min(&self) -> Duration {
        self.min
    }

    /// When the first sample was taken.
    pub(crate) fn first_sample(&self) -> Option<Instant> {
        self.first_sample
    }

    /// After how long a packet is lost that was sent before an acknowledged one: a round trip and
    /// so many eighths of it (RFC 9002 §6.1.2).
    pub(crate) fn loss_delay(&self, eighths: u32) -> Duration {
        (self.latest.max(self.smoothed) * (8 + eighths) / 8).max(GRANULARITY)
    }

    /// After how long without an acknowledgement a probe is sent (RFC 9002 §6.2.1), but for the
    /// remote's delay.
    pub(crate) fn probe_delay(&self) -> Duration {
        self.smoothed + (self.variation * 4).max(GRANULARITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::epoch;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_sample_replaces_the_guess() {
        let mut rtt = Rtt::new(100 * MS);
        rtt.on_sample(epoch(), 40 * MS, 30 * MS);
        assert_eq!((rtt.smoothed(), rtt.min()), (40 * MS, 40 * MS));
        assert_eq!(rtt.probe_delay(), 120 * MS);
    }

    #[test]
    fn a_held_back_answer_does_not_count_as_distance() {
        let mut rtt = Rtt::new(100 * MS);
        rtt.on_sample(epoch(), 40 * MS, Duration::ZERO);
        for _ in 0..100 {
            rtt.on_sample(epoch(), 65 * MS, 25 * MS);
        }
        assert!(rtt.smoothed() < 41 * MS);
    }

    #[test]
    fn a_remote_cannot_claim_a_delay_that_undercuts_the_minimum() {
        let mut rtt = Rtt::new(100 * MS);
        rtt.on_sample(epoch(), 40 * MS, Duration::ZERO);
        rtt.on_sample(epoch(), 48 * MS, 47 * MS);
        assert_eq!(rtt.smoothed(), 41 * MS);
    }
}
