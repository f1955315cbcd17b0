//! `lab bench` as a program.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use portolan_lab::result::{Driver, Run};

fn lab(out: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.arg("bench").arg("--out").arg(out).args(arguments);
    command.output().unwrap()
}

fn measured(arguments: &[&str]) -> Run {
    let out = tempfile::tempdir().unwrap();
    let output = lab(out.path(), arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let file = std::fs::read(out.path().join("result.json")).unwrap();
    let run: Run = serde_json::from_slice(&file).unwrap();
    if arguments.contains(&"--json") {
        assert_eq!(serde_json::from_slice::<Run>(&output.stdout).unwrap(), run);
    }
    let page = std::fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(page.contains("</html>"));
    assert!(said.contains("report.html"), "it says where the report is: {said}");
    run
}

fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let output = lab(out.path(), arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}

#[test]
fn the_server_may_be_a_process_of_its_own() {
    let run = measured(&[
        "--subjects=tcp,udp",
        "--baseline=tcp",
        "--only=rtt-64-p50,cpu,bulk-up,live-until-lost",
        "--quick",
        "--rounds=1",
        "--processes=2",
        "--pin",
        "--json",
    ]);
    assert_eq!(run.setting.processes, 2);
    for id in ["rtt-64-p50", "cpu", "bulk-up"] {
        let of = run.measures.iter().filter(|measure| measure.metric == id);
        let figures: Vec<f64> = of.flat_map(|m| &m.samples).map(|sample| sample.value).collect();
        assert_eq!(figures.len(), 2, "{id}");
        assert!(figures.iter().all(|value| *value > 0.0), "{id}: {figures:?}");
    }
}

#[test]
fn memory_is_that_of_a_server_process() {
    if !Path::new("/proc/self/status").exists() {
        println!("left out: this system does not tell resident memory");
        return;
    }
    let run = measured(&["--subjects=tcp", "--baseline=tcp", "--only=memory-1k", "--quick"]);
    let measure = run.measures.iter().find(|measure| measure.metric == "memory-1k").unwrap();
    match (&measure.samples[..], &measure.skipped) {
        ([sample], _) => assert!((0.1..10_000.0).contains(&sample.value), "{sample:?}"),
        (_, why) => assert!(why.as_deref().is_some_and(|why| why.contains("files may be open"))),
    }
}

#[test]
fn a_slowed_copy_has_a_row_beside_its_original() {
    let arguments = ["--subjects=udp", "--baseline=udp", "--only=rtt-64-p50", "--rounds=1"];
    let run = measured(&[&arguments[..], &["--quick", "--plant", "udp=20%"]].concat());
    let names: Vec<_> = run.subjects.iter().map(|note| note.name.as_str()).collect();
    assert_eq!(names, ["udp", "udp-20%"]);
    assert!(run.measures.iter().all(|measure| measure.samples.len() == 1));
}

#[test]
fn virtual_time_needs_no_root_and_says_what_it_is() {
    let run = measured(&[
        "--link=delay=10ms,rate=10Mbit,loss=1%",
        "--driver=virtual",
        "--subjects=udp,quic,raw-tcp",
        "--quick",
        "--rounds=1",
        "--only=bulk-up,rtt-64-p50",
    ]);
    assert_eq!(run.setting.driver, Driver::VirtualTime);
    assert_eq!(run.baseline, "quinn");
    let of = |name: &str| run.measures.iter().filter(|m| m.subject == name).collect::<Vec<_>>();
    assert!(of("udp").iter().all(|measure| !measure.samples.is_empty()));
    let reasons: Vec<_> = of("raw-tcp").iter().filter_map(|m| m.skipped.clone()).collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons.iter().all(|why| why.contains("needs the emulator")), "{reasons:?}");
}

#[test]
fn an_emulated_link_is_as_slow_as_it_was_asked_to_be() {
    let out = tempfile::tempdir().unwrap();
    let arguments = ["--link=delay=5ms,rate=50Mbit", "--driver=real", "--quick", "--rounds=1"];
    let who = ["--subjects=tcp,udp", "--baseline=udp", "--processes=2"];
    let what = ["--only=bulk-up,rtt-64-p50"];
    let output = lab(out.path(), &[&arguments[..], &who, &what].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("this machine cannot emulate a network") {
        assert_eq!(output.status.code(), Some(1));
        println!("left out: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    let file = std::fs::read(out.path().join("result.json")).unwrap();
    let run: Run = serde_json::from_slice(&file).unwrap();
    assert_eq!(run.setting.driver, Driver::Emulated);
    let figure = |subject: &str, metric: &str| {
        let of = run.measures.iter().find(|m| m.subject == subject && m.metric == metric);
        of.and_then(|measure| measure.samples.first()).unwrap_or_else(|| panic!("{said}")).value
    };
    for subject in ["tcp", "udp"] {
        assert!(figure(subject, "rtt-64-p50") >= 10_000.0, "{subject} was faster than the link");
        // What had been queued may come in the time that is measured: a little more than the rate.
        assert!(figure(subject, "bulk-up") < 9.0, "{subject} got more than the link carries");
    }
}

#[test]
fn mistakes_are_answered_with_the_nearest_name_and_the_code_for_usage() {
    refused(&["--subjects=quik"], 2, &["no subject \"quik\"", "did you mean \"quic\""]);
    refused(&["--only=bulk-upp"], 2, &["no metric", "did you mean \"bulk-up\""]);
    refused(&["--link=lossy-7"], 2, &["lossy-7", "lossy-5"]);
    refused(&["--driver=virtual"], 2, &["--link"]);
    refused(&["--plant=udp=much"], 2, &["NAME=20%"]);
    refused(&["--driver=virtual", "--link=4g", "--subjects=tls", "--baseline=tls"], 2, &["tls"]);
}

#[test]
fn a_directory_that_cannot_be_made_is_said_and_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let arguments = ["--subjects=tcp", "--baseline=tcp", "--only=rtt-64-p50", "--quick"];
    let output = lab(file.path(), &[&arguments[..], &["--rounds=1"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot write") && said.contains("--out"), "{said}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_writes_what_it_has() {
    use std::io::{BufRead, BufReader};

    use rustix::process::{Pid, Signal, kill_process};

    let out = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["bench", "--quick", "--subjects=tcp,udp", "--baseline=udp", "--only=rtt-64-p50"])
        .args(["--rounds=1000", "--seconds=86400", "--out"])
        .arg(out.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().starts_with("round 2")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let said: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said:?}");
    let file = std::fs::read(out.path().join("result.json")).unwrap();
    let run: Run = serde_json::from_slice(&file).unwrap();
    assert!(run.measures.iter().any(|measure| !measure.samples.is_empty()));
}
