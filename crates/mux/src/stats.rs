//! Counters.

/// Counters since the start, and queue lengths of this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MuxStats {
    /// Frames given to the carrier.
    pub frames_sent: u64,
    /// Frames taken from the carrier.
    pub frames_received: u64,
    /// Datagrams given to the carrier, each counted once.
    pub datagrams_sent: u64,
    /// Datagrams that arrived, each counted once.
    pub datagrams_received: u64,
    /// Datagrams of the above whose first copy was late or lost: a repeated one came first.
    pub datagrams_repaired: u64,
    /// Further copies of datagrams that had arrived.
    pub datagrams_duplicate: u64,
    /// Datagrams with a deadline that arrived in time, as far as the sender can tell: their
    /// acknowledgement came no later than half of the shortest round trip after the deadline.
    pub datagrams_in_time: u64,
    /// Datagrams with a deadline that arrived, but later.
    pub datagrams_late: u64,
    /// Datagrams with a deadline that were sent and did not arrive.
    pub datagrams_lost: u64,
    /// Copies of datagrams given to the carrier beside the first ones: repairs, and copies in
    /// advance.
    pub datagrams_repeated: u64,
    /// Bytes of the frames of these copies.
    pub datagram_bytes_repeated: u64,
    /// Datagrams dropped unsent because their time had passed.
    pub datagrams_expired: u64,
    /// Datagrams dropped because a queue was full, on either side of this end.
    pub datagrams_dropped: u64,
    /// Bytes of streams taken from the application and not yet sent for the first time.
    pub stream_bytes_queued: u64,
    /// Bytes of datagrams taken from the application and not yet sent for the first time.
    pub datagram_bytes_queued: u64,
    /// Bytes of streams that were sent again.
    pub stream_bytes_repeated: u64,
}
