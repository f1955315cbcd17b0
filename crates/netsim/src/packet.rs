//! Packets that enter and leave the network.

use std::{net::SocketAddr, time::Instant};

/// IP and UDP headers (RFC 791, RFC 8200, RFC 768).
const HEADERS_V4: usize = 20 + 8;
const HEADERS_V6: usize = 40 + 8;

/// The mark of explicit congestion notification (RFC 3168 §5); "not ECT" is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// ECN-capable transport, codepoint 10.
    Ect0,
    /// ECN-capable transport, codepoint 01.
    Ect1,
    /// Congestion experienced.
    Ce,
}

/// A datagram that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When it arrived.
    pub at: Instant,
    /// The sender, as the receiver sees it.
    pub from: SocketAddr,
    /// The receiver.
    pub to: SocketAddr,
    /// The payload, perhaps corrupted.
    pub bytes: Vec<u8>,
    /// The mark that it carries.
    pub ecn: Option<Ecn>,
}

/// Length of the IP packet that carries `payload` bytes of UDP to `to`.
pub(crate) fn wire_size(to: SocketAddr, payload: usize) -> u64 {
    let headers = if to.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
    (payload + headers) as u64
}
