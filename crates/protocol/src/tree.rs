//! Directories: what is in them is listed lazily, and their small files go many to a stream.
//!
//! Who receives asks, whichever side began: an offered directory is one that its receiver may
//! walk and fetch from under a ticket, for as long as the offer stands. Files of more than one
//! group go as single files do, by `get`.

use serde::{Deserialize, Serialize};

use crate::{ErrorCode, Hash, Timestamp};

/// The bits of a mode that go over: who may read, write and execute.
pub const MODE_MASK: u32 = 0o777;

/// Asks for what is in a directory, in order of path, part by part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// The ticket of an offered directory; without one it is what the other shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<u64>,
    /// Which directory below that; empty: all of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Only what comes behind this path, which is below `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A directory as it was counted before its entries are sent; of one that is walked from further
/// on nothing is counted again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeInfo {
    /// Files in it, at any depth.
    pub files: u64,
    /// Bytes of them together.
    pub bytes: u64,
    /// What is passed over.
    #[serde(default, skip_serializing_if = "LeftOut::is_empty")]
    pub left_out: LeftOut,
    /// When the directory itself last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// Who may read, write and enter it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// A part of what is in a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// In order, at most `Limits::page`.
    pub entries: Vec<TreeEntry>,
    /// Whether more follow.
    pub more: bool,
}

/// A file or a directory below the one that is walked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Path below the walked directory, with `/` between its parts.
    pub path: String,
    /// Whether it is a directory; its entries follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub directory: bool,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// Of a directory: when it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// Of a directory: who may read, write and enter it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// What a walk passes over, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// Names that begin with a dot.
    pub hidden: u64,
    /// Links.
    pub links: u64,
    /// Pipes, sockets and devices.
    pub special: u64,
    /// Names that are never sent or written.
    pub names: u64,
    /// What could not be read.
    pub unreadable: u64,
    /// What is too deep, or too many.
    pub beyond: u64,
}

impl LeftOut {
    /// Whether nothing was left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// All of it together.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { hidden, links, special, names, unreadable, beyond } = *self;
        [hidden, links, special, names, unreadable, beyond].into_iter().fold(0, u64::saturating_add)
    }
}

/// Asks for small files, of at most one group each, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// As in [`Walk`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<u64>,
    /// Which directory their paths are below.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Which, at most `Limits::page`.
    pub files: Vec<BatchFile>,
}

/// A file of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchFile {
    /// Path below that of the batch.
    pub path: String,
    /// The hash of what is there already under that name: the same is not sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub have: Option<Hash>,
    /// What is there already stays, so that another content need not be sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

/// The files of a batch follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {}

/// The next file of a batch: its bytes follow raw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Small {
    /// Bytes, at most [`GROUP_MIN`](crate::GROUP_MIN).
    pub size: u64,
    /// BLAKE3 of them.
    pub hash: Hash,
    /// Last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// Who may read, write and execute it ([`MODE_MASK`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// The next file of a batch was compared with what the asker has, and is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Whether both are the same.
    pub same: bool,
}

/// The next file of a batch cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsent {
    /// Why, for programs: a word of the table of errors.
    pub code: String,
    /// Why, for people.
    pub message: String,
}

impl Unsent {
    /// Says why.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.as_str().to_owned(), message: message.into() }
    }
}

/// Offers a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferTree {
    /// Its name, one part of a path.
    pub name: String,
    /// Files in it, at any depth.
    pub files: u64,
    /// Bytes of them together.
    pub bytes: u64,
    /// The ticket under which the receiver walks it and fetches from it.
    pub tree: u64,
}

/// What became of an offered directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Files that have arrived.
    pub files: u64,
    /// Files that were there before.
    pub same: u64,
    /// Files that are not there.
    pub failed: u64,
    /// The first of these, at most [`MISSES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misses: Vec<Miss>,
}

/// Files that [`Received`] names.
pub const MISSES_MAX: usize = 64;

/// A file that did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// Path below the offered directory.
    pub path: String,
    /// Why, for programs: a word of the table of errors.
    pub code: String,
    /// Why, for people.
    pub message: String,
}
