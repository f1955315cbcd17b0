//! One page that holds all of a run: no other file, no network, no program needed to read it.
//!
//! Style and the little script stand in the page; charts are SVG made here, each with a table that
//! says the same. The script only dims subjects; without it nothing is missing.

mod axis;
mod bars;
mod heat;
mod lines;
mod markup;
mod palette;

use std::fmt::Write as _;

use axis::Axis;
use lines::{Line, Lines};
use markup::{escape, folded, section, table};

use crate::{
    metric::{Group, Metric},
    report::{
        figures::{Cell, Figures, Trust},
        findings::{Piece, findings},
        notes,
        stats::Verdict,
        table::mark,
        words,
    },
    result::{Distribution, Driver, Run},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The names of headlines, at most; the rest are counted.
const HEADLINE_MAX: usize = 4;

/// The rows of a table that stands for a line chart.
const ROWS_MAX: usize = 12;

/// The page of a run.
#[must_use]
pub fn html(run: &Run) -> String {
    let figures = Figures::of(run);
    let mut page = head(run);
    page += &introduction(&figures);
    page += &callouts(&figures);
    page += &key_findings(&figures);
    page += &legend(run);
    page += &bar_section(&figures, "throughput", "Throughput", Group::Bulk, |it| it.id != "cpu");
    page += &distributions(&figures);
    page += &bar_section(&figures, "live", "Live messages", Group::Live, |_| true);
    page += &curves(&figures);
    page += &matrix(&figures);
    page += &costs(&figures);
    page += &all_figures(&figures);
    page += &doubts(&figures);
    page += &method(&figures);
    page + "</main>\n<script>" + SCRIPT + "</script>\n</body></html>\n"
}

fn head(run: &Run) -> String {
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n<meta name=viewport \
         content=\"width=device-width,initial-scale=1\">\n<meta name=color-scheme content=\"light \
         dark\">\n<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src \
         'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>{}</title>\n<style>{STYLE}{}</style>\
         </head>\n<body><main>\n",
        escape(&headline(run)),
        palette::css()
    )
}

/// `tcp, udp and quic beside 6 others, over lossy-1`.
fn headline(run: &Run) -> String {
    let names: Vec<&str> = run.subjects.iter().map(|subject| subject.name.as_str()).collect();
    let who = match names.split_at_checked(HEADLINE_MAX) {
        Some((first, rest)) if rest.len() > 1 => {
            format!("{} and {} others", first.join(", "), rest.len())
        }
        _ => words::list(&names),
    };
    format!("{who} over {}", run.setting.link)
}

fn introduction(figures: &Figures<'_>) -> String {
    let run = figures.run;
    let mut html = format!(
        "<header><p class=eyebrow>Portolan laboratory · {}</p><h1>{}</h1>\n<p class=lead>{}</p></header>\n",
        escape(&run.started),
        escape(&headline(run)),
        escape(&run.setting.description)
    );
    html += "<dl class=facts>";
    for (term, text) in facts(run) {
        let _ = write!(html, "<div><dt>{term}</dt><dd>{}</dd></div>", escape(&text));
    }
    html += "</dl>\n";
    html
}

fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let how = match run.setting.driver {
        Driver::Loopback => "real sockets, the kernel's loopback",
        Driver::Emulated => "real sockets, through the emulated link",
        Driver::VirtualTime => "virtual time: protocol machines over the model",
    };
    let processes = match (run.setting.driver, run.setting.processes) {
        (Driver::VirtualTime, _) => "none: both sides are state machines".to_owned(),
        (_, 1) => "one, for client and server".to_owned(),
        (_, more) => format!("{more}, client and server apart"),
    };
    vec![
        ("Link", run.setting.link.clone()),
        ("Carried by", how.to_owned()),
        ("Rounds", format!("{}, interleaved", run.rounds)),
        ("Ratios to", run.baseline.clone()),
        ("Seed", run.setting.seed.to_string()),
        ("Processes", processes),
        (
            "Machine",
            format!("{}, {}", run.machine.cpu, words::count(run.machine.cores as usize, "core")),
        ),
        ("System", run.machine.system.clone()),
    ]
}

/// What a reader must not miss.
fn callouts(figures: &Figures<'_>) -> String {
    let mut html = String::new();
    if figures.run.setting.driver == Driver::VirtualTime {
        html += "<p class=callout><b>Virtual time.</b> Protocol machines ran over the model of the \
                 link, without a kernel: there is no TCP here, and no figure of CPU time or memory. \
                 What a processor needs for the bytes does not show.</p>\n";
    }
    let samples = figures.run.measures.iter().flat_map(|measure| &measure.samples);
    let (all, doubtful) = samples.fold((0_usize, 0_usize), |(all, doubtful), sample| {
        (all + 1, doubtful + usize::from(sample.doubt.is_some()))
    });
    if doubtful > 0 {
        let _ = writeln!(
            html,
            "<p class=callout><b>{doubtful} of {} are doubtful.</b> Medians leave them out where \
             others exist. <a href=\"#doubts\">What speaks against them</a></p>",
            words::count(all, "sample")
        );
    }
    html
}

fn key_findings(figures: &Figures<'_>) -> String {
    let findings = findings(figures);
    if findings.is_empty() {
        return String::new();
    }
    let mut html = String::from("<dl class=findings>");
    for finding in findings {
        let _ = write!(html, "<dt>{}</dt><dd>", escape(&words::sentence(finding.title)));
        for piece in &finding.pieces {
            html += &match piece {
                Piece::Text(text) => escape(text),
                Piece::Subject(name) if *name == figures.run.baseline => escape(name),
                Piece::Subject(name) => subject(figures, name),
                Piece::Figure(figure) => format!("<b>{}</b>", escape(figure)),
            };
        }
        html += "</dd>";
    }
    section("findings", "What it shows", &(html + "</dl>\n"))
}

/// A subject's name in its colour.
fn subject(figures: &Figures<'_>, name: &str) -> String {
    let colour = palette::of(figures.place(name));
    format!("<span class=subject {colour}><i class=swatch></i>{}</span>", escape(name))
}

/// Who took part; the names dim and show their subjects in all charts.
fn legend(run: &Run) -> String {
    let mut html = String::from(
        "<nav class=legend aria-label=\"Subjects: press one to dim it in the charts\">",
    );
    for (index, subject) in run.subjects.iter().enumerate() {
        let _ = write!(
            html,
            "<button type=button aria-pressed=true data-toggle={} {}><i class=swatch></i>{} \
             <small>{}</small></button>",
            palette::number(index),
            palette::of(index),
            escape(&subject.name),
            escape(&subject.congestion_control)
        );
    }
    html + "</nav>\n"
}

fn bar_section(
    figures: &Figures<'_>,
    id: &str,
    title: &str,
    group: Group,
    shown: impl Fn(&Metric) -> bool,
) -> String {
    let metrics = figures.metrics(group).into_iter().filter(|metric| shown(metric));
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

fn costs(figures: &Figures<'_>) -> String {
    let cpu = figures.metrics(Group::Bulk).into_iter().filter(|metric| metric.id == "cpu");
    let rest = [Group::Messages, Group::Connecting, Group::Memory];
    let rest = rest.into_iter().flat_map(|group| figures.metrics(group));
    let charts: String = cpu.chain(rest).filter_map(|it| bars::bars(figures, it)).collect();
    charted("costs", "Rates and costs", "", &charts)
}

/// What the ids of distributions stand for.
const DISTRIBUTIONS: &[(&str, &str)] = &[
    ("rtt-64", "Round trip of 64 B"),
    ("rtt-1k", "Round trip of 1 KiB"),
    ("first-byte", "Time to first byte"),
    ("live-once", "Live message, sent once"),
    ("live-until", "Live message, repaired for 150 ms"),
    ("live-stream", "Live message, on a stream"),
    ("loaded-rtt", "Round trip of 64 B beside a bulk transfer"),
];

fn distributions(figures: &Figures<'_>) -> String {
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
        y: Axis::latency(least, most, "latency"),
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

fn curves(figures: &Figures<'_>) -> String {
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
fn curve_row(figures: &Figures<'_>, curve: &crate::result::Curve) -> Vec<String> {
    let part = curve.points.len().div_ceil(ROWS_MAX).max(1);
    let mean = |points: &[(f64, f64)]| {
        let (sum, count) = points.iter().fold((0.0, 0.0), |(sum, n), (_, y)| (sum + y, n + 1.0));
        words::number(sum / count)
    };
    let means: Vec<String> = curve.points.chunks(part).map(mean).collect();
    vec![subject(figures, &curve.subject), means.join(" · ")]
}

fn matrix(figures: &Figures<'_>) -> String {
    let Some(matrix) = &figures.run.matrix else { return String::new() };
    let about = format!("<p class=about>{}</p>\n", escape(&notes::matrix(matrix)));
    section("matrix", "Goodput by loss and round trip", &(about + &heat::maps(figures, matrix)))
}

fn all_figures(figures: &Figures<'_>) -> String {
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
        let row = |name: &str| {
            let mut row = vec![subject(figures, name)];
            row.extend(metrics.iter().map(|metric| cell(figures.cell(name, metric.id), figures)));
            row
        };
        let rows: Vec<_> = figures.run.subjects.iter().map(|it| row(&it.name)).collect();
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
        Verdict::CannotTell => "unclear",
    }
}

fn doubts(figures: &Figures<'_>) -> String {
    let mut notes = notes::doubts(figures);
    notes.extend(notes::left_out(figures));
    let mut html = String::new();
    for note in notes {
        let _ = write!(html, "<li>{}</li>", escape(note.trim_start_matches(['!', '–', ' '])));
    }
    if html.is_empty() {
        html += "<li>Nothing spoke against any sample, and nothing was left out.</li>";
    }
    section("doubts", "Doubts, and what was left out", &format!("<ul>{html}</ul>\n"))
}

fn method(figures: &Figures<'_>) -> String {
    let mut html = format!("<p>{}</p>\n", escape(&notes::method(figures)));
    html += "<p>Rounds are interleaved: each round measures every subject once, and a ratio compares \
             two figures of the same round, so that what slows the machine for a while slows both. \
             Intervals are those of order statistics; they assume no distribution.</p>\n";
    let _ = write!(
        html,
        "<p>To measure again:</p><pre><code>{}</code></pre>\n<p>The seed {} gives the link the same \
         chance again; what real sockets and a real scheduler add differs from run to run.</p>\n",
        escape(&figures.run.command),
        figures.run.setting.seed
    );
    section("method", "How it was measured, and how to repeat it", &html)
}
