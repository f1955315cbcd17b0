//! The programs as people use them: real processes, real sockets, every transport.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod crashes;
mod devices;
mod everyday;
mod gateways;
mod harness;
mod hostile;
mod kills;
mod lan;
mod operation;
mod refusals;
mod relaying;
#[cfg(unix)]
mod sound;
mod storage;
mod storm;
mod trees;
mod watching;
