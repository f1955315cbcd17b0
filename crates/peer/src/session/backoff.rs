//! How long to wait before the next attempt to come back: exponential, with full jitter.

use std::time::Duration;

use crate::Backoff;

/// The longest rest that a server may ask for.
const REST_MAX: Duration = Duration::from_secs(600);

/// Counts attempts and says how long to wait before each; time and chance are arguments.
#[derive(Debug)]
pub(crate) struct Waits {
    backoff: Backoff,
    failures: u32,
}

impl Waits {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0 }
    }

    /// The wait before the next attempt: anything between nothing and a ceiling that doubles, so
    /// that those who lost the same server do not come back at the same moment. It starts after
    /// the `rest` that the server has asked for.
    pub(crate) fn next(&mut self, random: u64, rest: Option<Duration>) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(random.checked_rem(nanos.saturating_add(1)).unwrap_or(0));
        rest.unwrap_or_default().min(REST_MAX) + jitter
    }

    /// A session is over that has lasted so long: one that has outlived the last wait starts
    /// afresh, so that a server which lets us in and drops us is not hurried.
    pub(crate) fn on_session(&mut self, lasted: Duration) {
        if lasted >= self.ceiling() {
            self.failures = 0;
        }
    }

    fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.backoff.start.saturating_mul(factor).min(self.backoff.cap)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{REST_MAX, Waits};
    use crate::Backoff;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn waits() -> Waits {
        Waits::new(Backoff { start: ms(500), cap: ms(30_000), give_up_after: None })
    }

    #[test]
    fn the_longest_wait_doubles_up_to_the_cap() {
        let mut waits = waits();
        let ceilings = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        for ceiling in ceilings {
            // The largest remainder is the ceiling itself.
            let nanos = u64::try_from(ms(ceiling).as_nanos()).unwrap();
            assert_eq!(waits.next(nanos, None), ms(ceiling));
        }
        (0..100).for_each(|random| assert!(waits.next(random, None) <= ms(30_000)));
    }

    #[test]
    fn chance_chooses_anything_below_the_ceiling() {
        let half = u64::try_from(ms(250).as_nanos()).unwrap();
        for (random, wanted) in [(0, ms(0)), (half, ms(250)), (2 * half + 1, ms(0))] {
            assert_eq!(waits().next(random, None), wanted);
        }
        assert!(waits().next(u64::MAX, None) <= ms(500));
    }

    #[test]
    fn the_rest_that_a_server_asks_for_comes_first_and_is_bounded() {
        assert_eq!(waits().next(0, Some(ms(5000))), ms(5000));
        let longest = waits().next(u64::MAX, Some(Duration::MAX));
        assert!((REST_MAX..=REST_MAX + ms(500)).contains(&longest), "{longest:?}");
    }

    #[test]
    fn only_a_session_that_lasted_makes_the_waits_short_again() {
        let mut waits = waits();
        let total: Duration = (0..4).map(|_| waits.next(0, None)).sum();
        assert_eq!(total, ms(0));
        waits.on_session(ms(100));
        assert_eq!(waits.ceiling(), ms(8000));
        waits.on_session(ms(8000));
        assert_eq!(waits.ceiling(), ms(500));
    }

    #[test]
    fn a_backoff_of_nothing_waits_for_nothing() {
        let mut waits = Waits::new(Backoff { start: ms(0), cap: ms(0), give_up_after: None });
        assert_eq!(waits.next(u64::MAX, None), ms(0));
    }
}
