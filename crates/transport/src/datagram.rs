//! Messages that may be lost.

use std::time::Duration;

/// How long a datagram is worth sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Sent once, as soon as the connection may send; never repaired.
    Once,
    /// May be repaired until this long from now, then is dropped everywhere, unsent copies too.
    ///
    /// UDP sends it again when it is lost and there is time, and sends copies in advance where
    /// there is not, as many as the measured loss asks for and a bound on the bytes allows. TCP
    /// and QUIC drop it unsent when its time has passed, and do no more. The receiver hands out
    /// what arrives, late or not: only the sender knows the time that has passed.
    Until(Duration),
}
