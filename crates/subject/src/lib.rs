//! What the laboratory measures: anything that carries bytes between two ends.
//!
//! ```text
//!   lab (workloads)                     who measures
//!        │
//!   Subject → Listener / Client → Link → Stream, messages
//!        │
//!   our transports (lab) · raw sockets, TLS, quinn, s2n-quic, KCP (baselines)
//! ```
//!
//! The traits are as thin as the thinnest subject, a bare socket, so that what is measured is the
//! subject. What a subject cannot do it says in its [`Traits`]; a workload that needs more is
//! reported as not applicable, never as a zero.
//!
//! Every socket of a subject is opened by the thread that calls [`Subject::listen`] or
//! [`Subject::client`], and never by another: that thread may stand in a network namespace of its
//! own. Each side runs on one single-threaded tokio runtime.

use std::{any::Any, fmt, io, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_identity::{Identity, PeerId};
use tokio::io::{AsyncRead, AsyncWrite};

/// One way to carry bytes.
#[async_trait]
pub trait Subject: fmt::Debug + Send + Sync + 'static {
    /// Its name in reports and on the command line: `udp`, `quinn`, `raw-tcp`.
    fn name(&self) -> &'static str;

    /// What it can do.
    fn traits(&self) -> Traits;

    /// The congestion control in force now, as its authors call it: `cubic (kernel)`, `none`.
    fn congestion_control(&self) -> String;

    /// What this machine lacks to run it, in one sentence; `None` where it can run.
    fn missing(&self) -> Option<String> {
        None
    }

    /// Binds `local` (port 0: any) as the answering side.
    ///
    /// # Errors
    /// What the system or the library says.
    async fn listen(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Listener>>;

    /// Prepares the asking side, whose sockets are bound to `local` (port 0: any).
    ///
    /// # Errors
    /// What the system or the library says.
    async fn client(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Client>>;
}

/// What a subject can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// One line: what it is, at which version or setting.
    pub summary: &'static str,
    /// Whether both ends are authenticated and the bytes encrypted.
    pub encrypted: bool,
    /// Whether lost packets are repaired. If not, it is only measured where nothing gets lost.
    pub repairs: bool,
    /// Whether one connection carries several independent streams. If not, [`Link::open`] works
    /// once, and several streams take several connections.
    pub multiplexes: bool,
    /// What becomes of messages.
    pub messages: Messages,
}

/// How a subject carries messages that may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Messages {
    /// Not at all: they travel on a stream.
    None,
    /// Sent once.
    Once,
    /// Sent once, or repaired while there is time.
    Until,
}

/// The answering side.
#[async_trait]
pub trait Listener: Send {
    /// Where it is bound.
    fn local_addr(&self) -> SocketAddr;

    /// The next finished connection.
    ///
    /// # Errors
    /// When nobody can connect any more.
    async fn accept(&mut self) -> io::Result<Box<dyn Link>>;
}

/// The asking side.
#[async_trait]
pub trait Client: Send {
    /// A new connection to `server`, authenticated as `id` by subjects that can.
    ///
    /// # Errors
    /// When the handshake fails.
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> io::Result<Box<dyn Link>>;
}

/// One connection. Dropping it and its streams ends it.
#[async_trait]
pub trait Link: Send + Sync {
    /// Opens a stream; the other side sees it with its first byte.
    ///
    /// # Errors
    /// When the connection is gone, or its only stream has been taken.
    async fn open(&self) -> io::Result<Stream>;

    /// Opens a stream for bytes that nobody waits for, which subjects with priorities let wait.
    ///
    /// # Errors
    /// As for [`Self::open`].
    async fn open_bulk(&self) -> io::Result<Stream> {
        self.open().await
    }

    /// The next stream that the other side opened.
    ///
    /// # Errors
    /// As for [`Self::open`].
    async fn accept(&self) -> io::Result<Stream>;

    /// Queues a message: sent once, or repaired until `lifetime` has passed.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] by [`Messages`]; what the subject says.
    fn send_message(&self, payload: Bytes, lifetime: Option<Duration>) -> io::Result<()>;

    /// Bytes that this side has given to the network, headers of IP and UDP included; `None`
    /// where the subject does not tell.
    fn wire_bytes(&self) -> Option<u64> {
        None
    }

    /// The next message from the other side.
    ///
    /// # Errors
    /// As for [`Self::send_message`].
    async fn recv_message(&self) -> io::Result<Bytes>;
}

/// Bytes in both directions.
pub struct Stream {
    /// From the other side.
    pub read: Box<dyn AsyncRead + Send + Unpin>,
    /// To the other side.
    pub write: Box<dyn AsyncWrite + Send + Unpin>,
    /// What has to live as long as the stream.
    pub keep: Box<dyn Any + Send>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// The error of a subject that carries no messages.
#[must_use]
pub fn no_messages() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this subject carries streams only")
}
