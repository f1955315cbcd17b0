//! The messages that peers and servers exchange: types, limits, codec and error codes.
//!
//! ```text
//!   server, peer, gateways     speak these messages over streams of any transport
//!        │
//!     protocol                 types, limits, names, codec (this crate; pure)
//! ```
//!
//! A **frame** is a big-endian `u32` length and two MessagePack values: a [`Header`] map
//! (`type`, `id`, `kind`) and a body map whose fields `kind` decides. Named fields let old and new
//! versions understand each other: unknown fields are ignored, a known field may be missing if it
//! has a default, an unknown kind of request is answered with [`ErrorCode::Unsupported`] and an
//! unknown kind of event is skipped. No single frame within the bound ever costs the connection; a
//! client that goes on sending what is no message at all is sent away.
//!
//! Every stream begins with one [`Opening`] request. The control stream then carries
//! [`Command`]s, [`Reply`]s and [`Event`]s between a client and the server; a relay stream, once
//! ready, carries the bytes of a connection between two peers, encrypted end to end, on whose
//! streams they exchange [`PeerCommand`]s and [`PeerReply`]s and raw file bytes.
//!
//! What this crate does not do: it knows no transport, no file and no clock.
//!
//! | invariant | shown by |
//! |---|---|
//! | decoding is total and bounded before it allocates | `codec::tests`, `fuzz/` |
//! | the encoding does not change by accident | `tests/golden.rs` |
//!
//! Start with [`Command`], then [`codec`].

mod call;
pub mod codec;
mod command;
mod datagram;
mod error_code;
mod event;
mod find;
mod groups;
mod ids;
mod limits;
mod meeting;
mod name;
mod opening;
mod peer_message;
mod relaying;
mod reply;
mod table;
mod tree;
mod user;
mod utc;

pub use call::*;
pub use codec::{
    DecodeError, EncodeError, FrameBuffer, Header, Message, MessageType, Nothing, decode, encode,
};
pub use command::*;
pub use datagram::{DATAGRAM_HEAD, DatagramHead, DatagramKind};
pub use error_code::{ErrorBody, ErrorCode};
pub use event::*;
pub use find::{Find, Found};
pub use groups::{
    Edges, FILE_MAX, GROUP_MAX, GROUP_MIN, GROUPS_MAX, GroupRange, Hashing, PIECE, RANGES_MAX,
    Want, group_length,
};
pub use ids::{DeviceId, MessageId, RequestId, Timestamp};
pub use limits::Limits;
pub use meeting::{Ends, Join, Joined, Mapping, Meet, Ticket, Way};
pub use name::{Name, NameError};
pub use opening::{
    AskLoad, ChannelKey, Opened, Opening, PLACES_MAX, Ready, Relay, RelayChannel, Relayed,
};
pub use peer_message::*;
pub use portolan_peer_id::PeerId;
pub use relaying::{
    Elsewhere, Enter, Introduction, PassTerms, RelayInfo, RelayLoad, RelayPass, RelayPlace, Side,
    Signature,
};
pub use reply::*;
pub use table::Table;
pub use tree::*;
pub use user::*;
pub use utc::Utc;

/// Versions of the messages that this crate speaks, best first.
pub const VERSIONS: &[u16] = &[1];

/// What goes over a control stream, in both directions.
pub type ControlMessage = Message<Command, Reply, Event>;
/// What goes over a new stream before it is what it was opened for.
pub type OpeningMessage = Message<Opening, Opened, Nothing>;
/// What goes over a stream between two peers, but for the raw bytes of files.
pub type PeerMessage = Message<PeerCommand, PeerReply, PeerEvent>;
