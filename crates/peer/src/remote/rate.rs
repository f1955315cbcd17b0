//! How often something may happen.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket of `burst` tokens that fills in `period`.
#[derive(Debug)]
pub(crate) struct Rate {
    tokens: f64,
    burst: f64,
    period: Duration,
    filled_at: Instant,
}

impl Rate {
    pub(crate) fn new(now: Instant, burst: u32, period: Duration) -> Self {
        let burst = f64::from(burst.max(1));
        Self { tokens: burst, burst, period, filled_at: now }
    }

    /// Takes a token, or says when there will be one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        let per_second = self.burst / self.period.as_secs_f64();
        self.tokens = (self.tokens + passed * per_second).min(self.burst);
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(now + Duration::from_secs_f64((1.0 - self.tokens) / per_second))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Rate;

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let start = Instant::now();
        let mut rate = Rate::new(start, 3, Duration::from_secs(3));
        assert!((0..3).all(|_| rate.take(start).is_ok()));
        let next = rate.take(start).unwrap_err();
        assert!(next > start && next <= start + Duration::from_millis(1001));
        assert!(rate.take(start + Duration::from_millis(1100)).is_ok());
        assert!(rate.take(start + Duration::from_millis(1200)).is_err());
    }
}
