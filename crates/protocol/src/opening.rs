//! The first request on every stream: what the stream is for.

use portolan_peer_id::PeerId;
use serde::{Deserialize, Serialize};

use crate::{Name, command::Empty, table::table};

table! {
    /// What a new stream is for. Answered by [`Opened`] or an error.
    pub enum Opening {
        /// Client to server: the control stream, opened once, first.
        Control(Empty) = "control",
        /// Client to server: bytes to another user, carried and not understood by the server.
        Relay(Relay) = "relay",
        /// Server to client: another user's [`Relay`] arrives.
        Relayed(Relayed) = "relayed",
    }
}

table! {
    /// The answer to an [`Opening`] that was granted.
    pub enum Opened {
        /// What follows on the stream is what was asked for.
        Ready(Ready) = "ready",
    }
}

/// Asks for a byte stream to another user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Who is called.
    pub to: Name,
}

/// Tells of a byte stream from another user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// Who calls.
    pub from: Name,
    /// The key that the caller logged in with: the end-to-end handshake must prove it.
    pub id: PeerId,
}

/// The stream is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// For a relay: the key that the called user logged in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<PeerId>,
}
