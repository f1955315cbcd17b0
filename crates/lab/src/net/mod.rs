//! `lab net`: small worlds from a file.
//!
//! ```text
//!   source ── reads a file or a ready experiment (catalogue), checks it      before anything starts
//!     │
//!   emulator::launch ── fresh namespaces that die with this process
//!     │
//!   session ── one loop over what is due, what programs say, signals, lines on standard input
//!     │  ├─ agenda    what is due when: programs, happenings, the end
//!     │  ├─ programs  children on hosts, their output and how they ended
//!     │  ├─ control   `rebind nat`, `down alice`, … as happenings
//!     │  └─ summary   what every link, translator and program did
//!   teller ── lines for people, or one JSON object an event
//! ```

mod agenda;
mod catalogue;
mod control;
mod event;
mod pipes;
mod programs;
mod session;
mod signals;
mod source;
mod summary;
mod teller;
mod words;

use std::{fmt, io::Write, process::ExitCode};

use portolan_emulator::Launch;
use portolan_netsim::PROFILES;

use self::{
    source::{LoadError, Source},
    teller::Teller,
    words::Words,
};

/// The exit code of a program that was told to stop.
pub(crate) const INTERRUPTED: u8 = 130;

/// `lab net`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lab net --list              the ready experiments
  lab net lossy               run one
  lab net --show lossy        print its file, to copy and change
  lab net mine.toml           run your own (docs/lab.md explains every key)
  lab net mine.toml --check   only read it
  lab net mine.toml --shell alice

While it runs, lines on standard input change the world: `rebind nat`, `down alice`, `up alice`,
`link alice lossy-5`, `move alice cafe 10.2.0.9`, `renumber alice 10.0.0.9`, `quit`.")]
pub struct Options {
    /// A topology file, or the name of a ready experiment
    #[arg(value_name = "FILE|NAME", required_unless_present_any = ["list", "show", "profiles"])]
    experiment: Option<String>,
    /// List the ready experiments
    #[arg(long, conflicts_with_all = ["show", "experiment"])]
    list: bool,
    /// List the profiles of links, with where their figures come from
    #[arg(long, conflicts_with_all = ["list", "show", "experiment"])]
    profiles: bool,
    /// Print a ready experiment's file
    #[arg(long, value_name = "NAME", conflicts_with = "experiment")]
    show: Option<String>,
    /// Only read the file and say what is in it
    #[arg(long)]
    check: bool,
    /// Where all chance comes from, instead of the file's seed
    #[arg(long)]
    seed: Option<u64>,
    /// Print one JSON object an event
    #[arg(long)]
    json: bool,
    /// Open $SHELL on this host; the world ends with it
    #[arg(long, value_name = "HOST", conflicts_with = "json")]
    shell: Option<String>,
}

/// Builds a world, runs its programs, and is gone with them.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    match begin(options) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Why there is no world.
#[derive(Debug, thiserror::Error)]
enum NetError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Words(#[from] words::WordsError),
    #[error(transparent)]
    Missing(#[from] portolan_emulator::Missing),
    #[error(transparent)]
    Session(#[from] session::SessionError),
}

fn begin(options: &Options) -> Result<ExitCode, NetError> {
    if options.list {
        for experiment in catalogue::EXPERIMENTS {
            print(&format_args!("{:<14} {}", experiment.name, experiment.summary));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if options.profiles {
        for profile in PROFILES {
            print(&format_args!("{}: {}\n    {}", profile.name, profile.summary, profile.source));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &options.show {
        print(&catalogue::find(name).map_err(LoadError::from)?.text.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = options.experiment.as_deref().unwrap_or_default();
    let mut source = Source::load(wanted)?;
    source.topology.seed = options.seed.unwrap_or(source.topology.seed);
    // Everything that can be found wrong is found before anything is started.
    let commands = Words::new(&source.topology)?.commands(&source.topology.programs)?;
    if let Some(host) = &options.shell {
        source.check_host(host)?;
    }
    if options.check {
        print(&source.describe());
        return Ok(ExitCode::SUCCESS);
    }
    match portolan_emulator::launch()? {
        Launch::Finished(code) => Ok(code),
        Launch::Inside => {
            let teller = Teller::new(options.json, &source.topology);
            Ok(session::run(source, commands, options.shell.as_deref(), teller)?)
        }
    }
}

/// Prints a line of the result. Nobody may be reading any more: that is not our failure.
fn print(line: &dyn fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
