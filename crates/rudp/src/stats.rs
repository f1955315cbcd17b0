//! What a connection tells of itself.

use std::time::Duration;

use crate::Waited;

/// Counters since the start of a connection, and estimates of this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionStats {
    /// Smoothed round-trip time, once it was measured.
    pub rtt: Option<Duration>,
    /// Shortest round-trip time, once it was measured.
    pub rtt_min: Option<Duration>,
    /// Round-trip time of the newest sample.
    pub rtt_latest: Option<Duration>,
    /// How much the samples differ (RFC 9002 §5.3), once there is one.
    pub rtt_variation: Option<Duration>,
    /// Round-trip time of the last heartbeat: with the remote's own delay.
    pub heartbeat_rtt: Option<Duration>,
    /// Bytes that may be in flight.
    pub congestion_window: u64,
    /// The window at which slow start ends, where the algorithm has one and has found it.
    pub slow_start_threshold: Option<u64>,
    /// Bytes a second at which packets leave, where the algorithm says so.
    pub pacing_rate: Option<u64>,
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
    /// Packets of those that arrived after all.
    pub packets_late: u64,
    /// Packets that came more than once.
    pub packets_repeated: u64,
    /// Packets that were not the remote's, or damaged.
    pub packets_forged: u64,
    /// Times that an answer was asked for because none came.
    pub probes: u64,
    /// Probes of the present silence: the n-th answer is waited for 2^n times as long.
    pub probes_unanswered: u32,
    /// Packets of ours that the remote says arrived marked as congested (RFC 9002 §7.1).
    pub ecn_marked: u64,
    /// Whether marks of routers arrive on the path.
    pub is_ecn_capable: bool,
    /// Times that the connection has gone over to another path, or back.
    pub path_changes: u64,
    /// Changes of the keys.
    pub key_updates: u64,
    /// For how long sending waited for what.
    pub waited: Waited,
}
