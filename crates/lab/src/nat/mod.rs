//! `lab nat`: which pairs of translators two peers meet through, and how soon.
//!
//! ```text
//!   places (what stands between a peer and the internet) ── one topology a pair
//!        │                                │
//!    simulated: agents in virtual time   sockets: nat-io in namespaces, behind the emulator
//!        └────────────── table ───────────┘
//!                                        programs: the shipped ones, each pair over each transport
//! ```

mod places;
mod programs;
mod simulated;
mod sockets;
mod table;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;

pub use places::{PLACES, Place};
pub use table::{Cell, Matrix};

/// What `lab nat` is asked for.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  lab nat                                     every pair in virtual time, any system
  sudo lab nat --sockets                      with real sockets behind emulated translators
  sudo lab nat --programs                     with `server` and `peer` over every transport
  sudo lab nat --programs --transport udp --only symmetric,open --only symmetric,symmetric
Places: open, full-cone, address-restricted, port-restricted, symmetric, carrier, udp-blocked")]
pub struct Options {
    /// So many networks a pair, each with its own chance
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// Real sockets of this system behind emulated translators, in place of virtual time; each
    /// pair once (Linux, root or user namespaces)
    #[arg(long)]
    sockets: bool,
    /// The shipped programs behind emulated translators: a server and two peers a pair, over each
    /// transport; exit code 1 if a pair does not reach each other as it has to (Linux, root or user
    /// namespaces)
    #[arg(long, conflicts_with_all = ["sockets", "seeds"])]
    programs: bool,
    #[command(flatten)]
    of_programs: programs::ProgramOptions,
    /// The table as JSON
    #[arg(long)]
    json: bool,
}

/// One way of trying a pair of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The peers met after so long, counted from the exchange of addresses.
    Direct(Duration),
    /// They did not, and stay on the relay.
    Relayed,
}

/// Runs `lab nat`.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    if options.programs {
        return programs::run(&options.of_programs, options.json).unwrap_or_else(|error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        });
    }
    let matrix = if options.sockets {
        match sockets::measure() {
            Ok(Ok(matrix)) => matrix,
            // What was inside the namespaces has said everything.
            Ok(Err(code)) => return code,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        measure(options.seeds)
    };
    let text = if options.json { matrix.to_json() } else { matrix.to_markdown() };
    // Nobody may be reading any more: that is not our failure.
    let _ = writeln!(io::stdout().lock(), "{text}");
    ExitCode::SUCCESS
}

/// Every pair of places in virtual time, `seeds` networks each.
#[must_use]
pub fn measure(seeds: u32) -> Matrix {
    Matrix::fill(|one, other| {
        let tries = (1..=u64::from(seeds)).map(|seed| simulated::run([one, other], seed));
        Cell::new(tries)
    })
}
