//! The same pairs with the shipped programs: a server, two peers behind emulated translators, and
//! what the one who asks says of how it reaches the other.
//!
//! ```text
//!   cells ── so many at once ── cell: a world, a server, alice and bob ── as `expected`?
//!                                                                           │
//!                                              table for people, JSON ◄─────┘
//! ```

mod cell;
mod expected;
mod table;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use portolan_emulator::{Launch, Missing, launch};
use serde::Serialize;
use thiserror::Error;
use tokio::{runtime, sync::Semaphore, task::JoinSet};

use self::cell::{Cell, Pair};
use super::{PLACES, Place};
use crate::{
    cast::{NoPrograms, Programs, interrupted},
    net::INTERRUPTED,
    probe::units,
};

/// Threads beside those of the emulators: they mostly wait.
const WORKERS: usize = 2;

/// What `lab nat --programs` is asked for beside.
#[derive(Debug, Clone, Args)]
#[group(id = "of_programs", multiple = true, requires = "programs")]
pub(super) struct ProgramOptions {
    /// Over what [default: all of tcp, udp, quic]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TRANSPORT,…")]
    transport: Vec<Transport>,
    /// Only this pair: who asks, and who is asked (`--only symmetric,open`); several times for
    /// several
    #[arg(long, value_name = "PLACE,PLACE", value_parser = two_places)]
    only: Vec<[&'static Place; 2]>,
    /// So many pairs at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    at_once: u32,
    /// Where no direct path is expected, none within this time is enough
    #[arg(long, default_value = "30s", value_parser = units::duration)]
    patience: Duration,
    /// Where `server` and `peer` are, if not beside this program
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// A transport of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Quic,
}

/// All of them, in the order of tables.
const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Quic, Transport::Tcp];

impl Transport {
    /// Its name on command lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Quic => "quic",
        }
    }
}

/// Why the pairs could not be tried.
#[derive(Debug, Error)]
pub(super) enum ProgramsError {
    #[error(transparent)]
    NoPrograms(#[from] NoPrograms),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("cannot wait for anything: {0}")]
    Runtime(#[from] io::Error),
}

fn two_places(text: &str) -> Result<[&'static Place; 2], String> {
    let (one, other) = text.split_once(',').ok_or("two places, with a comma between them")?;
    Ok([Place::known(one)?, Place::known(other)?])
}

/// Tries every pair that is asked for, and says whether all came out as they have to.
pub(super) fn run(options: &ProgramOptions, as_json: bool) -> Result<ExitCode, ProgramsError> {
    // Before anything is started.
    let programs = Programs::find(options.bin_dir.as_deref())?;
    match launch()? {
        Launch::Finished(code) => Ok(code),
        Launch::Inside => {
            let mut builder = runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(WORKERS).enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    code = try_all(options, &programs, as_json) => Ok(code),
                    stop = interrupted() => {
                        stop?;
                        Ok(ExitCode::from(INTERRUPTED))
                    }
                }
            })
        }
    }
}

async fn try_all(options: &ProgramOptions, programs: &Programs, as_json: bool) -> ExitCode {
    let pairs = pairs(options);
    let permits = Arc::new(Semaphore::new(options.at_once as usize));
    let mut tasks = JoinSet::new();
    for (number, pair) in pairs.iter().copied().enumerate() {
        let (permits, programs) = (Arc::clone(&permits), programs.clone());
        let patience = options.patience;
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            (number, pair.try_it(&programs, patience).await)
        });
    }
    let (mut cells, mut failures) = (vec![None; pairs.len()], 0);
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        let Ok((number, outcome)) = ended else {
            failures += 1;
            continue;
        };
        done += 1;
        let heading = pairs.get(number).map(Pair::name).unwrap_or_default();
        eprintln!("{done} of {}: {heading}: {}", pairs.len(), table::in_words(&outcome));
        match outcome {
            Ok(cell) => {
                failures += usize::from(!cell.is_as_expected());
                if let Some(place) = cells.get_mut(number) {
                    *place = Some(cell);
                }
            }
            Err(_) => failures += 1,
        }
    }
    let cells: Vec<Cell> = cells.into_iter().flatten().collect();
    let text = if as_json { table::to_json(&cells) } else { table::to_markdown(&cells) };
    // Nobody may be reading any more: that is not our failure.
    let _ = writeln!(io::stdout().lock(), "{text}");
    match failures {
        0 => ExitCode::SUCCESS,
        _ => {
            eprintln!("{failures} of {} did not come out as they have to", pairs.len());
            ExitCode::FAILURE
        }
    }
}

fn pairs(options: &ProgramOptions) -> Vec<Pair> {
    let all = PLACES.iter().flat_map(|one| PLACES.iter().map(move |other| [one, other]));
    let places: Vec<_> = match options.only.is_empty() {
        true => all.collect(),
        false => options.only.clone(),
    };
    let transports = match options.transport.is_empty() {
        true => &TRANSPORTS[..],
        false => &options.transport,
    };
    let each = |transport| places.iter().map(move |places| Pair { transport, places: *places });
    transports.iter().copied().flat_map(each).collect()
}
