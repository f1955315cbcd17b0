//! Our UDP and QUIC as machines in virtual time: no root, any system, the same to the bit.
//!
//! ```text
//!   measure, matrix          rounds and cells → the parts of a result::Run
//!        │
//!   workload ── app          what is done: bulk, round trips, live messages, pauses
//!        │
//!   simulation               time jumps from one event to the next
//!     │      │      │
//!   machine  netsim machine  one Machine a side: udp (portolan-rudp), quic (quinn-proto)
//! ```
//!
//! Both protocols are state machines that take the time as an argument, set up exactly as the
//! transports set them up. Between them stands the same model of links that the emulator uses. A
//! minute of virtual time takes a fraction of a second.
//!
//! # What it cannot show
//! - **Computing takes no time**: no CPU, no system calls, no scheduler. What is measured is what
//!   protocol and network do to each other. On a link without a limit that is nothing; metrics of
//!   the processor are left out with the reason.
//! - Timers are exact; in real use they are late by up to a millisecond.
//! - The kernel's TCP cannot be put into virtual time, so that there is none.
//!
//! # Invariants
//! - The same request gives the same figures to the bit:
//!   `the_same_seed_gives_the_same_figures_to_the_bit`. Keys of TLS are drawn from the system, but
//!   all that is made from them has a fixed length; each simulation has identities of its own, so
//!   that no session is resumed. quinn's BBR draws the phase of its pacing gain from the system,
//!   and does not pace by it.
//! - The network costs the delay it was asked for and nothing else: `fifty_milliseconds_are_fifty`.
//! - What our UDP reaches under each loss and round trip is written down:
//!   `goodput_is_as_it_was_reviewed`.

mod app;
mod effort;
mod keys;
mod machine;
mod matrix;
mod measure;
mod quic;
mod simulation;
mod subject;
mod talk;
mod trace;
mod udp;
mod workload;

pub use effort::Effort;
pub use matrix::{Grid, matrix};
pub use measure::{Measured, Request, Step, measure};
pub use simulation::Outage;
pub(crate) use simulation::{Scene, start};
pub use subject::{SUBJECTS, Subject};
pub(crate) use talk::talk;
pub(crate) use trace::trace;
