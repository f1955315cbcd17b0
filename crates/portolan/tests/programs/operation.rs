//! What those who run a server rely on: metrics, the event log, the end, restarts, packaging.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::harness::{Harbour, Program, run};

/// A whole answer over HTTP: code and body.
fn get(harbour: &Harbour, path: &str) -> (u16, String) {
    let address = harbour.ready["metrics"].as_str().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The value of a metric, by the whole beginning of its line.
fn metric(harbour: &Harbour, name: &str) -> f64 {
    let (code, text) = get(harbour, "/metrics");
    assert_eq!(code, 200);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

fn echo(peer: &mut Program, text: &str) {
    peer.say(&format!("/echo {text}"));
    peer.wait_for("the echo", |event| event["text"] == text);
}

fn log_lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn metrics_and_health_are_told_for_every_transport() {
    let harbour = Harbour::open_with(&["--metrics", "127.0.0.1:0"]);
    let mut peers: Vec<Program> =
        ["tcp", "udp", "quic"].map(|transport| harbour.peer(transport, transport)).into();
    peers[0].say("/msg quic counted");
    peers[2].wait_message("counted");
    for transport in ["tcp", "udp", "quic"] {
        let value = |name: &str| metric(&harbour, &format!("{name}{{transport=\"{transport}\"}}"));
        assert_eq!(value("portolan_clients"), 1.0, "{transport}");
        assert_eq!(value("portolan_logins_total"), 1.0, "{transport}");
        assert!(value("portolan_control_bytes_sent_total") > 0.0, "{transport}");
    }
    assert_eq!(metric(&harbour, "portolan_messages_stored_total"), 1.0);
    assert!(metric(&harbour, "portolan_store_commit_seconds_count") >= 4.0);
    assert_eq!(get(&harbour, "/healthz"), (200, r#"{"status":"ok"}"#.to_owned()));
    assert_eq!(get(&harbour, "/").0, 404);
}

#[test]
fn the_configuration_is_checked_and_shown_without_starting_anything() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.toml");
    let data = directory.path().join("data");
    fs::write(&file, "listen = '127.0.0.1:1'\n[limits]\nmailbox_messages = 5\n").unwrap();
    let (file, data) = (file.to_str().unwrap(), data.to_str().unwrap());
    let args = ["config", "--config", file, "--data", data, "--set", "limits.bans=3", "--json"];
    let (code, output, errors) = run("server", &args);
    assert_eq!(code, Some(0), "{errors}");
    let shown: Value = serde_json::from_str(&output).unwrap();
    let find = |key: &str| {
        let all = shown["settings"].as_array().unwrap();
        all.iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    assert_eq!(find("limits.mailbox_messages")["value"], "5");
    assert_eq!(find("limits.mailbox_messages")["from"], file);
    assert_eq!(find("limits.bans")["from"], "--set limits.bans");
    assert!(!Path::new(data).exists());
    assert_eq!(run("server", &["config", "--check", "--config", file]).0, Some(0));

    fs::write(file, "listen = '127.0.0.1:1'\n[limits]\nmailbox_mesages = 5\n").unwrap();
    for args in [&["config", "--check", "--config", file][..], &["--config", file]] {
        let (code, _, errors) = run("server", args);
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains("line 3") && errors.contains("`mailbox_messages`?"), "{errors}");
    }
}

#[test]
fn limits_of_the_configuration_are_kept() {
    let harbour = Harbour::open_with(&["--set", "limits.mailbox_messages=2"]);
    harbour.peer("bob", "tcp").finish();
    let mut alice = harbour.peer("alice", "udp");
    for number in 0..3 {
        alice.say(&format!("/msg bob {number}"));
    }
    let refused = alice.wait_event("error");
    assert_eq!(refused["code"], "quota", "{refused}");
}

#[cfg(unix)]
#[test]
fn the_event_log_can_be_renamed_and_taken_away() {
    let harbour = Harbour::open();
    let path = harbour.server_data().join("events.jsonl");
    let mut alice = harbour.peer("alice", "tcp");
    // Each line is there before the next is asked for: whoever is answered has been logged.
    let wait = |path: &Path, name: &str| {
        while !log_lines(path).iter().any(|line| line["name"] == name) {
            std::thread::yield_now();
        }
    };
    wait(&path, "alice");
    let moved = harbour.server_data().join("moved");
    fs::rename(&path, &moved).unwrap();
    harbour.server.signal("-HUP");
    let _bob = harbour.peer("bob", "tcp");
    wait(&path, "bob");
    fs::remove_file(&path).unwrap();
    let _carol = harbour.peer("carol", "tcp");
    wait(&path, "carol");
    assert!(log_lines(&moved).iter().all(|line| line["name"] != "bob"));
    echo(&mut alice, "unharmed");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_the_event_log_stops_nobody_and_is_told() {
    let harbour = Harbour::open_with(&["--event-log", "/dev/full", "--metrics", "127.0.0.1:0"]);
    let (mut alice, mut bob) = (harbour.peer("alice", "tcp"), harbour.peer("bob", "quic"));
    alice.say("/msg bob although the log is full");
    bob.wait_message("although the log is full");
    while metric(&harbour, "portolan_event_log_failing") == 0.0 {
        std::thread::yield_now();
    }
    assert!(metric(&harbour, "portolan_event_log_dropped_total") > 0.0);
    assert_eq!(get(&harbour, "/healthz").0, 200);
}

#[test]
fn a_file_under_way_may_end_before_the_server_does() {
    for transport in ["tcp", "udp", "quic"] {
        let mut harbour = Harbour::open_with(&["--drain", "600"]);
        let (mut alice, mut bob) = (harbour.peer("alice", transport), harbour.peer("bob", "tcp"));
        let file = harbour.file("large.bin", 128 << 20, 5);
        alice.say(&format!("/send bob {}", file.display()));
        bob.wait_for("bytes", |event| event["event"] == "file" && event["phase"] == "started");
        let asked = std::thread::scope(|scope| {
            let asked = scope.spawn(|| harbour.shut_down(&["--restart-after", "1"]));
            bob.wait_for("the file", |event| event["phase"] == "done");
            asked.join()
        });
        assert!(asked.is_ok());
        let closing = alice.wait_event("closing");
        assert_eq!(closing["reconnect_after_ms"], 1_000, "{transport}");
        assert_eq!(fs::read(harbour.downloads("bob").join("large.bin")).unwrap().len(), 128 << 20);
    }
}

#[test]
fn messages_go_on_during_two_restarts_over_each_transport_and_none_is_lost_or_doubled() {
    const MESSAGES: usize = 300;
    let mut harbour = Harbour::open();
    let names = ["alice", "bob", "carol"];
    let mut people: Vec<Program> = names
        .into_iter()
        .zip(["tcp", "udp", "quic"])
        .map(|(name, transport)| harbour.peer(name, transport))
        .collect();
    for part in 0..3 {
        // Everyone writes to the next, while the server ends and begins.
        for number in part * MESSAGES / 3..(part + 1) * MESSAGES / 3 {
            for (person, next) in people.iter_mut().zip([1, 2, 0]) {
                person.say(&format!("/msg {} {number}", names[next]));
            }
        }
        if part < 2 {
            // As an admin does it by hand: the next one finds port and files free.
            harbour.shut_down(&["rolling", "--restart-after", "0", "--wait"]);
            harbour.start_again();
        }
    }
    for (person, name) in people.iter_mut().zip(names) {
        let mut arrived = Vec::new();
        while arrived.len() < MESSAGES {
            let message = person.wait_event("message");
            arrived.push(message["text"].as_str().unwrap().parse::<usize>().unwrap());
        }
        assert_eq!(arrived, (0..MESSAGES).collect::<Vec<_>>(), "{name}");
        echo(person, "nothing else");
        let all = || person.seen();
        assert_eq!(all().filter(|event| event["event"] == "message").count(), MESSAGES, "{name}");
        assert!(all().any(|event| event["event"] == "reconnected"), "{name} noticed nothing");
        assert!(all().all(|event| event["event"] != "error"), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_server_at_once() {
    let mut harbour = Harbour::open_with(&["--drain", "600"]);
    let (mut alice, mut bob) = (harbour.peer("alice", "tcp"), harbour.peer("bob", "tcp"));
    let file = harbour.file("large.bin", 512 << 20, 6);
    alice.say(&format!("/send bob {}", file.display()));
    bob.wait_for("bytes", |event| event["event"] == "file" && event["phase"] == "progress");
    // The receiver stands still: only the second signal ends what the first one waits for.
    bob.signal("-STOP");
    harbour.server.signal("-TERM");
    while harbour.server.is_running() {
        harbour.server.signal("-TERM");
        std::thread::yield_now();
    }
    bob.signal("-CONT");
    assert_eq!(harbour.server.wait_for_end().code(), Some(130));
}

#[cfg(unix)]
#[test]
fn a_service_manager_is_told_of_the_beginning_the_life_and_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let variables = [("NOTIFY_SOCKET", path.as_path()), ("WATCHDOG_USEC", Path::new("20000"))];
    let mut harbour = Harbour::open_with_variables(&[], &variables);
    let mut buffer = [0; 200];
    let mut hear = || {
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert!(hear().starts_with("READY=1\n"));
    assert_eq!(hear(), "WATCHDOG=1");
    harbour.server.signal("-TERM");
    let last = loop {
        match hear() {
            words if words == "WATCHDOG=1" => {}
            words => break words,
        }
    };
    assert!(last.starts_with("STOPPING=1\n"), "{last}");
    assert!(harbour.server.wait_for_end().success());
}

#[test]
fn the_manual_and_completions_name_every_option() {
    let (code, page, _) = run("server", &["manual"]);
    assert_eq!(code, Some(0));
    let (code, completions, _) = run("server", &["completions", "bash"]);
    assert_eq!(code, Some(0));
    let (_, help, _) = run("server", &["--help"]);
    let options = help.split_whitespace().filter(|word| {
        word.starts_with("--")
            && word.len() > 2
            && word.chars().skip(2).all(|c| c.is_ascii_lowercase() || c == '-')
    });
    for option in options.collect::<std::collections::BTreeSet<_>>() {
        assert!(page.contains(&option.replace('-', "\\-")), "{option} is not in the manual");
        assert!(completions.contains(option), "{option} is not completed");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_systemd_unit_is_sound_and_exposes_little() {
    let unit =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/portolan-server.service");
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("portolan-server.service");
    // The unit names the installed program; what is checked here is the one that was built.
    let text = fs::read_to_string(unit).unwrap();
    let text = text.replace("/usr/bin/portolan-server", env!("CARGO_BIN_EXE_server"));
    fs::write(&copy, text).unwrap();
    let analyze = |args: &[&str]| Command::new("systemd-analyze").args(args).arg(&copy).output();
    let Ok(verified) = analyze(&["verify", "--man=no"]) else {
        println!("there is no systemd-analyze here");
        return;
    };
    let words = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && words.is_empty(), "{words}");
    let exposed = analyze(&["security", "--offline=yes", "--no-pager", "--threshold=20"]).unwrap();
    assert!(exposed.status.success(), "{}", String::from_utf8_lossy(&exposed.stdout));
}

#[test]
fn the_configuration_that_is_installed_is_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/server.toml");
    let text = fs::read_to_string(template).unwrap();
    // Also with everything in it turned on.
    let all = text.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    });
    let all: Vec<&str> = all.collect();
    assert!(all.contains(&"[limits]"));
    for (name, text) in [("as-it-is.toml", text.clone()), ("all.toml", all.join("\n"))] {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        let (code, _, errors) =
            run("server", &["config", "--check", "--config", path.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{errors}");
    }
}
