//! What a connection tells of itself.

use std::time::Duration;

/// Counters since the start of a connection, and estimates of this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionStats {
    /// Smoothed round-trip time, once it was measured.
    pub rtt: Option<Duration>,
    /// Shortest round-trip time, once it was measured.
    pub rtt_min: Option<Duration>,
    /// Round-trip time of the last heartbeat: with the remote's own delay.
    pub heartbeat_rtt: Option<Duration>,
    /// Bytes that may be in flight.
    pub congestion_window: u64,
    /// Bytes in flight.
    pub in_flight: u64,
    /// Bytes of the longest datagram that is sent.
    pub packet_size: usize,
    /// Bytes given to the socket, all datagrams.
    pub bytes_sent: u64,
    /// Bytes from the socket, all datagrams.
    pub bytes_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received, found genuine and not seen before.
    pub packets_received: u64,
    /// Packets that were declared lost.
    pub packets_lost: u64,
    /// Packets that came more than once.
    pub packets_repeated: u64,
    /// Packets that were not the remote's, or damaged.
    pub packets_forged: u64,
    /// Times that an answer was asked for because none came.
    pub probes: u64,
    /// Changes of the keys.
    pub key_updates: u64,
}
