//! Messages that may be lost: the queue of those to send, what is done so that they arrive in
//! time, and the queue of those received.
//!
//! A message with a deadline is repaired in two ways. One that was lost is sent again while it can
//! still arrive in time (`repairer.rs`). Where there is no time for as many attempts as the measured
//! loss asks for, copies follow each message before anybody knows whether it was lost, in the
//! packets of later ones (`plan.rs`); what they cost is bounded (`budget.rs`). Messages too long to
//! be copied share parities: a few for a group of them, from which the remote computes those that
//! are missing (`group.rs`, `decoder.rs`, `code.rs`).

mod budget;
mod code;
mod decoder;
mod group;
mod loss;
mod plan;
mod receiver;
mod record;
mod repairer;
mod seen;
mod sender;

pub(crate) use code::{MEMBERS_MAX, PARITIES_MAX};
pub(crate) use decoder::DECODER_BYTES_MAX;
pub(crate) use receiver::DatagramReceiver;
pub(crate) use sender::{DatagramSender, Place};

/// What a queue counts for one datagram beyond its bytes, so that empty ones are bounded too.
const ENTRY: usize = 128;

/// Numbers that the receiver remembers below the highest; the sender keeps well within.
const REMEMBERED: u64 = 64 * (seen::WORDS as u64 - 1);

/// Messages with a number that may be undecided at once; further ones are sent without repair.
const UNDECIDED_MAX: u64 = REMEMBERED / 2;
