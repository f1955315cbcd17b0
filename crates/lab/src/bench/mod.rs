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
mod clock;
mod collect;
mod control;
mod ground;
mod machine;
mod options;
mod ours;
mod plan;
mod planted;
mod progress;
mod rounds;
mod server;
mod subjects;
mod wire;
mod workload;

use std::{fs, io, path::PathBuf, process::ExitCode, time::Duration};

use thiserror::Error;

pub use ground::ServerOptions;
pub use options::Options;

use crate::{
    bench::{
        collect::{Collector, Heading},
        ground::{Ground, Pinned, ServerPlace, Staging},
        plan::{LinkTraits, Pace, Plan, Wishes},
        progress::Progress,
        subjects::{SubjectRef, UnknownSubject},
    },
    metric::{METRICS, metric_of},
    report,
    result::{Driver, Run, Setting},
};

/// Rounds of a full run.
const ROUNDS_FULL: u32 = 7;

/// Rounds of a quick one.
const ROUNDS_QUICK: u32 = 5;

/// What a quick run may take, the report included.
const QUICK: Duration = Duration::from_secs(55);

const USAGE: u8 = 2;
const INTERRUPTED: u8 = 130;

/// Why there is no result.
#[derive(Debug, Error)]
enum BenchError {
    #[error("{0}")]
    Subject(#[from] UnknownSubject),
    #[error("there is no metric {name:?}; did you mean {suggestion:?}? (all: {all})")]
    Metric { name: String, suggestion: &'static str, all: String },
    #[error("no subject gave a single figure; the lines above say why")]
    Nothing,
    #[error("the system gives no runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot print the result")]
    Print(#[source] io::Error),
}

impl BenchError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Subject(_) | Self::Metric { .. } => ExitCode::from(USAGE),
            Self::Nothing | Self::Runtime(_) | Self::Write { .. } | Self::Print(_) => {
                ExitCode::FAILURE
            }
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

fn bench(options: &Options) -> Result<ExitCode, BenchError> {
    let wishes = wishes(options)?;
    let (run, ended) = measure(options, wishes)?;
    write(options, &run)?;
    Ok(match ended {
        Ended::Whole => ExitCode::SUCCESS,
        Ended::Interrupted => ExitCode::from(INTERRUPTED),
    })
}

fn wishes(options: &Options) -> Result<Wishes, BenchError> {
    for name in &options.only {
        known_metric(name)?;
    }
    let pace = if options.quick { Pace::Quick } else { Pace::Full };
    let budget = options.seconds.map(rounds::seconds);
    let usual = match pace {
        Pace::Quick => ROUNDS_QUICK,
        Pace::Full => ROUNDS_FULL,
    };
    Ok(Wishes {
        subjects: chosen(options)?,
        only: options.only.clone(),
        rounds: options.rounds.unwrap_or(usual),
        pace,
        seed: options.seed,
        budget: budget.or((pace == Pace::Quick).then_some(QUICK)),
        link: LinkTraits::LOOPBACK,
    })
}

/// Those that were named, the baseline, and slowed copies beside their originals.
fn chosen(options: &Options) -> Result<Vec<SubjectRef>, BenchError> {
    let mut chosen = subjects::choose(&options.subjects)?;
    let mut join = |subject: SubjectRef| {
        if chosen.iter().all(|other| other.name() != subject.name()) {
            chosen.push(subject);
        }
    };
    join(subjects::find(&options.baseline)?);
    for word in &options.plant {
        let (original, slowed) = subjects::planted(word)?;
        join(original);
        join(slowed);
    }
    Ok(chosen)
}

fn known_metric(name: &str) -> Result<(), BenchError> {
    if metric_of(name).is_some() {
        return Ok(());
    }
    let nearest = METRICS.iter().max_by(|one, other| {
        let likeness = |id| strsim::jaro_winkler(id, name);
        likeness(one.id).total_cmp(&likeness(other.id))
    });
    let all: Vec<&str> = METRICS.iter().map(|metric| metric.id).collect();
    Err(BenchError::Metric {
        name: name.to_owned(),
        suggestion: nearest.map_or("", |metric| metric.id),
        all: all.join(", "),
    })
}

fn measure(options: &Options, wishes: Wishes) -> Result<(Run, Ended), BenchError> {
    let heading = heading(options, &wishes);
    let staging = Staging {
        server: if options.processes == 2 { ServerPlace::Process } else { ServerPlace::Thread },
        pinned: if options.pin { Pinned::Yes } else { Pinned::No },
    };
    machine::raise_open_files();
    let mut progress = Progress::new(wishes.rounds);
    let (mut plan, skips) = Plan::new(wishes.clone(), clock::now());
    let mut collector = Collector::new(wishes, skips);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(BenchError::Runtime)?.block_on(async {
        tokio::select! {
            () = rounds::run(&mut plan, &Ground::Loopback, staging, &mut collector, &mut progress) => {
                Ended::Whole
            }
            _ = tokio::signal::ctrl_c() => Ended::Interrupted,
        }
    });
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

fn heading(options: &Options, wishes: &Wishes) -> Heading {
    Heading {
        started: started(),
        command: command(),
        machine: machine::describe(),
        setting: Setting {
            driver: Driver::Loopback,
            link: "loopback".into(),
            description: "the kernel's loopback, without delay, loss or limit".into(),
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
    let shown =
        if options.json { json + "\n" } else { report::table(run, &report::Style::of_stdout()) };
    report::print(&shown).map_err(BenchError::Print)?;
    eprintln!("written: {}", result.display());
    Ok(())
}
