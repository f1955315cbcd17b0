//! Tables of talks, in Markdown.

use std::{io::Write, time::Duration};

use super::{Options, Row, Verdict};
use crate::bench::{link::LinkChoice, options::Driver};

const HEAD: &str = "\
| over | played | repaired | concealed | late | delay | p95 | glitches/min | kbit/s | MOS |
|---|---|---|---|---|---|---|---|---|---|
";

/// Prints the talks over one link.
pub(super) fn print(options: &Options, driver: Driver, link: &LinkChoice, rows: &[Row]) {
    let how = match driver {
        Driver::Virtual => "in virtual time",
        Driver::Auto | Driver::Real => "real packets",
    };
    let source = format!("{:?}", options.source).to_lowercase();
    let seconds = options.time.as_secs_f64();
    let until = options.until.as_millis();
    let beside = if options.beside { ", beside a file transfer" } else { "" };
    let mut text = format!(
        "**{}**: {}; {seconds} s of {source}, of use for {until} ms{beside}, {how}\n\n{HEAD}",
        link.text, link.description
    );
    for row in rows {
        text += &line(row);
    }
    for row in rows {
        if let Some(doubt) = &row.doubt {
            text += &format!("\n! {}: {doubt}\n", row.way.name);
        }
    }
    say(&text);
}

/// Prints a line, or several.
pub(super) fn say(text: &str) {
    // Nobody may be reading any more: that is not our failure.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn line(row: &Row) -> String {
    let name = row.way.name;
    match &row.verdict {
        Ok(verdict) => format!("| {name} | {} |\n", cells(verdict).join(" | ")),
        Err(why) => format!("| {name} | {why} | | | | | | | | |\n"),
    }
}

fn cells(verdict: &Verdict) -> [String; 9] {
    let share = |share: f64| format!("{:.2} %", share * 100.0);
    let millis = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
    [
        share(verdict.played),
        share(verdict.repaired),
        share(verdict.concealed),
        share(verdict.late),
        millis(verdict.delay_mean),
        millis(verdict.delay_p95),
        verdict.glitches.map_or("-".to_owned(), |count| format!("{count:.0}")),
        format!("{:.0}", verdict.rate / 1e3),
        format!("{:.2}", verdict.mos),
    ]
}
