//! What waits before a bottleneck: plain parameters.

use std::time::Duration;

/// A queue, first in, first out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Bytes that may wait, the packet being sent included; what does not fit is dropped.
    pub bytes: u32,
    /// What is done about packets that wait for long.
    pub discipline: Discipline,
    /// A packet that enters while more bytes than this wait is marked as having met congestion,
    /// if it says that its transport understands (RFC 3168 §5); `None` never marks for the length.
    pub ecn_threshold: Option<u32>,
}

impl Queue {
    /// Drops what does not fit and does nothing else.
    #[must_use]
    pub const fn drop_tail(bytes: u32) -> Self {
        Self { bytes, discipline: Discipline::DropTail, ecn_threshold: None }
    }

    /// As [`Self::drop_tail`], holding what leaves within `time` at this speed; at least one packet
    /// of 1,500 bytes, so that a slow link carries anything at all.
    #[must_use]
    pub fn drop_tail_for(time: Duration, bits_per_second: u64) -> Self {
        Self::drop_tail(bytes_for(time, bits_per_second))
    }

    /// CoDel with the values of RFC 8289 §4.4, in a queue of this size.
    #[must_use]
    pub const fn codel(bytes: u32) -> Self {
        Self { bytes, discipline: Discipline::CODEL, ecn_threshold: None }
    }
}

/// What a queue does about packets that wait for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discipline {
    /// Nothing: only what does not fit is dropped.
    #[default]
    DropTail,
    /// Drops, or marks where the transport understands marks, ever more often while packets wait
    /// longer than `target` for more than `interval` (RFC 8289).
    CoDel {
        /// How long packets may wait.
        target: Duration,
        /// For how long they may wait longer; about a round trip.
        interval: Duration,
    },
}

impl Discipline {
    /// CoDel with a target of 5 ms and an interval of 100 ms (RFC 8289 §4.4).
    pub const CODEL: Self =
        Self::CoDel { target: Duration::from_millis(5), interval: Duration::from_millis(100) };
}

/// What leaves within `time` at this speed, at least one packet of 1,500 bytes.
pub(crate) fn bytes_for(time: Duration, bits_per_second: u64) -> u32 {
    let bytes = time.as_nanos() * u128::from(bits_per_second) / 8 / 1_000_000_000;
    u32::try_from(bytes).unwrap_or(u32::MAX).max(PACKET)
}

const PACKET: u32 = 1_500;
