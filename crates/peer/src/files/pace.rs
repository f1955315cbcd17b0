//! How fast bytes go of late, and what is left at that rate.

use std::time::Duration;

use tokio::time::Instant;

/// How much the latest rate counts against those before it.
const SMOOTHING: f64 = 0.3;

/// Looks at a count of bytes now and then.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<f64>,
    looked_at: Instant,
    counted: u64,
}

/// What it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Bytes a second.
    pub(crate) rate: u64,
    /// Until the rest is there; unknown while nothing moves.
    pub(crate) eta: Option<Duration>,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { rate: None, looked_at: now, counted: 0 }
    }

    /// Bytes count from here and from now on.
    pub(crate) fn start_at(&mut self, now: Instant, bytes: u64) {
        (self.looked_at, self.counted) = (now, bytes);
    }

    /// Bytes count from here on.
    pub(crate) fn fall_back_to(&mut self, bytes: u64) {
        self.counted = bytes;
    }

    /// Nothing is known of the rate any more: nothing goes.
    pub(crate) fn rest(&mut self) {
        self.rate = None;
    }

    /// Looks again, unless it did so lately. `left` bytes are still to come.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an estimate for people"
    )]
    pub(crate) fn look(
        &mut self,
        now: Instant,
        every: Duration,
        (bytes, left): (u64, u64),
    ) -> Option<Seen> {
        let passed = now.duration_since(self.looked_at);
        if passed < every {
            return None;
        }
        let latest = bytes.saturating_sub(self.counted) as f64 / passed.as_secs_f64().max(0.001);
        (self.looked_at, self.counted) = (now, bytes);
        let rate = self.rate.map_or(latest, |rate| rate + SMOOTHING * (latest - rate));
        self.rate = Some(rate);
        let eta = || Duration::try_from_secs_f64(left as f64 / rate).ok();
        Some(Seen { rate: rate as u64, eta: (rate >= 1.0).then(eta).flatten() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Pace, Seen};

    #[test]
    fn the_rate_follows_what_comes_and_begins_anew_after_a_rest() {
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::new(began);
        pace.start_at(began, 500);
        assert_eq!(pace.look(began, second, (600, 0)), None, "it is too early");
        let seen = Seen { rate: 1000, eta: Some(2 * second) };
        assert_eq!(pace.look(began + second, second, (1500, 2000)), Some(seen));
        let seen = Seen { rate: 700, eta: Some(second) };
        assert_eq!(pace.look(began + 2 * second, second, (1500, 700)), Some(seen));
        pace.rest();
        pace.fall_back_to(1000);
        let seen = Seen { rate: 0, eta: None };
        assert_eq!(pace.look(began + 3 * second, second, (1000, 700)), Some(seen));
    }
}
