//! What the application should look at.

use crate::StreamId;

/// What the application should look at.
///
/// Events are edges, and few: one is queued at most once until it is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// [`Mux::accept`](crate::Mux::accept) has a stream.
    StreamOpened,
    /// [`Mux::open`](crate::Mux::open) may succeed again.
    StreamsAvailable,
    /// The first bytes, end or reset of a stream came, or came after a read was
    /// [`Blocked`](crate::ReadError::Blocked).
    Readable(StreamId),
    /// A [`Blocked`](crate::WriteError::Blocked) write can go on, or the remote stopped the stream.
    Writable(StreamId),
    /// [`Mux::recv_datagram`](crate::Mux::recv_datagram) has a datagram.
    DatagramReceived,
}
