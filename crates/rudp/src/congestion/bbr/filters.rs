//! What is remembered of the path: the fastest rate, the shortest round trip, the rounds.

use std::time::{Duration, Instant};

use crate::delivery::Sample;

/// The greatest of the last few generations.
#[derive(Debug)]
pub(super) struct WindowedMax {
    generations: u64,
    /// The best of the generation that it belongs to, newest last.
    best: [(u64, u64); 2],
}

impl WindowedMax {
    pub(super) fn new(generations: u64) -> Self {
        Self { generations, best: [(0, 0); 2] }
    }

    pub(super) fn get(&self) -> u64 {
        self.best[0].1.max(self.best[1].1)
    }

    /// Takes a value of this generation; older ones are forgotten.
    pub(super) fn offer(&mut self, generation: u64, value: u64) {
        if self.best[1].0 != generation {
            self.best = [self.best[1], (generation, 0)];
        }
        if self.best[0].0 + self.generations <= generation {
            self.best[0].1 = 0;
        }
        self.best[1].1 = self.best[1].1.max(value);
    }
}

/// Round trips, counted in what is delivered.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) count: u64,
    /// The last sample began a round.
    pub(super) is_start: bool,
    ends_at: u64,
}

impl Rounds {
    pub(super) fn on_sample(&mut self, prior_delivered: u64, delivered: u64) {
        self.is_start = prior_delivered >= self.ends_at;
        if self.is_start {
            self.ends_at = delivered;
            self.count += 1;
        }
    }

    /// A round begins with what is sent from now on.
    pub(super) fn begin(&mut self, delivered: u64) {
        self.ends_at = delivered;
    }
}

/// The shortest round trip, and whether it has to be looked at again.
#[derive(Debug, Default)]
pub(super) struct MinRtt {
    min: Option<(Duration, Instant)>,
    /// The shortest since the last look.
    recent: Option<(Duration, Instant)>,
}

impl MinRtt {
    /// How long the shortest round trip is believed.
    const BELIEVED: Duration = Duration::from_secs(10);
    /// How often the empty path is looked at, if it does not show by itself.
    const LOOK_EVERY: Duration = Duration::from_secs(5);

    pub(super) fn get(&self) -> Option<Duration> {
        self.min.map(|(min, _)| min)
    }

    /// Takes a round trip; answers whether it is time for a look.
    pub(super) fn on_sample(&mut self, now: Instant, rtt: Duration) -> bool {
        let age = |at: Instant| now.saturating_duration_since(at);
        let is_stale = self.recent.is_some_and(|(_, at)| age(at) > Self::LOOK_EVERY);
        let recent = match self.recent {
            Some((recent, at)) if rtt >= recent && !is_stale => (recent, at),
            Some(_) | None => (rtt, now),
        };
        self.recent = Some(recent);
        let is_forgotten = self.min.is_some_and(|(_, at)| age(at) > Self::BELIEVED);
        if is_forgotten || self.min.is_none_or(|(min, _)| recent.0 < min) {
            self.min = Some(recent);
        }
        is_stale
    }

    /// The look is over.
    pub(super) fn renew(&mut self, now: Instant) {
        self.recent = self.recent.map(|(recent, _)| (recent, now));
    }
}

/// Whether the path has shown all that it has.
#[derive(Debug, Default)]
pub(super) struct FullBandwidth {
    /// For good, since start-up.
    pub(super) is_reached: bool,
    /// In the present probe.
    pub(super) is_reached_now: bool,
    rate: u64,
    rounds: u8,
}

impl FullBandwidth {
    /// Rounds without growth.
    const ROUNDS: u8 = 3;

    pub(super) fn on_sample(&mut self, sample: &Sample, is_round_start: bool) {
        let Some(rate) = sample.rate else { return };
        if self.is_reached_now || !is_round_start || sample.is_app_limited {
            return;
        }
        // A quarter more is growth.
        if rate >= self.rate + self.rate / 4 {
            (self.rate, self.rounds) = (rate, 0);
            return;
        }
        self.rounds += 1;
        self.is_reached_now = self.rounds >= Self::ROUNDS;
        self.is_reached |= self.is_reached_now;
    }

    /// Growth is counted from this rate on.
    pub(super) fn begin(&mut self, rate: u64) {
        (self.rate, self.rounds, self.is_reached_now) = (rate, 0, false);
    }
}

/// How much more than the model says comes in bursts of acknowledgements.
#[derive(Debug)]
pub(super) struct Aggregation {
    since: Option<Instant>,
    delivered: u64,
    extra: WindowedMax,
}

impl Default for Aggregation {
    fn default() -> Self {
        Self { since: None, delivered: 0, extra: WindowedMax::new(2) }
    }
}

impl Aggregation {
    /// Rounds that make a generation: bursts are remembered for one to two of them.
    const ROUNDS: u64 = 5;

    pub(super) fn extra(&self) -> u64 {
        self.extra.get()
    }

    pub(super) fn restart(&mut self, now: Instant) {
        (self.since, self.delivered) = (Some(now), 0);
    }

    pub(super) fn on_acked(
        &mut self,
        now: Instant,
        bytes: u64,
        (bw, window): (u64, u64),
        rounds: &Rounds,
    ) {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since).as_nanos();
        let expected = u128::from(bw) * elapsed / 1_000_000_000;
        let mut expected = u64::try_from(expected).unwrap_or(u64::MAX);
        if self.delivered <= expected {
            self.restart(now);
            expected = 0;
        }
        self.delivered += bytes;
        let extra = self.delivered.saturating_sub(expected).min(window);
        self.extra.offer(rounds.count / Self::ROUNDS, extra);
    }
}
