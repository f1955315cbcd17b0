//! The reviewed table of goodput by loss and round trip: a change of our UDP or of the model is a
//! difference to look at.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fmt::Write, fs, path::Path, time::Duration};

use portolan_lab::{
    result::{Matrix, MatrixTable},
    virtual_time::{Grid, Subject, matrix},
};

/// Ours, and a yardstick: where it changes too, the model has.
const SUBJECTS: [&str; 4] = ["udp-cubic", "udp-bbr", "quic", "quinn"];

const GOLDEN: &str = "tests/goldens/goodput.txt";

#[test]
fn goodput_is_as_it_was_reviewed() {
    // CUBIC takes cube roots, and mathematics libraries round them differently.
    if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        println!("left out: the table is that of Linux on x86-64");
        return;
    }
    let grid = Grid { bytes_max: 6_000_000, ..Grid::usual(Duration::from_secs(5), 1) };
    let subjects = SUBJECTS.map(|name| Subject::find(name).unwrap());
    let table = text(&matrix(&subjects, &grid, &mut |_| {}), &grid);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, table).unwrap();
        return;
    }
    let reviewed = fs::read_to_string(&path).unwrap();
    assert!(
        table == reviewed,
        "goodput has changed; if for the better, UPDATE_GOLDEN=1 cargo test -p portolan-lab \
         --test goodput writes it to {GOLDEN}\n\nreviewed:\n{reviewed}\nnow:\n{table}"
    );
}

fn text(matrix: &Matrix, grid: &Grid) -> String {
    let mut text = format!(
        "Goodput in Mbit/s at {} Mbit/s with a queue of 100 ms, in virtual time: one stream up for \
         {} s\nor 25 round trips, but {} MB at most; its first quarter left out, median of {}. Loss \
         is that of\neach direction.\n",
        grid.rate_mbit,
        grid.time.as_secs(),
        grid.bytes_max / 1_000_000,
        grid.repeats
    );
    for table in &matrix.tables {
        write!(text, "\n{}, {}\n", table.subject, table.congestion_control).unwrap();
        text += &rows(matrix, table);
    }
    text
}

fn rows(matrix: &Matrix, table: &MatrixTable) -> String {
    let heads = matrix.rtt_ms.iter().map(|rtt| format!("{rtt} ms"));
    let mut text = line("", heads);
    for (loss, row) in matrix.loss_percent.iter().zip(&table.mbit) {
        let cells = row.iter().map(|cell| cell.map_or("-".to_owned(), |mbit| format!("{mbit:.2}")));
        text += &line(&format!("{loss} %"), cells);
    }
    text
}

fn line(head: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!("{cell:>9}")).collect();
    format!("{head:>6}{cells}\n")
}
