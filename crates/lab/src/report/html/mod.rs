//! One page that holds all of a run: no other file, no network, no program needed to read it.
//!
//! Style and the little script stand in the page; charts are SVG made here, each with a table that
//! says the same. The script only dims subjects; without it nothing is missing.

mod axis;
mod bars;
mod charts;
mod heat;
mod lines;
mod listing;
mod markup;
mod palette;

use std::fmt::Write as _;

use markup::{escape, section};

use crate::{
    metric::Group,
    report::{
        figures::Figures,
        findings::{Piece, findings},
        notes, words,
    },
    result::{Driver, Run},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The names of headlines, at most; the rest are counted.
const HEADLINE_MAX: usize = 4;

/// The page of a run.
#[must_use]
pub fn html(run: &Run) -> String {
    let figures = Figures::of(run);
    let mut page = head(&figures);
    page += &introduction(&figures);
    page += &callouts(&figures);
    page += &key_findings(&figures);
    page += &legend(&figures);
    page += &charts::bar_section(&figures, "throughput", "Throughput", Group::Bulk);
    page += &charts::distributions(&figures);
    page += &charts::bar_section(&figures, "live", "Live messages", Group::Live);
    page += &charts::curves(&figures);
    page += &charts::matrix(&figures);
    page += &charts::costs(&figures);
    page += &listing::all_figures(&figures);
    page += &doubts(&figures);
    page += &method(&figures);
    page + "</main>\n<script>" + SCRIPT + "</script>\n</body></html>\n"
}

fn head(figures: &Figures<'_>) -> String {
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n<meta name=viewport \
         content=\"width=device-width,initial-scale=1\">\n<meta name=color-scheme content=\"light \
         dark\">\n<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src \
         'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>{}</title>\n<style>{STYLE}{}</style>\
         </head>\n<body><main>\n",
        escape(&headline(figures)),
        palette::css()
    )
}

/// `tcp, udp and quic beside 6 others, over lossy-1`.
fn headline(figures: &Figures<'_>) -> String {
    let names = figures.subjects(|_| true);
    let who = match names.split_at_checked(HEADLINE_MAX) {
        Some((first, rest)) if rest.len() > 1 => {
            format!("{} and {} others", first.join(", "), rest.len())
        }
        _ => words::list(&names),
    };
    format!("{who} over {}", figures.run.setting.link)
}

fn introduction(figures: &Figures<'_>) -> String {
    let run = figures.run;
    let mut html = format!(
        "<header><p class=eyebrow>Portolan laboratory · {}</p><h1>{}</h1>\n<p class=lead>{}</p></header>\n",
        escape(&run.started),
        escape(&headline(figures)),
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
pub(super) fn subject(figures: &Figures<'_>, name: &str) -> String {
    let colour = palette::of(figures.place(name));
    format!("<span class=subject {colour}><i class=swatch></i>{}</span>", escape(name))
}

/// Who took part; the names dim and show their subjects in all charts.
fn legend(figures: &Figures<'_>) -> String {
    let present = figures.subjects(|_| true);
    let mut html = String::from(
        "<nav class=legend aria-label=\"Subjects: press one to dim it in the charts\">",
    );
    for (index, subject) in figures.run.subjects.iter().enumerate() {
        if !present.contains(&subject.name.as_str()) {
            continue;
        }
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
    let again = match figures.run.setting.driver {
        Driver::Loopback => "It orders the subjects; a real scheduler differs from run to run.",
        Driver::Emulated => {
            "It gives the link the same chance again; what real sockets and a real scheduler add \
             differs from run to run."
        }
        Driver::VirtualTime => "The same program gives the same figures again.",
    };
    let _ = write!(
        html,
        "<p>To measure again:</p><pre><code>{}</code></pre>\n<p>The seed is {}. {again}</p>\n",
        escape(&figures.run.command),
        figures.run.setting.seed
    );
    section("method", "How it was measured, and how to repeat it", &html)
}
