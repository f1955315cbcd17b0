//! The program as people and scripts use it: this test program is its own `peer`.
//!
//! Started again with `PORTOLAN_TEST_PEER` set it runs the command line over TCP, or, if that is
//! `both`, over TCP and UDP; else it runs the tests.

#![expect(clippy::unwrap_used, reason = "these are tests with a main of their own")]

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use libtest_mimic::{Arguments, Trial};
use portolan_peer::{Stack, cli};
use portolan_transport_tcp::{Tcp, TcpTunnel};
use portolan_transport_udp::Udp;
use serde_json::Value;
use tokio::runtime::Runtime;

use self::support::{Harbour, STACK, bytes, entries, identity, wait_for};

const ROLE: &str = "PORTOLAN_TEST_PEER";

const BOTH: Stack = Stack { transports: &[&Tcp, &Udp], tunnel: &TcpTunnel, hosting: None };

fn main() -> ExitCode {
    if let Some(role) = std::env::var_os(ROLE) {
        let stack = if role == "both" { BOTH } else { STACK };
        return cli::main(stack, |_options| Box::pin(async { ExitCode::from(42) }));
    }
    let tests: [(&str, fn()); 16] = [
        ("wrong_usage_is_exit_code_2_with_advice", wrong_usage),
        ("a_server_that_is_not_there_is_exit_code_3", not_there),
        ("what_gets_through_in_a_network_is_remembered", networks),
        ("a_new_server_is_not_trusted_without_a_word", first_contact),
        ("a_changed_server_key_is_exit_code_4_with_the_fix", changed_key),
        ("a_pinned_key_that_is_another_is_exit_code_4", wrong_pin),
        ("a_taken_name_is_exit_code_4", taken_name),
        ("the_own_key_is_made_once_and_private", own_key),
        ("who_is_there_is_listed_and_an_echo_comes_back", list_and_echo),
        ("a_message_to_someone_away_waits_and_is_exit_code_0", say_offline),
        ("one_shots_leave_the_mailbox_alone", mailbox_stays),
        ("files_are_sent_listed_and_fetched", files),
        ("a_file_that_is_there_already_is_not_overwritten", not_overwritten),
        ("piped_lines_are_carried_out_in_order", piped_lines),
        ("json_in_and_out_is_one_object_a_line", json_lines),
        ("configuration_environment_and_command_line_count_in_that_order", precedence),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// A server in this process, and a way to start peers.
struct Stage {
    runtime: Runtime,
    harbour: Harbour,
}

/// What a program left behind.
struct Outcome {
    code: Option<i32>,
    output: String,
    errors: String,
}

impl Stage {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let harbour = runtime.block_on(Harbour::open());
        Self { runtime, harbour }
    }

    fn data(&self, of: &str) -> String {
        self.harbour.directory.path().join("data").join(of).display().to_string()
    }

    /// Runs a command as `name`, with the server's key known.
    fn run(&self, name: &str, args: &[&str]) -> Outcome {
        self.run_with(name, args, "")
    }

    fn run_with(&self, name: &str, args: &[&str], input: &str) -> Outcome {
        let (server, key) = (self.harbour.addr.to_string(), self.harbour.id().to_string());
        let data = self.data(name);
        let more = ["--server", &server, "--server-key", &key, "--data", &data];
        peer(&[args, &more].concat(), input)
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PORTOLAN_")) {
        command.env_remove(name);
    }
    command.args(args).env(ROLE, "1").env("XDG_CONFIG_HOME", "/nonexistent");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn peer(args: &[&str], input: &str) -> Outcome {
    finish(command(args), input)
}

fn finish(mut command: Command, input: &str) -> Outcome {
    let mut child = command.spawn().unwrap();
    // A program that has ended reads nothing more.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Outcome {
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.output, self.errors);
        self
    }

    #[track_caller]
    fn complains_of(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.errors.contains(word), "no {word:?} in {}", self.errors);
        }
        self
    }
}

fn wrong_usage() {
    let long = "n".repeat(10_000);
    let rows: &[(&[&str], &str)] = &[
        (&[], "peer --help"),
        (&["--no-such-flag"], "Usage"),
        (&["say"], "Usage"),
        (&["play"], "Usage"),
        (&["list", "--server", "localhost"], "--as NAME"),
        (&["alice", "--server", "local host"], "host:port"),
        (&["alice", "--server", "localhost", "--transport", "pigeon"], "tcp"),
        (&["alice", "--server", "pigeon://localhost"], "tcp"),
        (&["alice", "--server", "tcp://localhost", "--transport", "udp"], "contradict"),
        (&["alice", "--server", "localhost", "--server-key", "abc"], "peer id"),
        (&["alice", "--server", "localhost", "--accept-files", "some"], "all, none, ask"),
        (&["alice", "--config", "/nonexistent.toml"], "/nonexistent.toml"),
        (&["list", "--server", "localhost", "--as", &long], "at most 32 characters"),
        (&["demo", "--transport", "pigeon"], "tcp"),
    ];
    for (args, advice) in rows {
        let outcome = peer(args, "");
        assert_eq!(outcome.code, Some(2), "{args:?}: {}", outcome.errors);
        outcome.complains_of(&[advice]);
    }
    peer(&["demo", "--transport", "tcp"], "").exits(42);
    let help = peer(&["--help"], "").exits(0).output;
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
}

fn not_there() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let data = tempfile::tempdir().unwrap();
    let (address, data) = (address.to_string(), data.path().display().to_string());
    for transport in ["tcp", "auto"] {
        let args = ["list", "--as", "alice", "--server", &address, "--data", &data];
        let args = [&args[..], &["--transport", transport]].concat();
        peer(&args, "").exits(3).complains_of(&[&address]);
    }
    let args = ["list", "--as", "alice", "--server", "no-such-host.invalid", "--data", &data];
    peer(&args, "").exits(3).complains_of(&["no-such-host.invalid"]);
}

fn networks() {
    let stage = Stage::new();
    let (server, data) = (stage.harbour.addr.to_string(), stage.data("alice"));
    let args = ["list", "--as", "alice", "--server", &server, "--data", &data, "--accept-new"];
    let run = |transport: &str| {
        let mut command = command(&[&args[..], &["--transport", transport]].concat());
        command.env(ROLE, "both");
        finish(command, "").exits(0);
    };
    let memory = Path::new(&data).join("networks");
    run("tcp");
    assert!(!memory.exists(), "nothing was to be found out");
    // The server is there over TCP alone.
    run("auto");
    let noted = std::fs::read_to_string(&memory).unwrap();
    assert!(noted.starts_with(&format!("127.0.0.0/24 {server} tcp ")), "{noted}");
    run("auto");
    assert_eq!(std::fs::read_to_string(&memory).unwrap(), noted, "the time stays");
}

fn first_contact() {
    let stage = Stage::new();
    let (server, data) = (stage.harbour.addr.to_string(), stage.data("alice"));
    let args = ["list", "--as", "alice", "--server", &server, "--data", &data];
    let key = stage.harbour.id().to_string();
    peer(&args, "").exits(4).complains_of(&[&key, "--accept-new"]);
    peer(&[&args[..], &["--accept-new"]].concat(), "").exits(0);
    peer(&args, "").exits(0);
    let known = std::fs::read_to_string(Path::new(&data).join("known_hosts")).unwrap();
    assert_eq!(known, format!("{server} {key}\n"));
}

fn changed_key() {
    let stage = Stage::new();
    let (server, data) = (stage.harbour.addr.to_string(), stage.data("alice"));
    std::fs::create_dir_all(&data).unwrap();
    let known = Path::new(&data).join("known_hosts");
    std::fs::write(&known, format!("{server} {}\n", identity("another").id())).unwrap();
    let args = ["list", "--as", "alice", "--server", &server, "--data", &data, "--accept-new"];
    let fix = ["has changed", "delete line 1", known.to_str().unwrap()];
    peer(&args, "").exits(4).complains_of(&fix);
}

fn wrong_pin() {
    let stage = Stage::new();
    let (server, data) = (stage.harbour.addr.to_string(), stage.data("alice"));
    let key = identity("another").id().to_string();
    let args = ["list", "--as", "alice", "--server", &server, "--data", &data];
    peer(&[&args[..], &["--server-key", &key]].concat(), "")
        .exits(4)
        .complains_of(&["--server-key"]);
}

fn taken_name() {
    let stage = Stage::new();
    let _alice = stage.runtime.block_on(stage.harbour.peer("alice"));
    stage.run("thief", &["list", "--as", "Alice"]).exits(4).complains_of(&["name_taken"]);
}

fn own_key() {
    let data = tempfile::tempdir().unwrap();
    let args = ["id", "--as", "Alice", "--data", data.path().to_str().unwrap()];
    let first = peer(&args, "").exits(0).output;
    assert_eq!(peer(&args, "").exits(0).output, first);
    assert!(first.trim().parse::<portolan_identity::PeerId>().is_ok(), "{first:?}");
    assert_eq!(entries(data.path()), ["alice.key"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = data.path().join("alice.key").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

fn list_and_echo() {
    let stage = Stage::new();
    let _bob = stage.runtime.block_on(stage.harbour.peer("bob"));
    let list = stage.run("alice", &["list", "--as", "alice"]).exits(0).output;
    assert!(list.contains("alice") && list.contains("bob") && list.contains("free"), "{list}");
    let list = stage.run("alice", &["list", "--as", "alice", "--json"]).exits(0).output;
    let users: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(users["event"], "users");
    assert_eq!(users["users"][1]["name"], "bob");
    let echo = stage.run("alice", &["echo", "hello", "there", "--as", "alice"]).exits(0).output;
    assert!(echo.starts_with("hello there ("), "{echo}");
}

fn say_offline() {
    let stage = Stage::new();
    stage.runtime.block_on(async { stage.harbour.peer("bob").await.0.logout().await });
    let said = stage.run("alice", &["say", "bob", "for", "later", "--as", "alice"]).exits(0);
    said.complains_of(&["waits in the mailbox"]);
    let said = stage.run("alice", &["say", "nobody-here", "hi", "--as", "alice"]).exits(6);
    said.complains_of(&["unknown_user"]);
    stage.runtime.block_on(async {
        let (_bob, mut events) = stage.harbour.peer("bob").await;
        wait_for(&mut events, "the message", |event| {
            matches!(event, portolan_peer::Event::Message(message) if message.text == "for later")
        })
        .await;
    });
}

fn mailbox_stays() {
    let stage = Stage::new();
    stage.run("bob", &["list", "--as", "bob"]).exits(0);
    stage.run("alice", &["say", "bob", "still here", "--as", "alice"]).exits(0);
    for _ in 0..2 {
        stage.run("bob", &["list", "--as", "bob"]).exits(0);
    }
    let (server, key) = (stage.harbour.addr.to_string(), stage.harbour.id().to_string());
    let data = stage.data("bob");
    let args = ["bob", "--server", &server, "--server-key", &key, "--data", &data];
    let mut bob = command(&args).spawn().unwrap();
    let lines = BufReader::new(bob.stdout.take().unwrap()).lines();
    // The input stays open until the message has come; without it this waits for the line in vain.
    let heard = lines.map_while(Result::ok).any(|line| line == "alice: still here");
    assert!(heard, "the message came");
    drop(bob.stdin.take());
    assert_eq!(bob.wait().unwrap().code(), Some(0));
}

fn files() {
    let stage = Stage::new();
    let shared = stage.harbour.directory.path().join("shared");
    std::fs::create_dir_all(shared.join("deep")).unwrap();
    std::fs::write(shared.join("deep/note.txt"), "a note").unwrap();
    std::fs::write(stage.harbour.directory.path().join("outside"), "secret").unwrap();
    let mut config = stage.harbour.config("bob");
    config.share = Some(shared);
    let _bob = stage.runtime.block_on(stage.harbour.peer_with(config));

    let listed = stage.run("alice", &["files", "bob", "--as", "alice"]).exits(0).output;
    assert!(listed.contains("deep/note.txt"), "{listed}");
    let to = stage.harbour.downloads("alice");
    let to_text = to.to_str().unwrap();
    stage.run("alice", &["get", "bob", "deep/note.txt", "--to", to_text, "--as", "alice"]).exits(0);
    assert_eq!(std::fs::read(to.join("note.txt")).unwrap(), b"a note");
    let missing = stage.run("alice", &["get", "bob", "missing", "--to", to_text, "--as", "alice"]);
    missing.exits(6).complains_of(&["unknown_file"]);
    let outside = stage.run("alice", &["get", "bob", "../outside", "--as", "alice"]);
    outside.exits(1).complains_of(&["leads out"]);

    let one = stage.harbour.file("one", 100_000);
    let two = stage.harbour.file("two", 0);
    let paths = [one.to_str().unwrap(), two.to_str().unwrap()];
    let sent = stage.run("alice", &["send", "bob", paths[0], paths[1], "--as", "alice", "--json"]);
    let sent = sent.exits(0).output;
    let done = sent.lines().filter(|line| line.contains(r#""phase":"done""#)).count();
    assert_eq!(done, 2, "{sent}");
    assert!(std::fs::read(stage.harbour.downloads("bob").join("one")).unwrap() == bytes(100_000));
    let nobody = stage.run("alice", &["send", "nobody-here", paths[0], "--as", "alice"]);
    nobody.exits(6);
}

fn not_overwritten() {
    let stage = Stage::new();
    let shared = stage.harbour.directory.path().join("shared");
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::write(shared.join("a"), "new").unwrap();
    let mut config = stage.harbour.config("bob");
    config.share = Some(shared);
    let _bob = stage.runtime.block_on(stage.harbour.peer_with(config));
    let to = stage.harbour.downloads("alice");
    std::fs::write(to.join("a"), "old").unwrap();
    let args = ["get", "bob", "a", "--as", "alice", "--to", to.to_str().unwrap()];
    stage.run("alice", &args).exits(1).complains_of(&["--overwrite"]);
    assert_eq!(std::fs::read(to.join("a")).unwrap(), b"old");
    stage.run("alice", &[&args[..], &["--overwrite"]].concat()).exits(0);
    assert_eq!(std::fs::read(to.join("a")).unwrap(), b"new");
}

fn piped_lines() {
    let stage = Stage::new();
    let input = "/help\n::list\n\nbare text\n/lst\n/msg alice to myself\n/status\n/path bob\n\
                 /echo first\n/echo second\n/quit\n/echo never\n";
    let outcome = stage.run_with("alice", &["alice"], input).exits(0);
    let output = &outcome.output;
    for wanted in
        ["/msg WHO TEXT", "alice", "first (", "second (", "talking with nobody", "bob: none"]
    {
        assert!(output.contains(wanted), "no {wanted:?} in {output}");
    }
    assert!(output.find("first (") < output.find("second ("), "{output}");
    assert!(!output.contains("never"), "{output}");
    assert!(!output.contains('\u{1b}'), "no colours and no animation in a pipe: {output:?}");
    outcome.complains_of(&["did you mean /list?", "/chat WHO", "you are alice"]);
}

fn json_lines() {
    let stage = Stage::new();
    let (_bob, mut events) = stage.runtime.block_on(stage.harbour.peer("bob"));
    let nowhere = stage.data("nowhere");
    let input =
        format!("/list\n/msg bob hi\n/files bob\n/frobnicate\n/share {nowhere}\n/echo end\n");
    let outcome = stage.run_with("alice", &["alice", "--json"], &input).exits(0);
    let lines: Vec<Value> =
        outcome.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in outcome.output.lines() {
        assert!(line.starts_with(r#"{"event":""#), "the event's name stands first: {line}");
    }
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"ready"), Some(&"closed")));
    for kind in ["users", "receipt", "path", "files", "error", "echo"] {
        assert!(kinds.contains(&kind), "no {kind} in {kinds:?}");
    }
    assert_eq!(lines[0]["name"], "alice");
    assert_eq!(lines[0]["transport"], "tcp");
    let codes: Vec<&str> = lines.iter().filter_map(|line| line["code"].as_str()).collect();
    assert_eq!(codes, ["usage", "bad_request"], "{}", outcome.output);
    stage.runtime.block_on(wait_for(
        &mut events,
        "the message",
        |event| matches!(event, portolan_peer::Event::Message(message) if message.text == "hi"),
    ));
}

fn precedence() {
    let stage = Stage::new();
    let (server, key) = (stage.harbour.addr.to_string(), stage.harbour.id().to_string());
    let file = stage.harbour.directory.path().join("peer.toml");
    let data = stage.data("alice");
    let text = format!(
        "server = \"{server}\"\nserver_key = \"{key}\"\nname = \"file\"\ndata = \"{data}\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let name_of = |environment: Option<&str>, args: &[&str]| {
        let config = ["list", "--json", "--config", file.to_str().unwrap()];
        let mut command = command(&[&config[..], args].concat());
        environment.map(|name| command.env("PORTOLAN_NAME", name));
        let outcome = finish(command, "").exits(0);
        let users: Value = serde_json::from_str(&outcome.output).unwrap();
        users["users"][0]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(name_of(None, &[]), "file");
    assert_eq!(name_of(Some("environment"), &[]), "environment");
    assert_eq!(name_of(Some("environment"), &["--as", "argument"]), "argument");
    std::fs::write(&file, "serer = 1\n").unwrap();
    peer(&["list", "--config", file.to_str().unwrap()], "").exits(2).complains_of(&["serer"]);
}
