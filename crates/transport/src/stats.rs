//! What a connection tells of itself.

use std::time::Duration;

/// Counters since the start of a connection and estimates of this moment.
///
/// `None`: this transport cannot know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionStats {
    /// Smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// Bytes that may be in flight now.
    pub congestion_window: Option<u64>,
    /// Bytes on the wire, headers of this transport included, acknowledgements too.
    pub bytes_sent: u64,
    /// Bytes from the wire, as above.
    pub bytes_received: u64,
    /// Packets sent; frames on a byte stream.
    pub packets_sent: u64,
    /// Packets received and found genuine.
    pub packets_received: u64,
    /// Packets declared lost.
    pub packets_lost: Option<u64>,
    /// Datagrams given to the wire.
    pub datagrams_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams repaired by the other side's redundancy or retransmission.
    pub datagrams_repaired: u64,
    /// Datagrams dropped unsent because their time had passed.
    pub datagrams_expired: u64,
    /// Datagrams dropped because a queue was full, on either side of this end.
    pub datagrams_dropped: u64,
    /// Bytes accepted from the application and not yet sent for the first time.
    pub send_queue: u64,
}
