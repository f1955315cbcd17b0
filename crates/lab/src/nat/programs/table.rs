//! The results, for people and for programs.

use std::fmt::Write as _;

use super::{
    super::{PLACES, Place},
    cell::{Cell, Pair},
    expected::Way,
};
use crate::cast::{CastError, TRANSPORTS};

impl Pair {
    /// How it is called while it is tried.
    pub(super) fn name(&self) -> String {
        let [one, other] = self.places;
        format!("{}, {} asks {}", self.transport.name(), one.name, other.name)
    }
}

/// What a person is told at once.
pub(super) fn in_words(outcome: &Result<Cell, CastError>) -> String {
    let cell = match outcome {
        Ok(cell) => cell,
        Err(error) => return format!("FAILED: {error}"),
    };
    let surprise = match (cell.way, cell.expected) {
        (Way::Direct, Some(Way::Relayed)) => "; BETTER than expected",
        (Way::Relayed, Some(Way::Direct)) => "; WORSE than expected",
        (Way::Direct, Some(Way::Direct) | None) | (Way::Relayed, Some(Way::Relayed) | None) => "",
    };
    let way = match cell.way {
        Way::Direct => format!("direct after {}", time(cell.direct_ms.unwrap_or_default())),
        Way::Relayed => "relayed".to_owned(),
    };
    format!("{way}, first byte after {}{surprise} ({})", time(cell.first_byte_ms), cell.why)
}

/// A table for each transport, in Markdown.
pub(super) fn to_markdown(cells: &[Cell]) -> String {
    let mut text = String::new();
    for transport in TRANSPORTS {
        let cells: Vec<_> = cells.iter().filter(|cell| cell.transport == transport).collect();
        if cells.is_empty() {
            continue;
        }
        let of = |one: &Place, other: &Place| {
            cells.iter().find(|cell| cell.asks == one.name && cell.asked == other.name)
        };
        let asking = |place: &&Place| cells.iter().any(|cell| cell.asks == place.name);
        let asked = |place: &&Place| cells.iter().any(|cell| cell.asked == place.name);
        let rows = PLACES.iter().filter(asking);
        let columns: Vec<&Place> = PLACES.iter().filter(asked).collect();
        let names: Vec<_> = columns.iter().map(|place| place.name).collect();
        let head = format!("| {}: asks \\ is asked | {} |", transport.name(), names.join(" | "));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{head}\n{}|", "|---".repeat(columns.len() + 1));
        for one in rows {
            let row = columns
                .iter()
                .map(|other| of(one, other).map(|cell| cell_text(cell)).unwrap_or_default());
            let _ =
                writeln!(text, "| **{}** | {} |", one.name, row.collect::<Vec<_>>().join(" | "));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// One object.
pub(super) fn to_json(cells: &[Cell]) -> String {
    serde_json::to_string(cells).unwrap_or_else(|error| unreachable!("plain data: {error}"))
}

fn cell_text(cell: &Cell) -> String {
    let first = time(cell.first_byte_ms);
    match cell.direct_ms {
        Some(direct) => format!("{first} / {}", time(direct)),
        None => format!("{first} / relayed"),
    }
}

fn time(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000.. => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::super::{
        super::PLACES,
        TRANSPORTS,
        expected::{Way, expected},
    };

    const BEGIN: &str = "<!-- lab nat --programs begins -->\n";
    const END: &str = "<!-- lab nat --programs ends -->";

    #[test]
    fn the_page_shows_each_pair_reach_the_other_as_it_has_to() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/nat.md");
        let page = fs::read_to_string(path).unwrap();
        let told = page.split_once(BEGIN).unwrap().1.split_once(END).unwrap().0;
        let tables: Vec<&str> = told.trim().split("\n\n").collect();
        assert_eq!(tables.len(), TRANSPORTS.len());
        for (transport, table) in TRANSPORTS.into_iter().zip(tables) {
            let rows: Vec<Vec<&str>> = table.lines().skip(2).map(cells).collect();
            assert!(table.starts_with(&format!("| {}:", transport.name())), "{table}");
            assert_eq!(rows.len(), PLACES.len());
            for (one, row) in PLACES.iter().zip(rows) {
                assert_eq!(row.len(), 1 + PLACES.len(), "{row:?}");
                for (other, cell) in PLACES.iter().zip(&row[1..]) {
                    let Some(way) = expected(transport.name(), [one, other]) else { continue };
                    let relayed = way == Way::Relayed;
                    let pair = format!("{}: {} - {}", transport.name(), one.name, other.name);
                    assert_eq!(cell.ends_with("relayed"), relayed, "{pair}: {cell}");
                }
            }
        }
    }

    fn cells(row: &str) -> Vec<&str> {
        row.trim().trim_matches('|').split('|').map(str::trim).collect()
    }
}
