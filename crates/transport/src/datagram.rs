//! Messages that may be lost.

use std::time::Duration;

/// How long a datagram is worth sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Sent once, as soon as the connection may send; never repaired.
    Once,
    /// May be repaired until this long from now, then is dropped everywhere, unsent copies too.
    Until(Duration),
}
