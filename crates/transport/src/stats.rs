//! What a connection tells of itself.

use std::time::Duration;

/// Counters since the start of a connection and estimates of this moment.
///
/// `None`: this transport cannot know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionStats {
    /// Smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// Shortest round-trip time.
    pub rtt_min: Option<Duration>,
    /// How much round-trip times differ (RFC 9002 §5.3).
    pub rtt_variation: Option<Duration>,
    /// Bytes that may be in flight now.
    pub congestion_window: Option<u64>,
    /// Bytes in flight now.
    pub in_flight: Option<u64>,
    /// Bytes a second at which packets leave now, where they are paced by a rate.
    pub pacing_rate: Option<u64>,
    /// Bytes of the longest packet that the path is known to carry.
    pub packet_size: Option<u64>,
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
    /// Packets of those that arrived after all: losses that were none.
    pub packets_late: Option<u64>,
    /// Packets that came more than once.
    pub packets_repeated: Option<u64>,
    /// Packets that were not the remote's, or damaged.
    pub packets_forged: Option<u64>,
    /// Packets of ours that arrived marked as congested.
    pub packets_marked: Option<u64>,
    /// Times that an answer was asked for because none came.
    pub probes: Option<u64>,
    /// Times that the connection went over to another pair of addresses.
    pub path_changes: Option<u64>,
    /// Changes of the keys.
    pub key_updates: Option<u64>,
    /// For how long sending waited for what.
    pub waited: Option<Waited>,
    /// Datagrams given to the wire.
    pub datagrams_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams repaired by the other side's redundancy or retransmission.
    pub datagrams_repaired: u64,
    /// What became of datagrams with a [`Lifetime::Until`](crate::Lifetime::Until) that were sent.
    pub datagram_outcomes: Option<DatagramOutcomes>,
    /// Copies of datagrams given to the wire beside the first ones: repairs, and redundancy.
    pub datagrams_repeated: u64,
    /// Bytes of these copies.
    pub datagram_bytes_repeated: u64,
    /// Datagrams dropped unsent because their time had passed.
    pub datagrams_expired: u64,
    /// Datagrams dropped because a queue was full, on either side of this end.
    pub datagrams_dropped: u64,
    /// Bytes accepted from the application and not yet sent for the first time.
    pub send_queue: u64,
}

/// For how long sending waited for what, since the start. A transfer that ought to be faster has
/// its reason in the largest of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waited {
    /// The application had nothing to send.
    pub for_application: Duration,
    /// The remote's windows of streams were used up: its program reads too slowly, or they are too
    /// small.
    pub for_remote: Duration,
    /// As much was in flight as the congestion control allows.
    pub for_window: Duration,
    /// The pacer spread packets over time.
    pub for_pacer: Duration,
}

/// What became of datagrams with a deadline that were sent; those of which nothing is known yet
/// are in none of the three.
///
/// Together with [`ConnectionStats::datagrams_expired`], those that were never sent, this is the
/// fate of every one but the few that a full queue dropped. The receiver's clock is not known here:
/// one counts as in time whose acknowledgement came no later than half of the shortest round trip
/// after its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatagramOutcomes {
    /// Arrived before their deadline.
    pub in_time: u64,
    /// Arrived after it; the receiver hands them out all the same.
    pub late: u64,
    /// Did not arrive, however often they were repaired.
    pub lost: u64,
}
