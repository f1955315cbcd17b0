//! What the reports say of runs that the tests made up.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints the seed that replays it"
)]

mod compare;
mod fixture;
mod page;
mod program;
mod table;
