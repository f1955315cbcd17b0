//! `lab check`: whether this laboratory, on this machine, measures what it says it measures.
//!
//! ```text
//!   table of checks ── network     the emulator: delays, losses, the kernel's TCP as theory has it
//!                  └── statistics  no difference where there is none, and one where one was planted
//! ```
//!
//! A check asks for something known and looks whether it comes out. It is for people who are to
//! believe a report, and for those who change the laboratory; a machine under load may fail it,
//! and should.

mod network;
mod statistics;

use std::{io::IsTerminal, process::ExitCode};

use portolan_emulator::{Launch, launch};
use serde::Serialize;

use crate::report;

/// `lab check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Only the checks of these names
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  sudo lab check                    everything, in about two minutes on a quiet machine
  lab check --only same,planted     the statistics alone, without root";

const USAGE: u8 = 2;

/// One check.
struct Check {
    name: &'static str,
    /// What must come out.
    promise: &'static str,
    needs: Needs,
    take: fn() -> Result<Finding, String>,
}

/// What a check needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Namespaces and TUN devices.
    Emulator,
}

/// What came out.
struct Finding {
    seen: String,
    holds: bool,
}

const fn check(
    name: &'static str,
    promise: &'static str,
    needs: Needs,
    take: fn() -> Result<Finding, String>,
) -> Check {
    Check { name, promise, needs, take }
}

const CHECKS: &[Check] = &[
    check("delay", "50 ms asked: 50 ± 0.5 ms, p50", Needs::Emulator, network::delay),
    check("loss", "1 % asked: 1 ± 0.1 % of 100,000 packets", Needs::Emulator, network::loss),
    check("replay", "the same seed loses the same packets", Needs::Emulator, network::replay),
    check("rate", "TCP BBR, 100 Mbit/s, 0 ms: 94 or more", Needs::Emulator, network::rate),
    check("bbr", "TCP BBR, 50 ms, 1 % loss: 90 or more", Needs::Emulator, network::bbr),
    check("cubic", "TCP CUBIC there: 2 to 4, as theory says", Needs::Emulator, network::cubic),
    check("same", "no difference where there is none", Needs::Nothing, statistics::same),
    check("planted", "a copy slowed by 20 % is seen as such", Needs::Nothing, statistics::planted),
];

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    name: &'a str,
    promise: &'a str,
    outcome: &'static str,
    seen: &'a str,
}

/// Checks, and says what came out.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let unknown = options.only.iter().find(|name| CHECKS.iter().all(|check| check.name != **name));
    if let Some(name) = unknown {
        let names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        eprintln!("lab: there is no check {name:?}; there are {}", names.join(", "));
        return ExitCode::from(USAGE);
    }
    let wanted = |check: &&Check| {
        options.only.is_empty() || options.only.iter().any(|name| name == check.name)
    };
    let checks: Vec<_> = CHECKS.iter().filter(wanted).collect();
    let mut missing = None;
    if checks.iter().any(|check| check.needs == Needs::Emulator) {
        match launch() {
            Ok(Launch::Inside) => {}
            Ok(Launch::Finished(code)) => return code,
            Err(why) => missing = Some(why.to_string()),
        }
    }
    let outcomes = checks.iter().map(|check| examine(check, missing.as_deref(), options));
    if outcomes.fold(true, |all, holds| all & holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Takes one check and tells of it; answers whether nothing speaks against the laboratory.
fn examine(check: &Check, missing: Option<&str>, options: &Options) -> bool {
    let missing = missing.filter(|_| check.needs == Needs::Emulator);
    if std::io::stderr().is_terminal() && missing.is_none() {
        eprintln!("lab: checking {} …", check.name);
    }
    let (outcome, seen) = match missing {
        Some(why) => ("left out", why.to_owned()),
        None => match (check.take)() {
            Ok(Finding { seen, holds: true }) => ("ok", seen),
            Ok(Finding { seen, holds: false }) => ("FAILED", seen),
            Err(error) => ("FAILED", error),
        },
    };
    let (name, promise) = (check.name, check.promise);
    let text = if options.json {
        let line = Line { event: "check", name, promise, outcome, seen: &seen };
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    } else {
        format!("{outcome:8} {name:8} {promise}: {seen}\n")
    };
    if let Err(error) = report::print(&text) {
        eprintln!("lab: cannot print: {error}");
        return false;
    }
    outcome != "FAILED"
}
