//! People on one network without a server: real programs in a network of namespaces.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use portolan_emulator::{Emulator, Options, StartError};
use portolan_netsim::topology::{
    Attachment, Duplex, Host, Node, NodeKind, Prefix, Subnet, Topology,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Program, run};

/// A network, and what its people keep.
struct Place {
    emulator: Emulator,
    directory: TempDir,
}

impl Place {
    /// `None` with a plain line where the system has not got what it takes.
    #[expect(clippy::print_stdout, reason = "what is left out is said")]
    fn open() -> Option<Self> {
        match Emulator::start(&network(), Options::default()) {
            Ok(emulator) => Some(Self { emulator, directory: TempDir::new().unwrap() }),
            Err(error @ (StartError::Missing(_) | StartError::Namespace { .. })) => {
                println!("left out: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn command(&self, data: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
        command.arg("--data").arg(self.directory.path().join(data));
        command.arg("--downloads").arg(self.downloads(data)).args(["--accept-files", "all"]);
        command
    }

    fn downloads(&self, data: &str) -> PathBuf {
        let path = self.directory.path().join(data).join("downloads");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Starts `peer NAME` on a machine, with what it keeps in `data`.
    fn person(&self, machine: &str, name: &str, data: &str) -> Program {
        let mut command = self.command(data);
        command.args([name, "--json"]);
        let host = self.emulator.host(machine).unwrap();
        let mut person = Program::start_by(&format!("{name} on {machine}"), command, |command| {
            host.spawn(command)
        });
        person.wait_event("ready");
        person
    }

    /// Runs a command that does one thing to its end.
    fn once(&self, machine: &str, args: &[&str]) -> (Option<i32>, String, String) {
        let host = self.emulator.host(machine).unwrap();
        let (command, args) = (self.command("once"), args.to_vec());
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let work = move || {
            let mut command = command;
            let output = command.args(args).output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (output.status.code(), text(&output.stdout), text(&output.stderr))
        };
        host.spawn_thread("once", work).unwrap().join().unwrap()
    }
}

/// Three machines on one network, and one on another.
fn network() -> Topology {
    let subnet = |name: &str, address: &str| {
        let prefixes = vec![Prefix { address: address.parse().unwrap(), length: 24 }];
        let subnet = Subnet { prefixes, isolated: false, multicast: true };
        Node { name: name.to_owned(), kind: NodeKind::Subnet(subnet) }
    };
    let host = |name: &str, network: &str, address: &str| {
        let attachment = Attachment {
            name: "eth0".to_owned(),
            network: network.to_owned(),
            addresses: vec![address.parse().unwrap()],
            link: Duplex::default(),
        };
        let kind = NodeKind::Host(Host { interfaces: vec![attachment] });
        Node { name: name.to_owned(), kind }
    };
    Topology {
        nodes: vec![
            subnet("home", "10.0.0.0"),
            subnet("moor", "10.9.0.0"),
            host("first", "home", "10.0.0.1"),
            host("second", "home", "10.0.0.2"),
            host("third", "home", "10.0.0.3"),
            host("hermitage", "moor", "10.9.0.1"),
        ],
        ..Topology::default()
    }
}

/// Waits until each of them sees just these names. Whoever is missing from a list comes, or goes,
/// later, and that is an event.
fn wait_together(people: &mut [(&str, &mut Program)]) {
    let wanted: BTreeSet<String> = people.iter().map(|(name, _)| (*name).to_owned()).collect();
    for (_, program) in people {
        loop {
            program.say("/list");
            let list = program.wait_event("users");
            let users = list["users"].as_array().unwrap();
            let names: BTreeSet<String> =
                users.iter().map(|user| user["name"].as_str().unwrap().to_owned()).collect();
            if names == wanted {
                break;
            }
            wait_change(program);
        }
    }
}

/// What `/list` says of somebody's key, once it names that person.
fn familiarity(program: &mut Program, of: &str) -> Value {
    loop {
        program.say("/list");
        let list = program.wait_event("users");
        let users = list["users"].as_array().unwrap();
        if let Some(user) = users.iter().find(|user| user["name"] == of) {
            return user["known"].clone();
        }
        wait_change(program);
    }
}

/// Waits until somebody comes or goes, or there is another host.
fn wait_change(program: &mut Program) {
    program.wait_for("change", |event| {
        ["presence", "reconnected"].iter().any(|name| event["event"] == *name)
    });
}

/// Whether the program hosts, by the last that it said of that.
fn hosts(program: &Program) -> bool {
    let said: Vec<Value> = program.seen().filter(|event| event["event"] == "lan").collect();
    said.last().is_some_and(|last| last["state"] == "hosting")
}

#[test]
fn people_on_a_network_find_each_other_and_go_on_when_their_host_is_killed() {
    let Some(place) = Place::open() else { return };
    let mut alice = place.person("first", "alice", "alice");
    let mut bob = place.person("second", "bob", "bob");
    let mut carol = place.person("third", "carol", "carol");
    wait_together(&mut [("alice", &mut alice), ("bob", &mut bob), ("carol", &mut carol)]);
    alice.say("/msg bob hello from the first machine");
    bob.wait_message("hello from the first machine");
    let (code, names, errors) = place.once("third", &["list", "--as", "dave"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(names.contains("alice") && names.contains("bob"), "{names}");

    // What bob proves while he sends a file is remembered.
    let file = place.directory.path().join("letter.txt");
    std::fs::write(&file, "dear carol").unwrap();
    bob.say(&format!("/send carol {}", file.display()));
    carol.wait_for("a file", |event| event["event"] == "file" && event["phase"] == "done");
    let letter = std::fs::read_to_string(place.downloads("carol").join("letter.txt")).unwrap();
    assert_eq!(letter, "dear carol");
    assert_eq!(familiarity(&mut carol, "bob"), "known");
    assert_eq!(familiarity(&mut carol, "alice"), "new");

    // A text to somebody who is away waits at the host. The host dies without a word, the writer
    // hosts next, and whoever comes back has the text.
    let mut people = [("alice", alice), ("bob", bob), ("carol", carol)];
    let host = people.iter().position(|(_, program)| hosts(program)).unwrap();
    people.rotate_left(host);
    let [host, writer, reader] = &mut people;
    reader.1.say("/quit");
    assert!(reader.1.wait_for_end().success());
    wait_together(&mut [(host.0, &mut host.1), (writer.0, &mut writer.1)]);
    writer.1.say(&format!("/msg {} when you are back", reader.0));
    writer
        .1
        .wait_for("its answer", |event| event["event"] == "receipt" && event["state"] == "stored");
    host.1.kill();
    writer
        .1
        .wait_for("the next host", |event| event["event"] == "lan" && event["state"] == "hosting");
    reader.1 = place.person("third", reader.0, reader.0);
    reader.1.wait_message("when you are back");

    // The next host leaves in good order, and who is left hosts.
    wait_together(&mut [(writer.0, &mut writer.1), (reader.0, &mut reader.1)]);
    let (leaver, stayer) = if hosts(&writer.1) { (writer, reader) } else { (reader, writer) };
    leaver.1.say("/quit");
    assert!(leaver.1.wait_for_end().success());
    stayer.1.wait_for("the host's farewell", |event| {
        event["event"] == "closing" && event["why"] == "shutdown"
    });
    wait_together(&mut [(stayer.0, &mut stayer.1)]);
    assert!(hosts(&stayer.1));
}

#[test]
fn somebody_with_the_name_of_another_is_pointed_out_and_gets_nothing() {
    let Some(place) = Place::open() else { return };
    let (_, key, _) = place.once("first", &["id", "--as", "bob"]);
    let known = place.directory.path().join("carol").join("known_peers");
    std::fs::create_dir_all(known.parent().unwrap()).unwrap();
    std::fs::write(known, format!("bob@lan:0 {key}")).unwrap();
    let mut carol = place.person("first", "carol", "carol");
    let mut mallory = place.person("second", "bob", "mallory");
    carol.wait_for("a warning", |event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["event"] == "error" && message.contains("not who you know")
    });
    wait_together(&mut [("carol", &mut carol), ("bob", &mut mallory)]);
    assert_eq!(familiarity(&mut carol, "bob"), "changed");
    carol.say("/msg bob a secret");
    let refused = carol.wait_for("a refusal", |event| {
        event["event"] == "error" && event["code"] == "unknown_peer"
    });
    let advice = refused["message"].as_str().unwrap();
    assert!(advice.contains("delete line 1") && advice.contains("known_peers"), "{advice}");
    carol.say("/msg carol to myself");
    carol.wait_message("to myself");
    mallory.say("/mailbox");
    let waiting = mallory.wait_event("mailbox");
    assert_eq!(waiting["messages"], Value::Array(Vec::new()));
    let got = mallory.seen().any(|event| event["event"] == "message");
    assert!(!got, "nothing was sent to somebody else");
}

#[test]
fn who_does_one_thing_where_nobody_is_gets_advice() {
    let Some(place) = Place::open() else { return };
    let (code, _, errors) = place.once("hermitage", &["list", "--as", "dave"]);
    assert_eq!(code, Some(3), "{errors}");
    assert!(errors.contains("--server HOST") && errors.contains("peer doctor"), "{errors}");
}

#[test]
fn only_servers_on_private_networks_are_used_when_that_is_asked_for() {
    let data = TempDir::new().unwrap();
    let data = data.path().display().to_string();
    // For documentation only (RFC 5737): nobody would answer.
    let args = ["list", "--as", "dave", "--server", "203.0.113.9", "--lan-only", "--data", &data];
    let (code, _, errors) = run("peer", &args);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("203.0.113.9") && errors.contains("private network"), "{errors}");
}
