//! Loads a server: thousands of lean clients, all in this process.
//!
//! ```text
//!   options ── scenario (the table: who is there, who says what to whom, under which load)
//!                 │
//!        host ────┤         our server as a process of its own (`lab load-server`)
//!        beside ──┤         another server that does the same work
//!                 │
//!        door     │         connects and logs in;   then a client is a `Member`
//!                 │
//!             fleet ── client ── dialect (our messages, or MQTT)      a task each
//!                 │        │
//!                 │      ledger, tally      what came, in order and once; how long it took
//!              visit ── figure ── table     one round; all rounds; for people
//! ```
//!
//! # What makes it fair
//! - All clients are the same code, whatever they speak, so the load costs every server the same;
//!   what it costs is measured and shown beside what the server costs.
//! - Server and load share the machine's cores: a rate is what both together reach. The server's
//!   own CPU time a delivery says what it could do with the cores to itself.
//! - Rounds of all rows are taken in turn, and ratios within a round.
//! - An offered load does not wait for answers, so a server that stops is not asked less.
//!
//! # What is checked while measuring
//! Each text carries its sender, a number and the time. A text that comes twice or out of order is
//! a fault; what the server has promised to deliver is counted and must have come before the next
//! round begins.

mod beside;
mod client;
mod dialect;
mod door;
mod figure;
mod fleet;
mod host;
mod ledger;
mod options;
mod pipe;
mod process;
mod scenario;
mod stamp;
mod table;
mod tally;
mod visit;

use std::{io, process::ExitCode};

use portolan::{Identity, Transport};

pub use host::{ServerOptions, serve};
pub use options::Options;

use self::{
    door::EnterError,
    figure::{Result as LoadResult, Sheet},
    scenario::{Plan, Scenario},
};
use crate::{
    bench::{machine, progress::Progress},
    report,
};

const USAGE: u8 = 2;
const INTERRUPTED: u8 = 130;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("there is no scenario {name:?}; did you mean {suggestion:?}?")]
    Scenario { name: String, suggestion: &'static str },
    #[error("there is no transport {name:?}; there are tcp, udp and quic")]
    Transport { name: String },
    #[error("the system gives no runtime")]
    Runtime(#[source] io::Error),
    #[error("the server cannot be started")]
    Server(#[source] io::Error),
    #[error("cannot make a directory for the database; --data names another place")]
    Scratch(#[source] io::Error),
    #[error("mosquitto does not do what it should")]
    Broker(#[source] io::Error),
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error("cannot print the result")]
    Print(#[source] io::Error),
    #[error("interrupted")]
    Interrupted,
}

impl LoadError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Scenario { .. } | Self::Transport { .. } => ExitCode::from(USAGE),
            Self::Interrupted => ExitCode::from(INTERRUPTED),
            Self::Runtime(_)
            | Self::Server(_)
            | Self::Scratch(_)
            | Self::Broker(_)
            | Self::Enter(_)
            | Self::Print(_) => ExitCode::FAILURE,
        }
    }
}

/// Loads a server and reports.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    match load(options) {
        Ok(code) => code,
        Err(error) => {
            report::complain(&error);
            error.exit_code()
        }
    }
}

fn load(options: &Options) -> Result<ExitCode, LoadError> {
    let scenarios = scenario::choose(&options.scenarios)?;
    let mut plan = plan(options)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let threads = options.threads.unwrap_or_else(machine::cores);
    builder.worker_threads(usize::try_from(threads).unwrap_or(1)).enable_all();
    let runtime = builder.build().map_err(LoadError::Runtime)?;
    let mut sheets = Vec::new();
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run_all(&scenarios, &mut plan, &mut sheets) => ended,
            _ = tokio::signal::ctrl_c() => Err(LoadError::Interrupted),
        }
    });
    runtime.shutdown_background();
    drop(plan);
    let machine = machine::describe();
    let is_broken = sheets.iter().any(Sheet::is_broken);
    let result =
        LoadResult { cpu: machine.cpu, cores: machine.cores, system: machine.system, sheets };
    if !result.sheets.is_empty() {
        print(options, &result)?;
    }
    ended?;
    Ok(if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn run_all(
    scenarios: &[&'static Scenario],
    plan: &mut Plan,
    sheets: &mut Vec<Sheet>,
) -> Result<(), LoadError> {
    for scenario in scenarios {
        plan.progress.turn_to(format!("{}: {}", scenario.name, scenario.about));
        sheets.push((scenario.run)(scenario, plan).await?);
    }
    Ok(())
}

fn plan(options: &Options) -> Result<Plan, LoadError> {
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 5 });
    let find = |name: &String| {
        portolan::transport(name).ok_or_else(|| LoadError::Transport { name: name.clone() })
    };
    let transports: Vec<&'static dyn Transport> = match options.transports.as_slice() {
        [] => portolan::ALL_TRANSPORTS.to_vec(),
        names => names.iter().map(find).collect::<Result<_, _>>()?,
    };
    let id = Identity::generate().id().to_string();
    let tag = id.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
    Ok(Plan {
        options: options.clone(),
        transports,
        rounds,
        times: scenario::times(options),
        progress: Progress::new(rounds),
        tag,
    })
}

fn print(options: &Options, result: &LoadResult) -> Result<(), LoadError> {
    let text = if options.json {
        let json = serde_json::to_string_pretty(result).map_err(io::Error::other);
        json.map_err(LoadError::Print)? + "\n"
    } else {
        table::tables(result)
    };
    report::print(&text).map_err(LoadError::Print)
}
