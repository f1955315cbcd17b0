//! `lab nat`: which pairs of translators two peers meet through, and how soon.
//!
//! ```text
//!   places (what stands between a peer and the internet) ── one topology a pair
//!        │                                │
//!    simulated: agents in virtual time   sockets: nat-io in namespaces, behind the emulator
//!        └────────────── table ───────────┘
//! ```

mod places;
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
pub struct Options {
    /// So many networks a pair, each with its own chance
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// Real sockets of this system behind emulated translators, in place of virtual time; each
    /// pair once (Linux, root or user namespaces)
    #[arg(long)]
    sockets: bool,
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
