//! Real sockets, interleaved rounds.
//!
//! ```text
//!   options ── plan (visits: which subject, which round, which workloads, how long)
//!                │
//!             rounds ── one visit at a time ── collect ── result::Run ── report
//!                │
//!             ground   where the two sides stand: loopback, or namespaces behind the emulator
//!              /    \
//!         client ─── server      a single-threaded runtime each, on threads or in two processes
//!            │  control (JSON lines beside the network)
//!        workload (the table of what subjects are made to do)
//!            │
//!        Subject (ours, baselines, planted)
//! ```
//!
//! # What makes it fair
//! - Rounds are interleaved, and the order within a round is shuffled from the seed, so that drift
//!   of the machine meets all alike.
//! - Every workload is boxed by time, warms up first, and uses connections of its own.
//! - What is sent is counted where it arrives, on the receiver's clock.
//! - CPU time is that of the two sides' threads, so that emulator and report cost nobody.
//! - Whoever else used the machine during a visit is a doubt on its samples.
//!
//! # What never happens
//! A subject that fails, hangs or cannot do something has a reason instead of a figure, and spoils
//! no other: every step has a time after which it is given up.

mod client;
pub(crate) mod clock;
mod collect;
mod control;
mod ground;
pub(crate) mod link;
pub(crate) mod machine;
mod matrix;
pub(crate) mod options;
mod ours;
mod plan;
mod planted;
pub(crate) mod progress;
mod rounds;
mod server;
mod simulate;
mod subjects;
#[cfg(test)]
mod tests;
mod wire;
mod wishes;
mod workload;

use std::{fs, io, path::PathBuf, process::ExitCode};

use portolan_emulator::{Launch, Missing, StartError, launch};
use portolan_netsim::SpecError;
use thiserror::Error;

pub use ground::ServerOptions;
pub use options::Options;

use crate::{
    bench::{
        collect::{Collector, Heading},
        ground::{Ground, Pinned, ServerPlace, Staging},
        link::LinkChoice,
        plan::{Plan, Wishes},
        progress::Progress,
        subjects::UnknownSubject,
        wishes::wishes,
    },
    report,
    result::{Driver, Run, Setting},
};

const USAGE: u8 = 2;
const INTERRUPTED: u8 = 130;

/// Why there is no result.
#[derive(Debug, Error)]
enum BenchError {
    #[error(transparent)]
    Subject(#[from] UnknownSubject),
    #[error("there is no metric {name:?}; did you mean {suggestion:?}? (all: {all})")]
    Metric { name: String, suggestion: &'static str, all: String },
    #[error("--link {text:?} is not understood")]
    Link { text: String, source: SpecError },
    #[error("--driver virtual needs a network: say which with --link, or ask for the --matrix")]
    NothingToSimulate,
    #[error(
        "{names}: none of them is a machine for virtual time; it knows udp, quic, quinn, quinn-bbr"
    )]
    NoMachine { names: String },
    #[error("this machine cannot emulate a network; --driver virtual compares UDP and QUIC")]
    Missing(#[source] Missing),
    #[error("the network could not be emulated")]
    Start(#[from] StartError),
    #[error("no subject gave a single figure; the lines above say why")]
    Nothing,
    #[error("the system gives no runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot write {}; --out names another directory", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot print the result")]
    Print(#[source] io::Error),
}

impl BenchError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Subject(_)
            | Self::Metric { .. }
            | Self::Link { .. }
            | Self::NothingToSimulate
            | Self::NoMachine { .. } => ExitCode::from(USAGE),
            Self::Missing(_)
            | Self::Start(_)
            | Self::Nothing
            | Self::Runtime(_)
            | Self::Write { .. }
            | Self::Print(_) => ExitCode::FAILURE,
        }
    }
}

/// Measures and reports.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    match bench(options) {
        Ok(code) => code,
        Err(error) => {
            report::complain(&error);
            error.exit_code()
        }
    }
}

/// `lab bench-server`: answers a measurement until standard input ends.
#[must_use]
pub fn serve(options: &ServerOptions) -> ExitCode {
    match ground::serve_process(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    Interrupted,
}

/// What makes the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// The kernel, and the emulator where a link is wanted.
    Real,
    /// Virtual time where a link is wanted.
    Virtual,
}

fn bench(options: &Options) -> Result<ExitCode, BenchError> {
    let (run, ended) = match measured(options)? {
        Ok(measured) => measured,
        Err(finished) => return Ok(finished),
    };
    write(options, &run)?;
    Ok(match ended {
        Ended::Whole => ExitCode::SUCCESS,
        Ended::Interrupted => ExitCode::from(INTERRUPTED),
    })
}

/// Measures for another part of the laboratory, which has launched whatever it needs.
pub(crate) fn take(options: &Options) -> Result<Run, String> {
    match measured(options) {
        Ok(Ok((run, Ended::Whole))) => Ok(run),
        Ok(Ok((_, Ended::Interrupted))) => Err("interrupted".into()),
        Ok(Err(_)) => Err("there are no namespaces to measure in".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The result and whether it is whole; or, where this process only waited for another that
/// measured, what to exit with.
fn measured(options: &Options) -> Result<Result<(Run, Ended), ExitCode>, BenchError> {
    let link = options.link.as_deref().map(parse_link).transpose()?;
    let wishes = wishes(options, link.as_ref())?;
    let mut progress = Progress::new(wishes.rounds);
    let means = match means(options, &progress)? {
        Ok(means) => means,
        Err(finished) => return Ok(Err(finished)),
    };
    let heading = heading(options, &wishes, link.as_ref(), means);
    let (mut run, mut ended) = match (&link, means) {
        (None, _) => {
            let loopback = vec![Ground::Loopback];
            measure(options, wishes.clone(), loopback, heading, &mut progress)?
        }
        (Some(link), Means::Real) => {
            let grounds = Ground::emulated(link, &wishes)?;
            measure(options, wishes.clone(), grounds, heading, &mut progress)?
        }
        (Some(link), Means::Virtual) => {
            (simulate::run(&wishes, link, heading, &mut progress)?, Ended::Whole)
        }
    };
    if options.matrix && ended == Ended::Whole {
        match means {
            Means::Real => {
                let (matrix, how) = matrix::measure(&wishes, staging(options), &mut progress)?;
                (run.matrix, ended) = (Some(matrix), how);
            }
            Means::Virtual => run.matrix = simulate::matrix(&wishes, &mut progress),
        }
    }
    Ok(Ok((run, ended)))
}

fn parse_link(text: &str) -> Result<LinkChoice, BenchError> {
    LinkChoice::parse(text).map_err(|source| BenchError::Link { text: text.to_owned(), source })
}

/// What makes the network; or, where this process only waited for another that measured, what to
/// exit with. Must come before there is any thread.
fn means(options: &Options, progress: &Progress) -> Result<Result<Means, ExitCode>, BenchError> {
    let wanted = options.link.is_some() || options.matrix;
    match options.driver {
        _ if !wanted && options.driver != options::Driver::Virtual => Ok(Ok(Means::Real)),
        options::Driver::Virtual if !wanted => Err(BenchError::NothingToSimulate),
        options::Driver::Virtual => Ok(Ok(Means::Virtual)),
        options::Driver::Auto | options::Driver::Real => match launch() {
            Ok(Launch::Inside) => Ok(Ok(Means::Real)),
            Ok(Launch::Finished(code)) => Ok(Err(code)),
            Err(missing) if options.driver == options::Driver::Real => {
                Err(BenchError::Missing(missing))
            }
            Err(missing) => {
                progress.say(&format!("lab: no emulated network here: {missing}"));
                progress.say("lab: instead, UDP and QUIC in virtual time; no TCP, no CPU figures");
                Ok(Ok(Means::Virtual))
            }
        },
    }
}

fn staging(options: &Options) -> Staging {
    Staging {
        server: if options.processes == 2 { ServerPlace::Process } else { ServerPlace::Thread },
        pinned: if options.pin { Pinned::Yes } else { Pinned::No },
    }
}

fn measure(
    options: &Options,
    wishes: Wishes,
    grounds: Vec<Ground>,
    heading: Heading,
    progress: &mut Progress,
) -> Result<(Run, Ended), BenchError> {
    machine::raise_open_files();
    let (mut plan, skips) = Plan::new(wishes.clone(), clock::now());
    let mut collector = Collector::new(wishes, skips);
    let ended = until_interrupted(rounds::run(
        &mut plan,
        &grounds,
        staging(options),
        &mut collector,
        progress,
    ))?;
    for failure in collector.failures() {
        progress.say(&format!("lab: {failure}"));
    }
    if ended == Ended::Interrupted {
        progress.say("lab: interrupted; what was measured so far follows");
    }
    if collector.is_empty() {
        return Err(BenchError::Nothing);
    }
    Ok((collector.finish(heading), ended))
}

/// Runs `work` on the calling thread until it is done or somebody presses Ctrl-C.
fn until_interrupted(work: impl Future<Output = ()>) -> Result<Ended, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(BenchError::Runtime)?.block_on(async {
        tokio::select! {
            () = work => Ended::Whole,
            _ = tokio::signal::ctrl_c() => Ended::Interrupted,
        }
    }))
}

fn heading(options: &Options, wishes: &Wishes, link: Option<&LinkChoice>, means: Means) -> Heading {
    let (text, description) = match link {
        Some(link) => (link.text.clone(), link.description.clone()),
        None => ("loopback".into(), "the kernel's loopback, without delay, loss or limit".into()),
    };
    let driver = match (link, means) {
        (None, _) => Driver::Loopback,
        (Some(_), Means::Real) => Driver::Emulated,
        (Some(_), Means::Virtual) => Driver::VirtualTime,
    };
    Heading {
        started: started(),
        command: command(),
        machine: machine::describe(),
        setting: Setting {
            driver,
            link: text,
            description,
            seed: wishes.seed,
            processes: options.processes,
        },
        baseline: options.baseline.clone(),
    }
}

fn command() -> String {
    let rest = std::env::args().skip(1);
    std::iter::once("lab".to_owned()).chain(rest).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::disallowed_methods, reason = "a report says when it was made")]
fn started() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or_default());
    let utc = portolan::protocol::Timestamp(millis).utc();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second
    )
}

fn write(options: &Options, run: &Run) -> Result<(), BenchError> {
    let json =
        serde_json::to_string_pretty(run).map_err(|error| BenchError::Print(error.into()))?;
    fs::create_dir_all(&options.out)
        .map_err(|source| BenchError::Write { path: options.out.clone(), source })?;
    let store = |name: &str, text: &str| {
        let path = options.out.join(name);
        fs::write(&path, text)
            .map_err(|source| BenchError::Write { path: path.clone(), source })?;
        Ok::<_, BenchError>(path)
    };
    let result = store("result.json", &json)?;
    let page = store("report.html", &report::html(run))?;
    let shown =
        if options.json { json + "\n" } else { report::table(run, &report::Style::of_stdout()) };
    report::print(&shown).map_err(BenchError::Print)?;
    eprintln!("written: {} and {}", result.display(), page.display());
    Ok(())
}
