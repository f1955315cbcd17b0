//! What a reader must know beside the figures: where, how, how sure, what is missing.

use std::collections::BTreeSet;

use crate::{
    metric::{GROUPS, Metric, metric_of},
    report::{
        figures::{Doubt, Figures, LeftOut},
        words,
    },
    result::{Driver, Matrix},
};

/// The doubts, and the reasons for leaving out, that are told one by one.
const SHOWN_MAX: usize = 12;

/// The rounds from which on intervals cover what a verdict needs.
const VERDICT_ROUNDS: u32 = 5;

/// The figures of one group that are counted instead of listed.
const MERGED_FROM: usize = 3;

/// What was measured where, in sentences.
pub(crate) fn setting(figures: &Figures<'_>) -> Vec<String> {
    let run = figures.run;
    let processes = match run.setting.processes {
        1 => "client and server in one process".to_owned(),
        more => format!("client and server in {more} processes"),
    };
    let how = match run.setting.driver {
        Driver::Loopback => format!("Real sockets over the kernel's loopback, {processes}."),
        Driver::Emulated => format!(
            "Real sockets through the emulated link, {processes}; seed {}.",
            run.setting.seed
        ),
        Driver::VirtualTime => format!(
            "In virtual time: protocol machines over the model, seed {}. No kernel, so there is no \
             TCP, and no figure of CPU or memory.",
            run.setting.seed
        ),
    };
    let machine = &run.machine;
    vec![
        format!("Link {}: {}.", run.setting.link, run.setting.description.trim_end_matches('.')),
        how,
        format!(
            "{}, {}, {}; {}, {}.",
            machine.cpu,
            words::count(machine.cores as usize, "core"),
            machine.system,
            words::count(run.rounds as usize, "round"),
            run.started
        ),
        congestion_control(figures),
    ]
}

fn congestion_control(figures: &Figures<'_>) -> String {
    let present = figures.subjects(|_| true);
    let mut controls: Vec<(&str, Vec<&str>)> = Vec::new();
    let there = figures.run.subjects.iter().filter(|it| present.contains(&it.name.as_str()));
    for subject in there {
        let control = subject.congestion_control.as_str();
        match controls.iter_mut().find(|(known, _)| *known == control) {
            Some((_, names)) => names.push(&subject.name),
            None => controls.push((control, vec![&subject.name])),
        }
    }
    let each = controls.iter().map(|(control, names)| format!("{control}: {}", names.join(", ")));
    format!("Congestion control: {}.", each.collect::<Vec<String>>().join("; "))
}

/// The marks, the doubts and what was left out, in sentences.
pub(crate) fn all(figures: &Figures<'_>) -> Vec<String> {
    let mut notes = vec![method(figures)];
    notes.extend(doubts(figures));
    notes.extend(left_out(figures));
    if !figures.unknown.is_empty() {
        notes.push(format!(
            "The file has figures that this version of the program does not know: {}.",
            figures.unknown.join(", ")
        ));
    }
    notes.push(format!("Again: {}", figures.run.command));
    notes
}

/// What speaks against which samples; empty where nothing does.
pub(crate) fn doubts(figures: &Figures<'_>) -> Vec<String> {
    let doubts = figures.doubts();
    let mut notes: Vec<String> = doubts.iter().take(SHOWN_MAX).map(doubt).collect();
    if let Some(more) = doubts.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        notes.push(format!("! And {more} more; the result file has them all."));
    }
    if !notes.is_empty() {
        notes.push(
            "! marks a median that leaves doubtful samples out; ? one that has nothing else, and \
             bears no verdict."
                .to_owned(),
        );
    }
    notes
}

fn doubt(doubt: &Doubt<'_>) -> String {
    format!(
        "! Doubtful: {} of {} ({}): {}{}.",
        words::count(doubt.samples, "sample"),
        words::list(&doubt.subjects),
        rounds(&doubt.rounds),
        if doubt.varies { "such as: " } else { "" },
        doubt.reason.trim_end_matches('.')
    )
}

/// What has no figure and why.
pub(crate) fn left_out(figures: &Figures<'_>) -> Vec<String> {
    let left_out = figures.left_out();
    let note = |it: &LeftOut<'_>| {
        let all = it.subjects.len() == figures.run.subjects.len();
        let who = if all { "all subjects".to_owned() } else { words::list(&it.subjects) };
        let what = metrics(&it.metrics);
        format!("– Left out for {who}: {what}. Why: {}.", it.reason.trim_end_matches('.'))
    };
    let mut notes: Vec<String> = left_out.iter().take(SHOWN_MAX).map(note).collect();
    if let Some(more) = left_out.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        notes.push(format!("– And {more} more; the result file has them all."));
    }
    notes
}

/// Titles of metrics; of a group of which many are left out, the heading and how many.
fn metrics(ids: &[&str]) -> String {
    let metrics: Vec<&Metric> = ids.iter().filter_map(|id| metric_of(id)).collect();
    let mut texts = Vec::new();
    for group in GROUPS {
        let of: Vec<&str> =
            metrics.iter().filter(|it| it.group == *group).map(|it| it.title).collect();
        if of.len() < MERGED_FROM {
            texts.extend(of.into_iter().map(str::to_owned));
        } else {
            texts.push(format!("{} of \"{}\"", words::count(of.len(), "figure"), group.title()));
        }
    }
    texts.join("; ")
}

/// How the matrix was taken.
pub(crate) fn matrix(matrix: &Matrix) -> String {
    let how = match matrix.driver {
        Driver::Loopback => "over loopback",
        Driver::Emulated => "with real sockets through the emulator",
        Driver::VirtualTime => "in virtual time, by protocol machines over the model",
    };
    format!(
        "Mbit/s of the link's {}, taken {how}; – did not get through. Loss is in each direction.",
        words::number(matrix.rate_mbit)
    )
}

fn rounds(rounds: &BTreeSet<u32>) -> String {
    let numbers: Vec<String> = rounds.iter().map(u32::to_string).collect();
    let word = if rounds.len() == 1 { "round" } else { "rounds" };
    format!("{word} {}", words::list(&numbers.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// What the figures are, and what the marks mean.
pub(crate) fn method(figures: &Figures<'_>) -> String {
    let coverages = figures.cells.iter().filter_map(|cell| cell.figure.map(|it| it.coverage));
    let (least, most) = coverages.fold((1.0_f64, 0.0_f64), |(a, b), it| (a.min(it), b.max(it)));
    let interval = match (words::percent(least), words::percent(most)) {
        _ if most <= 0.0 => "one round has no interval".to_owned(),
        (least, most) if least == most => holds(&least),
        (least, most) => holds(&format!("{least} to {most}")),
    };
    let mut text = format!(
        "Median of {}, [{interval}], × {}, compared within each round. ▲ better, ▼ worse: all of the \
         ratio's interval is on one side; = the same within 1 %; ≈ cannot be told.",
        words::count(figures.run.rounds as usize, "round"),
        figures.run.baseline
    );
    text += &match figures.verdicts() {
        (0, _) => format!(
            " A verdict needs {VERDICT_ROUNDS} rounds that nothing speaks against; none here has."
        ),
        (all, chance) => format!(
            " Of {} that could be judged, at most {} would be marked by chance if all were equal.",
            words::count(all, "comparison"),
            words::number(chance)
        ),
    };
    text
}
fn holds(coverage: &str) -> String {
    format!("interval that holds the true median in {coverage} of runs")
}

/// A metric's heading.
pub(crate) fn heading(metric: &Metric) -> String {
    format!("{}, {} ({})", metric.title, metric.unit, words::direction(metric.better))
}
