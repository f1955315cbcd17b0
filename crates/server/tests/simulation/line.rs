//! A connection: two ordered ways with a delay, which may stand still or break, and the server's
//! queue at its end.

use std::collections::VecDeque;

use portolan_protocol::{Command, ErrorBody, Event, Reply, RequestId};
use portolan_server::core::SessionId;
use portolan_transport::CloseCode;

/// Frames on their way to a client that it has not read; beyond them they queue at the server.
pub(crate) const WINDOW: usize = 4;

/// Numbers of lines; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LineId(pub(crate) u64);

/// What reaches a client.
#[derive(Debug, Clone)]
pub(crate) enum Down {
    Opened,
    Answer(RequestId, Result<Reply, ErrorBody>),
    Event(Event),
    Closed(CloseCode),
}

/// A line between a user's program and the server.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) user: usize,
    pub(crate) registry: usize,
    pub(crate) key: u8,
    pub(crate) delay: u64,
    /// When the last frame in each direction arrives.
    pub(crate) up_at: u64,
    pub(crate) down_at: u64,
    /// Nothing arrives before.
    pub(crate) stalled_until: u64,
    /// Nothing arrives any more.
    pub(crate) is_cut: bool,
    pub(crate) client_left: bool,
    pub(crate) server: ServerEnd,
}

/// The server's side of a line, as its shell keeps it.
#[derive(Debug, Default)]
pub(crate) struct ServerEnd {
    pub(crate) session: Option<SessionId>,
    pub(crate) has_left: bool,
    pub(crate) inbound: VecDeque<(RequestId, Command)>,
    pub(crate) outbox: VecDeque<Down>,
    /// Requests read and not yet answered, or answered and not yet written.
    pub(crate) owed: usize,
    /// Frames written and not yet read by the client.
    pub(crate) on_the_way: usize,
    pub(crate) farewell: Option<CloseCode>,
    /// The queue was thrown away; only the last word follows.
    pub(crate) has_overflown: bool,
}

impl Line {
    pub(crate) fn new(user: usize, key: u8, registry: usize, delay: u64) -> Self {
        Self {
            user,
            registry,
            key,
            delay,
            up_at: 0,
            down_at: 0,
            stalled_until: 0,
            is_cut: false,
            client_left: false,
            server: ServerEnd::default(),
        }
    }

    /// When a frame sent now reaches the server.
    pub(crate) fn next_up(&mut self, now: u64) -> u64 {
        self.up_at = self.up_at.max(now + self.delay).max(self.stalled_until);
        self.up_at
    }

    /// When a frame sent now reaches the client.
    pub(crate) fn next_down(&mut self, now: u64) -> u64 {
        self.down_at = self.down_at.max(now + self.delay).max(self.stalled_until);
        self.down_at
    }

    /// Nobody is at either end.
    pub(crate) fn is_over(&self) -> bool {
        self.client_left && self.server.has_left
    }
}
