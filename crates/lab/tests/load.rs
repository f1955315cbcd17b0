//! `lab load` as a program: a tiny load on a server of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use serde_json::Value;

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab")).arg("load").args(arguments).output().unwrap()
}

/// The rows of a load that must have gone well.
fn rows(arguments: &[&str]) -> Vec<Value> {
    let output = lab(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sheets = result["sheets"].as_array().unwrap();
    sheets.iter().flat_map(|sheet| sheet["rows"].as_array().unwrap().clone()).collect()
}

fn medians(row: &Value, kind: &str) -> Vec<f64> {
    let figures = row["figures"].as_array().unwrap();
    let figure = figures.iter().find(|figure| figure["kind"] == kind);
    let figure = figure.unwrap_or_else(|| panic!("no {kind} in {row}"));
    figure["rounds"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn arrived(row: &Value) -> u64 {
    row["arrived"].as_u64().unwrap()
}

fn has_broken_a_promise(row: &Value) -> bool {
    row["doubts"].to_string().contains("NOT EXACTLY ONCE")
}

const TINY: [&str; 4] = ["--json", "--rounds=1", "--window=0.1", "--clients=6"];

#[test]
fn what_is_written_arrives_over_every_transport_and_is_counted() {
    let rows = rows(&[&["direct"], TINY.as_slice()].concat());
    assert_eq!(rows.len(), 9, "three transports, three loads");
    for row in &rows {
        assert!(!has_broken_a_promise(row), "{row}");
        assert!(arrived(row) > 0, "{row}");
        assert_eq!(medians(row, "stored").len(), 1);
    }
}

#[test]
fn a_group_and_everyone_get_each_message_once() {
    let arguments = ["fanout", "broadcast", "mixed", "--transports=tcp"];
    let rows = rows(&[&arguments, TINY.as_slice()].concat());
    assert_eq!(rows.len(), 2 + 1 + 2);
    for row in &rows {
        assert!(!has_broken_a_promise(row), "{row}");
        assert!(arrived(row) > 0, "{row}");
    }
    assert_eq!(arrived(&rows[2]), 6, "one text to everyone, the sender included");
}

#[test]
fn silent_and_stuck_clients_have_rows_of_their_own() {
    let rows = rows(&[&["idle", "slow", "--transports=udp"], TINY.as_slice()].concat());
    assert_eq!(rows.len(), 1 + 4);
    assert!(medians(&rows[0], "logins")[0] > 0.0);
    for row in &rows[1..] {
        assert!(!has_broken_a_promise(row), "{row}");
        assert!(arrived(row) > 0, "{row}");
    }
}

#[test]
fn mistakes_are_named() {
    for (arguments, code, words) in [
        (vec!["fanuot"], 2, "did you mean \"fanout\"?"),
        (vec!["idle", "--transports=tpc"], 2, "no transport \"tpc\""),
        (vec!["idle", "--clients=1"], 2, "1 is not in 2..=60000"),
        (vec!["direct", "--server=127.0.0.1:1"], 2, "--server-id"),
    ] {
        let output = lab(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}
