//! Who took part, and all figures, in tables.

use std::fmt::Write as _;

use super::{
    markup::{escape, section, table},
    subject,
};
use crate::report::{
    figures::{Cell, Figures, Trust},
    stats::Verdict,
    table::mark,
    words,
};

/// Every figure of every subject.
pub(super) fn all_figures(figures: &Figures<'_>) -> String {
    let mut html = participants(figures);
    for group in figures.groups() {
        let metrics = figures.metrics(group);
        let mut head = vec![String::new()];
        head.extend(metrics.iter().map(|metric| {
            let direction = words::direction(metric.better);
            format!(
                "{}<small>{}, {direction}</small>",
                escape(&words::sentence(metric.title)),
                escape(metric.unit)
            )
        }));
        let subjects = figures.subjects(|metric| metric.group == group);
        let row = |name: &str| {
            let mut row = vec![subject(figures, name)];
            row.extend(metrics.iter().map(|metric| cell(figures.cell(name, metric.id), figures)));
            row
        };
        let rows: Vec<_> = subjects.into_iter().map(row).collect();
        html += &table(group.title(), &head, &rows);
    }
    section("figures", "All figures", &html)
}

fn participants(figures: &Figures<'_>) -> String {
    let head = ["", "what it is", "congestion control", "encrypted"].map(str::to_owned);
    let rows = figures.run.subjects.iter().map(|it| {
        vec![
            subject(figures, &it.name),
            escape(&it.summary),
            escape(&it.congestion_control),
            if it.encrypted { "yes" } else { "no" }.to_owned(),
        ]
    });
    table("Who took part", &head, &rows.collect::<Vec<_>>()).replacen(
        "<table>",
        "<table class=text>",
        1,
    )
}

fn cell(cell: Option<&Cell<'_>>, figures: &Figures<'_>) -> String {
    let Some((cell, figure)) = cell.and_then(|cell| Some((cell, cell.figure?))) else {
        return "<span class=none title=\"left out\">–</span>".to_owned();
    };
    let doubt = match cell.trust {
        Trust::Whole => "",
        Trust::Part => "<abbr title=\"doubtful samples left out\">!</abbr>",
        Trust::Nothing => "<abbr title=\"all samples are doubtful\">?</abbr>",
    };
    let mut html = format!(
        "<b>{}</b>{doubt}<small>{}</small>",
        words::number(figure.middle),
        words::interval(&figure)
    );
    match cell.relation {
        Some(relation) => {
            let _ = write!(
                html,
                "<small class={} title=\"{}\">{} {}</small>",
                verdict_class(cell.verdict),
                escape(&words::relation_interval(&relation, cell.metric.scale())),
                words::relation(relation.middle, cell.metric.scale()),
                mark(cell)
            );
        }
        None if cell.subject == figures.run.baseline => html += "<small>baseline</small>",
        None => {}
    }
    html
}

fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Same | Verdict::CannotTell => "unclear",
    }
}
