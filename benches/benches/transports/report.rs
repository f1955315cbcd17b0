//! Medians, spread and ratios as a Markdown table.

use std::fmt::Write;

use crate::workload::Sample;

/// All samples, a row a subject.
pub(crate) struct Report {
    rows: Vec<(String, Vec<Sample>)>,
}

/// A column: heading, figure, decimals.
type Column = (&'static str, fn(&Sample) -> f64, usize);

const COLUMNS: &[Column] = &[
    ("bulk MiB/s", |sample| sample.bulk_mib_per_s, 0),
    ("CPU-s/GiB", |sample| sample.bulk_cpu_s_per_gib, 2),
    ("RTT p50 µs", |sample| sample.rtt_p50_us, 1),
    ("RTT p99 µs", |sample| sample.rtt_p99_us, 1),
    ("100 B messages/s", |sample| sample.messages_per_s, 0),
    ("connect + first answer /s", |sample| sample.handshakes_per_s, 0),
];

impl Report {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { rows: names.into_iter().map(|name| (name, Vec::new())).collect() }
    }

    pub(crate) fn add(&mut self, row: usize, sample: Sample) {
        self.rows[row].1.push(sample);
    }

    /// Medians with their least and greatest, and the median of the ratios to `baseline` of the
    /// same round.
    pub(crate) fn to_markdown(&self, baseline: &str) -> String {
        let mut text = String::from("| |");
        for (heading, _, _) in COLUMNS {
            let _ = write!(text, " {heading} |");
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(COLUMNS.len()));
        text.push('\n');
        let base = self.rows.iter().find(|(name, _)| name == baseline).map(|(_, samples)| samples);
        for (name, samples) in &self.rows {
            let _ = write!(text, "| {name} |");
            for column in COLUMNS {
                let _ = write!(text, " {} |", cell(column, samples, base));
            }
            text.push('\n');
        }
        let rounds = self.rows.first().map_or(0, |(_, samples)| samples.len());
        let _ = writeln!(
            text,
            "\nMedian of {rounds} interleaved rounds [least–greatest], × the ratio to {baseline} in the same round."
        );
        text
    }
}

fn cell((_, figure, decimals): &Column, samples: &[Sample], base: Option<&Vec<Sample>>) -> String {
    let figures: Vec<f64> = samples.iter().map(figure).collect();
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = figures.iter().copied().fold(0.0, f64::max);
    let ratios = base.map(|base| {
        median(figures.iter().zip(base).map(|(own, other)| own / figure(other)).collect())
    });
    let ratio = ratios.map(|ratio| format!(" ×{ratio:.2}")).unwrap_or_default();
    format!("{:.decimals$} [{least:.decimals$}–{greatest:.decimals$}]{ratio}", median(figures))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
