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
    time::Duration,
};

use clap::Args;
use thiserror::Error;

use self::cell::{Cell, Pair};
use super::{PLACES, Place};
use crate::{
    cast::{NoPrograms, NoWorlds, Programs, TRANSPORTS, Transport, in_worlds, side_by_side},
    probe::units,
};

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

/// Why the pairs could not be tried.
#[derive(Debug, Error)]
pub(super) enum ProgramsError {
    #[error(transparent)]
    NoPrograms(#[from] NoPrograms),
    #[error(transparent)]
    NoWorlds(#[from] NoWorlds),
}

fn two_places(text: &str) -> Result<[&'static Place; 2], String> {
    let (one, other) = text.split_once(',').ok_or("two places, with a comma between them")?;
    Ok([Place::known(one)?, Place::known(other)?])
}

/// Tries every pair that is asked for, and says whether all came out as they have to.
pub(super) fn run(options: &ProgramOptions, as_json: bool) -> Result<ExitCode, ProgramsError> {
    // Before anything is started.
    let programs = Programs::find(options.bin_dir.as_deref())?;
    Ok(in_worlds(try_all(options, &programs, as_json))?)
}

async fn try_all(options: &ProgramOptions, programs: &Programs, as_json: bool) -> ExitCode {
    let (pairs, patience) = (pairs(options), options.patience);
    let works = pairs.iter().map(|pair| {
        let (pair, programs) = (*pair, programs.clone());
        async move { pair.try_it(&programs, patience).await }
    });
    let tell = |done, number: usize, outcome: &_| {
        let heading = pairs.get(number).map(Pair::name).unwrap_or_default();
        eprintln!("{done} of {}: {heading}: {}", pairs.len(), table::in_words(outcome));
    };
    let outcomes = side_by_side(works.collect(), options.at_once, tell).await;
    let cells: Vec<Cell> = outcomes.into_iter().flatten().flatten().collect();
    let text = if as_json { table::to_json(&cells) } else { table::to_markdown(&cells) };
    // Nobody may be reading any more: that is not our failure.
    let _ = writeln!(io::stdout().lock(), "{text}");
    match pairs.len() - cells.iter().filter(|cell| cell.is_as_expected()).count() {
        0 => ExitCode::SUCCESS,
        failures => {
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
