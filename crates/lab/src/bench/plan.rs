//! Who does what in which round, and how much time each has.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::bench::{
    client::Step,
    subjects::SubjectRef,
    workload::{Needs, Rounds, WORKLOADS, Workload},
};

/// What every step costs beside its time, before any has been seen.
const OVERHEAD: Duration = Duration::from_millis(30);

/// Time for one sample is never cut below this share of what was planned.
const SCALE_MIN: f64 = 0.25;

/// Nor stretched beyond this, where somebody said how long it may all take.
pub(crate) const STRETCH_MAX: f64 = 6.0;

/// One sample on a slow link takes no longer than this.
const SAMPLE_MAX_QUICK: Duration = Duration::from_secs(3);

/// The same in a full run.
const SAMPLE_MAX_FULL: Duration = Duration::from_secs(15);

/// What all rounds over a link may take unless told otherwise.
pub(crate) const LINK_FULL: Duration = Duration::from_secs(15 * 60);

/// What a quick run may take; there is a report to write within the minute.
pub(crate) const QUICK: Duration = Duration::from_secs(54);

/// What a run was asked to do.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    pub(crate) subjects: Vec<SubjectRef>,
    /// Metrics; none: all.
    pub(crate) only: Vec<String>,
    pub(crate) rounds: u32,
    pub(crate) pace: Pace,
    pub(crate) seed: u64,
    /// Seconds for all rounds; `None`: as long as the plan takes.
    pub(crate) budget: Option<Duration>,
    /// How many times as long as planned a sample may take when there is time.
    pub(crate) stretch: f64,
    pub(crate) link: LinkTraits,
}

/// How thorough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Quick,
    Full,
}

/// What a plan has to know of the link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LinkTraits {
    /// Whether there is one, or loopback.
    pub(crate) emulated: bool,
    /// Whether packets get lost, reordered or damaged on it.
    pub(crate) lossy: bool,
    /// Its round trip.
    pub(crate) round_trip: Duration,
}

impl LinkTraits {
    pub(crate) const LOOPBACK: Self =
        Self { emulated: false, lossy: false, round_trip: Duration::ZERO };
}

/// One subject's turn in one round.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) round: u32,
    pub(crate) subject: SubjectRef,
    /// What all its workloads need.
    pub(crate) needs: Needs,
    pub(crate) workloads: Vec<&'static dyn Workload>,
}

/// Visits made at the same time: one, unless they need little.
pub(crate) type Turn<T> = Vec<T>;

/// A subject and what it can be made to do.
type Chosen = (SubjectRef, Vec<&'static dyn Workload>);

/// A metric of a subject that will have no figure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) subject: &'static str,
    pub(crate) metric: &'static str,
    pub(crate) why: String,
}

/// All visits, in order, and the time that is left for them.
#[derive(Debug)]
pub(crate) struct Plan {
    wishes: Wishes,
    turns: VecDeque<Turn<Visit>>,
    ends_at: Option<Instant>,
    overhead: Duration,
}

impl Plan {
    /// Lays out all rounds; what is left out, and why, comes second.
    pub(crate) fn new(wishes: Wishes, now: Instant) -> (Self, Vec<Skip>) {
        let mut skips = Vec::new();
        let mut chosen = Vec::new();
        for subject in &wishes.subjects {
            chosen.push((*subject, wishes.workloads_of(*subject, &mut skips)));
        }
        let mut chance = Chance(wishes.seed);
        let mut turns = VecDeque::new();
        for round in 1..=wishes.rounds {
            chance.shuffle(&mut chosen);
            turns.extend(wishes.turns(round, &chosen));
        }
        let ends_at = wishes.budget.map(|budget| now + budget);
        (Self { wishes, turns, ends_at, overhead: OVERHEAD }, skips)
    }

    /// As [`Self::new`], with nothing but what gives figures.
    pub(crate) fn without_curves(wishes: Wishes, now: Instant) -> (Self, Vec<Skip>) {
        let (mut plan, skips) = Self::new(wishes, now);
        for visit in plan.turns.iter_mut().flatten() {
            visit.workloads.retain(|workload| workload.cost().rounds == Rounds::Every);
        }
        (plan, skips)
    }

    /// The next turn with the time of each step; `None` when there is no more, or no more time.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Turn<(Visit, Vec<Step>)>> {
        if self.ends_at.is_some_and(|end| now >= end) {
            return None;
        }
        let scale = self.scale(now);
        let turn = self.turns.pop_front()?;
        let step = |workload: &&'static dyn Workload| Step {
            workload: *workload,
            time: self.wishes.time(*workload, scale),
        };
        let with_steps = |visit: Visit| {
            let steps = visit.workloads.iter().map(step).collect();
            (visit, steps)
        };
        Some(turn.into_iter().map(with_steps).collect())
    }

    /// Learns what steps cost beside their time.
    pub(crate) fn learn(&mut self, planned: Duration, took: Duration, steps: usize) {
        let extra = took.saturating_sub(planned) / u32::try_from(steps.max(1)).unwrap_or(1);
        self.overhead = (self.overhead * 3 + extra) / 4;
    }

    /// How long the rest will take.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        let (fixed, elastic) = self.remaining();
        let planned = fixed + elastic.mul_f64(self.scale(now));
        match self.ends_at {
            Some(end) => planned.min(end.saturating_duration_since(now)),
            None => planned,
        }
    }

    /// Visits that nobody will make any more.
    pub(crate) fn abandoned(&self) -> impl Iterator<Item = &Visit> {
        self.turns.iter().flatten()
    }

    fn scale(&self, now: Instant) -> f64 {
        let Some(end) = self.ends_at else { return 1.0 };
        let (fixed, elastic) = self.remaining();
        let left = end.saturating_duration_since(now).saturating_sub(fixed);
        let scale = left.as_secs_f64() / elastic.as_secs_f64().max(0.001);
        scale.clamp(SCALE_MIN, self.wishes.stretch)
    }

    /// What remains that cannot be cut, and what can.
    fn remaining(&self) -> (Duration, Duration) {
        let (mut fixed, mut elastic) = (Duration::ZERO, Duration::ZERO);
        // Visits of one turn pass at the same time: the first speaks for all.
        let visits = self.turns.iter().filter_map(|turn| turn.first());
        for workload in visits.flat_map(|visit| &visit.workloads) {
            let time = self.wishes.time(*workload, 1.0);
            fixed += self.overhead + self.wishes.link.round_trip * 4;
            if is_elastic(*workload) { elastic += time } else { fixed += time }
        }
        (fixed, elastic)
    }
}

/// Whether its time may be cut and stretched.
fn is_elastic(workload: &dyn Workload) -> bool {
    workload.cost().needs == Needs::Alone
}

impl Wishes {
    /// The workloads that serve a wanted metric and that this subject can do.
    fn workloads_of(
        &self,
        subject: SubjectRef,
        skips: &mut Vec<Skip>,
    ) -> Vec<&'static dyn Workload> {
        let mut fit = Vec::new();
        for workload in WORKLOADS.iter().copied().filter(|workload| self.wants(*workload)) {
            match self.unfit(subject, workload) {
                None => fit.push(workload),
                Some(why) => {
                    let wanted = workload.metrics().iter().filter(|metric| self.wants_id(metric));
                    skips.extend(wanted.map(|metric| Skip {
                        subject: subject.name(),
                        metric,
                        why: why.clone(),
                    }));
                }
            }
        }
        fit
    }

    fn unfit(&self, subject: SubjectRef, workload: &dyn Workload) -> Option<String> {
        subject.missing().or_else(|| self.unsuited(subject, workload).map(ToOwned::to_owned))
    }

    fn unsuited(&self, subject: SubjectRef, workload: &dyn Workload) -> Option<&'static str> {
        let traits = subject.traits();
        let cost = workload.cost();
        if self.link.lossy && !traits.repairs {
            return Some("repairs nothing, and this link loses packets");
        }
        if cost.needs == Needs::OwnProcess && self.link.emulated {
            return Some("does not depend on the link: measured without --link");
        }
        if self.pace == Pace::Quick && cost.rounds == Rounds::FullFirst {
            return Some("left out by --quick");
        }
        if self.link.emulated && self.only.is_empty() && says_nothing_new(workload) {
            return Some("the link decides it, as it decides the bulk: --only measures it");
        }
        if self.side_by_side() && self.only.is_empty() && matches_another(workload) {
            return Some("left out by --quick over a link: --only measures it");
        }
        let compared = portolan::transport(subject.name()).is_some() || is_yardstick(subject);
        if self.pace == Pace::Quick && cost.needs == Needs::OwnProcess && !compared {
            return Some("left out by --quick");
        }
        workload.unfit(&traits)
    }

    fn wants(&self, workload: &dyn Workload) -> bool {
        workload.metrics().iter().any(|metric| self.wants_id(metric))
    }

    /// Whether this metric was asked for.
    pub(crate) fn wants_id(&self, metric: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == metric)
    }

    /// One round's turns: each subject alone, then what may run together, then what needs a
    /// server process. In a quick run over a link, which is what limits them, all run together,
    /// each over a link of its own.
    fn turns(&self, round: u32, chosen: &[Chosen]) -> Vec<Turn<Visit>> {
        let visits = |needs| chosen.iter().filter_map(move |one| self.visit(round, one, needs));
        let one_by_one = |needs| visits(needs).map(|visit| vec![visit]);
        let together = |needs| std::iter::once(visits(needs).collect());
        let mut turns: Vec<Turn<Visit>> = Vec::new();
        if self.side_by_side() {
            turns.extend(together(Needs::Alone));
        } else {
            turns.extend(one_by_one(Needs::Alone));
        }
        if self.pace == Pace::Quick {
            turns.extend(together(Needs::Little));
        } else {
            turns.extend(one_by_one(Needs::Little));
        }
        turns.extend(one_by_one(Needs::OwnProcess));
        turns.retain(|turn| !turn.is_empty());
        turns
    }

    /// Whether each subject needs a link of its own.
    pub(crate) fn side_by_side(&self) -> bool {
        self.pace == Pace::Quick && self.link.emulated
    }

    fn visit(&self, round: u32, (subject, workloads): &Chosen, needs: Needs) -> Option<Visit> {
        let here = |workload: &&&'static dyn Workload| {
            let cost = workload.cost();
            cost.needs == needs && self.runs(cost.rounds, round)
        };
        let workloads: Vec<_> = workloads.iter().filter(here).copied().collect();
        (!workloads.is_empty()).then_some(Visit { round, subject: *subject, needs, workloads })
    }

    fn runs(&self, rounds: Rounds, round: u32) -> bool {
        let first = round == 1;
        match rounds {
            Rounds::Every => true,
            Rounds::QuickFirst => self.pace == Pace::Full || first,
            Rounds::First | Rounds::FullFirst => first,
        }
    }

    fn time(&self, workload: &dyn Workload, scale: f64) -> Duration {
        let cost = workload.cost();
        let (time, most) = match self.pace {
            Pace::Quick => (cost.quick, SAMPLE_MAX_QUICK),
            Pace::Full => (cost.full, SAMPLE_MAX_FULL),
        };
        let scale = if is_elastic(workload) { scale } else { 1.0 };
        let floor = (self.link.round_trip * cost.round_trips).min(most);
        time.max(floor).mul_f64(scale)
    }
}

/// Many small messages are a bulk transfer as soon as the link is slower than the processor.
fn says_nothing_new(workload: &dyn Workload) -> bool {
    matches!(workload.metrics(), ["messages"] | ["messages-batched"] | ["rtt-1k-p50", ..])
}

/// Several streams are what one is, and a handshake is in the time to the first byte.
fn matches_another(workload: &dyn Workload) -> bool {
    matches!(workload.metrics(), ["bulk-up-4"] | ["bulk-down-4"] | ["handshakes"])
}

/// Those that a quick run still measures everything of, beside ours.
fn is_yardstick(subject: SubjectRef) -> bool {
    matches!(subject.name(), "tls" | "quinn")
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to shuffle.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fisher-Yates.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let below = u64::try_from(last + 1).unwrap_or(u64::MAX);
            let other = usize::try_from(self.next() % below).unwrap_or_default();
            items.swap(last, other);
        }
    }
}
