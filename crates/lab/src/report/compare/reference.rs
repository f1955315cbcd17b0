//! What a machine did to everybody in a round, so that it can be taken out.

use std::collections::BTreeMap;

use crate::{
    metric::{METRICS, Metric, Scale},
    report::{
        figures::{Figures, Trust, usable, values},
        stats::{median, relate},
    },
    result::{Run, Sample},
};

/// One metric's trusted figures of one run: for each subject, by round.
type Rounds<'a> = BTreeMap<&'a str, BTreeMap<u32, f64>>;

/// One metric of two runs, over the subjects that both trust.
#[derive(Debug)]
pub(super) struct Reference<'a> {
    scale: Scale,
    old: Rounds<'a>,
    new: Rounds<'a>,
    /// The old medians, by which the subjects become comparable.
    usual: BTreeMap<&'a str, f64>,
}

/// Which of the two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

impl<'a> Reference<'a> {
    /// One for each metric, in the order of [`METRICS`].
    pub(super) fn all(old: &Figures<'a>, new: &Figures<'a>) -> Vec<Self> {
        METRICS.iter().map(|metric| Self::of(old, new, metric)).collect()
    }

    fn of(old: &Figures<'a>, new: &Figures<'a>, metric: &Metric) -> Self {
        let trusted = |figures: &Figures<'_>, subject: &str| {
            figures.cell(subject, metric.id).is_some_and(|cell| cell.trust != Trust::Nothing)
        };
        let both = |subject: &str| trusted(old, subject) && trusted(new, subject);
        let (old, new) = (rounds(old.run, metric, &both), rounds(new.run, metric, &both));
        let middle = |by_round: &BTreeMap<u32, f64>| {
            median(&by_round.values().copied().collect::<Vec<f64>>())
        };
        let usual = old.iter().filter_map(|(name, by_round)| Some((*name, middle(by_round)?)));
        Self { scale: metric.scale(), usual: usual.collect(), old, new }
    }

    /// The subject's figures of one run, each taken against what the others did in its round.
    /// Empty where there are no others.
    pub(super) fn taken_out(&self, subject: &str, side: Side) -> Vec<f64> {
        let rounds = match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        };
        let own = rounds.get(subject).into_iter().flatten();
        own.filter_map(|(round, value)| {
            relate(self.scale, *value, self.others(rounds, subject, *round)?)
        })
        .collect()
    }

    /// How far the others were from their usual figures in a round: the median, so that one of them
    /// that changed does not carry its change to the rest.
    fn others(&self, rounds: &Rounds<'_>, subject: &str, round: u32) -> Option<f64> {
        let others = rounds.iter().filter(|(name, _)| **name != subject);
        let moods = others.filter_map(|(name, by_round)| {
            relate(self.scale, *by_round.get(&round)?, *self.usual.get(name)?)
        });
        median(&moods.collect::<Vec<f64>>())
    }
}

fn rounds<'a>(run: &'a Run, metric: &Metric, trusted: &dyn Fn(&str) -> bool) -> Rounds<'a> {
    let by_round = |samples: &'a [Sample]| {
        usable(samples).into_iter().map(|sample| (sample.round, sample.value)).collect()
    };
    let measures = run.measures.iter().filter(|it| it.metric == metric.id && trusted(&it.subject));
    measures.map(|it| (it.subject.as_str(), by_round(&it.samples))).collect()
}

/// The bare figures of a subject.
pub(super) fn bare(run: &Run, subject: &str, metric: &Metric) -> Vec<f64> {
    let own = run.measures.iter().find(|it| it.subject == subject && it.metric == metric.id);
    own.map(|it| values(usable(&it.samples))).unwrap_or_default()
}
