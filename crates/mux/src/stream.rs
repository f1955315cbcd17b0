//! One stream: its name and its two halves.

use std::fmt;

use crate::{Priority, Side, recv::RecvPart, send::SendPart, window::Window};

/// A stream's number: which side opened it, and as which of its streams (RFC 9000 §2.1, with one
/// bit less, because all streams go in both directions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl StreamId {
    /// The most streams that one side can ever open.
    pub const INDEX_MAX: u64 = 1 << 60;

    /// The stream that `initiator` opened after `index` others.
    #[must_use]
    pub const fn new(initiator: Side, index: u64) -> Self {
        match initiator {
            Side::Client => Self(index << 1),
            Side::Server => Self(index << 1 | 1),
        }
    }

    /// Who opened it.
    #[must_use]
    pub const fn initiator(self) -> Side {
        if self.0 & 1 == 0 { Side::Client } else { Side::Server }
    }

    /// How many streams its initiator had opened before.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0 >> 1
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) priority: Priority,
    pub(crate) send: SendPart,
    pub(crate) recv: RecvPart,
    /// The class is the remote's, once its first frame says which.
    pub(crate) inherits: bool,
    /// In the queue of its class.
    pub(crate) in_ready: bool,
    /// Among those that only the connection's limit holds back.
    pub(crate) is_held_back: bool,
    /// In the queue of streams with a RESET, STOP or `MAX_STREAM_DATA` to send.
    pub(crate) in_control: bool,
}

impl Stream {
    pub(crate) fn new(priority: Priority, max_data: u64, window: Window) -> Self {
        Self {
            priority,
            send: SendPart::new(max_data),
            recv: RecvPart::new(window),
            inherits: false,
            in_ready: false,
            is_held_back: false,
            in_control: false,
        }
    }

    /// Whether both directions are over and the application knows it.
    pub(crate) fn is_over(&self) -> bool {
        self.send.is_over() && self.recv.is_over()
    }
}
