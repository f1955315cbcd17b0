//! Files of what connections did, in qlog's form (draft-ietf-quic-qlog-main-schema), for people
//! who look for a fault with qvis or `jq`.
//!
//! ```text
//!   transport (its task)          Qlog, the switch: one a program, off by default
//!      │ Log::record                │ write_to(directory)
//!   a buffer a connection ────────► one thread ──► directory/ID_side.sqlog
//!      bounded; drops are counted      10 times a second, or when a buffer fills
//! ```
//!
//! **Who drives it.** A program turns the switch on before it binds an endpoint, and keeps a clone
//! where its transports look for it (`BindConfig::shared`). A transport asks the switch for a
//! [`Log`] when a connection begins and records events with the task that has them; nothing
//! there waits for a disk. Dropping the `Log` ends the file with a count of what it holds and what
//! was dropped; [`Qlog::finish`] ends them all and waits until they are written.
//!
//! **What it does not do.** It knows no event: the vocabulary is the transport's. It rotates
//! nothing and deletes nothing.
//!
//! # Invariants
//! - Off costs one look at a pointer a connection: `a_switch_that_is_off_opens_nothing`.
//! - A file begins with a header, has one record a line, and ends with a trailer that tells what
//!   is missing: `a_log_is_a_sequence_of_records_between_a_header_and_a_trailer`,
//!   `what_does_not_fit_is_counted_in_the_trailer`.
//! - Files are their owner's alone: `files_are_their_owners_alone`.
//! - Memory, files open at once and the length of a file are bounded ([`BUFFER_MAX`],
//!   [`LOGS_MAX`], [`FILE_MAX`]): `more_connections_than_may_be_logged_are_counted`.

mod log;
mod record;
mod switch;
mod writer;

pub use log::Log;
pub use record::{Trace, Vantage};
pub use switch::{Qlog, QlogError, Totals};
pub use writer::{BUFFER_MAX, FILE_MAX, LOGS_MAX};
