//! Upper bounds on everything that a message can carry.

use serde::{Deserialize, Serialize};

/// The bounds both sides keep; a server tells its own in [`Welcome`](crate::Welcome).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Characters of a name.
    pub name: u32,
    /// Bytes of a message's text.
    pub text: u32,
    /// Bytes of a whole frame without its length prefix.
    pub frame: u32,
    /// Entries of one page of a list.
    pub page: u32,
    /// Ids in one receipt.
    pub receipts: u32,
    /// Candidates in one exchange.
    pub candidates: u32,
    /// Bytes of a reason, a feature, a path or other short text.
    pub short_text: u32,
}

impl Limits {
    /// The bounds of version 1.
    pub const V1: Self = Self {
        name: 32,
        text: 64 << 10,
        frame: 256 << 10,
        page: 256,
        receipts: 256,
        candidates: 32,
        short_text: 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::V1
    }
}
