//! The seam: the traits that every transport implements and every program uses.
//!
//! ```text
//!   server, peer, your program        hold   &dyn Transport, Arc<dyn Endpoint>, Arc<dyn Connection>
//!              │
//!          transport                  traits, stream and datagram types, errors, stats (this crate)
//!        /     │     \      \
//!      tcp    udp    quic    mem      one crate each
//! ```
//!
//! A [`Transport`] is a factory that binds [`Endpoint`]s; an endpoint connects to and accepts
//! [`Connection`]s; a connection is authenticated and encrypted, and carries any number of
//! independent, reliable, ordered streams ([`SendStream`], [`RecvStream`]) and messages that may
//! be lost (datagrams with a [`Lifetime`]).
//!
//! What this crate does not do: it knows no socket, no wire format and no chat message.
//!
//! The promises that the traits make are checked by `portolan-conformance`, which runs the same
//! suite against every transport. To write one, read `docs/adding-a-transport.md` and copy
//! `transport-mem`.

mod backlog;
mod close;
mod config;
mod connection;
mod datagram;
mod endpoint;
mod error;
mod shared;
mod simultaneous;
mod stats;
mod stream;
mod transport;
mod tunnel;

pub use backlog::Backlog;
pub use close::{CloseCode, CloseReason};
pub use config::{BindConfig, ConnectionConfig, Dials, Limits, Timing};
pub use connection::{Connection, Path, PathKind, Priority};
pub use datagram::Lifetime;
pub use endpoint::Endpoint;
pub use error::{
    AcceptError, AcceptStreamError, BindError, ConnectError, MigrateError, OpenStreamError,
    ReadError, RebindError, RecvDatagramError, SendDatagramError, WriteError,
};
pub use shared::Shared;
pub use simultaneous::{Seen, Simultaneous, Speaks};
pub use stats::{ConnectionStats, DatagramOutcomes, Waited};
pub use stream::{RecvHalf, RecvStream, SendHalf, SendStream, StreamCode};
pub use transport::{Capabilities, Carrier, Transport};
pub use tunnel::{ByteStream, Tunnel};

pub use portolan_identity::{Expect, Identity, PeerId};
