//! What a run shows, in sentences made from its figures.

use portolan::ALL_TRANSPORTS;

use crate::{
    metric::{Better, Metric, metric_of},
    report::{
        figures::{Cell, Figures, Trust},
        stats::{UNNOTICED, Verdict},
        words,
    },
};

/// One sentence or two about one metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The metric's title.
    pub title: &'static str,
    /// The text, in pieces.
    pub pieces: Vec<Piece>,
}

/// A piece of a sentence; pages set the kinds apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Words.
    Text(String),
    /// A subject's name.
    Subject(String),
    /// A figure that the sentence is about.
    Figure(String),
}

impl Finding {
    /// The text in one string.
    #[must_use]
    pub fn text(&self) -> String {
        self.pieces.iter().map(Piece::as_str).collect()
    }
}

impl Piece {
    /// What it says.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) | Self::Subject(text) | Self::Figure(text) => text,
        }
    }
}

/// How a ratio of one metric is told: `udp` *moves* 1.6 × *what* `quinn` *moves*.
struct Telling {
    metric: &'static str,
    verb: &'static str,
    of: &'static str,
    tail: &'static str,
}

const fn telling(
    metric: &'static str,
    verb: &'static str,
    of: &'static str,
    tail: &'static str,
) -> Telling {
    Telling { metric, verb, of, tail }
}

/// The metrics worth a sentence, in order.
const TELLINGS: &[Telling] = &[
    telling("bulk-up", "moves", "what", " moves"),
    telling("bulk-down", "moves", "what", " moves"),
    telling("cpu", "spends", "the CPU time of", ""),
    telling("rtt-64-p50", "takes", "the time of", ""),
    telling("rtt-64-p99", "takes", "the time of", ""),
    telling("messages", "sends", "as many as", ""),
    telling("first-byte", "takes", "the time of", ""),
    telling("live-until-p99", "takes", "the time of", ""),
    telling("loaded-rtt-p99", "takes", "the time of", ""),
    telling("memory-10k", "needs", "the memory of", ""),
];

/// The rounds that a leader's interval needs.
const ROUNDS_MIN: usize = 3;

/// The subjects that a sentence speaks of, at most.
const SPOKEN_OF_MAX: usize = 3;

/// What the run shows.
#[must_use]
pub fn findings(figures: &Figures<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut untold = Vec::new();
    for telling in TELLINGS {
        match finding(figures, telling) {
            Some((true, finding)) => findings.push(finding),
            Some((false, finding)) => untold.push(finding.title),
            None => {}
        }
    }
    findings.extend(nothing_told(&untold, &figures.run.baseline));
    findings
}

/// The metrics that tell nobody from the baseline, in one finding.
fn nothing_told(titles: &[&str], baseline: &str) -> Option<Finding> {
    let titles = (!titles.is_empty()).then(|| titles.join("; "))?;
    let pieces = vec![
        text("nobody can be told from "),
        Piece::Subject(baseline.to_owned()),
        text(format!(" by: {titles}.")),
    ];
    Some(Finding { title: "undecided", pieces })
}

/// A finding, and whether it tells anything apart.
fn finding(figures: &Figures<'_>, telling: &Telling) -> Option<(bool, Finding)> {
    let metric = metric_of(telling.metric)?;
    let row = figures.row(metric);
    let spoken_of = spoken_of(figures, &row);
    let mut pieces = Vec::new();
    let (told, untold): (Vec<_>, Vec<_>) = spoken_of
        .into_iter()
        .partition(|cell| matches!(cell.verdict, Verdict::Better | Verdict::Worse));
    for cell in &told {
        tell(&mut pieces, cell, telling, &figures.run.baseline);
    }
    let (same, untold): (Vec<_>, Vec<_>) =
        untold.into_iter().partition(|cell| cell.verdict == Verdict::Same);
    all_of(&mut pieces, &same, " does as well as ", &figures.run.baseline);
    all_of(&mut pieces, &untold, " cannot be told from ", &figures.run.baseline);
    let leads = best(&mut pieces, metric, &row);
    if !leads && !pieces.is_empty() {
        pieces.push(text("."));
    }
    let finding = Finding { title: metric.title, pieces };
    let tells = leads || !told.is_empty() || !same.is_empty();
    (!finding.pieces.is_empty()).then_some((tells, finding))
}

/// Our own transports where they took part, else the first subjects.
fn spoken_of<'c, 'a>(figures: &Figures<'_>, row: &[&'c Cell<'a>]) -> Vec<&'c Cell<'a>> {
    let is_ours = |name: &str| ALL_TRANSPORTS.iter().any(|ours| ours.scheme() == name);
    let compared = row
        .iter()
        .copied()
        .filter(|it| it.relation.is_some() && it.subject != figures.run.baseline);
    let (ours, others): (Vec<&Cell<'_>>, Vec<_>) = compared.partition(|it| is_ours(it.subject));
    let mut chosen = if ours.is_empty() { others } else { ours };
    chosen.truncate(SPOKEN_OF_MAX);
    chosen
}

fn text(words: impl Into<String>) -> Piece {
    Piece::Text(words.into())
}

fn tell(pieces: &mut Vec<Piece>, cell: &Cell<'_>, telling: &Telling, baseline: &str) {
    let Some(relation) = cell.relation else { return };
    let scale = cell.metric.scale();
    if !pieces.is_empty() {
        pieces.push(text("; "));
    }
    pieces.push(Piece::Subject(cell.subject.to_owned()));
    pieces.push(text(format!(" {} ", telling.verb)));
    pieces.push(Piece::Figure(words::relation(relation.middle, scale)));
    pieces.push(text(format!(" {} ", telling.of)));
    pieces.push(Piece::Subject(baseline.to_owned()));
    let interval = words::relation_interval(&relation, scale);
    pieces.push(text(format!("{} {interval}", telling.tail)));
}

/// Says the same of several subjects at once.
fn all_of(pieces: &mut Vec<Piece>, cells: &[&Cell<'_>], says: &str, baseline: &str) {
    let names: Vec<&str> = cells.iter().map(|cell| cell.subject).collect();
    let Some((last, most)) = names.split_last() else { return };
    if !pieces.is_empty() {
        pieces.push(text("; "));
    }
    for name in most {
        pieces.push(Piece::Subject((*name).to_owned()));
        pieces.push(text(", "));
    }
    pieces.push(Piece::Subject((*last).to_owned()));
    pieces.push(text(says));
    pieces.push(Piece::Subject(baseline.to_owned()));
}

/// Adds the leader of all subjects, where intervals mean something; says whether there is one.
fn best(pieces: &mut Vec<Piece>, metric: &Metric, row: &[&Cell<'_>]) -> bool {
    let trusted = row.iter().filter(|cell| cell.trust != Trust::Nothing);
    let with_figure = trusted.filter_map(|cell| Some((cell.subject, cell.figure?)));
    let mut ranked: Vec<_> = with_figure.filter(|(_, it)| it.count >= ROUNDS_MIN).collect();
    ranked.sort_by(|(_, a), (_, b)| match metric.better {
        Better::Higher => b.middle.total_cmp(&a.middle),
        Better::Lower => a.middle.total_cmp(&b.middle),
    });
    let [(leader, figure), others @ ..] = ranked.as_slice() else { return false };
    // Of two, the relation says it.
    if others.len() < 2 {
        return false;
    }
    let clear = others.iter().all(|(_, other)| {
        other.is_apart_from(figure) && (other.middle / figure.middle - 1.0).abs() > UNNOTICED
    });
    let lead = if clear { "Best of all: " } else { "Best, though not clearly: " };
    pieces.push(text(if pieces.is_empty() { lead.to_owned() } else { format!(". {lead}") }));
    pieces.push(Piece::Subject((*leader).to_owned()));
    pieces.push(text(format!(" with {}.", words::with_unit(figure.middle, metric))));
    true
}
