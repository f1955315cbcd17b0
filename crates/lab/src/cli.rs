//! The command line.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{audio, bench, check, load, nat, net, probe, report, survive, watch};

/// Measure every transport under every network, and build small worlds on one machine.
#[derive(Debug, Parser)]
#[command(name = "lab", version, arg_required_else_help = true)]
struct Arguments {
    /// Write what connections of our UDP do into this directory, a qlog file each
    /// (docs/observing.md)
    #[arg(long, global = true, env = watch::DIRECTORY, value_name = "DIR")]
    qlog: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Compare the transports with each other and with outside peers
    Bench(bench::Options),
    /// The answering side of `bench` as a process of its own
    #[command(hide = true)]
    BenchServer(bench::ServerOptions),
    /// Speak over each transport through emulated links, and judge what is heard
    Audio(audio::Options),
    /// Load a server with thousands of clients: rates, latencies, memory, who suffers from whom
    Load(Box<load::Options>),
    /// The server of `load` as a process of its own
    #[command(hide = true)]
    LoadServer(load::ServerOptions),
    /// Make the table and the page again from a result file
    Report(report::Options),
    /// Compare two result files: what got better, what got worse, what cannot be told
    Compare(report::compare::Options),
    /// See whether this laboratory measures what it says it measures, on this machine
    Check(check::Options),
    /// Build a small world of hosts, routers and translators, and run programs in it
    Net(net::Options),
    /// Let two peers meet through every pair of address translators: which do, and how soon
    Nat(nat::Options),
    /// See what a file in flight survives: servers that restart, networks that change, machines that
    /// sleep
    Survive(survive::Options),
    /// Ask a network one question: who is there, what gets through, how translators behave
    Probe(probe::Options),
}

/// Runs the `lab` program and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = watch::turn_on(arguments.qlog.as_deref()) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let code = run(arguments.task);
    watch::finish();
    code
}

fn run(task: Task) -> ExitCode {
    match task {
        Task::Bench(options) => bench::run(&options),
        Task::BenchServer(options) => bench::serve(&options),
        Task::Audio(options) => audio::run(&options),
        Task::Load(options) => load::run(&options),
        Task::LoadServer(options) => load::serve(&options),
        Task::Report(options) => report::run(&options),
        Task::Compare(options) => report::compare::run(&options),
        Task::Check(options) => check::run(&options),
        Task::Net(options) => net::run(&options),
        Task::Nat(options) => nat::run(&options),
        Task::Survive(options) => survive::run(&options),
        Task::Probe(options) => probe::run(&options),
    }
}
