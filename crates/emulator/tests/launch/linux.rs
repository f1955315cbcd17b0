//! The program that tests and, launched by itself, is tested.
//!
//! This program plays both parts: without arguments it tests; with one it is what is launched.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Trial};
use portolan_emulator::{Emulator, Launch, Options, launch};
use portolan_netsim::topology::{
    Attachment, Duplex, Host, Node, NodeKind, Prefix, Subnet, Topology,
};

/// Longer than the kernel takes to clean up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A user without privileges.
const NOBODY: u32 = 65534;

/// What this exits with when the machine has not got what it takes.
const LEFT_OUT: u8 = 77;

pub(crate) fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("exit-7") => inside(|| ExitCode::from(7)),
        Some("world") => inside(live_in_a_world),
        _ => test(),
    }
}

fn inside(program: fn() -> ExitCode) -> ExitCode {
    match launch() {
        Ok(Launch::Inside) => program(),
        Ok(Launch::Finished(code)) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(LEFT_OUT)
        }
    }
}

/// Builds a world, starts a program in it that starts another which leaves its session, tells
/// which namespaces there are, and stays.
fn live_in_a_world() -> ExitCode {
    let emulator = Emulator::start(&topology(), Options::default()).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "setsid sleep 1000 & sleep 1000"]).stdin(Stdio::null());
    let mut child = emulator.host("alice").unwrap().spawn(&mut shell).unwrap();
    let process = child.id().to_string();
    let namespaces = ["self", &process].map(|process| {
        ["net", "pid", "mnt"].map(|kind| namespace(process, kind).unwrap()).join(" ")
    });
    println!("{}", namespaces.join(" "));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    ExitCode::SUCCESS
}

fn topology() -> Topology {
    let attachment = |address: &str| Attachment {
        name: "eth0".to_owned(),
        network: "net".to_owned(),
        addresses: vec![address.parse().unwrap()],
        link: Duplex::default(),
    };
    let host = |name: &str, address| Node {
        name: name.to_owned(),
        kind: NodeKind::Host(Host { interfaces: vec![attachment(address)] }),
    };
    let prefixes = vec![Prefix { address: "10.0.0.0".parse().unwrap(), length: 24 }];
    let subnet = Subnet { prefixes, isolated: false, multicast: true };
    let net = Node { name: "net".to_owned(), kind: NodeKind::Subnet(subnet) };
    Topology {
        nodes: vec![net, host("alice", "10.0.0.1"), host("bob", "10.0.0.2")],
        ..Topology::default()
    }
}

fn test() -> ExitCode {
    let trial = |name: &str, body: fn()| {
        Trial::test(name, move || {
            if is_possible() {
                body();
            } else {
                println!("left out: no new namespaces or no /dev/net/tun here");
            }
            Ok(())
        })
    };
    let trials = vec![
        trial("the_exit_code_comes_out", the_exit_code_comes_out),
        trial("nothing_is_left_when_the_launcher_is_killed", || nothing_is_left_of(Part::Launcher)),
        trial("nothing_is_left_when_the_first_process_is_killed", || {
            nothing_is_left_of(Part::First);
        }),
        trial("nothing_is_left_when_the_program_is_killed", || nothing_is_left_of(Part::Program)),
        trial("nothing_is_left_when_the_program_ends", nothing_is_left_when_the_program_ends),
        trial("a_signal_to_the_launcher_reaches_the_program", a_signal_reaches_the_program),
        trial("a_user_without_privileges_has_a_world_too", nobody_has_a_world_too),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn is_possible() -> bool {
    let status = this("exit-7").stderr(Stdio::null()).status().unwrap();
    status.code() != Some(i32::from(LEFT_OUT))
}

fn this(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg(role);
    command
}

fn the_exit_code_comes_out() {
    assert_eq!(this("exit-7").status().unwrap().code(), Some(7));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Launcher,
    First,
    Program,
}

fn nothing_is_left_of(killed: Part) {
    let mut world = World::start(&mut this("world"));
    let before = world.processes();
    match killed {
        Part::Launcher => world.launcher.kill().unwrap(),
        Part::First => kill(world.process(1), "KILL"),
        Part::Program => kill(world.process(2), "KILL"),
    }
    let (status, words) = world.end(&before);
    if killed != Part::Launcher {
        assert_eq!(status.code(), Some(128 + 9), "{words}");
        assert!(words.contains("was killed by signal 9"), "{words}");
    }
}

fn nothing_is_left_when_the_program_ends() {
    let mut world = World::start(&mut this("world"));
    let before = world.processes();
    drop(world.launcher.stdin.take());
    let (status, words) = world.end(&before);
    assert!(status.success(), "{status}: {words}");
}

fn a_signal_reaches_the_program() {
    let world = World::start(&mut this("world"));
    let before = world.processes();
    kill(world.launcher.id(), "TERM");
    let (status, words) = world.end(&before);
    assert_eq!(status.code(), Some(128 + 15), "{words}");
}

fn nobody_has_a_world_too() {
    let directory = env::temp_dir().join(format!("portolan-launch-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let copy = directory.join("program");
    fs::copy(env::current_exe().unwrap(), &copy).unwrap();
    let try_it = |role: &str| {
        let mut command = Command::new(&copy);
        command.arg(role).current_dir("/");
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    };
    let outcome = try_it("exit-7").output();
    match outcome {
        Ok(output) if output.status.code() == Some(7) => {
            let mut world = World::start(&mut try_it("world"));
            let before = world.processes();
            world.launcher.kill().unwrap();
            world.end(&before);
        }
        Ok(output) => {
            println!("left out: {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(i32::from(LEFT_OUT)));
        }
        Err(error) => println!("left out: another user cannot run this program: {error}"),
    }
    fs::remove_dir_all(&directory).unwrap();
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .any(|line| line.starts_with("Uid:\t0\t"))
}

/// A launched program that lives in a world.
struct World {
    launcher: Child,
    output: BufReader<ChildStdout>,
    namespaces: BTreeSet<String>,
}

impl World {
    fn start(command: &mut Command) -> Self {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut launcher = pipes.spawn().unwrap();
        let mut output = BufReader::new(launcher.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let outside = ["net", "pid", "mnt"].map(|kind| namespace("self", kind).unwrap());
        let namespaces: BTreeSet<String> = line.split_whitespace().map(str::to_owned).collect();
        assert!(namespaces.len() >= 4, "its own, and those of alice: {line}");
        assert!(outside.iter().all(|outside| !namespaces.contains(outside)), "{line}");
        Self { launcher, output, namespaces }
    }

    /// The process with this id inside.
    fn process(&self, inside: u32) -> u32 {
        let is_it = |process: &u32| {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let ids = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
            ids.split_whitespace().last() == Some(&inside.to_string())
        };
        self.processes().into_iter().find(is_it).unwrap()
    }

    /// Every process that is in one of its namespaces: the first one, the program, the shell on
    /// alice and its two children.
    fn processes(&self) -> Vec<u32> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        all.filter(|process: &u32| self.is_inside(*process)).collect()
    }

    fn is_inside(&self, process: u32) -> bool {
        ["net", "pid", "mnt"].into_iter().any(|kind| {
            namespace(&process.to_string(), kind)
                .is_some_and(|namespace| self.namespaces.contains(&namespace))
        })
    }

    /// Waits until the launcher and everything that it had has ended; `before` are those who were
    /// inside. (The numbers of namespaces and processes are used again, so neither will do alone.)
    fn end(mut self, before: &[u32]) -> (ExitStatus, String) {
        // Whoever is inside holds an end of the pipe: when it closes, they have ended.
        self.output.read_to_end(&mut Vec::new()).unwrap();
        let mut words = String::new();
        self.launcher.stderr.take().unwrap().read_to_string(&mut words).unwrap();
        let status = self.launcher.wait().unwrap();
        #[expect(clippy::disallowed_methods, reason = "to give up some time")]
        let start = Instant::now();
        while before.iter().any(|process| self.is_inside(*process)) {
            assert!(start.elapsed() < PATIENCE, "still there: {before:?}");
            std::thread::yield_now();
        }
        (status, words)
    }
}

fn namespace(process: &str, kind: &str) -> Option<String> {
    let link = fs::read_link(Path::new("/proc").join(process).join("ns").join(kind)).ok()?;
    Some(link.to_str()?.to_owned())
}

fn kill(process: u32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status();
    assert!(status.unwrap().success());
}
