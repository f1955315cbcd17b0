//! What goes into the core and what comes out of it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use portolan_identity::PeerId;
use portolan_protocol::{Command, ErrorBody, Event, Reply, RequestId, Timestamp};
use portolan_transport::CloseCode;

use super::{HashTask, Hashed};
use crate::{
    event_log::LogEntry,
    presence::Sighting,
    store::{Operation, Outcome},
};

/// The time of an input, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and rates.
    pub instant: Instant,
    /// For people and ids.
    pub wall: Timestamp,
}

/// One connection of a client; numbers are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Pairs a store operation with its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Something that happened outside.
#[derive(Debug)]
pub enum Input {
    /// A client has connected and proved its key.
    Connected {
        /// The number that names it from now on.
        session: SessionId,
        /// Who and where.
        remote: Remote,
    },
    /// A client asks.
    Command {
        /// Who.
        session: SessionId,
        /// To pair the answer.
        id: RequestId,
        /// What.
        command: Command,
    },
    /// A client sent a frame that is owed no answer.
    NoRequest {
        /// Who.
        session: SessionId,
        /// What it was.
        frame: Frame,
    },
    /// A client's connection is gone or of no more use.
    Gone {
        /// Whose.
        session: SessionId,
        /// Why, for people.
        reason: String,
    },
    /// A client does not read what is sent to it: its queue is over the bound.
    TooSlow {
        /// Who.
        session: SessionId,
    },
    /// The store has carried out an operation.
    Stored {
        /// Which.
        token: Token,
        /// With what outcome.
        outcome: Outcome,
    },
    /// A password was hashed.
    Hashed {
        /// Which.
        token: Token,
        /// With what outcome.
        hashed: Hashed,
    },
    /// The server will end: what is under way may end, but nothing long is begun.
    Drain,
    /// The server is to end.
    Stop {
        /// Told to everyone.
        reason: String,
        /// When clients are to come back; the usual time otherwise.
        restart_after: Option<Duration>,
    },
}

/// What a frame that is no request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A message that a client has no reason to send, or one of a newer version.
    Skipped,
    /// No message at all.
    Garbage,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Which registry: the index of the transport in the table.
    pub registry: usize,
    /// The key it has proved, or that its gateway's users of this name have.
    pub id: PeerId,
    /// Where it is.
    pub address: SocketAddr,
    /// What stands behind the key.
    pub proof: Proof,
}

/// What stands behind the key of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A handshake: whoever is there holds the secret.
    Key,
    /// Nothing but the word of an old program: a name with a password asks for it, and a name of
    /// a real key stays with that.
    Gateway,
}

/// Something to be done outside, in order.
#[derive(Debug)]
pub enum Effect {
    /// Grants a request.
    Answer {
        /// Whose.
        session: SessionId,
        /// Which.
        id: RequestId,
        /// With what.
        reply: Reply,
    },
    /// Refuses a request.
    Refuse {
        /// Whose.
        session: SessionId,
        /// Which.
        id: RequestId,
        /// Why.
        error: ErrorBody,
    },
    /// Tells clients news.
    Tell {
        /// Whom.
        to: Vec<SessionId>,
        /// What.
        event: Event,
    },
    /// Ends a connection after what is queued for it was written; the session is gone already.
    Close {
        /// Whose.
        session: SessionId,
        /// The code for the transport.
        code: CloseCode,
        /// Words for the remote.
        reason: String,
    },
    /// Asks the store.
    Store {
        /// To pair the outcome.
        token: Token,
        /// What.
        operation: Operation,
    },
    /// Hashes a password.
    Hash {
        /// To pair the outcome.
        token: Token,
        /// What.
        task: HashTask,
    },
    /// Notes where a user is now.
    Sighted(Sighting),
    /// Writes to the event log.
    Log(LogEntry),
    /// An admin wants the server to end.
    Shutdown {
        /// Told to everyone.
        reason: String,
        /// When clients are to come back; the usual time otherwise.
        restart_after: Option<Duration>,
    },
}
