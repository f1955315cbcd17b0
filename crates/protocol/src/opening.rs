//! The first request on every stream: what the stream is for.

use std::fmt;

use portolan_peer_id::PeerId;
use serde::{Deserialize, Serialize};

use crate::{Elsewhere, Enter, Name, RelayLoad, RelayPlace, command::Empty, table::table};

table! {
    /// What a new stream is for. Answered by [`Opened`] or an error.
    pub enum Opening {
        /// Client to server: the control stream, opened once, first.
        Control(Empty) = "control",
        /// Client to server: bytes to another user, carried and not understood by the server.
        Relay(Relay) = "relay",
        /// Server to client: another user's [`Relay`] arrives.
        Relayed(Relayed) = "relayed",
        /// Client to relay: bytes to whoever holds the other pass of an introduction.
        Enter(Enter) = "enter",
        /// Server to relay: how much is there to do?
        Load(AskLoad) = "load",
    }
}

table! {
    /// The answer to an [`Opening`] that was granted.
    pub enum Opened {
        /// What follows on the stream is what was asked for.
        Ready(Ready) = "ready",
        /// To `load`: how much there is to do.
        Load(RelayLoad) = "load",
    }
}

/// Asks for a byte stream to another user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Who is called.
    pub to: Name,
    /// The caller can go to another relay; without, only the server itself will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Elsewhere>,
}

/// Asks a relay how much it has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskLoad {}

/// Tells of a byte stream from another user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// Who calls.
    pub from: Name,
    /// The key that the caller logged in with: the end-to-end handshake must prove it.
    pub id: PeerId,
    /// Datagrams too may go through the server, for as long as the stream is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<RelayChannel>,
    /// Relays that may carry the bytes instead, best first; at most [`PLACES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<RelayPlace>,
}

/// Relays that are offered for one introduction.
pub const PLACES_MAX: usize = 3;

/// The stream is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// For a relay: the key that the called user logged in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<PeerId>,
    /// For a relay: datagrams too may go through the server, for as long as the stream is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<RelayChannel>,
    /// From the callee: it waits at the relay of this key, and not on this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered: Option<PeerId>,
    /// To the caller: the callee waits there, and not on this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Box<RelayPlace>>,
}

/// One side's way to send datagrams to the other through the server (`docs/relay.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayChannel {
    /// What this side's datagrams are marked with; 56 bits.
    pub number: u64,
    /// Proves where this side is.
    pub key: ChannelKey,
    /// The server's UDP port, at the address that the client knows.
    pub port: u16,
}

/// The secret of one side of a relay's channel.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelKey(pub [u8; 32]);

impl fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelKey(secret)")
    }
}
