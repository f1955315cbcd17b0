//! Ends slow start when the round trips begin to grow, not only when the queue is full: HyStart++
//! (RFC 9406).
//!
//! The RFC judges a round by its shortest round trip. With pacing a round begins where the one
//! before left no queue, and builds its own while it lasts: its shortest round trip says nothing
//! until it is too late. So here every eight samples are judged by their shortest; what a burst of
//! packets costs the later ones of it does not matter to the first.

use std::time::{Duration, Instant};

/// By how much the round trip must have grown: an eighth, but at least and at most so much
/// (RFC 9406 §4.2).
const DIVISOR: u32 = 8;
const GROWTH_MIN: Duration = Duration::from_millis(4);
const GROWTH_MAX: Duration = Duration::from_millis(16);

/// Samples that are judged together.
const SAMPLES: u32 = 8;

/// A conservative slow start grows by this part, and lasts for so many rounds.
const CONSERVATIVE_PART: u64 = 4;
const CONSERVATIVE_ROUNDS: u32 = 5;

/// Watches the rounds of a slow start.
#[derive(Debug, Default)]
pub(super) struct HyStart {
    /// When the newest acknowledged packet was sent.
    newest: Option<Instant>,
    /// Packets sent from then on belong to the next round.
    round_end: Option<Instant>,
    /// Shortest round trips of the last round, of this one, and of the last few samples.
    last_min: Option<Duration>,
    min: Option<Duration>,
    few_min: Duration,
    few: u32,
    doubt: Option<Doubt>,
}

/// The queue seems to grow: what may yet prove to be an error.
#[derive(Debug)]
struct Doubt {
    /// A round trip below is one.
    baseline: Duration,
    rounds: u32,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    GoOn,
    /// Slow start is over.
    Leave,
}

impl HyStart {
    /// By how much the window grows for a packet that was sent at `sent` and has arrived.
    pub(super) fn growth(&mut self, sent: Instant, bytes: u64) -> u64 {
        self.newest = self.newest.max(Some(sent));
        match self.doubt {
            None => bytes,
            Some(_) => bytes / CONSERVATIVE_PART,
        }
    }

    /// An acknowledgement was read to its end; this is the round trip of its newest packet.
    pub(super) fn on_ack(&mut self, now: Instant, rtt: Duration) -> Advice {
        if (self.round_end.is_none() || self.newest >= self.round_end)
            && self.begin_round(now) == Advice::Leave
        {
            return Advice::Leave;
        }
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
        self.few_min = if self.few == 0 { rtt } else { self.few_min.min(rtt) };
        self.few += 1;
        if self.few == SAMPLES {
            self.few = 0;
            self.judge(self.few_min);
        }
        Advice::GoOn
    }

    fn begin_round(&mut self, now: Instant) -> Advice {
        self.round_end = Some(now);
        self.last_min = self.min.take();
        self.few = 0;
        let Some(doubt) = &mut self.doubt else { return Advice::GoOn };
        doubt.rounds += 1;
        if doubt.rounds < CONSERVATIVE_ROUNDS { Advice::GoOn } else { Advice::Leave }
    }

    fn judge(&mut self, min: Duration) {
        match (&self.doubt, self.last_min) {
            (Some(doubt), _) if min < doubt.baseline => self.doubt = None,
            (None, Some(last)) if min >= last + (last / DIVISOR).clamp(GROWTH_MIN, GROWTH_MAX) => {
                self.doubt = Some(Doubt { baseline: min, rounds: 0 });
            }
            (Some(_) | None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::epoch;

    const MS: Duration = Duration::from_millis(1);

    /// A slow start of which each round has so many samples of one length.
    struct Rounds {
        hystart: HyStart,
        now: Instant,
    }

    impl Rounds {
        fn new() -> Self {
            Self { hystart: HyStart::default(), now: epoch() }
        }

        fn pass(&mut self, rtt_ms: u32, samples: u32) -> Advice {
            let (sent, rtt) = (self.now, rtt_ms * MS);
            self.now += rtt;
            let mut advice = Advice::GoOn;
            for _ in 0..samples {
                if advice == Advice::GoOn {
                    self.hystart.growth(sent, 1_000);
                    advice = self.hystart.on_ack(self.now, rtt);
                }
            }
            advice
        }

        fn is_conservative(&self) -> bool {
            self.hystart.doubt.is_some()
        }
    }

    #[test]
    fn steady_round_trips_end_nothing() {
        let mut rounds = Rounds::new();
        for _ in 0..100 {
            assert_eq!(rounds.pass(40, 20), Advice::GoOn);
            assert!(!rounds.is_conservative());
        }
    }

    #[test]
    fn round_trips_that_have_grown_slow_it_down_and_end_it_five_rounds_later() {
        let mut rounds = Rounds::new();
        rounds.pass(40, 20);
        rounds.pass(46, 20);
        assert!(rounds.is_conservative());
        assert_eq!(rounds.hystart.growth(epoch(), 1_000), 250);
        for _ in 0..4 {
            assert_eq!(rounds.pass(46, 20), Advice::GoOn);
        }
        assert_eq!(rounds.pass(46, 20), Advice::Leave);
    }

    #[test]
    fn an_error_is_put_right_when_a_round_is_shorter_again() {
        let mut rounds = Rounds::new();
        rounds.pass(40, 20);
        rounds.pass(60, 20);
        assert!(rounds.is_conservative());
        rounds.pass(40, 20);
        assert!(!rounds.is_conservative());
    }

    #[test]
    fn a_few_samples_or_a_little_growth_show_nothing() {
        let mut rounds = Rounds::new();
        rounds.pass(40, 20);
        rounds.pass(80, 7);
        assert!(!rounds.is_conservative());
        let mut rounds = Rounds::new();
        rounds.pass(40, 20);
        rounds.pass(44, 20);
        assert!(!rounds.is_conservative());
    }
}
