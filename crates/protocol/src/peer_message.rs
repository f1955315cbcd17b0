//! What two peers say to each other, end to end encrypted, one request a stream.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Hello, Timestamp, Welcome, table::table};

table! {
    /// A peer's request: the first frame on a stream between two peers.
    pub enum PeerCommand {
        /// Versions and features, on the first stream. Answered by `welcome`.
        Hello(Hello) = "hello",
        /// What do you share? Answered by `files`.
        Files(Files) = "files",
        /// Send me that file. Answered by `content`, then its bytes raw, then `end`.
        Get(Get) = "get",
        /// I have a file for you. Answered by `accepted`; then its bytes raw and `end` go over,
        /// and `verified` or an error comes back under the same request.
        Offer(Offer) = "offer",
    }
}

table! {
    /// The answer to a [`PeerCommand`] that was granted.
    pub enum PeerReply {
        /// To `hello`.
        Welcome(Welcome) = "welcome",
        /// To `files`.
        Files(FileList) = "files",
        /// To `get`: the bytes follow.
        Content(Content) = "content",
        /// To `offer`: send the bytes.
        Accepted(Accepted) = "accepted",
        /// The file has arrived and its hash is right.
        Verified(Verified) = "verified",
    }
}

table! {
    /// What stands after the raw bytes of a file.
    pub enum PeerEvent {
        /// All bytes were sent.
        End(FileEnd) = "end",
    }
}

/// Asks for a page of shared files in order of path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Only paths after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
}

/// A page of shared files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileList {
    /// At most `Limits::page`.
    pub files: Vec<FileInfo>,
    /// Whether more follow.
    pub more: bool,
}

/// A file as its owner describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Path below what is shared, with `/` between its parts.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
}

/// Asks for a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// As `files` listed it.
    pub path: String,
}

/// The file's bytes follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// So many.
    pub size: u64,
    /// Last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
}

/// Offers a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its name, one part of a path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
}

/// The offered file is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {}

/// All bytes of a file were sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEnd {
    /// BLAKE3 of the whole file.
    pub hash: Hash,
}

/// The file has arrived whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// BLAKE3 of what was written.
    pub hash: Hash,
}

/// A BLAKE3 hash; 64 hexadecimal digits where people read it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}
