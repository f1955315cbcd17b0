//! How many copies follow a message before anybody knows whether it was lost, and when.
//!
//! What decides is the chance that a message is not there in time. A repair that follows a loss
//! costs least and comes after a round trip: where the deadline leaves room for so many of them
//! that the chance is small enough, nothing is sent in advance. Else copies are, each so long after
//! the one before that a burst of losses does not take both.

use std::time::{Duration, Instant};

use super::{
    group::{Shape, span},
    loss::Loss,
};

/// The chance to be late or lost that is good enough.
const TARGET: f64 = 1e-4;

/// What was begun is kept up until it is this much better than good enough.
const KEEP: f64 = 0.25;

/// The chance of a copy to be lost with its message from which on it is not waited for.
const DOUBT: f64 = 0.2;

/// Copies of one message in advance, at most.
pub(super) const COPIES_MAX: u16 = 3;

/// Messages between a message and its copy, at most.
const APART_MAX: u16 = 3;

/// A copy that cannot ride in the packet of a later message follows alone after this time.
const ALONE_AFTER: Duration = Duration::from_millis(5);

/// From when on it may ride in a packet of something else: not in the same train.
const APART_MIN: Duration = Duration::from_millis(3);

/// What a copy waits for a packet to ride in beyond the time at which one is expected.
const PATIENCE: Duration = Duration::from_millis(2);

/// A silent remote is asked this long after half a round trip beyond the usual answer.
const PROBE_AFTER: Duration = Duration::from_millis(30);

/// Attempts beyond which more make no difference.
const ROUNDS_MAX: i32 = 8;

/// Pauses longer than this say nothing about the flow's rhythm.
const PAUSE: Duration = Duration::from_millis(500);

/// The rhythm of the flow, and what its way loses.
#[derive(Debug)]
pub(super) struct Planner {
    pub(super) loss: Loss,
    /// From one message to the next, on average.
    interval: Option<Duration>,
    last: Option<Instant>,
    /// Copies are being sent.
    is_needed: bool,
}

/// What is to be protected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// Until the message expires.
    pub(super) left: Duration,
    pub(super) round_trip: Duration,
    /// Copies that are affordable.
    pub(super) copies_max: u16,
    pub(super) occasion: Occasion,
}

/// What was just sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A message for the first time.
    First,
    /// A lost one again.
    Repair,
}

/// When copies follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Plan {
    pub(super) copies: u16,
    /// From when on the first may ride in another packet, and each further one after the one
    /// before.
    pub(super) earliest: Duration,
    /// When the first goes alone, and each further one after the one before.
    pub(super) latest: Duration,
}

impl Planner {
    pub(super) fn new() -> Self {
        Self { loss: Loss::new(), interval: None, last: None, is_needed: false }
    }

    /// A message was sent for the first time.
    pub(super) fn on_sent(&mut self, now: Instant) {
        let Some(last) = self.last.replace(now) else { return };
        let since = now.saturating_duration_since(last);
        if since > PAUSE {
            self.interval = None;
            return;
        }
        self.interval = Some(match self.interval {
            None => since,
            Some(interval) => (interval * 7 + since) / 8,
        });
    }

    /// What to do for a message that was sent just now.
    pub(super) fn plan(&mut self, wish: Wish) -> Plan {
        if !self.is_needed(wish) {
            return Plan::default();
        }
        let mut best = (f64::MAX, Plan::default());
        for copies in 1..=wish.copies_max.min(COPIES_MAX) {
            for apart in 1..=APART_MAX {
                let Some(plan) = self.timed(copies, apart, wish) else { continue };
                let failure = self.failure_in_time(plan, apart, wish);
                if failure <= TARGET {
                    return plan;
                }
                // More, or later, only for a good reason.
                if failure < best.0 * 0.5 {
                    best = (failure, plan);
                }
            }
        }
        best.1
    }

    /// How to group messages that are too long to be copied: the cheapest shape that is good
    /// enough and may be afforded, else the best; `None` where nothing is needed, or where a group
    /// would fill too slowly.
    pub(super) fn shape(&mut self, wish: Wish, share_max: f64) -> Option<Shape> {
        if !self.is_needed(wish) {
            return None;
        }
        let interval = self.interval?.max(Duration::from_micros(1));
        let fills = span(wish.left, wish.round_trip).as_secs_f64() / interval.as_secs_f64();
        let fits = |shape: &&Shape| {
            let cost = f64::from(shape.parities) / f64::from(shape.members);
            f64::from(shape.members) <= fills && cost <= share_max
        };
        let mut best: Option<(f64, Shape)> = None;
        for &shape in Shape::ALL.iter().filter(fits) {
            let wait = interval * u32::from(shape.members);
            let rounds = self.rounds(Plan { copies: 1, earliest: wait, latest: wait }, wish);
            let failure = shape.failure(self.loss.share()).powi(rounds);
            if failure <= TARGET {
                return Some(shape);
            }
            if best.is_none_or(|(least, _)| failure < least) {
                best = Some((failure, shape));
            }
        }
        best.map(|(_, shape)| shape)
    }

    /// Whether the copy of a lost message is likely to be lost as well: losses come in bursts.
    pub(super) fn doubts_copies(&self) -> bool {
        self.loss.share_after_loss() > DOUBT
    }

    /// Whether repairs alone are not good enough.
    fn is_needed(&mut self, wish: Wish) -> bool {
        let keeps = self.is_needed && wish.occasion == Occasion::First;
        let target = if keeps { TARGET * KEEP } else { TARGET };
        let is_needed = self.failure_in_time(Plan::default(), 1, wish) > target;
        match wish.occasion {
            Occasion::First => self.is_needed = is_needed,
            Occasion::Repair => {}
        }
        is_needed
    }

    /// The chance that neither a message nor its copies nor any repair for which there is time
    /// arrive.
    fn failure_in_time(&self, plan: Plan, apart: u16, wish: Wish) -> f64 {
        self.failure(plan.copies, apart).powi(self.rounds(plan, wish))
    }

    /// Attempts for which there is time: the first, and one for each time that the loss of a
    /// message and its copies can be noticed and answered.
    fn rounds(&self, plan: Plan, wish: Wish) -> i32 {
        let Wish { left, round_trip, .. } = wish;
        let spread = match self.interval {
            Some(interval) if plan.latest > interval => {
                plan.latest.saturating_sub(interval / 2 + PATIENCE)
            }
            Some(_) | None => plan.latest,
        } * u32::from(plan.copies);
        // The next message tells, or a probe.
        let probe = round_trip / 2 + PROBE_AFTER;
        let notice = self.interval.map_or(probe, |interval| interval.min(probe));
        let round = spread + round_trip + notice.max(round_trip / 8);
        let mut rounds = 1;
        let mut arrival = round_trip / 2 + round;
        while arrival <= left && rounds < ROUNDS_MAX {
            rounds += 1;
            arrival += round;
        }
        rounds
    }

    /// The chance that a message and all its copies are lost. Losses of packets that follow one
    /// another are taken to be those of a channel with a good and a bad state.
    fn failure(&self, copies: u16, apart: u16) -> f64 {
        let (share, after) = (self.loss.share(), self.loss.share_after_loss());
        let memory = ((after - share) / (1.0 - share).max(1e-9)).clamp(0.0, 1.0);
        let again = share + (1.0 - share) * memory.powi(apart.into());
        share * again.powi(copies.into())
    }

    /// So many copies, each so many messages after the one before; `None`: there is no time.
    fn timed(&self, copies: u16, apart: u16, wish: Wish) -> Option<Plan> {
        let slack = wish.left.saturating_sub(wish.round_trip / 2);
        let fits = |plan: &Plan| plan.latest * u32::from(copies) < slack;
        let riding = |interval: Duration, apart: u16| Plan {
            copies,
            earliest: interval * u32::from(apart - 1) + (interval / 4).min(APART_MIN),
            latest: interval * u32::from(apart) + interval / 2 + PATIENCE,
        };
        match self.interval {
            Some(interval) if fits(&riding(interval, 1)) => Some(riding(interval, apart)),
            Some(_) | None if apart == 1 => {
                Some(Plan { copies, earliest: ALONE_AFTER, latest: ALONE_AFTER })
            }
            Some(_) | None => None,
        }
        .filter(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A planner that saw 2,000 messages at this interval, of which those were lost that
    /// `is_lost` names.
    fn planner(interval: Duration, is_lost: impl Fn(u64) -> bool) -> Planner {
        #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
        let (mut planner, mut now) = (Planner::new(), Instant::now());
        for sequence in 0..2_000 {
            planner.on_sent(now);
            now += interval;
            match is_lost(sequence) {
                true => planner.loss.on_lost(sequence),
                false => planner.loss.on_arrived(),
            }
        }
        planner
    }

    fn wish(left: Duration, round_trip: Duration) -> Wish {
        Wish { left, round_trip, copies_max: COPIES_MAX, occasion: Occasion::First }
    }

    #[test]
    fn nothing_is_copied_where_nothing_is_lost() {
        let mut planner = planner(20 * MS, |_| false);
        assert_eq!(planner.plan(wish(150 * MS, 50 * MS)), Plan::default());
        assert_eq!(planner.plan(wish(30 * MS, 50 * MS)), Plan::default());
    }

    #[test]
    fn nothing_is_copied_where_there_is_time_to_repair() {
        let mut planner = planner(20 * MS, |sequence| sequence % 20 == 3);
        assert_eq!(planner.plan(wish(150 * MS, 20 * MS)), Plan::default());
        assert_eq!(planner.plan(wish(2_000 * MS, 50 * MS)), Plan::default());
    }

    #[test]
    fn one_copy_rides_in_the_next_packet_where_one_repair_is_too_few() {
        let mut planner = planner(20 * MS, |sequence| sequence % 20 == 3);
        let plan = planner.plan(wish(150 * MS, 50 * MS));
        assert_eq!(plan.copies, 1);
        assert!(plan.earliest < 20 * MS && plan.latest > 20 * MS, "{plan:?}");
    }

    #[test]
    fn more_copies_follow_where_no_repair_can_come_in_time() {
        let mut planner = planner(5 * MS, |sequence| sequence % 20 == 3);
        assert_eq!(planner.plan(wish(60 * MS, 50 * MS)).copies, 3);
    }

    #[test]
    fn a_copy_keeps_its_distance_where_losses_come_in_bursts() {
        let mut planner = planner(20 * MS, |sequence| sequence % 40 < 3);
        let plan = planner.plan(Wish { copies_max: 1, ..wish(150 * MS, 50 * MS) });
        assert!(plan.earliest >= 20 * MS, "{plan:?}");
    }

    #[test]
    fn a_copy_goes_alone_where_no_packet_follows_soon() {
        let mut planner = planner(400 * MS, |sequence| sequence % 20 == 3);
        let plan = planner.plan(wish(150 * MS, 50 * MS));
        assert_eq!((plan.copies, plan.latest), (1, ALONE_AFTER));
    }
}
