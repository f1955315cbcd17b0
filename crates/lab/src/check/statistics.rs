//! Whether reports see a difference where there is one, and none where there is none.

use clap::Parser;

use super::Finding;
use crate::{
    bench,
    report::{
        Figures, Trust,
        stats::{Estimate, Verdict},
    },
    result::Run,
};

/// Enough rounds for a verdict with room for an outlier.
const ROUNDS: &str = "9";

/// A verdict is wrong once in twenty to fifty times; one about less than this does no harm.
const SLIGHT: f64 = 0.03;

/// A command line of `lab bench`.
#[derive(Parser)]
struct Words {
    #[command(flatten)]
    options: bench::Options,
}

pub(super) fn same() -> Result<Finding, String> {
    let (relation, verdict) = beside_a_copy("udp=0%", "udp-0%")?;
    let is_slight = (relation.middle - 1.0).abs() < SLIGHT;
    let holds = match verdict {
        Verdict::Same | Verdict::CannotTell => true,
        Verdict::Better | Verdict::Worse => is_slight,
    };
    Ok(Finding { seen: words(&relation), holds })
}

pub(super) fn planted() -> Result<Finding, String> {
    let (relation, verdict) = beside_a_copy("udp=20%", "udp-20%")?;
    Ok(Finding { seen: words(&relation), holds: verdict == Verdict::Worse })
}

/// Our UDP beside a copy of it: the copy's ratio, and what the report says of it.
fn beside_a_copy(plant: &str, copy: &str) -> Result<(Estimate, Verdict), String> {
    let words = ["--subjects", "udp", "--baseline", "udp", "--plant", plant];
    let rest = ["--only", "bulk-up", "--rounds", ROUNDS, "--seconds", "12"];
    let run = take(&[&words[..], &rest[..]].concat())?;
    let figures = Figures::of(&run);
    let cell = figures.cell(copy, "bulk-up").ok_or("the copy was not measured")?;
    let trusted = cell.relation.filter(|_| cell.trust != Trust::Nothing);
    Ok((trusted.ok_or_else(|| doubts(&run))?, cell.verdict))
}

fn words(relation: &Estimate) -> String {
    format!("the copy is at {:.3} [{:.3}–{:.3}]", relation.middle, relation.low, relation.high)
}

/// Measures as `lab bench` with these words does.
pub(super) fn take(words: &[&str]) -> Result<Run, String> {
    let words = std::iter::once("lab").chain(words.iter().copied());
    let Words { options } = Words::try_parse_from(words).map_err(|error| error.to_string())?;
    bench::take(&options)
}

/// The median of a subject's figures.
pub(super) fn figure(run: &Run, subject: &str, metric: &str) -> Result<f64, String> {
    let figures = Figures::of(run);
    let cell = figures.cell(subject, metric).ok_or("it was not measured")?;
    cell.figure.map(|figure| figure.middle).ok_or_else(|| match cell.skipped {
        Some(why) => why.to_owned(),
        None => doubts(run),
    })
}

fn doubts(run: &Run) -> String {
    let mut doubts: Vec<_> = run.measures.iter().flat_map(|measure| &measure.samples).collect();
    doubts.retain(|sample| sample.doubt.is_some());
    match doubts.first().and_then(|sample| sample.doubt.as_deref()) {
        Some(doubt) => format!("nothing can be said: {doubt}"),
        None => "nothing can be said".into(),
    }
}
