//! Whether the remote receives at an address: a question that only who reads it can answer
//! (RFC 9000 §8.2).

use std::time::{Duration, Instant};

/// Questions whose answers still count; older ones are forgotten.
const ASKED_MAX: usize = 4;

/// A validation is not given up before this, so that a lossy path gets more than one chance.
const PATIENCE_MIN: Duration = Duration::from_secs(3);

/// Questions are not asked more often than this.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// The validation of one path.
#[derive(Debug)]
pub(crate) struct Challenge {
    asked: [Option<([u8; 8], Instant)>; ASKED_MAX],
    next: Instant,
    interval: Duration,
    until: Instant,
}

impl Challenge {
    /// Begins now; `probe_delay` is how long an answer may take.
    pub(crate) fn new(now: Instant, probe_delay: Duration) -> Self {
        Self {
            asked: [None; ASKED_MAX],
            next: now,
            interval: probe_delay.max(INTERVAL_MIN),
            // RFC 9000 §8.2.4.
            until: now + (3 * probe_delay).max(PATIENCE_MIN),
        }
    }

    /// Whether it is time to ask, again or for the first time.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next <= now && !self.is_over(now)
    }

    /// Whether the remote has had all the time there is.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Instant {
        self.next.min(self.until)
    }

    /// A question is on its way. What it asks is never asked again.
    pub(crate) fn on_sent(&mut self, now: Instant, data: [u8; 8]) {
        self.asked.rotate_right(1);
        self.asked[0] = Some((data, now));
        self.next = now + self.interval;
    }

    /// When the question was asked that this answers, if it was.
    pub(crate) fn answered(&self, data: [u8; 8]) -> Option<Instant> {
        self.asked.iter().flatten().find(|(asked, _)| *asked == data).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::epoch;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_asks_again_until_its_time_is_over() {
        let mut challenge = Challenge::new(epoch(), 100 * MS);
        let mut asked = 0_u8;
        let mut now = epoch();
        while !challenge.is_over(now) {
            if challenge.is_due(now) {
                challenge.on_sent(now, [asked; 8]);
                asked += 1;
            }
            now = challenge.deadline();
        }
        assert_eq!((asked, now), (30, epoch() + PATIENCE_MIN));
        assert!(!challenge.is_due(now));
    }

    #[test]
    fn only_the_last_questions_can_be_answered() {
        let mut challenge = Challenge::new(epoch(), 100 * MS);
        for number in 0..6 {
            challenge.on_sent(epoch() + MS * u32::from(number), [number; 8]);
        }
        assert_eq!(challenge.answered([5; 8]), Some(epoch() + 5 * MS));
        assert_eq!(challenge.answered([2; 8]), Some(epoch() + 2 * MS));
        assert_eq!(challenge.answered([1; 8]), None);
        assert_eq!(challenge.answered([9; 8]), None);
    }
}
