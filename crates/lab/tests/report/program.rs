use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use portolan_lab::result::Run;

use crate::fixture;

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments).output().unwrap()
}

fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}

fn saved(name: &str, run: &Run) -> String {
    let path = file(name, &serde_json::to_vec_pretty(run).unwrap());
    path.to_str().unwrap().to_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_report_is_made_again_from_its_file() {
    let path = saved("again.json", &fixture::run(1, 7));
    let page = format!("{path}.html");
    let output = lab(&["report", &path, "--html", &page]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("Throughput") && !stdout(&output).contains('\x1b'));
    assert!(fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
    assert!(stdout(&lab(&["report", &path, "--markdown"])).contains("| udp |"));
}

#[test]
fn a_page_that_cannot_be_written_is_an_error() {
    let path = saved("unwritten.json", &fixture::run(1, 5));
    let output = lab(&["report", &path, "--html", &format!("{path}/page.html")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot write the page"), "{}", stderr(&output));
}

#[test]
fn files_that_are_no_results_are_refused_with_what_to_do() {
    let mut newer = serde_json::to_value(fixture::run(1, 5)).unwrap();
    newer["format"] = 99.into();
    let mut many = fixture::run(1, 5);
    let samples = &mut fixture::measure(&mut many, "udp", "cpu").samples;
    *samples = samples.iter().cycle().take(1_001).cloned().collect();
    let mut crooked = fixture::run(1, 5);
    crooked.matrix.as_mut().unwrap().tables[0].mbit.pop();
    let whole = serde_json::to_vec_pretty(&fixture::run(1, 5)).unwrap();
    let rows: [(&str, Vec<u8>, &str); 7] = [
        ("empty.json", Vec::new(), "line 1 column 0"),
        ("cut.json", whole[..whole.len() / 2].to_vec(), "is not a whole result"),
        ("newer.json", newer.to_string().into_bytes(), "result format 99"),
        ("other.json", b"{\"format\": 1}".to_vec(), "missing field"),
        ("list.json", b"[1, 2]".to_vec(), "measure again"),
        ("many.json", serde_json::to_vec(&many).unwrap(), "1001 samples"),
        ("crooked.json", serde_json::to_vec(&crooked).unwrap(), "matrix of udp"),
    ];
    let good = saved("good.json", &fixture::run(1, 5));
    for (name, content, says) in rows {
        let path = file(name, &content);
        let path = path.to_str().unwrap();
        let output = lab(&["report", path]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr(&output).contains(says), "{name}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{name}");
        assert_eq!(lab(&["compare", &good, path]).status.code(), Some(2), "{name}");
    }
    let missing = lab(&["report", "/nowhere/at/all.json"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("lab bench"), "{}", stderr(&missing));
}

#[test]
fn a_file_beyond_the_bound_is_refused() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("huge.json");
    fs::File::create(&path).unwrap().set_len(64 * 1024 * 1024 + 1).unwrap();
    let output = lab(&["report", path.to_str().unwrap()]);
    fs::remove_file(&path).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("larger than 64 MiB"), "{}", stderr(&output));
}

#[test]
fn a_comparison_tells_by_its_exit_code_whether_something_got_worse() {
    let old = saved("old.json", &fixture::run(1, 7));
    let mut slow = fixture::run(1, 7);
    fixture::plant(&mut slow, "udp", "bulk-up", 0.8);
    let slow = saved("slow.json", &slow);
    let worse = lab(&["compare", &old, &slow]);
    assert_eq!(worse.status.code(), Some(1), "{}", stdout(&worse));
    let text = stdout(&worse);
    let line = text.lines().find(|line| line.contains("udp")).unwrap();
    assert!(line.contains("bulk, 1 stream, up") && line.contains("0.80 ×"), "{text}");
    assert!(text.contains("1 of 1") && text.contains("clearly worse"), "{text}");
    let same = lab(&["compare", &old, &old, "--all"]);
    assert_eq!(same.status.code(), Some(0), "{}", stdout(&same));
    assert!(stdout(&same).contains("Every ranking whose intervals do not overlap agrees"));
    let let_pass = lab(&["compare", &old, &slow, "--tolerance", "30"]);
    assert_eq!(let_pass.status.code(), Some(0), "{}", stdout(&let_pass));
}

#[test]
fn a_comparison_for_machines_is_json() {
    let old = saved("old-json.json", &fixture::run(1, 7));
    let mut slow = fixture::run(2, 7);
    fixture::plant(&mut slow, "udp", "bulk-up", 0.8);
    let slow = saved("slow-json.json", &slow);
    let output = lab(&["compare", &old, &slow, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let change = json["changes"].as_array().unwrap().iter().find(|it| {
        it["subject"] == "udp" && it["metric"] == "bulk-up" && it["basis"] == "against-others"
    });
    let change = change.unwrap();
    assert_eq!(change["outcome"], "worse");
    assert!(change["change"]["high"].as_f64().unwrap() < 1.0);
    assert!(json["rankings"]["agreeing"].as_u64().unwrap() > 100);
}

#[test]
fn a_tolerance_that_means_nothing_is_a_mistake_in_usage() {
    let output = lab(&["compare", "a", "b", "--tolerance", "120"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("expected percent"), "{}", stderr(&output));
}
