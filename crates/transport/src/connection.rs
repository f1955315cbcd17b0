//! An authenticated, encrypted connection.

use std::{fmt, net::SocketAddr};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_identity::PeerId;

use crate::{
    AcceptStreamError, CloseCode, CloseReason, ConnectionStats, Lifetime, MigrateError,
    OpenStreamError, RecvDatagramError, RecvStream, SendDatagramError, SendStream,
};

/// An authenticated, encrypted connection to one peer.
///
/// All methods take `&self` and may be called from several tasks at once. Dropping the last
/// handle (the streams count as handles) closes the connection with [`CloseCode::DROPPED`].
#[async_trait]
pub trait Connection: fmt::Debug + Send + Sync {
    /// Opens a stream in both directions; waits while the remote's limit of open streams is
    /// reached.
    ///
    /// The remote sees the stream when the first byte, the end or a reset arrives. Cancel safe.
    ///
    /// # Errors
    /// [`OpenStreamError`] when the connection is gone.
    async fn open_stream(
        &self,
        priority: Priority,
    ) -> Result<(SendStream, RecvStream), OpenStreamError>;

    /// Waits for the next stream that the remote opened. Cancel safe.
    ///
    /// Streams are handed out in the order in which the remote opened them.
    ///
    /// # Errors
    /// [`AcceptStreamError`] when the connection is gone.
    async fn accept_stream(&self) -> Result<(SendStream, RecvStream), AcceptStreamError>;

    /// Queues a message that may be lost, and returns at once.
    ///
    /// Delivered at most once, whole, in no promised order. When the queue is full the oldest
    /// message is dropped and counted.
    ///
    /// # Errors
    /// [`SendDatagramError::TooLarge`] above [`Self::max_datagram_size`]; nothing is split.
    fn send_datagram(&self, payload: Bytes, lifetime: Lifetime) -> Result<(), SendDatagramError>;

    /// Waits for the next message from the remote. Cancel safe.
    ///
    /// # Errors
    /// [`RecvDatagramError`] when the connection is gone; messages that came before are handed
    /// out first.
    async fn recv_datagram(&self) -> Result<Bytes, RecvDatagramError>;

    /// The longest datagram in bytes that fits now; it can change with the path.
    fn max_datagram_size(&self) -> usize;

    /// The public key that the remote has proved to hold.
    fn remote_id(&self) -> PeerId;

    /// Where the remote is now.
    fn remote_addr(&self) -> SocketAddr;

    /// How the remote is reached now.
    fn path(&self) -> Path;

    /// Counters and estimates of this moment.
    fn stats(&self) -> ConnectionStats;

    /// Takes the connection to another address of the same remote, if it answers there: streams and
    /// datagrams go on without a break, and the other side follows. Only the side that made the
    /// connection can do so. Cancel safe: the connection stays where it is then.
    ///
    /// # Errors
    /// [`MigrateError`]; the connection stays where it is.
    async fn migrate(&self, remote: SocketAddr) -> Result<(), MigrateError> {
        let _ = remote;
        Err(MigrateError::Unsupported)
    }

    /// Closes the connection: streams end with an error on both sides, and the remote sees `code`
    /// and `reason` (cut to 256 bytes). Returns at once; the first call counts.
    fn close(&self, code: CloseCode, reason: &str);

    /// Waits until the connection is gone and says why. Cancel safe.
    async fn closed(&self) -> CloseReason;
}

/// Which of several waiting streams is sent first; strict between classes, fair inside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Session control: little, and everything waits for it.
    Control,
    /// Audio and other media with a clock.
    Live,
    /// What a person waits for.
    #[default]
    Interactive,
    /// Files.
    Bulk,
}

impl Priority {
    /// Every class, most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::Live, Self::Interactive, Self::Bulk];
}

/// How a remote is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Straight or through a relay.
    pub kind: PathKind,
    /// Our end.
    pub local: SocketAddr,
    /// The remote's end, or the relay's.
    pub remote: SocketAddr,
}

/// What lies between two peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathKind {
    /// Nothing of ours.
    Direct,
    /// A relay that carries ciphertext.
    Relayed,
    /// The memory of one process.
    Memory,
}
