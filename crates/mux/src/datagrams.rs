//! Messages that may be lost: the queue of those to send, what is done so that they arrive in
//! time, and the queue of those received.
//!
//! A message with a deadline is repaired in two ways. One that was lost is sent again while it can
//! still arrive in time (`sender.rs`). Where there is no time for as many attempts as the measured
//! loss asks for, copies follow each message before anybody knows whether it was lost, in the
//! packets of later ones (`plan.rs`); what they cost is bounded (`budget.rs`).

mod budget;
mod loss;
mod plan;
mod receiver;
mod record;
mod seen;
mod sender;

pub(crate) use receiver::DatagramReceiver;
pub(crate) use sender::{DatagramSender, Place};

/// What a queue counts for one datagram beyond its bytes, so that empty ones are bounded too.
const ENTRY: usize = 128;

/// Numbers that the receiver remembers below the highest; the sender keeps well within.
const REMEMBERED: u64 = 64 * (seen::WORDS as u64 - 1);

/// Messages with a number that may be undecided at once; further ones are sent without repair.
const UNDECIDED_MAX: u64 = REMEMBERED / 2;
