//! What an agent tells its owner.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::candidate::CandidateKind;

/// A socket, by the number that its owner has given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u16);

/// A way on which packets go through in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// From which socket of ours.
    pub socket: SocketId,
    /// To which address of theirs.
    pub remote: SocketAddr,
    /// How that address was found.
    pub kind: CandidateKind,
    /// As which they see us.
    pub mapped: Option<SocketAddr>,
    /// Of the check that found it.
    pub rtt: Duration,
}

/// News of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Both sides use this path from now on; it replaces an earlier one.
    Nominated(Path),
    /// The path is gone; others are being tried.
    Lost(Path, LostReason),
    /// There is no path now. Checks of the other one are still answered, and a change of the
    /// network or a new candidate begins anew.
    Failed(FailReason),
    /// So many more sockets would help: open them and call `add_birthday_socket` for each. Fewer
    /// will do.
    SocketsWanted(u16),
    /// Those sockets may be closed, but for the one that is on the path.
    SocketsUnneeded,
}

/// Why a path was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LostReason {
    /// RFC 7675 §5.1.
    #[error("the other side has stopped answering")]
    ConsentExpired,
    /// We said so.
    #[error("our network has changed")]
    NetworkChanged,
    /// We said so.
    #[error("our socket was closed")]
    SocketClosed,
}

/// Why there is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FailReason {
    /// Nothing to try.
    #[error("no address of the other side can be reached from our sockets")]
    NoCandidates,
    /// Nothing came back.
    #[error("none of {pairs} pairs of addresses was answered")]
    NoAnswer {
        /// So many were tried.
        pairs: usize,
    },
    /// And drawing ports did not help.
    #[error("none of {pairs} pairs of addresses was answered, nor any of {checks} guessed ports")]
    NoLuck {
        /// So many were tried.
        pairs: usize,
        /// Checks of birthday probing.
        checks: u64,
    },
}

/// When something is due, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// What for.
    pub reason: Reason,
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A check, or its repetition.
    Check,
    /// The question whether the other still consents, or the end of waiting for it.
    Consent,
    /// The choice among the paths that work.
    Choice,
    /// A check of birthday probing, or its beginning.
    Birthday,
    /// The end of trying.
    GiveUp,
}

/// Bytes for the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// From which socket.
    pub socket: SocketId,
    /// To whom.
    pub to: SocketAddr,
}

/// What an agent has done, and what was done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentStats {
    /// Checks sent, those of birthday probing not included.
    pub checks_sent: u64,
    /// Checks of birthday probing.
    pub birthday_checks: u64,
    /// Authentic checks that came.
    pub checks_received: u64,
    /// Answers sent.
    pub answers_sent: u64,
    /// Authentic answers that came.
    pub answers_received: u64,
    /// What was for us by its name, and was forged, damaged, or answered nothing.
    pub refused: u64,
}
