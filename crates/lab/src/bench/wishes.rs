//! From options to what a plan is made for.

use crate::{
    bench::{
        BenchError,
        link::LinkChoice,
        options::Options,
        plan::{LINK_FULL, LinkTraits, Pace, QUICK, STRETCH_MAX, Wishes},
        rounds,
        subjects::{self, SubjectRef},
    },
    metric::{METRICS, metric_of},
};

/// Rounds over loopback, and of a quick run there.
const ROUNDS: (u32, u32) = (7, 5);

/// Rounds over a link, where samples take longer.
const ROUNDS_LINK: (u32, u32) = (5, 5);

/// Who a quick run over a link compares unless told otherwise: it runs them side by side, and two
/// cores carry so many links.
const QUICK_OVER_LINK: [&str; 4] = ["ours", "raw-tcp-cubic", "raw-tcp-bbr", "quinn"];

/// What was asked for, checked.
pub(super) fn wishes(options: &Options, link: Option<&LinkChoice>) -> Result<Wishes, BenchError> {
    for name in &options.only {
        known_metric(name)?;
    }
    let pace = if options.quick { Pace::Quick } else { Pace::Full };
    let usual = match (link, pace) {
        (None, Pace::Full) => None,
        (Some(_), Pace::Full) => Some(LINK_FULL),
        (_, Pace::Quick) => Some(QUICK),
    };
    let (full, quick) = if link.is_some() { ROUNDS_LINK } else { ROUNDS };
    let rounds = match pace {
        Pace::Full => full,
        Pace::Quick => quick,
    };
    Ok(Wishes {
        subjects: chosen(options, link.is_some())?,
        only: options.only.clone(),
        rounds: options.rounds.unwrap_or(rounds),
        pace,
        seed: options.seed,
        budget: options.seconds.map(rounds::seconds).or(usual),
        stretch: options.seconds.map_or(1.0, |_| STRETCH_MAX),
        link: link.map_or(LinkTraits::LOOPBACK, LinkChoice::traits),
    })
}

/// Those that were named, the baseline, and slowed copies beside their originals.
fn chosen(options: &Options, emulated: bool) -> Result<Vec<SubjectRef>, BenchError> {
    let mut chosen = match (&options.subjects, emulated && options.quick) {
        (Some(words), _) => subjects::choose(words)?,
        (None, true) => subjects::choose(&QUICK_OVER_LINK.map(str::to_owned))?,
        (None, false) => subjects::usual(emulated),
    };
    let mut join = |subject: SubjectRef| {
        if chosen.iter().all(|other| other.name() != subject.name()) {
            chosen.push(subject);
        }
    };
    join(subjects::find(&options.baseline)?);
    for word in &options.plant {
        let (original, slowed) = subjects::planted(word)?;
        join(original);
        join(slowed);
    }
    Ok(chosen)
}

fn known_metric(name: &str) -> Result<(), BenchError> {
    if metric_of(name).is_some() {
        return Ok(());
    }
    let nearest = METRICS.iter().max_by(|one, other| {
        let likeness = |id| strsim::jaro_winkler(id, name);
        likeness(one.id).total_cmp(&likeness(other.id))
    });
    let all: Vec<&str> = METRICS.iter().map(|metric| metric.id).collect();
    Err(BenchError::Metric {
        name: name.to_owned(),
        suggestion: nearest.map_or("", |metric| metric.id),
        all: all.join(", "),
    })
}
