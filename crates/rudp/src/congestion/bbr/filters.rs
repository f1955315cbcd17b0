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
    /// The shortest since the last look, and when it was last nearly as short.
    recent: Option<(Duration, Instant)>,
    /// When the queue was last seen to be shorter than half of the pipe.
    short_at: Option<Instant>,
    /// The round trip of the last look, if others had filled the queue.
    standing: Option<Duration>,
    /// The queue has been long for some time, and nobody has looked whose it is.
    was_long: bool,
}

impl MinRtt {
    /// How long the shortest round trip is believed.
    const BELIEVED: Duration = Duration::from_secs(10);
    /// The same while others keep the queue full: it cannot show then.
    const BELIEVED_IN_COMPANY: Duration = Duration::from_secs(30);
    /// How often the empty path is looked at, if it does not show by itself.
    const LOOK_EVERY: Duration = Duration::from_secs(5);
    /// The same when the queue has been long all the time.
    const LOOK_SOON: Duration = Duration::from_secs(2);
    /// Share of the shortest round trip above it that is as good as it.
    const NEAR: u32 = 32;
    /// A shorter queue is no company: on short ways computers make it themselves.
    const QUEUE_LEAST: Duration = Duration::from_millis(5);

    pub(super) fn get(&self) -> Option<Duration> {
        self.min.map(|(min, _)| min)
    }

    /// The round trip that the model goes by: the shortest, or what others leave of it. They may
    /// keep a queue that we cannot drain; then who has no more under way than fills the empty path
    /// gets a small share of it.
    pub(super) fn model(&self) -> Option<Duration> {
        self.standing.or(self.get())
    }

    /// Whether others fill the queue even while we do not.
    pub(super) fn is_in_company(&self) -> bool {
        self.standing.is_some()
    }

    /// Takes a round trip; answers whether the empty path has not been seen for long.
    pub(super) fn on_sample(&mut self, now: Instant, rtt: Duration) -> bool {
        let age = |at: Instant| now.saturating_duration_since(at);
        let is_stale = self.recent.is_some_and(|(_, at)| age(at) > Self::LOOK_EVERY);
        let recent = match self.recent {
            Some((recent, _)) if rtt < recent || is_stale => (rtt, now),
            Some((recent, _)) if rtt <= recent + recent / Self::NEAR => (recent, now),
            Some(recent) => recent,
            None => (rtt, now),
        };
        self.recent = Some(recent);
        let believed = match self.standing {
            Some(_) => Self::BELIEVED_IN_COMPANY,
            None => Self::BELIEVED,
        };
        let is_forgotten = self.min.is_some_and(|(_, at)| age(at) > believed);
        let is_near = self.min.is_some_and(|(min, _)| recent.0 <= min + min / Self::NEAR);
        self.min = match self.min {
            Some((min, _)) if recent.0 >= min && is_near => Some((min, recent.1)),
            Some((min, at)) if recent.0 >= min && !is_forgotten => Some((min, at)),
            Some(_) | None => Some(recent),
        };
        self.was_long = self.is_long(now, rtt);
        is_stale
    }

    /// Whether the last sample said that the queue has been long for some time, so that a look is
    /// to tell whose it is.
    pub(super) fn was_long(&self) -> bool {
        self.was_long
    }

    /// Whether the queue has been longer than the pipe for some time.
    fn is_long(&mut self, now: Instant, rtt: Duration) -> bool {
        let is_short = self.get().is_none_or(|min| rtt < min + (min / 2).max(Self::QUEUE_LEAST));
        if is_short {
            self.standing = None;
            self.short_at = Some(now);
        }
        let since = *self.short_at.get_or_insert(now);
        self.standing.is_none() && now.saturating_duration_since(since) > Self::LOOK_SOON
    }

    /// A look is over, in which this was the shortest round trip.
    pub(super) fn on_look(&mut self, now: Instant, rtt: Option<Duration>) {
        self.recent = self.recent.map(|(recent, _)| (recent, now));
        let is_empty =
            |rtt| self.get().is_none_or(|min| rtt <= min + (min / 3).max(Self::QUEUE_LEAST));
        self.standing = rtt.filter(|rtt| !is_empty(*rtt));
        self.short_at = Some(now);
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

    /// Looks at the first sample of a round.
    pub(super) fn on_round(&mut self, sample: &Sample) {
        let Some(rate) = sample.rate else { return };
        if self.is_reached_now || sample.is_app_limited {
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
