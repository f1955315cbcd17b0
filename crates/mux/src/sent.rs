//! What was put into a packet, for the day when it is acknowledged or lost.

use crate::StreamId;

/// One frame that was given to the carrier: it comes back through
/// [`Mux::on_acked`](crate::Mux::on_acked) or [`Mux::on_lost`](crate::Mux::on_lost).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentFrame {
    /// A piece of a stream.
    Stream {
        /// Which stream.
        id: StreamId,
        /// Offset of its first byte.
        start: u64,
        /// Its length in bytes.
        len: u32,
        /// Whether it carried the end.
        fin: bool,
    },
    /// The abandoning of a stream by its writer.
    Reset {
        /// Which stream.
        id: StreamId,
    },
    /// The refusal of a stream by its reader.
    Stop {
        /// Which stream.
        id: StreamId,
    },
    /// A raised limit of one stream.
    MaxStreamData {
        /// Which stream.
        id: StreamId,
        /// The limit that was told.
        max: u64,
    },
    /// A raised limit of all streams together.
    MaxData {
        /// The limit that was told.
        max: u64,
    },
    /// A raised number of streams.
    MaxStreams {
        /// The number that was told.
        max: u64,
    },
    /// A datagram that is sent once.
    Datagram,
    /// A datagram that is repaired until it expires.
    RepairableDatagram {
        /// Its number.
        sequence: u64,
        /// Which of its copies.
        copy: Sending,
    },
    /// A parity over a group of datagrams.
    Repair {
        /// The number of the group's first datagram.
        first: u64,
    },
}

/// Which copy of a datagram that is repaired until it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// The first.
    First,
    /// It had been sent before.
    Repeated,
}
