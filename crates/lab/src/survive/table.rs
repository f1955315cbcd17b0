//! The results, for people and for programs.

use std::fmt::Write as _;

use super::{
    run::{Run, Survived},
    trouble::TROUBLES,
};
use crate::cast::{CastError, TRANSPORTS};

/// What a person is told at once.
pub(super) fn in_words(outcome: &Result<Survived, CastError>) -> String {
    match outcome {
        Err(error) => format!("LOST: {error}"),
        Ok(survived) => {
            let mut text = format!("whole, {}, {}", cell(survived), survived.via);
            for told in &survived.told {
                let after = seconds(told.after_ms);
                // Writing to a string cannot fail.
                let _ = write!(text, "\n    after {after}: {} {}", told.what, told.why);
            }
            text
        }
    }
}

/// One row for everything that happened, one column for each transport.
pub(super) fn to_markdown(runs: &[Run], survived: &[Survived]) -> String {
    let transports: Vec<_> = TRANSPORTS
        .into_iter()
        .filter(|transport| runs.iter().any(|run| run.transport == *transport))
        .collect();
    let names: Vec<_> = transports.iter().map(|transport| transport.name()).collect();
    let mut text = format!("| what happens | {} |\n", names.join(" | "));
    text += &"|---".repeat(transports.len() + 1);
    text += "|\n";
    for trouble in TROUBLES {
        let of_it = |run: &Run| run.trouble.name == trouble.name;
        if !runs.iter().any(of_it) {
            continue;
        }
        let cells = transports.iter().map(|transport| {
            let it = |one: &&Survived| one.trouble == trouble.name && one.transport == *transport;
            let was_tried = runs.iter().any(|run| of_it(run) && run.transport == *transport);
            match survived.iter().find(it) {
                Some(survived) => cell(survived),
                None if was_tried => "**lost**".to_owned(),
                None => String::new(),
            }
        });
        let cells: Vec<_> = cells.collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} | {} |", trouble.about, cells.join(" | "));
    }
    text
}

/// One list.
pub(super) fn to_json(survived: &[Survived]) -> String {
    serde_json::to_string(survived).unwrap_or_else(|error| unreachable!("plain data: {error}"))
}

fn cell(survived: &Survived) -> String {
    let (pause, sent) = (seconds(survived.pause_ms), survived.sent * 100.0);
    format!("{pause}, {sent:.0} %")
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}
