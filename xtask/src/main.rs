//! One entry point for every task: `cargo xtask ci | sim | storm | bench | fuzz | golden | package`.
//!
//! CI calls the same commands as people do.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

/// A task: its name, what it is for, and what it does with the words behind its name.
type Task = (&'static str, &'static str, fn(&[String]) -> Result<(), Failed>);

const TASKS: &[Task] = &[
    ("ci", "everything that must hold before a change lands", ci),
    ("sim", "long simulations of our UDP and of the server: `sim 0..10000` (seeds)", sim),
    ("storm", "kills a real server under real clients: `storm 60 7` (seconds, seed)", storm),
    ("bench", "every transport beside outside peers: arguments go to `lab bench`", bench),
    ("fuzz", "each fuzz target for a while: `fuzz 60` (seconds); needs cargo-fuzz", fuzz),
    ("golden", "rewrites the golden vectors of the messages after a deliberate change", golden),
    ("package", "the server as a Debian package; needs cargo-deb", package),
];

/// A command that did not succeed.
struct Failed(String);

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let task = words.first().and_then(|name| TASKS.iter().find(|(task, _, _)| task == name));
    let Some((name, _, run)) = task else {
        eprintln!("usage: cargo xtask TASK\n");
        for (name, purpose, _) in TASKS {
            eprintln!("  {name:8} {purpose}");
        }
        return ExitCode::from(2);
    };
    match run(&words[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(command)) => {
            eprintln!("xtask {name}: this failed: {command}");
            ExitCode::FAILURE
        }
    }
}

fn ci(_: &[String]) -> Result<(), Failed> {
    step("fmt", &mut cargo("fmt --all -- --check"))?;
    step("clippy", &mut cargo("clippy --workspace --all-targets -- -D warnings"))?;
    step("docs", cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-Dwarnings"))?;
    if installed("deny") {
        step("deny", &mut cargo("deny --offline check bans licenses sources"))?;
    }
    // The demo of the programs that the tests need anyway: another profile would be built for minutes.
    step("build", &mut cargo("test --workspace --no-run"))?;
    step("demo", Command::new(target_directory().join("debug/peer")).arg("demo"))?;
    // Last, so that the run closes with the test runner's own summary.
    step("test", cargo("test --workspace").env("PORTOLAN_HEAVY", "1"))
}

fn sim(words: &[String]) -> Result<(), Failed> {
    let seeds = words.first().map_or("0..10000", String::as_str);
    let mut test = cargo("test --release -p portolan-rudp --test simulation -- --nocapture");
    step("simulation of our UDP", test.env("SEEDS", seeds))?;
    let mut test = cargo("test --release -p portolan-server --test simulation a_thousand");
    step("simulation of the server", test.env("SEEDS", seeds))
}

fn storm(words: &[String]) -> Result<(), Failed> {
    let word = |place: usize, usual| words.get(place).map_or(usual, String::as_str);
    let mut test = cargo("test --release -p portolan --test programs killed_again -- --nocapture");
    step("storm", test.env("STORM_SECONDS", word(0, "60")).env("SEED", word(1, "1")))
}

fn bench(words: &[String]) -> Result<(), Failed> {
    step("bench", cargo("run --release --bin lab -- bench").args(words))
}

fn golden(_: &[String]) -> Result<(), Failed> {
    let mut test = cargo("test -p portolan-protocol --test golden");
    step("golden vectors", test.env("UPDATE_GOLDEN", "1"))
}

fn package(_: &[String]) -> Result<(), Failed> {
    if !installed("deb") {
        return Err(Failed("cargo deb --version (cargo install cargo-deb)".into()));
    }
    step("build", &mut cargo("build --release -p portolan --bin server"))?;
    describe_server(&target_directory().join("release"))
        .map_err(|error| Failed(error.to_string()))?;
    step("package", &mut cargo("deb -p portolan --no-build"))
}

/// Has the server that was built in `release` write its manual and its completions, under the
/// name that it is installed by.
fn describe_server(release: &Path) -> std::io::Result<()> {
    let directory = release.join("packaging");
    fs::create_dir_all(&directory)?;
    let program = directory.join("portolan-server");
    fs::copy(release.join("server"), &program)?;
    for (file, words) in [
        ("portolan-server.1", &["manual"][..]),
        ("portolan-server.bash", &["completions", "bash"]),
        ("_portolan-server", &["completions", "zsh"]),
        ("portolan-server.fish", &["completions", "fish"]),
    ] {
        let output = Command::new(&program).args(words).output()?;
        fs::write(directory.join(file), output.stdout)?;
    }
    Ok(())
}

fn fuzz(words: &[String]) -> Result<(), Failed> {
    let seconds = words.first().and_then(|word| word.parse().ok()).unwrap_or(60);
    let seconds = Duration::from_secs(seconds).as_secs();
    let output = cargo("+nightly fuzz list").output().map_err(|e| Failed(e.to_string()))?;
    if !output.status.success() {
        return Err(Failed("cargo +nightly fuzz list (cargo install cargo-fuzz)".into()));
    }
    for target in String::from_utf8_lossy(&output.stdout).lines() {
        let limit = format!("-max_total_time={seconds}");
        // What is found goes beside the committed corpus, not into it.
        let [found, corpus] = ["work", "corpus"].map(|kind| format!("fuzz/{kind}/{target}"));
        fs::create_dir_all(&found).map_err(|e| Failed(format!("{found}: {e}")))?;
        step(target, cargo("+nightly fuzz run").args([target, &found, &corpus, "--", &limit]))?;
    }
    Ok(())
}

fn target_directory() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

fn cargo(words: &str) -> Command {
    // The rustup proxy, so that `+nightly` is understood.
    let mut command = Command::new("cargo");
    command.args(words.split(' '));
    command
}

fn installed(subcommand: &str) -> bool {
    let output = cargo(&format!("{subcommand} --version")).output();
    output.is_ok_and(|output| output.status.success())
}

fn step(name: &str, command: &mut Command) -> Result<(), Failed> {
    eprintln!("=== {name}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) | Err(_) => Err(Failed(format!("{name}: {command:?}"))),
    }
}
