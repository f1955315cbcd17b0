//! Which end a machine is, its bounds, and the classes of urgency.

use crate::datagrams::DECODER_BYTES_MAX;
use crate::pages::{PAGE, SparePages};

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that connected.
    Client,
    /// The end that accepted.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Which of several waiting streams is sent first; strict between classes, taking turns inside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Session control: little, and everything waits for it.
    Control,
    /// Media with a clock; datagrams go before streams of this class.
    Live,
    /// What a person waits for.
    #[default]
    Interactive,
    /// Files.
    Bulk,
}

impl Priority {
    /// Every class, most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::Live, Self::Interactive, Self::Bulk];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// Bounds of one [`Mux`](crate::Mux).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Streams that the remote may have open at once.
    pub streams: u32,
    /// Unread bytes that one stream may hold before its writer is stopped. The most there can be:
    /// a stream begins with [`Self::STREAM_WINDOW_FIRST`], and gets more by reading fast.
    pub stream_window: u32,
    /// Unread bytes that all streams together may hold; as above, from
    /// [`Self::CONNECTION_WINDOW_FIRST`] on.
    pub connection_window: u32,
    /// Bytes taken from the application for one stream and not yet acknowledged. The most there
    /// can be: [`Mux::on_congestion_window`](crate::Mux::on_congestion_window) says how much of it
    /// is of use.
    pub send_buffer: u32,
    /// Bytes of datagrams waiting to be sent (or repaired), and waiting to be received.
    pub datagram_queue: u32,
    /// Longest datagram in bytes that is accepted from the remote.
    pub datagram_max: u32,
    /// What copies in advance of datagrams with a deadline may cost, in percent of the bytes on the
    /// wire that the datagrams take themselves; 0: there are none, and what is lost is repaired
    /// only afterwards. Two kilobytes a second are always allowed, if anything is.
    pub redundancy_percent: u32,
    /// Longest piece of a stream in one frame, in bytes; at most [`frame::PAYLOAD_MAX`](crate::frame::PAYLOAD_MAX).
    pub stream_frame_max: u32,
}

impl Config {
    /// The window of a new stream, if no less is promised.
    pub const STREAM_WINDOW_FIRST: u32 = 1 << 20;

    /// The window of a new connection, if no less is promised.
    pub const CONNECTION_WINDOW_FIRST: u32 = 4 << 20;

    /// What a stream takes from the application while nothing is known of the way, if no less is
    /// allowed.
    pub const SEND_BUFFER_FIRST: u32 = 1 << 20;

    /// What a stream takes at least, however short or narrow the way, if no less is allowed.
    pub const SEND_BUFFER_MIN: u32 = 256 << 10;

    /// What a stream takes ahead of what is sent, on ways of less than 2 ms: four trains of
    /// datagrams.
    pub const SEND_QUEUE_SHORT: u32 = 256 << 10;

    /// Gaps in what has arrived that are remembered: one for every 512 bytes of the connection's
    /// window, four times as many as full packets can make.
    #[must_use]
    pub const fn gaps_max(&self) -> usize {
        self.connection_window as usize / 512 + 64
    }

    /// Upper bound in bytes of what the remote can make this side hold: unread data, two partly
    /// used pages and the bookkeeping of each stream, pages for what comes next, gaps, and
    /// datagrams.
    #[must_use]
    pub const fn memory_max(&self) -> usize {
        self.connection_window as usize
            + self.streams as usize * (2 * PAGE + 2048)
            + SparePages::bytes_max(self.stream_window)
            + self.gaps_max() * 32
            + self.datagram_queue as usize
            + DECODER_BYTES_MAX
            + 16_384
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            streams: 256,
            stream_window: 32 << 20,
            connection_window: 48 << 20,
            send_buffer: 32 << 20,
            datagram_queue: 256 << 10,
            datagram_max: 16 << 10,
            redundancy_percent: 70,
            stream_frame_max: 16 << 10,
        }
    }
}
