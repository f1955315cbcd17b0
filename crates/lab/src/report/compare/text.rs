//! A comparison in words.

use std::fmt::Write as _;

use super::{Basis, Change, Comparison, Outcome};
use crate::{
    metric::metric_of,
    report::{
        figures::Figures,
        stats::Estimate,
        table::{Style, pad, pad_left},
        words,
    },
    result::Run,
};

/// The contradictions that are told one by one.
const SHOWN_MAX: usize = 20;

/// What makes two runs hard to compare.
pub(super) fn notes(old: &Figures<'_>, new: &Figures<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let (a, b) = (old.run, new.run);
    for (what, before, after) in settings(a, b) {
        if before != after {
            notes.push(format!("The runs differ in {what}: {before}, then {after}."));
        }
    }
    for subject in &a.subjects {
        let now = b.subjects.iter().find(|it| it.name == subject.name);
        let (before, after) =
            (&subject.congestion_control, now.map(|it| it.congestion_control.as_str()));
        match after {
            None => notes.push(format!("{} is only in the old run.", subject.name)),
            Some(after) if after != before => notes.push(format!(
                "{} had congestion control {before}, and now has {after}.",
                subject.name
            )),
            Some(_) => {}
        }
    }
    let added = b.subjects.iter().filter(|it| !a.subjects.iter().any(|old| old.name == it.name));
    notes.extend(added.map(|it| format!("{} is only in the new run.", it.name)));
    let lost = old.cells.iter().filter(|cell| cell.figure.is_some()).filter(|cell| {
        let now = new.cell(cell.subject, cell.metric.id);
        now.is_some_and(|now| now.figure.is_none())
    });
    notes.extend(lost.map(|cell| {
        format!("{} has no figure of \"{}\" any more.", cell.subject, cell.metric.title)
    }));
    notes
}

fn settings(old: &Run, new: &Run) -> [(&'static str, String, String); 7] {
    let driver = |run: &Run| format!("{:?}", run.setting.driver);
    let machine = |run: &Run| format!("{}, {} cores", run.machine.cpu, run.machine.cores);
    let of = |what, tell: &dyn Fn(&Run) -> String| (what, tell(old), tell(new));
    [
        of("the link", &|run| run.setting.link.clone()),
        of("what carried the bytes", &driver),
        of("the link's seed", &|run| run.setting.seed.to_string()),
        of("processes", &|run| run.setting.processes.to_string()),
        of("the machine", &machine),
        of("the system", &|run| run.machine.system.clone()),
        of("the baseline", &|run| run.baseline.clone()),
    ]
}

/// The comparison for a terminal.
pub(super) fn text(comparison: &Comparison, style: Style, all: bool) -> String {
    let mut text = String::new();
    for note in &comparison.notes {
        let _ = writeln!(text, "! {}", words::plain(note));
    }
    for (outcome, title) in [
        (Outcome::Worse, "Worse"),
        (Outcome::Better, "Better"),
        (Outcome::PerhapsWorse, "Perhaps worse"),
        (Outcome::PerhapsBetter, "Perhaps better"),
        (Outcome::Unchanged, "Unchanged"),
        (Outcome::CannotTell, "Cannot be told"),
    ] {
        let shown = all || !matches!(outcome, Outcome::Unchanged | Outcome::CannotTell);
        if shown && comparison.count(outcome) > 0 {
            let _ = writeln!(text, "{}", coloured(title, outcome, style));
            changes(&mut text, comparison, outcome);
        }
    }
    text + &summary(comparison) + &rankings(comparison)
}

fn changes(text: &mut String, comparison: &Comparison, outcome: Outcome) {
    let chosen = comparison.changes.iter().filter(|change| change.outcome == outcome);
    let rows: Vec<[String; 6]> = chosen.filter_map(row).collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let [subject, metric, old, new, change, interval] = row;
        let [a, b, c, d, e, _] = widths;
        let line = format!(
            "  {}  {}  {} → {}  {} {interval}",
            pad(&subject, a),
            pad(&metric, b),
            pad_left(&old, c),
            pad(&new, d),
            pad_left(&change, e),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn row(change: &Change) -> Option<[String; 6]> {
    let metric = metric_of(change.metric)?;
    let (relation, interval) = match change.change {
        None => ("–".to_owned(), String::new()),
        Some(it) => {
            let whole = Estimate {
                middle: it.middle,
                low: it.low,
                high: it.high,
                coverage: it.coverage,
                count: 2,
            };
            (
                words::relation(it.middle, metric.scale()),
                words::relation_interval(&whole, metric.scale()),
            )
        }
    };
    let basis = if change.basis == Basis::Bare { " bare" } else { "" };
    Some([
        words::plain(&change.subject),
        metric.title.to_owned(),
        words::with_unit(change.old, metric),
        words::with_unit(change.new, metric),
        relation,
        format!("{interval}{basis}"),
    ])
}

fn summary(comparison: &Comparison) -> String {
    let counted = |outcome| comparison.count(outcome);
    let (coverage, chance) = chance(comparison);
    format!(
        "{} of {} clearly worse, {} clearly better: all of the interval is beyond {} %. {} perhaps \
         worse, {} perhaps better; {} unchanged; {} cannot be told.\n\
         Changes are taken against what the other subjects did in the same rounds (\"bare\": there \
         are none); intervals cover {coverage}. If nothing had changed, chance alone would make at \
         most {} of each kind \"perhaps\".\n",
        counted(Outcome::Worse),
        words::count(comparison.changes.len(), "comparison"),
        counted(Outcome::Better),
        comparison.tolerance,
        counted(Outcome::PerhapsWorse),
        counted(Outcome::PerhapsBetter),
        counted(Outcome::Unchanged),
        counted(Outcome::CannotTell),
        words::number(chance),
    )
}

/// The least and the greatest coverage, and the false alarms on one side to be expected.
fn chance(comparison: &Comparison) -> (String, f64) {
    let coverages = comparison.changes.iter().filter_map(|change| Some(change.change?.coverage));
    let (least, most, chance) = coverages.fold((1.0_f64, 0.0_f64, 0.0), |(a, b, sum), it| {
        (a.min(it), b.max(it), sum + (1.0 - it) / 2.0)
    });
    match (words::percent(least), words::percent(most)) {
        (least, most) if least == most => (least, chance),
        (least, most) => (format!("{least} to {most}"), chance),
    }
}

fn rankings(comparison: &Comparison) -> String {
    let rankings = &comparison.rankings;
    let told = rankings.agreeing + rankings.contradictions.len();
    if rankings.contradictions.is_empty() {
        return format!(
            "Every ranking whose intervals do not overlap agrees: {told} that both runs tell, {} \
             that one of them does, {} that neither does.\n",
            rankings.told_by_one, rankings.told_by_none
        );
    }
    let mut text = format!(
        "{} of {told} rankings that both runs tell are turned round:\n",
        rankings.contradictions.len()
    );
    for it in rankings.contradictions.iter().take(SHOWN_MAX) {
        let metric = metric_of(it.metric).map_or(it.metric, |metric| metric.title);
        let (fallen, risen) = (words::plain(&it.fallen), words::plain(&it.risen));
        let _ = writeln!(text, "  {metric}: {fallen} was better than {risen}, and is now worse");
    }
    text
}

fn coloured(title: &str, outcome: Outcome, style: Style) -> String {
    let code = match outcome {
        Outcome::Worse => "1;31",
        Outcome::Better => "1;32",
        Outcome::PerhapsWorse
        | Outcome::PerhapsBetter
        | Outcome::Unchanged
        | Outcome::CannotTell => "1",
    };
    match style {
        Style::Coloured => format!("\x1b[{code}m{title}\x1b[0m"),
        Style::Plain | Style::Markdown => title.to_owned(),
    }
}
