//! Real sockets, interleaved rounds.

use std::process::ExitCode;

/// `lab bench`.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Measures and reports.
#[must_use]
pub fn run(_options: &Options) -> ExitCode {
    ExitCode::SUCCESS
}
