//! One error enum an operation.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use portolan_identity::{KnownHostsError, PeerId};
use portolan_protocol::{Closing, ErrorBody, ErrorCode, Hash, Name};
use portolan_transport::{BindError, CloseReason};
use thiserror::Error;

use crate::{Stop, files::ShareError};

/// Why no session with the server came about.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No local port could be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The transport did not get through, or met another key.
    #[error(transparent)]
    Transport(#[from] portolan_transport::ConnectError),
    /// The server said no.
    #[error("the server refused the login: {0}")]
    Refused(ErrorBody),
    /// No common version of the messages.
    #[error("the server speaks version {0} of the messages, which this program does not know")]
    Version(u16),
    /// The connection was there, but the session was not.
    #[error("the session ended before the login was done: {0}")]
    Ended(SessionEnd),
    /// The server did not answer in time.
    #[error("the server did not answer the login in time")]
    TimedOut,
    /// What is to be shared cannot be.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The server is not on a private network, and no other may be used.
    #[error(
        "{0} is not an address of a private network, and with --lan-only no other is used: name a \
         server on this network, or leave --lan-only away"
    )]
    OutsideLan(SocketAddr),
}

/// Why a session with the server is over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SessionEnd {
    /// This side logged out, or dropped its handles.
    #[error("logged out")]
    Local,
    /// The server ended it and said why.
    #[error("the server ended the session: {}", .0.text)]
    Server(Closing),
    /// The connection is gone.
    #[error("{0}")]
    Lost(CloseReason),
    /// The server did not answer a heartbeat.
    #[error("nothing heard from the server for too long")]
    Silent,
    /// What came from the server cannot be followed.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The connection was lost, and the server does not let us in again.
    #[error("the server does not let us in again: {0}")]
    Refused(ErrorBody),
    /// The connection was lost, and who answers now is another server.
    #[error("another server is there now: {0}")]
    WrongServer(String),
}

/// Why a request to the server was not granted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The server said no.
    #[error("{0}")]
    Refused(ErrorBody),
    /// The session is over.
    #[error("not connected any more: {0}")]
    Closed(SessionEnd),
    /// The connection broke before the answer came, and the request is not one to ask twice.
    #[error("the connection broke before the answer: {0}; whether it was carried out is unknown")]
    Broken(SessionEnd),
    /// No answer in time; whether the request was carried out is unknown.
    #[error("no answer in time")]
    TimedOut,
    /// The answer is not one to this request.
    #[error("the server answered with {0:?}, which is no answer to that request")]
    Unexpected(&'static str),
}

impl RequestError {
    /// The code of the refusal, if it is one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(body) => Some(body.code),
            Self::Closed(_) | Self::Broken(_) | Self::TimedOut | Self::Unexpected(_) => None,
        }
    }
}

/// Why another peer could not be reached.
#[derive(Debug, Error)]
pub enum ReachError {
    /// The server does not bring us together: unknown, offline, not logged in, quota.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The peer or the relay said no.
    #[error("{who} cannot be reached: {body}")]
    Refused {
        /// The peer.
        who: Name,
        /// The refusal.
        body: ErrorBody,
    },
    /// The user has another key than the one we remember.
    #[error(transparent)]
    KeyChanged(KnownHostsError),
    /// The directory and the relay name different keys for one user.
    #[error("the server names two keys for {who}; nothing was sent")]
    TwoKeys {
        /// The peer.
        who: Name,
        /// What the directory says.
        listed: PeerId,
        /// What the relay says.
        relayed: PeerId,
    },
    /// The end-to-end handshake failed.
    #[error("the encrypted connection to {who} failed: {source}")]
    Tunnel {
        /// The peer.
        who: Name,
        /// What went wrong.
        source: portolan_transport::ConnectError,
    },
    /// A stream failed on the way.
    #[error("the connection to {who} broke: {detail}")]
    Broken {
        /// The peer.
        who: Name,
        /// What happened.
        detail: String,
    },
    /// No answer in time.
    #[error("{who} did not answer in time")]
    TimedOut {
        /// The peer.
        who: Name,
    },
    /// Too many sessions with peers are open.
    #[error("{max} sessions with other peers are open, which is the limit; wait for one to end")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// We are that user.
    #[error("{who} is yourself; name another user")]
    Ourselves {
        /// The name.
        who: Name,
    },
}

/// Why a file was not sent, received or listed.
#[derive(Debug, Error)]
pub enum FileError {
    /// The other peer could not be reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The other peer said no.
    #[error("{who} refused: {body}")]
    Refused {
        /// The peer.
        who: Name,
        /// The refusal.
        body: ErrorBody,
    },
    /// What arrived is not what was sent.
    #[error(
        "what arrived is not what was sent: the hash should be {expected} and is {computed}; \
         nothing was kept"
    )]
    Integrity {
        /// The sender's hash.
        expected: Hash,
        /// The receiver's.
        computed: Hash,
    },
    /// The bytes end before, or go on behind, the announced size.
    #[error("the size was announced as {announced} bytes and that is wrong; nothing was kept")]
    Size {
        /// What was announced.
        announced: u64,
    },
    /// A part that arrived is not that of the file. It was not written.
    #[error(
        "the {length} bytes from {start} on are not those of the file: its owner's disk or program \
         is at fault; {}", Kept(*.kept)
    )]
    Corrupt {
        /// Where the part begins.
        start: u64,
        /// How long it is.
        length: usize,
        /// Proven bytes that stay for another try.
        kept: u64,
    },
    /// There is no file of that size.
    #[error("{size} bytes are too many: a file has at most {max}")]
    TooLarge {
        /// What was announced.
        size: u64,
        /// The bound.
        max: u64,
    },
    /// The other program cannot prove parts of files.
    #[error("{who} has a program that is too old to send and take files safely; ask for an update")]
    Outdated {
        /// The peer.
        who: Name,
    },
    /// The transfer broke off.
    #[error("the transfer broke off after {bytes} of {total} bytes: {detail}{}", Left(*.kept))]
    Interrupted {
        /// Bytes that went over.
        bytes: u64,
        /// Bytes in all.
        total: u64,
        /// Proven bytes that stay for another try, where this side receives.
        kept: Option<u64>,
        /// What happened.
        detail: String,
    },
    /// Nothing moved, or nobody decided, for too long.
    #[error("{who} did not answer in time")]
    TimedOut {
        /// The peer.
        who: Name,
    },
    /// The name or path is one that is never written or read.
    #[error("{name:?} is refused: {problem}")]
    Name {
        /// The text.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file of that name is there already.
    #[error("{} exists; use --overwrite to replace it, or choose another directory", .0.display())]
    Exists(PathBuf),
    /// It would not fit.
    #[error("{needed} bytes are needed in {} and {free} are free", .directory.display())]
    NoSpace {
        /// Where.
        directory: PathBuf,
        /// Bytes of the file.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The disk became full while it was written.
    #[error("the disk of {} is full; {}", .directory.display(), Kept(*.kept))]
    DiskFull {
        /// Where.
        directory: PathBuf,
        /// Proven bytes that stay for another try.
        kept: u64,
    },
    /// Only ordinary files are sent.
    #[error("{} is not an ordinary file", .0.display())]
    NotAFile(PathBuf),
    /// The file changed while it was sent.
    #[error("{name:?} changed while it was sent; send it again")]
    Changed {
        /// Its name.
        name: String,
    },
    /// Reading or writing failed.
    #[error("cannot {during} {}: {source}", .path.display())]
    Io {
        /// `read`, `write`, …
        during: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The peer's answer makes no sense.
    #[error("{who} broke the protocol: {detail}")]
    Protocol {
        /// The peer.
        who: Name,
        /// What happened.
        detail: String,
    },
    /// Nobody was named who could send it.
    #[error("name at least one user who has the file")]
    NoOwner,
    /// A person has stopped it.
    #[error("{}", Stopped(*.stop, .by.as_ref()))]
    Stopped {
        /// For now or for good.
        stop: Stop,
        /// Whose person; `None`: ours.
        by: Option<Name>,
    },
    /// There is no transfer of that number.
    #[error("no transfer has the number {0}; /transfers shows those there are")]
    NoSuchTransfer(u64),
    /// There is no offered file of that number.
    #[error("no file with the number {0} waits for a decision")]
    NoSuchOffer(u64),
}

/// What is left of a transfer, in words.
struct Kept(u64);

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("nothing was kept"),
            bytes => write!(f, "{bytes} bytes were kept and need not come again"),
        }
    }
}

struct Left(Option<u64>);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |bytes| write!(f, "; {}", Kept(bytes)))
    }
}

/// Who has stopped a transfer, in words.
struct Stopped<'a>(Stop, Option<&'a Name>);

impl fmt::Display for Stopped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.0 {
            Stop::Paused => "paused",
            Stop::Cancelled => "cancelled",
        };
        match self.1 {
            Some(who) => write!(f, "{who} has {word} it"),
            None => write!(f, "{word} on this side"),
        }
    }
}

impl FileError {
    /// The code that says the same to programs.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Reach(error) => error.code(),
            Self::Refused { body, .. } => body.code,
            Self::Integrity { .. } | Self::Size { .. } | Self::Corrupt { .. } => {
                ErrorCode::Integrity
            }
            Self::Outdated { .. } => ErrorCode::Unsupported,
            Self::TimedOut { .. } => ErrorCode::TimedOut,
            Self::Name { .. } | Self::NotAFile(_) | Self::NoOwner | Self::Protocol { .. } => {
                ErrorCode::BadRequest
            }
            Self::Exists(_) => ErrorCode::Conflict,
            Self::NoSpace { .. } | Self::DiskFull { .. } | Self::TooLarge { .. } => {
                ErrorCode::Quota
            }
            Self::NoSuchOffer(_) | Self::NoSuchTransfer(_) => ErrorCode::UnknownFile,
            Self::Stopped { stop: Stop::Paused, .. } => ErrorCode::Paused,
            Self::Stopped { stop: Stop::Cancelled, .. } => ErrorCode::Cancelled,
            Self::Changed { .. } => ErrorCode::Conflict,
            Self::Interrupted { .. } | Self::Io { .. } => ErrorCode::Internal,
        }
    }
}

impl ReachError {
    /// The code that says the same to programs.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Request(RequestError::Refused(body)) | Self::Refused { body, .. } => body.code,
            Self::Request(RequestError::TimedOut) | Self::TimedOut { .. } => ErrorCode::TimedOut,
            Self::KeyChanged(_) | Self::TwoKeys { .. } => ErrorCode::UnknownPeer,
            Self::TooMany { .. } => ErrorCode::Quota,
            Self::Ourselves { .. } => ErrorCode::BadRequest,
            Self::Request(
                RequestError::Closed(_) | RequestError::Broken(_) | RequestError::Unexpected(_),
            )
            | Self::Tunnel { .. }
            | Self::Broken { .. } => ErrorCode::Internal,
        }
    }
}
