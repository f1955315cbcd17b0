//! Two runs side by side: what got better, what got worse, what cannot be told.
//!
//! The two were taken at different times, and the machine may have been faster in one. Therefore
//! each figure is taken against what the other subjects did in the same round: the median of how far
//! they were from their usual figures. What happened to all of them is no change of any of them.
//!
//! A hundred comparisons at once always find something. So a change counts as clear only where all
//! of its interval lies beyond the tolerance; where equality is outside of the interval, but the
//! tolerance is not, it is reported as possible. Simulated with nine subjects, sixteen metrics and
//! seven rounds that vary by 3 to 5 %, equal runs show no clear change in 98 of 100 comparisons of
//! all figures, and a loss of a fifth is clear in 98 of 100.

mod ranking;
mod reference;
mod text;

use std::{error::Error, path::PathBuf, process::ExitCode};

use serde::Serialize;

pub use ranking::{Contradiction, Rankings};
use reference::{Reference, Side, bare};

use crate::{
    metric::{METRICS, Metric, Scale},
    report::{
        Style, complain,
        figures::{Cell, Figures, Trust},
        load, print,
        stats::{Estimate, Verdict, is_beyond, is_within, shift, verdict},
    },
    result::Run,
};

/// The exit code where a file cannot be used: 1 means that something got worse.
const UNUSABLE: u8 = 2;

/// The percentage points of a share that one percent of tolerance lets pass.
const POINTS_OF_PERCENT: f64 = 0.1;

/// `lab compare`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The result file to compare with
    old: PathBuf,
    /// The result file to judge
    new: PathBuf,
    /// Percent up to which a change is let pass; of shares that are percent themselves, tenths of a
    /// point
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = tolerance)]
    tolerance: f64,
    /// List what is unchanged and what cannot be told as well
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent),
        _ => Err("expected percent from 0 up to, not including, 100, such as 5".to_owned()),
    }
}

/// Compares; exit code 0 where nothing got clearly worse, 1 where something did, 2 where a file
/// cannot be used.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    match compared(options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::from(UNUSABLE)
        }
    }
}

fn compared(options: &Options) -> Result<usize, Box<dyn Error>> {
    let (old, new) = (load(&options.old)?, load(&options.new)?);
    let comparison = compare(&old, &new, options.tolerance);
    if options.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&comparison)?))?;
    } else {
        print(&text::text(&comparison, Style::of_stdout(), options.all))?;
    }
    Ok(comparison.count(Outcome::Worse))
}

/// What changed between two runs.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Percent up to which a change is let pass.
    pub tolerance: f64,
    /// What makes the two runs hard to compare, in sentences.
    pub notes: Vec<String>,
    /// Each subject and metric that both have.
    pub changes: Vec<Change>,
    /// Whether both rank the subjects alike.
    pub rankings: Rankings,
}

impl Comparison {
    /// How many changes came out so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.changes.iter().filter(|change| change.outcome == outcome).count()
    }
}

/// What became of one metric of one subject.
#[derive(Debug, Serialize)]
pub struct Change {
    /// The subject.
    pub subject: String,
    /// The metric's id.
    pub metric: &'static str,
    /// The median before, in the metric's unit.
    pub old: f64,
    /// The median now.
    pub new: f64,
    /// What was compared.
    pub basis: Basis,
    /// New divided by old, or, of shares in percent, new less old.
    pub change: Option<Interval>,
    /// What it amounts to.
    pub outcome: Outcome,
}

/// An estimate, for JSON.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Interval {
    /// The median.
    pub middle: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How often such an interval holds the true value, 0 to 1.
    pub coverage: f64,
}

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The figures against what the others did in the same round.
    AgainstOthers,
    /// The bare figures, where there are no others.
    Bare,
}

/// What a change amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All of the interval is beyond the tolerance, on the good side.
    Better,
    /// All of the interval is beyond the tolerance, on the bad side.
    Worse,
    /// Equality is outside of the interval, on the good side; the tolerance is not.
    PerhapsBetter,
    /// Equality is outside of the interval, on the bad side; the tolerance is not.
    PerhapsWorse,
    /// All of the interval is within the tolerance, or within what nobody notices.
    Unchanged,
    /// Equality lies in the interval, or there are too few trusted rounds.
    CannotTell,
}

/// Compares two runs; changes up to `tolerance` percent are let pass.
#[must_use]
pub fn compare(old: &Run, new: &Run, tolerance: f64) -> Comparison {
    let (old_figures, new_figures) = (Figures::of(old), Figures::of(new));
    let references = Reference::all(&old_figures, &new_figures);
    let mut changes = Vec::new();
    for (metric, reference) in METRICS.iter().zip(&references) {
        for before in old_figures.row(metric) {
            let Some(after) = new_figures.cell(before.subject, metric.id) else { continue };
            changes.extend(change(&Pair { old, new, before, after, reference }, tolerance));
        }
    }
    Comparison {
        tolerance,
        changes,
        notes: text::notes(&old_figures, &new_figures),
        rankings: Rankings::of(&old_figures, &new_figures),
    }
}

/// The two sides of one comparison.
struct Pair<'a> {
    old: &'a Run,
    new: &'a Run,
    before: &'a Cell<'a>,
    after: &'a Cell<'a>,
    reference: &'a Reference<'a>,
}

fn change(pair: &Pair<'_>, tolerance: f64) -> Option<Change> {
    let (subject, metric) = (pair.before.subject, pair.before.metric);
    let (old, new) = (pair.before.figure?.middle, pair.after.figure?.middle);
    let against = |side| pair.reference.taken_out(subject, side);
    let (mut basis, mut before, mut after) =
        (Basis::AgainstOthers, against(Side::Old), against(Side::New));
    if before.is_empty() || after.is_empty() {
        basis = Basis::Bare;
        before = bare(pair.old, subject, metric);
        after = bare(pair.new, subject, metric);
    }
    let change = shift(&before, &after, metric.scale());
    let trusted = pair.before.trust != Trust::Nothing && pair.after.trust != Trust::Nothing;
    let judged = change.filter(|_| trusted);
    Some(Change {
        subject: subject.to_owned(),
        metric: metric.id,
        old,
        new,
        basis,
        change: change.map(Interval::from),
        outcome: judged.map_or(Outcome::CannotTell, |it| outcome(&it, metric, tolerance)),
    })
}

fn outcome(change: &Estimate, metric: &Metric, tolerance: f64) -> Outcome {
    let scale = metric.scale();
    let part = match scale {
        Scale::Ratio => tolerance / 100.0,
        Scale::Points => tolerance * POINTS_OF_PERCENT,
    };
    let clear = is_beyond(change, scale, part);
    match (verdict(change, scale, metric.better), clear) {
        (Verdict::Same, _) => Outcome::Unchanged,
        (Verdict::Better | Verdict::Worse, _) if is_within(change, scale, part) => {
            Outcome::Unchanged
        }
        (Verdict::CannotTell, _) => Outcome::CannotTell,
        (Verdict::Better, true) => Outcome::Better,
        (Verdict::Worse, true) => Outcome::Worse,
        (Verdict::Better, false) => Outcome::PerhapsBetter,
        (Verdict::Worse, false) => Outcome::PerhapsWorse,
    }
}

impl From<Estimate> for Interval {
    fn from(estimate: Estimate) -> Self {
        let Estimate { middle, low, high, coverage, count: _ } = estimate;
        Self { middle, low, high, coverage }
    }
}
