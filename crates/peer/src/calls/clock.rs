//! Whether the other side of a call lives, how far away it is, and what its clock says.

use portolan_protocol::Clock;
use tokio::time::{Duration, Instant};

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A side of which nothing is heard for so long is gone: it answers every second.
const SILENCE: Duration = Duration::from_secs(6);
/// Answers that are looked at for the one that was fastest.
const KEPT: usize = 16;

/// Asks the other side's clock about once a second.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    /// Our clock begins here.
    origin: Instant,
    ask_at: Instant,
    heard_at: Instant,
    samples: Vec<Sample>,
}

/// One answer.
#[derive(Debug, Clone, Copy)]
struct Sample {
    rtt: Duration,
    /// What the other's clock is ahead of ours, in microseconds.
    ahead_us: i64,
}

impl ClockWatch {
    pub(crate) fn new(now: Instant) -> Self {
        Self { origin: now, ask_at: now, heard_at: now, samples: Vec::new() }
    }

    /// Another stream is there: it has a while to show that it lives.
    pub(crate) fn restart(&mut self, now: Instant) {
        (self.ask_at, self.heard_at) = (now, now);
    }

    pub(crate) fn on_heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        self.heard_at + SILENCE <= now
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Instant {
        self.ask_at.min(self.heard_at + SILENCE)
    }

    /// What to ask now, if it is time.
    pub(crate) fn question(&mut self, now: Instant) -> Option<Clock> {
        if self.ask_at > now {
            return None;
        }
        self.ask_at = now + ASK_EVERY;
        Some(Clock { asked: self.micros(now), told: None })
    }

    /// Takes a question or an answer; gives the answer that is due.
    pub(crate) fn on_clock(&mut self, now: Instant, clock: Clock) -> Option<Clock> {
        let ours = self.micros(now);
        let Some(told) = clock.told else {
            return Some(Clock { asked: clock.asked, told: Some(ours) });
        };
        // What we have not asked is no answer.
        let rtt = ours.checked_sub(clock.asked)?;
        let middle = clock.asked + rtt / 2;
        let ahead_us = i64::try_from(told).ok()?.checked_sub(i64::try_from(middle).ok()?)?;
        if self.samples.len() == KEPT {
            self.samples.remove(0);
        }
        self.samples.push(Sample { rtt: Duration::from_micros(rtt), ahead_us });
        None
    }

    /// The latest round trip.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.samples.last().map(|sample| sample.rtt)
    }

    /// Our instant of a time of the other's clock, by the fastest of the latest answers: in it the
    /// two ways differed least.
    pub(crate) fn instant_of(&self, theirs_us: u64) -> Option<Instant> {
        let best = self.samples.iter().min_by_key(|sample| sample.rtt)?;
        let ours = i64::try_from(theirs_us).ok()?.checked_sub(best.ahead_us)?;
        self.origin.checked_add(Duration::from_micros(u64::try_from(ours).ok()?))
    }

    /// Our clock in microseconds.
    pub(crate) fn micros(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, Instant};

    use super::{ClockWatch, SILENCE};

    #[test]
    fn the_fastest_answer_tells_the_others_clock() {
        let start = Instant::now();
        // Bob's clock began five seconds later.
        let (mut alice, mut bob) =
            (ClockWatch::new(start), ClockWatch::new(start + Duration::from_secs(5)));
        let mut now = start + Duration::from_secs(20);
        for (there, back) in [(10, 90), (20, 20), (300, 5), (40, 60)] {
            let question = alice.question(now).unwrap();
            now += Duration::from_millis(there);
            let answer = bob.on_clock(now, question).unwrap();
            now += Duration::from_millis(back);
            assert_eq!(alice.on_clock(now, answer), None);
            now += Duration::from_secs(2);
        }
        assert_eq!(alice.rtt(), Some(Duration::from_millis(100)));
        let told = bob.micros(now);
        assert_eq!(alice.instant_of(told), Some(now), "the middle of the fastest was right");
    }

    #[test]
    fn lies_about_clocks_are_harmless() {
        use portolan_protocol::Clock;

        let start = Instant::now();
        let mut alice = ClockWatch::new(start);
        let now = start + Duration::from_secs(1);
        for (asked, told) in [(u64::MAX, 0), (0, u64::MAX), (0, i64::MAX as u64), (9, 1)] {
            assert_eq!(alice.on_clock(now, Clock { asked, told: Some(told) }), None);
        }
        for theirs in [0, 1, u64::MAX, i64::MAX as u64] {
            let _ = alice.instant_of(theirs);
        }
    }

    #[test]
    fn who_says_nothing_is_gone_and_one_word_is_enough() {
        let start = Instant::now();
        let mut watch = ClockWatch::new(start);
        assert!(!watch.is_silent(start));
        assert!(watch.is_silent(start + SILENCE));
        watch.on_heard(start + SILENCE);
        assert!(!watch.is_silent(start + SILENCE));
    }
}
