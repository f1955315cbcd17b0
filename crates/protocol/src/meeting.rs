//! How two peers who talk through the server find better ways to each other.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Candidate;

/// Says where we can be reached besides here, and asks for the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meet {
    /// Admits connections to this session, one for each way; nobody else knows it.
    pub ticket: Ticket,
    /// Our ends.
    pub ends: Ends,
}

/// The ends of one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// What is spoken there: `udp`, `quic`, `tcp`.
    pub transport: String,
    /// Where, at most `Limits::candidates`; none: no direct way is wanted.
    pub candidates: Vec<Candidate>,
    /// Whether datagrams come through the relay's channel.
    pub relay: bool,
    /// How translators map our port, if we have found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
}

/// How the translators before a peer map its port towards others (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// To one outside port for all, or nothing translates.
    Independent,
    /// To one for each remote.
    Dependent,
}

/// The first words on a further connection of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Of the session.
    pub ticket: Ticket,
    /// By which way the connection came.
    pub by: Way,
}

/// The connection belongs to the session now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {}

/// By which way two peers are connected besides the relay's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Datagrams through the relay.
    Relay,
    /// Nothing of ours lies between.
    Direct,
}

/// A secret of two peers for one meeting.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub [u8; 32]);

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(secret)")
    }
}
