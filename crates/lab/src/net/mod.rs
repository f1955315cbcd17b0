//! Small worlds from a file.

use std::process::ExitCode;

/// `lab net`.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Builds a world, runs its programs, and is gone with them.
#[must_use]
pub fn run(_options: &Options) -> ExitCode {
    ExitCode::SUCCESS
}

/// The exit code of a program that was told to stop.
pub(crate) const INTERRUPTED: u8 = 130;
