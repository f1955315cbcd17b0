//! One error enum an operation.

use std::{io, net::SocketAddr};

use portolan_identity::PeerId;
use thiserror::Error;

use crate::{CloseReason, StreamCode};

/// Why an endpoint could not be bound to another address.
#[derive(Debug, Error)]
pub enum RebindError {
    /// The transport cannot take its connections along.
    #[error("connections of this transport cannot change their address; connect again")]
    Unsupported,
    /// The endpoint is closed.
    #[error("the endpoint is closed")]
    Closed,
    /// The new address cannot be had; the old one stays.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// Why a connection stays where it is.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The transport cannot take its connections to another address of the remote.
    #[error("connections of this transport stay at their address; make another one there")]
    Unsupported,
    /// Only the side that made the connection chooses where it goes; the other follows.
    #[error("the side that was called follows the other one and cannot choose")]
    NotOurs,
    /// The two have not agreed on it far enough yet.
    #[error("it is too early for that; try again after a round trip")]
    TooEarly,
    /// The remote does not answer there.
    #[error("the remote does not answer at {0}")]
    NoAnswer(SocketAddr),
    /// The connection is gone.
    #[error("the connection is gone")]
    Closed,
}

/// Why an endpoint could not be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another program, or another endpoint of this one, has the address.
    #[error("{0} is in use; stop the program that has it or choose another port")]
    InUse(SocketAddr),
    /// The address is not one of this machine's.
    #[error("{0} is not an address of this machine; use 0.0.0.0 or [::] for all of them")]
    NotLocal(SocketAddr),
    /// The system does not allow it.
    #[error("not allowed to bind {0}; ports below 1024 need a privilege")]
    Denied(SocketAddr),
    /// Anything else that the system says.
    #[error("cannot bind {addr}")]
    Io {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
}

impl BindError {
    /// Sorts the system's error for `addr`.
    #[must_use]
    pub fn from_io(addr: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(addr),
            io::ErrorKind::AddrNotAvailable => Self::NotLocal(addr),
            io::ErrorKind::PermissionDenied => Self::Denied(addr),
            _ => Self::Io { addr, source },
        }
    }
}

/// Why a connection could not be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody listens there, or no route leads there.
    #[error("cannot reach {addr}")]
    Unreachable {
        /// The remote address.
        addr: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// No answer within the handshake time.
    #[error("{0} did not answer in time; is the address right, and is the port open?")]
    TimedOut(SocketAddr),
    /// The remote proved another key than the expected one.
    #[error("{addr} has another key than the expected {expected}: it is not who you asked for")]
    WrongPeer {
        /// The remote address.
        addr: SocketAddr,
        /// The key that was expected.
        expected: PeerId,
    },
    /// The remote has no room, or does not want us.
    #[error("{addr} refused the connection: {reason}")]
    Refused {
        /// The remote address.
        addr: SocketAddr,
        /// Its words.
        reason: String,
    },
    /// The handshake failed: another protocol, another version, or garbage.
    #[error("handshake with {addr} failed: {detail}")]
    Handshake {
        /// The remote address.
        addr: SocketAddr,
        /// What went wrong.
        detail: String,
    },
    /// This endpoint cannot reach such an address, or is closed.
    #[error("cannot connect to {addr} from here: {detail}")]
    Unusable {
        /// The remote address.
        addr: SocketAddr,
        /// Why not.
        detail: String,
    },
}

/// Why there is nothing more to accept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AcceptError {
    /// The endpoint is closed.
    #[error("the endpoint is closed")]
    Closed,
}

/// Why a stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenStreamError {
    /// The connection is gone.
    #[error("{0}")]
    Closed(CloseReason),
}

/// Why no more streams come.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AcceptStreamError {
    /// The connection is gone.
    #[error("{0}")]
    Closed(CloseReason),
}

/// Why a write failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The reader does not want more.
    #[error("the other side stopped reading (code {})", .0.0)]
    Stopped(StreamCode),
    /// This side has finished or reset the stream already.
    #[error("the stream was finished or reset before")]
    Ended,
    /// The connection is gone.
    #[error("{0}")]
    Closed(CloseReason),
}

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The writer abandoned the stream.
    #[error("the other side abandoned the stream (code {})", .0.0)]
    Reset(StreamCode),
    /// The connection is gone.
    #[error("{0}")]
    Closed(CloseReason),
}

/// Why a datagram was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendDatagramError {
    /// It is longer than fits.
    #[error("a datagram of {size} bytes does not fit; {max} do")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
        /// The longest that fits now, in bytes.
        max: usize,
    },
    /// The connection is gone.
    #[error("{0}")]
    Closed(CloseReason),
}

/// Why no more datagrams come.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecvDatagramError {
    /// The connection is gone.
    #[error("{0}")]
    Closed(CloseReason),
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Stopped(_) | WriteError::Ended => io::ErrorKind::BrokenPipe,
            WriteError::Closed(reason) => kind_of(reason),
        };
        Self::new(kind, error)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Reset(_) => io::ErrorKind::ConnectionReset,
            ReadError::Closed(reason) => kind_of(reason),
        };
        Self::new(kind, error)
    }
}

impl WriteError {
    /// The typed error inside what `AsyncWrite` returned.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl ReadError {
    /// The typed error inside what `AsyncRead` returned.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

fn kind_of(reason: &CloseReason) -> io::ErrorKind {
    match reason {
        CloseReason::Local { .. } => io::ErrorKind::NotConnected,
        CloseReason::Remote { .. } => io::ErrorKind::ConnectionAborted,
        CloseReason::TimedOut => io::ErrorKind::TimedOut,
        CloseReason::Lost { .. } => io::ErrorKind::ConnectionReset,
    }
}
