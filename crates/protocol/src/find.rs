//! Files that are asked for by what they are, whatever they are called.

use serde::{Deserialize, Serialize};

use crate::{Hash, Timestamp};

/// Asks whether a file is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Find {
    /// BLAKE3 of the whole.
    pub hash: Hash,
    /// Its bytes, if they are known: then files of that size are hashed too, and not only those
    /// looked at whose hash is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A shared file with the hash that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Under which `get` sends it.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// Last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
}
