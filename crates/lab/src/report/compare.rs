//! Two runs side by side.

use std::process::ExitCode;

/// `lab compare`.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Compares.
#[must_use]
pub fn run(_options: &Options) -> ExitCode {
    ExitCode::SUCCESS
}
