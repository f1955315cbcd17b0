//! The table at the end.

#![expect(clippy::print_stdout, reason = "the table is the demo's result")]

use std::time::Duration;

use serde_json::json;

use super::{Row, play::millis};

/// The column of words.
const HASH: usize = 5;

const HEAD: [&str; 11] = [
    "transport",
    "handshake ms",
    "message RTT ms p50",
    "p99",
    "file MiB/s",
    "hash (BLAKE3)",
    "audio on time",
    "repaired",
    "concealed",
    "late",
    "memory MiB",
];

/// Prints the rows as an aligned table.
pub(super) fn print(rows: &[Row]) {
    let cells: Vec<[String; 11]> = rows.iter().map(cells).collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| {
            let longest = cells.iter().map(|row| row[column].len()).max().unwrap_or_default();
            longest.max(HEAD[column].len())
        })
        .collect();
    println!();
    println!("{}", line(HEAD.map(str::to_owned), &widths));
    println!("{}", widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  "));
    for row in cells {
        println!("{}", line(row, &widths));
    }
}

/// Prints an object a row, for programs.
pub(super) fn print_json(rows: &[Row]) {
    for row in rows {
        let object = json!({
            "event": "demo",
            "transport": row.transport,
            "handshake_ms": millis(row.handshake),
            "rtt_p50_ms": millis(percentile(row, 50)),
            "rtt_p99_ms": millis(percentile(row, 99)),
            "file_mib_per_s": mib_per_second(row),
            "file_hash": row.hash,
            "audio_sent": row.audio.sent,
            "audio_on_time": row.audio.on_time,
            "audio_repaired": row.audio.repaired,
            "audio_concealed": row.audio.concealed,
            "audio_late": row.audio.late,
            "verified": true,
            "memory_bytes": row.memory,
        });
        println!("{object}");
    }
}

fn cells(row: &Row) -> [String; 11] {
    let audio = &row.audio;
    [
        row.transport.to_owned(),
        format!("{:.1}", millis(row.handshake)),
        format!("{:.2}", millis(percentile(row, 50))),
        format!("{:.2}", millis(percentile(row, 99))),
        format!("{:.0}", mib_per_second(row)),
        format!("{}… verified", &row.hash[..12]),
        format!("{}/{}", audio.on_time, audio.sent),
        audio.repaired.to_string(),
        audio.concealed.to_string(),
        audio.late.to_string(),
        row.memory.map_or_else(|| "-".to_owned(), |bytes| format!("{}", bytes >> 20)),
    ]
}

fn line(cells: [String; 11], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
        // Words to the left, numbers to the right.
        if matches!(column, 0 | HASH) {
            format!("{cell:<width$}")
        } else {
            format!("{cell:>width$}")
        }
    });
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn percentile(row: &Row, percent: usize) -> Duration {
    let index = row.round_trips.len() * percent / 100;
    row.round_trips.get(index).or(row.round_trips.last()).copied().unwrap_or_default()
}

fn mib_per_second(row: &Row) -> f64 {
    row.file_bytes as f64 / f64::from(1 << 20) / row.file_time.as_secs_f64()
}
