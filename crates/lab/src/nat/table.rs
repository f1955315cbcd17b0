//! The results, for people and for programs.

use std::{fmt::Write, time::Duration};

use serde::Serialize;

use super::{Outcome, PLACES, Place};

/// One pair of places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Tries in which the peers met.
    pub direct: u32,
    /// All tries.
    pub tries: u32,
    /// The median time to meet, in milliseconds; `None`: they never did.
    pub median_ms: Option<u64>,
}

/// Every place with every place: who asked for the introduction, then who was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The names of rows and columns.
    pub places: Vec<&'static str>,
    /// The rows.
    pub cells: Vec<Vec<Cell>>,
}

impl Cell {
    pub(crate) fn new(outcomes: impl Iterator<Item = Outcome>) -> Self {
        let (mut times, mut tries) = (Vec::new(), 0);
        for outcome in outcomes {
            tries += 1;
            match outcome {
                Outcome::Direct(time) => times.push(time),
                Outcome::Relayed => {}
            }
        }
        times.sort();
        let median = times.get(times.len() / 2);
        let in_ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let direct = u32::try_from(times.len()).unwrap_or(u32::MAX);
        Self { direct, tries, median_ms: median.map(in_ms) }
    }

    fn text(&self) -> String {
        let Some(ms) = self.median_ms else { return "relayed".to_owned() };
        let time = match ms {
            0..1000 => format!("{ms} ms"),
            1000.. => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        };
        if self.direct == self.tries {
            return time;
        }
        format!("{time} ({} of {})", self.direct, self.tries)
    }
}

impl Matrix {
    pub(crate) fn fill(mut cell: impl FnMut(&'static Place, &'static Place) -> Cell) -> Self {
        let mut row = |one| PLACES.iter().map(|other| cell(one, other)).collect();
        Self {
            places: PLACES.iter().map(|place| place.name).collect(),
            cells: PLACES.iter().map(&mut row).collect(),
        }
    }

    /// A table in Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = format!("| asks \\ is asked | {} |\n", self.places.join(" | "));
        text += &"|---".repeat(self.places.len() + 1);
        text += "|\n";
        for (place, row) in self.places.iter().zip(&self.cells) {
            let cells: Vec<String> = row.iter().map(Cell::text).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| **{place}** | {} |", cells.join(" | "));
        }
        text
    }

    /// One object.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("plain data: {error}"))
    }
}
