//! What goes to a socket and comes from it, besides the bytes.

use std::{net::SocketAddr, time::Instant};

/// Marks of explicit congestion notification (RFC 3168 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// The sender understands marks; the usual way to say it.
    Ect0,
    /// The sender understands marks; kept for low latency (RFC 9331).
    Ect1,
    /// A router was congested.
    Ce,
}

/// One of its host's sockets, as the host counts them; a host with one need not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SocketId(pub u32);

/// A way to the remote: out of one of our sockets, to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// Our end.
    pub socket: SocketId,
    /// The remote's end.
    pub remote: SocketAddr,
}

impl Route {
    /// Whether only the remote's port differs, at most.
    pub(crate) fn is_same_host(&self, other: &Self) -> bool {
        self.socket == other.socket && self.remote.ip() == other.remote.ip()
    }
}

impl From<SocketAddr> for Route {
    /// From a host's only socket.
    fn from(remote: SocketAddr) -> Self {
        Self { socket: SocketId::default(), remote }
    }
}

/// Datagrams to send: one, or a train of equal ones to the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Out of which socket.
    pub socket: SocketId,
    /// Where to.
    pub destination: SocketAddr,
    /// Bytes in the buffer, all datagrams together.
    pub size: usize,
    /// Bytes of each datagram but the last, which may be shorter; `None`: there is only one.
    pub segment_size: Option<usize>,
    /// The mark to send them with.
    pub ecn: Option<Ecn>,
}

/// When a machine wants to be called, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The time for `handle_timeout`.
    pub at: Instant,
    /// What is due then.
    pub why: Timer,
}

/// What a connection can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// A packet will count as lost, or a probe is due (RFC 9002 §6).
    Loss,
    /// The pacer lets the next packet go.
    Pacing,
    /// A delayed acknowledgement is due.
    Acknowledge,
    /// A quiet connection sends a heartbeat.
    Heartbeat,
    /// Nothing was heard for too long.
    Idle,
    /// The handshake takes too long.
    Handshake,
    /// The keys before the last update can be forgotten.
    KeyDiscard,
    /// A path must be asked again, or has not answered.
    Path,
    /// A copy in advance of a message with a deadline has found no packet to ride in. The machine
    /// of the streams ([`portolan_mux::Mux::poll_timeout`]) keeps its time.
    Redundancy,
    /// Late packets of a closed connection have died out.
    Close,
}

impl Timer {
    /// Every timer, in the order in which those of one moment are handled.
    pub const ALL: [Self; 10] = [
        Self::Loss,
        Self::Pacing,
        Self::Acknowledge,
        Self::Heartbeat,
        Self::Idle,
        Self::Handshake,
        Self::KeyDiscard,
        Self::Path,
        Self::Redundancy,
        Self::Close,
    ];
}
