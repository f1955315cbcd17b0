//! The result for people.

use std::fmt::Write as _;

use super::figure::{Figure, KINDS, Kind, Result, Row, Sheet};
use crate::{
    metric::Scale,
    report::{
        stats::{Estimate, estimate, relate},
        words,
    },
};

/// The kinds of which a ratio says something.
const COMPARED: &[&str] = &["stored", "delivered", "delivered-p99", "server-cpu"];

/// All sheets as Markdown tables.
pub(crate) fn tables(result: &Result) -> String {
    let mut out = String::new();
    let cores = words::count(usize::try_from(result.cores).unwrap_or_default(), "core");
    let _ =
        writeln!(out, "{}, {}, shared by server and load; {}", result.cpu, cores, result.system);
    for sheet in &result.sheets {
        write_sheet(sheet, &mut out);
    }
    out
}

fn write_sheet(sheet: &Sheet, out: &mut String) {
    let _ = writeln!(out, "\n#### {}\n{}.\n", sheet.scenario, words::sentence(&sheet.about));
    let kinds: Vec<&Kind> = KINDS
        .iter()
        .copied()
        .filter(|kind| sheet.rows.iter().any(|row| row.figure(kind.id).is_some()))
        .collect();
    let titles = kinds
        .iter()
        .map(|kind| format!("{}, {} ({})", kind.title, kind.unit, words::direction(kind.better)));
    let _ = writeln!(out, "| | {} |", titles.collect::<Vec<_>>().join(" | "));
    let _ = writeln!(out, "|---|{}", "---:|".repeat(kinds.len()));
    for row in &sheet.rows {
        let beside = row.beside.and_then(|index| sheet.rows.get(index));
        let cells = kinds.iter().map(|kind| cell(kind, row, beside));
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let name = match row.phase.as_str() {
            "" => row.subject.clone(),
            phase => format!("{}, {phase}", row.subject),
        };
        let _ = writeln!(out, "| {name} | {cells} |");
    }
    let arrived: u64 = sheet.rows.iter().map(|row| row.arrived).sum();
    if arrived > 0 && !sheet.is_broken() {
        let arrived = words::number(arrived as f64);
        let _ = writeln!(out, "\n{arrived} texts arrived, each once and in order.");
    }
    for row in sheet.rows.iter().filter(|row| !row.doubts.is_empty()) {
        let doubts = row.doubts.join("; ");
        let _ = writeln!(out, "\n! {}, {}: {}", row.subject, row.phase, words::plain(&doubts));
    }
}

/// A median, its interval, and how it stands to another row's.
fn cell(kind: &Kind, row: &Row, beside: Option<&Row>) -> String {
    let Some(figure) = row.figure(kind.id) else { return "–".into() };
    let Some(found) = figure.estimate() else { return "–".into() };
    let mut text = words::number(found.middle);
    let interval = words::interval(&found);
    if !interval.is_empty() {
        let _ = write!(text, " {interval}");
    }
    let other = beside.and_then(|row| row.figure(kind.id));
    if let Some(ratio) =
        other.filter(|_| COMPARED.contains(&kind.id)).and_then(|o| ratio(figure, o))
    {
        let _ = write!(text, " {}", words::relation(ratio.middle, Scale::Ratio));
    }
    text
}

/// Of each round's figure to the other's in the same round.
fn ratio(figure: &Figure, other: &Figure) -> Option<Estimate> {
    let pairs = figure.rounds.iter().zip(&other.rounds);
    let ratios: Option<Vec<f64>> =
        pairs.map(|(value, to)| relate(Scale::Ratio, *value, *to)).collect();
    estimate(&ratios?)
}

#[cfg(test)]
mod tests {
    use super::tables;
    use crate::load::figure::{DELIVERED, LAST, Result, Row, STORED, Sample, Sheet};

    fn row(subject: &str, beside: Option<usize>, values: &[f64]) -> Row {
        let mut row = Row::new(subject, "fast");
        row.beside = beside;
        for value in values {
            let figures = vec![(&STORED, *value), (&DELIVERED, value * 2.0)];
            row.add(Sample { figures, doubts: vec!["a cat sat on it".into()], arrived: 7 });
        }
        row
    }

    #[test]
    fn a_table_has_medians_ratios_in_rounds_and_doubts_once() {
        let rows = vec![
            row("tcp", Some(1), &[100.0, 300.0, 200.0]),
            row("other", None, &[50.0, 100.0, 100.0]),
        ];
        let sheet = Sheet { scenario: "direct".into(), about: "words".into(), rows };
        let result = Result { cpu: "C".into(), cores: 2, system: "S".into(), sheets: vec![sheet] };
        let text = tables(&result);
        assert!(text.contains("C, 2 cores, shared by server and load; S"), "{text}");
        assert!(
            text.contains("| | stored, /s (more is better) | delivered, /s (more is better) |"),
            "{text}"
        );
        let ours = "| tcp, fast | 200 [100–300] 2.00 × | 400 [200–600] 2.00 × |";
        assert!(text.contains(ours), "{text}");
        assert_eq!(text.matches("a cat sat on it").count(), 2, "{text}");
        assert!(text.contains("42.0 texts arrived, each once and in order"), "{text}");
        assert!(!text.contains(LAST.title), "nothing of what nobody measured: {text}");
        let json = serde_json::to_string(&result).unwrap();
        assert_eq!(serde_json::from_str::<Result>(&json).unwrap(), result);
    }
}
