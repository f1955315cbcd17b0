//! A run, judged: what tables, pages and comparisons show of each subject and metric.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    metric::{GROUPS, Group, METRICS, Metric, metric_of},
    report::stats::{Estimate, VERDICT_COVERAGE, Verdict, estimate, relate, verdict},
    result::{Measure, Run, Sample},
};

/// All of a run, judged.
#[derive(Debug)]
pub struct Figures<'a> {
    /// The run.
    pub run: &'a Run,
    /// What was measured, in the order of [`METRICS`] and then of the run's subjects.
    pub cells: Vec<Cell<'a>>,
    /// Metrics in the file that this program does not know.
    pub unknown: Vec<&'a str>,
}

/// One metric of one subject.
#[derive(Debug)]
pub struct Cell<'a> {
    /// The subject's name.
    pub subject: &'a str,
    /// The metric.
    pub metric: &'static Metric,
    /// The median and its interval.
    pub figure: Option<Estimate>,
    /// How it stands to the baseline's figure of the same rounds.
    pub relation: Option<Estimate>,
    /// What the relation lets us say.
    pub verdict: Verdict,
    /// How far the figure can be trusted.
    pub trust: Trust,
    /// The samples that something spoke against.
    pub doubted: Vec<&'a Sample>,
    /// Why there is no figure.
    pub skipped: Option<&'a str>,
}

/// How far a figure can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nothing speaks against it.
    Whole,
    /// Doubtful samples were left out.
    Part,
    /// All samples are doubtful: the figure is made from them, and no verdict stands on it.
    Nothing,
}

impl<'a> Figures<'a> {
    /// Judges all of `run`.
    #[must_use]
    pub fn of(run: &'a Run) -> Self {
        let cells = METRICS.iter().flat_map(|metric| cells_of(run, metric)).collect();
        let mut unknown: Vec<&str> = run.measures.iter().map(|one| one.metric.as_str()).collect();
        unknown.retain(|id| metric_of(id).is_none());
        unknown.sort_unstable();
        unknown.dedup();
        Self { run, cells, unknown }
    }

    /// The cell of a subject and a metric's id.
    #[must_use]
    pub fn cell(&self, subject: &str, metric: &str) -> Option<&Cell<'a>> {
        self.cells.iter().find(|cell| cell.subject == subject && cell.metric.id == metric)
    }

    /// The place of a subject among those of the run; after the last for a name that is none.
    pub(crate) fn place(&self, subject: &str) -> usize {
        let subjects = &self.run.subjects;
        subjects.iter().position(|it| it.name == subject).unwrap_or(subjects.len())
    }

    /// The subjects that have a figure of a metric that `counts`.
    pub(crate) fn subjects(&self, counts: impl Fn(&Metric) -> bool) -> Vec<&'a str> {
        let has = |name: &str| {
            let mut own = self.cells.iter().filter(|cell| cell.subject == name);
            own.any(|cell| cell.figure.is_some() && counts(cell.metric))
        };
        let names = self.run.subjects.iter().map(|subject| subject.name.as_str());
        names.filter(|name| has(name)).collect()
    }

    /// All subjects' cells of one metric.
    #[must_use]
    pub fn row(&self, metric: &Metric) -> Vec<&Cell<'a>> {
        self.cells.iter().filter(|cell| cell.metric.id == metric.id).collect()
    }

    /// The metrics of a group that at least one subject has a figure of.
    #[must_use]
    pub fn metrics(&self, group: Group) -> Vec<&'static Metric> {
        let shown = |metric: &&Metric| {
            metric.group == group && self.row(metric).iter().any(|cell| cell.figure.is_some())
        };
        METRICS.iter().filter(shown).collect()
    }

    /// The groups that have something to show.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        GROUPS.iter().copied().filter(|group| !self.metrics(*group).is_empty()).collect()
    }

    /// How many relations could bear a verdict, and how many of them would wrongly, on average, if
    /// all subjects were equal.
    #[must_use]
    pub fn verdicts(&self) -> (usize, f64) {
        let trusted = self.cells.iter().filter(|cell| cell.trust != Trust::Nothing);
        let coverages = trusted.filter_map(|cell| Some(cell.relation?.coverage));
        let judged = coverages.filter(|coverage| *coverage >= VERDICT_COVERAGE);
        judged.fold((0, 0.0), |(all, chance), coverage| (all + 1, chance + 1.0 - coverage))
    }

    /// Cells without a figure and why, one entry a reason: the reason, the metrics, the subjects.
    pub(crate) fn left_out(&self) -> Vec<LeftOut<'a>> {
        let mut reasons: BTreeMap<(&str, &str), Vec<&'static str>> = BTreeMap::new();
        for cell in &self.cells {
            if let Some(reason) = cell.skipped {
                reasons.entry((reason, cell.subject)).or_default().push(cell.metric.id);
            }
        }
        let mut merged: BTreeMap<(&str, Vec<&'static str>), Vec<&str>> = BTreeMap::new();
        for ((reason, subject), metrics) in reasons {
            merged.entry((reason, metrics)).or_default().push(subject);
        }
        let entry = |((reason, metrics), subjects)| LeftOut { reason, metrics, subjects };
        merged.into_iter().map(entry).collect()
    }

    /// The doubts, one entry each: the doubt, how many samples it concerns, and of whom.
    pub(crate) fn doubts(&self) -> Vec<Doubt<'a>> {
        let mut doubts: BTreeMap<String, Doubt<'_>> = BTreeMap::new();
        for cell in &self.cells {
            for sample in &cell.doubted {
                let Some(reason) = sample.doubt.as_deref() else { continue };
                doubts.entry(without_numbers(reason)).or_default().add(cell, sample, reason);
            }
        }
        doubts.into_values().collect()
    }
}

/// Figures that are not there.
#[derive(Debug)]
pub(crate) struct LeftOut<'a> {
    /// Why.
    pub(crate) reason: &'a str,
    /// Ids of metrics.
    pub(crate) metrics: Vec<&'static str>,
    /// Of whom.
    pub(crate) subjects: Vec<&'a str>,
}

/// What speaks against some samples.
#[derive(Debug, Default)]
pub(crate) struct Doubt<'a> {
    /// What: the first of the reasons that differ in numbers only.
    pub(crate) reason: &'a str,
    /// Whether there are others that differ in numbers.
    pub(crate) varies: bool,
    /// How many samples.
    pub(crate) samples: usize,
    /// Of whom.
    pub(crate) subjects: Vec<&'a str>,
    /// In which rounds.
    pub(crate) rounds: BTreeSet<u32>,
}

impl<'a> Doubt<'a> {
    fn add(&mut self, cell: &Cell<'a>, sample: &Sample, reason: &'a str) {
        if self.samples == 0 {
            self.reason = reason;
        }
        self.varies |= self.reason != reason;
        self.samples += 1;
        self.rounds.insert(sample.round);
        if !self.subjects.contains(&cell.subject) {
            self.subjects.push(cell.subject);
        }
    }
}

/// What reasons that differ in numbers only have in common.
fn without_numbers(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, '.' | ',')).collect()
}

fn cells_of<'a>(run: &'a Run, metric: &'static Metric) -> Vec<Cell<'a>> {
    let measured: Vec<&Measure> = run.measures.iter().filter(|m| m.metric == metric.id).collect();
    let of = |name: &str| measured.iter().copied().find(|measure| measure.subject == name);
    let baseline = of(&run.baseline);
    let names = run.subjects.iter().map(|subject| subject.name.as_str());
    names.filter_map(|name| Some(cell_of(of(name)?, baseline, metric))).collect()
}

fn cell_of<'a>(
    measure: &'a Measure,
    baseline: Option<&Measure>,
    metric: &'static Metric,
) -> Cell<'a> {
    let trust = trust_in(&measure.samples);
    let figure = estimate(&values(usable(&measure.samples)));
    let is_baseline = baseline.is_some_and(|baseline| baseline.subject == measure.subject);
    let relation = baseline.filter(|_| !is_baseline).and_then(|to| paired(measure, to, metric));
    let trusted_baseline = baseline.is_some_and(|to| trust_in(&to.samples) != Trust::Nothing);
    let judged = relation.filter(|_| trust != Trust::Nothing && trusted_baseline);
    Cell {
        subject: &measure.subject,
        metric,
        figure,
        relation,
        verdict: judged
            .map_or(Verdict::CannotTell, |it| verdict(&it, metric.scale(), metric.better)),
        trust,
        doubted: measure.samples.iter().filter(|sample| sample.doubt.is_some()).collect(),
        skipped: skipped(measure, figure.is_some()),
    }
}

fn skipped(measure: &Measure, has_figure: bool) -> Option<&str> {
    match (&measure.skipped, has_figure) {
        (_, true) => None,
        (Some(reason), false) => Some(reason),
        (None, false) => Some("no sample and no reason in the file"),
    }
}

fn trust_in(samples: &[Sample]) -> Trust {
    let doubted = samples.iter().filter(|sample| sample.doubt.is_some()).count();
    match doubted {
        0 => Trust::Whole,
        some if some < samples.len() => Trust::Part,
        _ => Trust::Nothing,
    }
}

/// The samples that nothing speaks against; where there are none, all.
pub(crate) fn usable(samples: &[Sample]) -> Vec<&Sample> {
    let nothing = trust_in(samples) == Trust::Nothing;
    samples.iter().filter(|sample| nothing || sample.doubt.is_none()).collect()
}

pub(crate) fn values(samples: Vec<&Sample>) -> Vec<f64> {
    samples.into_iter().map(|sample| sample.value).collect()
}

/// The relation to the baseline, each round with its own: what slows the machine for a while slows
/// both.
fn paired(measure: &Measure, baseline: &Measure, metric: &Metric) -> Option<Estimate> {
    let by_round: BTreeMap<u32, f64> =
        usable(&baseline.samples).into_iter().map(|sample| (sample.round, sample.value)).collect();
    let relations = usable(&measure.samples)
        .into_iter()
        .filter_map(|sample| relate(metric.scale(), sample.value, *by_round.get(&sample.round)?));
    estimate(&relations.collect::<Vec<f64>>())
}
