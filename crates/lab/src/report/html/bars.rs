//! Bar charts: the median of each subject, with its interval.

use std::fmt::Write as _;

use super::{markup::escape, palette};
use crate::{
    metric::Metric,
    report::{
        figures::{Cell, Figures, Trust},
        words,
    },
};

const WIDTH: f64 = 440.0;
const LEFT: f64 = 98.0;
/// Where the longest bar or interval ends; its figure stands beyond.
const END: f64 = 330.0;
const ROW: f64 = 24.0;
const BAR: f64 = 13.0;

/// A chart of one metric, where there is one to draw.
pub(super) fn bars(figures: &Figures<'_>, metric: &'static Metric) -> Option<String> {
    let row = figures.row(metric);
    let most = row.iter().filter_map(|cell| cell.figure.map(|it| it.high)).fold(0.0, f64::max);
    let cells: Vec<&Cell<'_>> = row.into_iter().filter(|cell| cell.figure.is_some()).collect();
    if cells.is_empty() {
        return None;
    }
    let height = ROW * f64::from(u32::try_from(cells.len()).ok()?) + 4.0;
    let title = escape(&format!("{}, {}", metric.title, metric.unit));
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=img aria-label=\"Bars: {title}\">");
    let mut top = 2.0;
    for cell in cells {
        bar(&mut svg, figures, cell, Place { top, most });
        top += ROW;
    }
    svg += "</svg>";
    let caption = format!(
        "<figcaption><b>{}</b> {}, {} <span>{}</span></figcaption>",
        escape(&words::sentence(metric.title)),
        escape(metric.unit),
        words::direction(metric.better),
        escape(metric.about)
    );
    Some(format!("<figure>{caption}{svg}</figure>\n"))
}

#[derive(Clone, Copy)]
struct Place {
    top: f64,
    most: f64,
}

fn bar(svg: &mut String, figures: &Figures<'_>, cell: &Cell<'_>, place: Place) {
    let Some(figure) = cell.figure else { return };
    let x = |value: f64| {
        let share = if place.most > 0.0 { value / place.most } else { 0.0 };
        LEFT + share.clamp(0.0, 1.0) * (END - LEFT)
    };
    let subject = figures.place(cell.subject);
    let middle = place.top + ROW / 2.0;
    let class = if cell.trust == Trust::Nothing { "bar doubtful" } else { "bar" };
    let _ = write!(
        svg,
        "<g {}><title>{}</title><text class=name x={:.1} y={:.1} text-anchor=end>{}</text><rect \
         class=\"{class}\" x={LEFT} y={:.1} width={:.1} height={BAR} rx=2 />",
        palette::of(subject),
        escape(&hint(figures, cell)),
        LEFT - 8.0,
        middle + 4.0,
        escape(&palette::short(cell.subject)),
        middle - BAR / 2.0,
        (x(figure.middle) - LEFT).max(0.5),
    );
    let (low, high) = (x(figure.low), x(figure.high));
    if figure.count > 1 {
        let top = middle - 4.0;
        let path = format!("M{low:.1} {middle}H{high:.1}M{low:.1} {top}v8M{high:.1} {top}v8");
        let _ = write!(svg, "<path class=halo d=\"{path}\"/><path class=whisker d=\"{path}\"/>");
    }
    let _ = write!(
        svg,
        "<text class=value x={:.1} y={:.1}>{}</text></g>",
        high.max(x(figure.middle)) + 6.0,
        middle + 4.0,
        escape(&value(cell))
    );
}

/// The figure beside a bar, and how it stands to the baseline.
fn value(cell: &Cell<'_>) -> String {
    let middle = cell.figure.map_or(0.0, |figure| figure.middle);
    let doubt = if cell.trust == Trust::Nothing { "?" } else { "" };
    match cell.relation {
        Some(relation) => format!(
            "{}{doubt} · {}",
            words::number(middle),
            words::relation(relation.middle, cell.metric.scale())
        ),
        None => format!("{}{doubt}", words::number(middle)),
    }
}

fn hint(figures: &Figures<'_>, cell: &Cell<'_>) -> String {
    let Some(figure) = cell.figure else { return cell.subject.to_owned() };
    let mut hint = format!(
        "{}: {} {}, {} of {}",
        cell.subject,
        words::with_unit(figure.middle, cell.metric),
        words::interval(&figure),
        words::percent(figure.coverage),
        words::count(figure.count, "round"),
    );
    if let Some(relation) = cell.relation {
        let scale = cell.metric.scale();
        let _ = write!(
            hint,
            "; {} {} {}",
            words::relation(relation.middle, scale),
            figures.run.baseline,
            words::relation_interval(&relation, scale)
        );
    }
    hint
}
