//! The sections that draw: bars, latency by quantile, goodput over time, the matrix.

use super::{
    axis::Axis,
    bars, heat,
    lines::{Line, Lines},
    markup::{escape, folded, section, table},
    subject,
};
use crate::{
    metric::Group,
    report::{figures::Figures, notes, words},
    result::{Curve, Distribution},
};

/// The metric that is drawn with the costs, though it is taken with the throughput.
const CPU: &str = "cpu";

/// The rows of a table that stands for a line chart.
const ROWS_MAX: usize = 12;

/// Bars of a group's metrics; what bulk costs stands with the other costs.
pub(super) fn bar_section(figures: &Figures<'_>, id: &str, title: &str, group: Group) -> String {
    let metrics = figures.metrics(group).into_iter().filter(|metric| metric.id != CPU);
    let charts: String = metrics.filter_map(|metric| bars::bars(figures, metric)).collect();
    charted(id, title, "", &charts)
}

/// A section of charts; nothing where there are none.
fn charted(id: &str, title: &str, about: &str, charts: &str) -> String {
    if charts.is_empty() {
        return String::new();
    }
    section(id, title, &format!("{about}<div class=charts>{charts}</div>"))
}

/// What the rest costs, and how often it can be done in a second.
pub(super) fn costs(figures: &Figures<'_>) -> String {
    let cpu = figures.metrics(Group::Bulk).into_iter().filter(|metric| metric.id == CPU);
    let rest = [Group::Messages, Group::Connecting, Group::Memory];
    let rest = rest.into_iter().flat_map(|group| figures.metrics(group));
    let charts: String = cpu.chain(rest).filter_map(|it| bars::bars(figures, it)).collect();
    charted("costs", "Rates and costs", "", &charts)
}

/// What the ids of distributions stand for.
const DISTRIBUTIONS: &[(&str, &str)] = &[
    ("rtt-64", "Round trip of 64 B"),
    ("rtt-1k", "Round trip of 1 KiB"),
    ("handshake", "Handshake"),
    ("first-byte", "Time to first byte"),
    ("live-once", "Live message, sent once"),
    ("live-until", "Live message, repaired for 150 ms"),
    ("live-stream", "Live message, on a stream"),
    ("loaded-rtt", "Round trip of 64 B beside a bulk transfer"),
];

/// Latency by quantile, a chart for each thing that was timed.
pub(super) fn distributions(figures: &Figures<'_>) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for distribution in &figures.run.distributions {
        if !kinds.contains(&distribution.of.as_str()) {
            kinds.push(&distribution.of);
        }
    }
    let charts: String = kinds.into_iter().map(|of| distribution_chart(figures, of)).collect();
    let about = "<p class=about>How long the quickest, the middle and the slowest took: each step \
                 to the right is ten times rarer. Lower is better.</p>\n";
    charted("latency", "Latency", about, &charts)
}

fn distribution_chart(figures: &Figures<'_>, of: &str) -> String {
    let known = DISTRIBUTIONS.iter().find(|(id, _)| *id == of);
    let title = known.map_or(of, |(_, title)| title);
    let distributions: Vec<&Distribution> = figures
        .run
        .distributions
        .iter()
        .filter(|it| it.of == of && !it.points.is_empty())
        .collect();
    let values = distributions.iter().flat_map(|it| it.points.iter().map(|(_, value)| *value));
    let positive = values.filter(|value| *value > 0.0);
    let (least, most) =
        positive.fold((f64::INFINITY, 0.0_f64), |(a, b), value| (a.min(value), b.max(value)));
    if most <= 0.0 {
        return String::new();
    }
    let quantiles = distributions.iter().flat_map(|it| it.points.iter().map(|(at, _)| *at));
    let rarest = quantiles.filter(|at| *at < 1.0).fold(0.0, f64::max);
    let chart = Lines {
        title: format!("{title}: latency by quantile"),
        x: Axis::quantiles(rarest, "share that was at most as slow"),
        y: Axis::latency(least, most, ""),
        lines: distributions.iter().map(|it| latency_line(figures, it)).collect(),
    };
    figure(title, "one line each subject", &chart, &latency_table(figures, &distributions))
}

fn latency_line<'a>(figures: &Figures<'_>, it: &'a Distribution) -> Line<'a> {
    let quantile = |wanted| words::latency(quantile(it, wanted).unwrap_or(0.0));
    Line {
        subject: figures.place(&it.subject),
        name: &it.subject,
        points: it.points.clone(),
        hint: format!(
            "p50 {}, p99 {}, of {}",
            quantile(0.5),
            quantile(0.99),
            words::count(usize::try_from(it.count).unwrap_or(usize::MAX), "value")
        ),
    }
}

/// The first value at or above a quantile.
fn quantile(it: &Distribution, wanted: f64) -> Option<f64> {
    let at = it.points.iter().find(|(quantile, _)| *quantile >= wanted - 1e-9);
    at.or(it.points.last()).map(|(_, value)| *value)
}

fn latency_table(figures: &Figures<'_>, distributions: &[&Distribution]) -> String {
    let shown = [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %")];
    let mut head = vec!["subject".to_owned()];
    head.extend(shown.map(|(_, label)| label.to_owned()));
    head.push("values".to_owned());
    let row = |it: &&Distribution| {
        let mut row = vec![subject(figures, &it.subject)];
        row.extend(shown.map(|(at, _)| quantile(it, at).map_or("–".to_owned(), words::latency)));
        row.push(it.count.to_string());
        row
    };
    table("", &head, &distributions.iter().map(row).collect::<Vec<_>>())
}

fn figure(title: &str, about: &str, chart: &Lines<'_>, equivalent: &str) -> String {
    format!(
        "<figure><figcaption><b>{}</b> {about}</figcaption>{}{}</figure>\n",
        escape(title),
        chart.svg(),
        folded("The same as a table", equivalent)
    )
}

/// Goodput over time.
pub(super) fn curves(figures: &Figures<'_>) -> String {
    let curves = figures.run.curves.iter().filter(|curve| !curve.points.is_empty());
    let points = || curves.clone().flat_map(|curve| curve.points.iter());
    if points().next().is_none() {
        return String::new();
    }
    let chart = Lines {
        title: "Goodput over time".to_owned(),
        x: Axis::linear(points().map(|(x, _)| *x).fold(0.0, f64::max), "seconds from the start"),
        y: Axis::linear(points().map(|(_, y)| *y).fold(0.0, f64::max), "Mbit/s"),
        lines: curves
            .clone()
            .map(|curve| Line {
                subject: figures.place(&curve.subject),
                name: &curve.subject,
                points: curve.points.clone(),
                hint: "goodput over time".to_owned(),
            })
            .collect(),
    };
    let rows: Vec<Vec<String>> = curves.map(|curve| curve_row(figures, curve)).collect();
    let head = ["subject", "Mbit/s, in twelfths of the time"].map(str::to_owned);
    let charts = figure("One long transfer", "of each subject", &chart, &table("", &head, &rows));
    let about = "<p class=about>How soon a transfer is fast, and how steady it stays.</p>\n";
    charted("time", "Goodput over time", about, &charts)
}

/// The mean of each of [`ROWS_MAX`] parts of a curve.
fn curve_row(figures: &Figures<'_>, curve: &Curve) -> Vec<String> {
    let part = curve.points.len().div_ceil(ROWS_MAX).max(1);
    let mean = |points: &[(f64, f64)]| {
        let (sum, count) = points.iter().fold((0.0, 0.0), |(sum, n), (_, y)| (sum + y, n + 1.0));
        words::number(sum / count)
    };
    let means: Vec<String> = curve.points.chunks(part).map(mean).collect();
    vec![subject(figures, &curve.subject), means.join(" · ")]
}

/// Goodput by loss and round trip.
pub(super) fn matrix(figures: &Figures<'_>) -> String {
    let Some(matrix) = &figures.run.matrix else { return String::new() };
    let about = format!("<p class=about>{}</p>\n", escape(&notes::matrix(matrix)));
    section("matrix", "Goodput by loss and round trip", &(about + &heat::maps(figures, matrix)))
}
