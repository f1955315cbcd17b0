//! `lab net` and `lab probe` as people use them: real programs, real exit codes, and, where this
//! machine can, real packets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::Value;

const LAB: &str = env!("CARGO_BIN_EXE_lab");

/// Runs `lab` to its end.
fn lab(arguments: &[&str]) -> Output {
    Command::new(LAB).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A topology file of this test's own.
struct TopologyFile(PathBuf);

impl TopologyFile {
    fn new(name: &str, content: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let own = format!("lab-{name}-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(own);
        fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TopologyFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether worlds can be built here; says so in one plain line when not.
fn worlds_can_be_built() -> bool {
    let file = TopologyFile::new("possible", &format!("{TWO}\n{}", program("alice", "true")));
    let output = lab(&["net", file.path()]);
    if output.status.success() {
        return true;
    }
    let why = text(&output.stderr);
    let missing = ["/dev/net/tun", "namespaces", "Linux", "inside"];
    assert!(missing.iter().any(|word| why.contains(word)), "{why}");
    eprintln!("left out, worlds cannot be built here: {}", why.trim());
    false
}

/// Two hosts on a wire.
const TWO: &str = r#"
seed = 1
[network.wire]
prefix = "10.9.0.0/24"
[host.alice]
on = "wire"
link = "delay=5ms"
[host.bob]
on = "wire"
"#;

fn program(on: &str, command: &str) -> String {
    format!("[[run]]\non = \"{on}\"\nlabel = \"{on}-program\"\ncommand = '{command}'\n")
}

#[test]
fn every_ready_experiment_passes_its_own_check() {
    let list = lab(&["net", "--list"]);
    assert!(list.status.success());
    let names: Vec<String> = text(&list.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(ToOwned::to_owned))
        .collect();
    assert_eq!(names.len(), 8, "{names:?}");
    for name in names {
        let checked = lab(&["net", &name, "--check"]);
        assert!(checked.status.success(), "{name}: {}", text(&checked.stderr));
        assert!(text(&checked.stdout).contains(" hosts, "), "{name}");
        let shown = text(&lab(&["net", "--show", &name]).stdout);
        let copy = TopologyFile::new(&format!("copy-{name}"), &shown);
        assert!(lab(&["net", copy.path(), "--check"]).status.success(), "{name}");
    }
}

#[test]
fn bad_input_is_refused_with_the_place_and_a_suggestion() {
    let with = |more: &str| format!("{TWO}\n{more}");
    let profile = TWO.replace("delay=5ms", "losy-1");
    let key = TWO.replace("seed = 1", "sed = 1");
    for (name, content, expected) in [
        ("profile", profile, &["line 7", "losy-1", "lossy-1"][..]),
        ("key", key, &["line 2", "sed", "seed"][..]),
        ("host", with(&program("alise", "true")), &["alise", "alice"][..]),
        ("twice", with("[router.alice]\non = [\"wire\"]"), &["alice", "twice"][..]),
        (
            "cycle",
            with(
                "[profile.a]\nlike = \"b\"\n[profile.b]\nlike = \"a\"\n[host.c]\non = \"wire\"\nlink = \"a\"",
            ),
            &["a", "b"][..],
        ),
        ("word", with(&program("alice", "true {bobb}")), &["line 14", "\"bobb\"", "\"bob\""][..]),
        (
            "program",
            with(&program("alice", "no-such-program-anywhere")),
            &["no-such-program-anywhere", "PATH"][..],
        ),
        ("syntax", with("[host"), &["line"][..]),
    ] {
        let file = TopologyFile::new(name, &content);
        for arguments in [&["net", file.path(), "--check"][..], &["net", file.path()]] {
            let output = lab(arguments);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{name}: {error}");
            assert!(error.starts_with("error: "), "{name}: {error}");
            assert_eq!(text(&output.stdout), "", "{name}: nothing was started");
            for word in expected {
                assert!(error.contains(word), "{name} does not say {word:?}: {error}");
            }
        }
    }
}

#[test]
fn what_is_asked_for_and_not_there_is_refused() {
    let file = TopologyFile::new("shell", TWO);
    for (arguments, expected) in [
        (&["net", "losy"][..], "did you mean \"lossy\""),
        (&["net", "no/such/file.toml"], "cannot read no/such/file.toml"),
        (&["net", "--show", "nat"], "did you mean \"nats\""),
        (&["net", file.path(), "--shell", "bobb"], "did you mean \"bob\""),
    ] {
        let output = lab(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    // Usage errors have a code of their own.
    assert_eq!(lab(&["net"]).status.code(), Some(2));
    assert_eq!(lab(&["net", "lossy", "--no-such-flag"]).status.code(), Some(2));
    assert_eq!(
        lab(&["probe", "transfer", "bob", "--over", "carrier-pigeon"]).status.code(),
        Some(2)
    );
}

#[test]
fn programs_reach_each_other_and_their_lines_are_marked() {
    if !worlds_can_be_built() {
        return;
    }
    let echo = "[[run]]\non = \"bob\"\nbackground = true\ncommand = \"{lab} probe echo\"\n";
    let ping = program("alice", "{lab} probe ping {bob}:7007 --count 20 --every 20ms");
    let file = TopologyFile::new("ping", &format!("{TWO}\n{echo}\n{ping}"));
    let output = lab(&["net", file.path()]);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}{}", text(&output.stderr));
    let lines = out.lines().filter(|line| line.contains("alice-program | "));
    assert!(lines.clone().any(|line| line.contains("20 asked")), "{out}");
    assert!(out.contains("was stopped at the end"), "{out}");
    assert!(out.contains("links ("), "{out}");
    assert!(out.contains("emulator: "), "{out}");
}

/// The link marks while more than 5 ms wait; marks go over the kernel's sockets both ways.
#[test]
fn a_router_that_marks_is_heard_and_nothing_is_lost() {
    if !worlds_can_be_built() {
        return;
    }
    let link = "delay=5ms,rate=10Mbit,queue=200ms,ecn=5ms";
    let world = TWO.replace("delay=5ms", link);
    let serve = "[[run]]\non = \"bob\"\nbackground = true\ncommand = \"{lab} probe serve\"\n";
    let send = "{lab} probe transfer {bob} --congestion cubic --bytes 2MB --counters";
    let send = program("alice", send);
    let file = TopologyFile::new("ecn", &format!("{world}\n{serve}\n{send}"));
    let output = lab(&["net", file.path()]);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}{}", text(&output.stderr));
    let counts = out.lines().find_map(|line| line.split("marked ").nth(1)).unwrap_or_default();
    let marked: String = counts.chars().take_while(char::is_ascii_digit).collect();
    assert!(marked.parse().is_ok_and(|marked: u64| marked > 0), "{out}");
    assert!(out.contains("lost 0,"), "{out}");
}

/// Two seconds of speech with and without repair.
#[test]
fn messages_with_a_deadline_are_counted_beside_those_sent_once() {
    if !worlds_can_be_built() {
        return;
    }
    let serve = "[[run]]\non = \"bob\"\nbackground = true\ncommand = \"{lab} probe serve\"\n";
    let send = program("alice", "{lab} probe messages {bob} --count 200 --every 10ms");
    let file = TopologyFile::new("messages", &format!("{TWO}\n{serve}\n{send}"));
    let output = lab(&["net", file.path()]);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}{}", text(&output.stderr));
    for name in ["udp, until 150 ms: ", "udp, once: ", "copies or parities sent; "] {
        assert!(out.contains(name), "{out}");
    }
    assert!(out.contains(" 0 never; one way p50 "), "{out}");
}

#[test]
fn a_program_that_fails_is_named_and_makes_the_exit_code() {
    if !worlds_can_be_built() {
        return;
    }
    let programs = [program("alice", "sh -c \"exit 3\""), program("bob", "true")];
    let file = TopologyFile::new("fails", &format!("{TWO}\n{}", programs.concat()));
    let output = lab(&["net", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("alice-program on alice failed with exit code 3"));
}

#[test]
fn what_happens_is_announced_and_felt() {
    if !worlds_can_be_built() {
        return;
    }
    let echo = "[[run]]\non = \"bob\"\nbackground = true\ncommand = \"{lab} probe echo\"\n";
    let ping = program("alice", "{lab} probe ping {bob}:7007 --count 60 --every 50ms --gap 400ms");
    let down = "[[at]]\ntime = \"1s\"\ndown = \"alice\"\nfor = \"800ms\"\n";
    let file = TopologyFile::new("down", &format!("{TWO}\n{echo}\n{ping}\n{down}"));
    let events = events(&lab(&["net", file.path(), "--json"]));
    let happened = find(&events, "happening");
    let at: Vec<f64> = happened.iter().filter_map(|event| event["at"].as_f64()).collect();
    assert_eq!(at.len(), 2, "{events:?}");
    assert!(at[0] >= 1.0 && at[1] >= 1.8, "before their time: {at:?}");
    let said = find(&events, "output");
    let gap = said.iter().any(|event| event["line"].as_str().unwrap().contains("no answer for"));
    assert!(gap, "the silence was not felt: {said:?}");
    let summary = find(&events, "summary");
    let links = summary[0]["links"].as_array().unwrap();
    let swallowed: u64 = links.iter().filter_map(|link| link["blackholed"].as_u64()).sum();
    assert!(swallowed > 0, "{links:?}");
}

/// The events of a run that succeeded.
fn events(output: &Output) -> Vec<Value> {
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}{}", text(&output.stderr));
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn find(events: &[Value], kind: &str) -> Vec<Value> {
    events.iter().filter(|event| event["event"] == kind).cloned().collect()
}

/// A world that is being watched.
struct Watched {
    child: Child,
    input: ChildStdin,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watched {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(LAB)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, lines }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Reads until a line has all of `words`.
    fn until(&mut self, words: &[&str]) -> String {
        for line in &mut self.lines {
            let line = line.unwrap();
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
        let mut error = String::new();
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut error);
        panic!("it ended before it said {words:?}: {error}");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_on_standard_input_change_the_world_and_end_it() {
    if !worlds_can_be_built() {
        return;
    }
    let nat = "[network.inside]\nprefix = \"192.168.7.0/24\"\n[nat.router]\ninside = \"inside\"\n\
               outside = \"wire\"\n[host.carol]\non = \"inside\"\n";
    let file = TopologyFile::new("control", &format!("{TWO}\n{nat}"));
    let mut world = Watched::start(&["net", file.path(), "--json"]);
    world.until(&["\"start\"", "192.168.7."]);
    world.say("rebind router");
    world.until(&["happening", "router forgets"]);
    world.say("rebind routr");
    world.until(&["refused", "did you mean"]);
    world.say("link alice lossy-5");
    world.until(&["happening", "alice has another link"]);
    world.say("renumber bob 10.9.0.77");
    world.until(&["happening", "10.9.0.77"]);
    world.say("quit");
    world.until(&["\"summary\""]);
    assert!(world.child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_everything_in_order() {
    if !worlds_can_be_built() {
        return;
    }
    // It says when it is asked to end, and would otherwise run for ever.
    let stubborn = "[[run]]\non = \"alice\"\nlabel = \"stubborn\"\ncommand = [\"sh\", \"-c\", \
                    \"trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.1; done\"]";
    let file = TopologyFile::new("interrupt", &format!("{TWO}\n{stubborn}"));
    let mut world = Watched::start(&["net", file.path()]);
    world.until(&["stubborn | ready"]);
    let id = world.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    world.until(&["stubborn | asked"]);
    world.until(&["emulator: "]);
    assert_eq!(world.child.wait().unwrap().code(), Some(130));
}
