//! The same comparison in virtual time, where there is nothing to emulate a network with.

use std::time::Duration;

use crate::{
    bench::{
        BenchError,
        collect::Heading,
        link::LinkChoice,
        plan::{Pace, Wishes},
        progress::Progress,
    },
    result::{FORMAT, Matrix, Measure, Run, SubjectNote},
    virtual_time::{self, Effort, Grid, Request, SUBJECTS, Step, Subject},
};

/// Why a subject has no row.
const NO_MACHINE: &str = "no protocol machine that virtual time can drive: needs the emulator";

/// Virtual time of each transfer of a full matrix.
const CELL: Duration = Duration::from_secs(5);

/// Those of the wanted subjects that are machines, and the names of the others.
pub(crate) fn divide(wishes: &Wishes) -> (Vec<&'static Subject>, Vec<&'static str>) {
    let names = wishes.subjects.iter().map(|subject| subject.name());
    let others = names.filter(|name| Subject::find(name).is_none()).collect();
    let wanted =
        |subject: &&Subject| wishes.subjects.iter().any(|wanted| wanted.name() == subject.name);
    (SUBJECTS.iter().filter(wanted).collect(), others)
}

/// Measures what can be measured without a kernel.
pub(crate) fn run(
    wishes: &Wishes,
    link: &LinkChoice,
    mut heading: Heading,
    progress: &mut Progress,
) -> Result<Run, BenchError> {
    let (subjects, others) = divide(wishes);
    let Some(first) = subjects.first() else {
        return Err(BenchError::NoMachine { names: others.join(", ") });
    };
    if subjects.iter().all(|subject| subject.name != heading.baseline) {
        let quic = subjects.iter().find(|subject| subject.name == "quic");
        heading.baseline = quic.unwrap_or(first).name.to_owned();
        progress.say(&format!("lab: the baseline here is {}", heading.baseline));
    }
    let effort = match wishes.pace {
        Pace::Quick => Effort::QUICK,
        Pace::Full => Effort::FULL,
    };
    let request = Request {
        subjects,
        link: link.duplex,
        outages: Vec::new(),
        seed: wishes.seed,
        rounds: wishes.rounds,
        effort,
    };
    let mut measured = virtual_time::measure(&request, &mut |step| tell(progress, &step));
    measured.measures.retain(|measure| wishes.wants_id(&measure.metric));
    for name in others {
        measured.subjects.extend(wishes.note(name));
        measured.measures.extend(left_out(wishes, name));
    }
    Ok(assemble(wishes, heading, measured))
}

fn assemble(wishes: &Wishes, heading: Heading, measured: virtual_time::Measured) -> Run {
    Run {
        format: FORMAT,
        started: heading.started,
        command: heading.command,
        machine: heading.machine,
        setting: heading.setting,
        baseline: heading.baseline,
        rounds: wishes.rounds,
        subjects: measured.subjects,
        measures: measured.measures,
        distributions: measured.distributions,
        curves: measured.curves,
        matrix: None,
    }
}

/// Goodput by loss and round trip, in virtual time.
pub(crate) fn matrix(wishes: &Wishes, progress: &mut Progress) -> Option<Matrix> {
    let (subjects, _) = divide(wishes);
    if subjects.is_empty() {
        return None;
    }
    let grid = match wishes.pace {
        Pace::Quick => Grid::quick(wishes.seed),
        Pace::Full => Grid::usual(CELL, wishes.seed),
    };
    Some(virtual_time::matrix(&subjects, &grid, &mut |step| tell(progress, &step)))
}

fn tell(progress: &mut Progress, step: &Step<'_>) {
    let Step { subject, workload, round, done, total } = step;
    progress
        .quietly(&format!("step {} of {total}: {subject}, {workload}, round {round}", done + 1));
}

fn left_out<'a>(wishes: &'a Wishes, name: &'a str) -> impl Iterator<Item = Measure> + 'a {
    let wanted = crate::metric::METRICS.iter().filter(|metric| wishes.wants_id(metric.id));
    wanted.map(|metric| Measure {
        subject: name.to_owned(),
        metric: metric.id.to_owned(),
        samples: Vec::new(),
        skipped: Some(NO_MACHINE.into()),
    })
}

impl Wishes {
    /// How reports introduce the subject of this name.
    fn note(&self, name: &str) -> Option<SubjectNote> {
        let subject = self.subjects.iter().find(|subject| subject.name() == name)?;
        Some(super::collect::note(*subject))
    }
}
