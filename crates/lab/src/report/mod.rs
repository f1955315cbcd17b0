//! Tables, pages and comparisons.

pub mod compare;
pub mod stats;

use std::process::ExitCode;

/// `lab report`.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Makes the table and the page again.
#[must_use]
pub fn run(_options: &Options) -> ExitCode {
    ExitCode::SUCCESS
}
