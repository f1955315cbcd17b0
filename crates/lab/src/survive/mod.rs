//! `lab survive`: a file in flight between two peers while servers, networks and machines fail
//! under it, with the shipped programs.
//!
//! ```text
//!   trouble (the table of what happens) ── run: a world, a server, alice fetches from bob ──┐
//!                                             │ a quarter has arrived: it happens           │
//!                                          figures: pause, what was told, sent twice ◄──────┘
//!                                             └── table for people, JSON
//! ```

mod figures;
mod run;
mod table;
mod trouble;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use self::{
    run::{Run, Survived},
    trouble::{TROUBLES, Trouble},
};
use crate::cast::{NoPrograms, NoWorlds, Programs, TRANSPORTS, Transport, in_worlds, side_by_side};

/// `lab survive`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  lab survive --list                     what can happen
  sudo lab survive                       everything over every transport, some six minutes
  sudo lab survive --only rebinding --only blackhole --transport udp
Exit code 1 if a file did not arrive, or not as it was.")]
pub struct Options {
    /// List what can happen
    #[arg(long)]
    list: bool,
    /// Only this; several times for several
    #[arg(long, value_name = "NAME", value_parser = known)]
    only: Vec<&'static Trouble>,
    /// Over what [default: all of tcp, udp, quic]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TRANSPORT,…")]
    transport: Vec<Transport>,
    /// Size of the file, in MiB: 32 take 5.5 s over the 50 Mbit/s that there are
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(4..=1024))]
    size: u32,
    /// So many at once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    at_once: u32,
    /// Where `server` and `peer` are, if not beside this program
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// The figures as JSON, with every event that tells of the trouble
    #[arg(long)]
    json: bool,
}

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
enum SurviveError {
    #[error(transparent)]
    NoPrograms(#[from] NoPrograms),
    #[error(transparent)]
    NoWorlds(#[from] NoWorlds),
}

fn known(name: &str) -> Result<&'static Trouble, String> {
    TROUBLES.iter().find(|trouble| trouble.name == name).ok_or_else(|| {
        let names: Vec<_> = TROUBLES.iter().map(|trouble| trouble.name).collect();
        format!("nothing is called {name:?}; there are {}", names.join(", "))
    })
}

/// Tries what is asked for, and says what a file survives.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    if options.list {
        let lines = TROUBLES.iter().map(|one| format!("{:<16} {}\n", one.name, one.about));
        print(&lines.collect::<String>());
        return ExitCode::SUCCESS;
    }
    begin(options).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn begin(options: &Options) -> Result<ExitCode, SurviveError> {
    let programs = Programs::find(options.bin_dir.as_deref())?;
    Ok(in_worlds(try_all(options, &programs))?)
}

async fn try_all(options: &Options, programs: &Programs) -> ExitCode {
    let runs = runs(options);
    let works = runs.iter().map(|run| {
        let (run, programs) = (*run, programs.clone());
        async move { run.try_it(&programs).await }
    });
    let tell = |done, number: usize, outcome: &_| {
        let name = runs.get(number).map(Run::name).unwrap_or_default();
        eprintln!("{done} of {}: {name}: {}", runs.len(), table::in_words(outcome));
    };
    let outcomes = side_by_side(works.collect(), options.at_once, tell).await;
    let survived: Vec<Survived> = outcomes.into_iter().flatten().flatten().collect();
    match options.json {
        true => print(&format!("{}\n", table::to_json(&survived))),
        false => print(&table::to_markdown(&runs, &survived)),
    }
    match runs.len() - survived.len() {
        0 => ExitCode::SUCCESS,
        lost => {
            eprintln!("{lost} of {} files did not survive", runs.len());
            ExitCode::FAILURE
        }
    }
}

fn runs(options: &Options) -> Vec<Run> {
    let troubles: Vec<_> = match options.only.is_empty() {
        true => TROUBLES.iter().collect(),
        false => options.only.clone(),
    };
    let transports = match options.transport.is_empty() {
        true => &TRANSPORTS[..],
        false => &options.transport,
    };
    let size = u64::from(options.size) << 20;
    let each = |trouble| transports.iter().map(move |transport| (trouble, *transport));
    let all = troubles.into_iter().flat_map(each);
    all.map(|(trouble, transport)| Run { trouble, transport, size }).collect()
}

/// Nobody may be reading any more: that is not our failure.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
