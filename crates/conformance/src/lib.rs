//! The promises of the transport traits as one suite of checks, run against every transport.
//!
//! ```text
//!   cargo test                 one named test for each check and transport
//!        │ run(&[Harness])
//!      CHECKS                  the table: a sentence and a function
//!        │ Net, Pair           endpoints of alice and bob, connected
//!      &dyn Transport          nothing below the traits is touched
//! ```
//!
//! A promise is written once, in the documentation of `portolan-transport`, and checked once, by
//! a function here whose name says it. Whoever writes a transport makes a [`Harness`] for it and
//! hands it to [`run`]; `crates/transport-mem/tests/conformance.rs` is the example.
//!
//! Checks judge by what arrives and in which order, never by the clock; each has a generous
//! time-out, so that a promise broken by waiting for ever is a failure with a name. What is random
//! comes from `SEED`, which is printed when a check fails.
//!
//! A transport whose way leads through an impaired network gets the same suite through
//! [`Detours`]; checks that need every datagram to arrive are left out there. [`Modelled`] is such
//! a network for whatever runs over UDP, [`Stalling`] one for TCP that loses nothing but can stop.

mod check;
mod checks;
mod harness;
mod modelled;
mod net;
mod payload;
mod runner;
mod seed;
mod stalling;

pub use check::{Check, Weight, Wire};
pub use checks::CHECKS;
pub use harness::{BoxFuture, Detour, Detours, Dial, Harness};
pub use modelled::Modelled;
pub use runner::run;
pub use stalling::Stalling;
