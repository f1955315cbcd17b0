//! One client's connection as the core sees it.

use std::{collections::BTreeMap, time::Instant};

use portolan_protocol::{DeviceId, LoginAttempt, MessageId};

use super::{Remote, rates::TokenBucket};
use crate::{config::Limits, store::UserId};

/// A client from its connection to its end.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) remote: Remote,
    pub(super) has_admin_right: bool,
    /// It is counted with its address until it logs in.
    pub(super) is_stranger: bool,
    pub(super) said_hello: bool,
    pub(super) login: LoginState,
    /// The device that the login named; none: it stands alone.
    pub(super) device: Option<DeviceId>,
    /// Which of its client's logins it is.
    pub(super) attempt: Option<LoginAttempt>,
    /// Relays that it is in by a pass.
    pub(super) relays: u32,
    /// Whether it was in any.
    pub(super) is_guest: bool,
    /// Until when it has to log in.
    pub(super) login_deadline: Option<Instant>,
    /// Whether the client keeps showing signs of life while it is in a conversation.
    pub(super) is_attentive: bool,
    /// When it was last heard, as far as that matters.
    pub(super) heard: Instant,
    /// When it is looked at whether it was.
    pub(super) silent_at: Option<Instant>,
    pub(super) commands: TokenBucket,
    pub(super) garbage: u32,
    /// Answers that said: too much, or no right.
    pub(super) refusals: u32,
    pub(super) inbox: Inbox,
}

/// How far a session's login has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginState {
    /// No name asked for.
    None,
    /// A new name is on its way into the store.
    Saving(UserId),
    /// Logged in.
    Done(UserId),
}

/// Which messages a session has been sent, and which it has not confirmed yet.
///
/// Messages reach a session in order of their ids: straight from the sender while the session
/// keeps up, else page by page from the mailbox, as confirmations make room. Either way at most a
/// window of messages is on its way to a slow client.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// The last message sent.
    cursor: MessageId,
    /// Sent and not confirmed, with the bytes of each.
    in_flight: BTreeMap<MessageId, u64>,
    in_flight_bytes: u64,
    /// A page is on its way from the store.
    is_loading: bool,
    /// Messages behind the cursor wait in the mailbox.
    is_behind: bool,
}

/// What a page from the mailbox may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) after: MessageId,
    pub(super) messages: usize,
    pub(super) bytes: u64,
}

impl Inbox {
    /// Begins with what waits.
    pub(super) fn start(&mut self) {
        self.is_behind = true;
    }

    /// Whether a message that has just been stored may be sent at once; if so it is noted as
    /// sent, if not it will come from the mailbox.
    pub(super) fn admit(&mut self, id: MessageId, bytes: u64, limits: &Limits) -> bool {
        if self.is_loading || self.is_behind || !self.has_room(limits) {
            self.is_behind = true;
            return false;
        }
        self.note_sent(id, bytes);
        true
    }

    /// The page to be loaded now, if one is due.
    pub(super) fn poll_load(&mut self, limits: &Limits) -> Option<Room> {
        if !self.is_behind || self.is_loading || !self.has_room(limits) {
            return None;
        }
        self.is_behind = false;
        self.is_loading = true;
        Some(Room {
            after: self.cursor,
            messages: limits.window_messages - self.in_flight.len(),
            bytes: limits.window_bytes - self.in_flight_bytes,
        })
    }

    /// A page has come, and whether there is more behind it.
    pub(super) fn on_page(&mut self, more: bool) {
        self.is_loading = false;
        self.is_behind |= more;
    }

    /// A message of a page; `false`: it was sent before.
    pub(super) fn on_loaded(&mut self, id: MessageId, bytes: u64) -> bool {
        let is_new = id > self.cursor;
        if is_new {
            self.note_sent(id, bytes);
        }
        is_new
    }

    /// The client has confirmed a message.
    pub(super) fn confirm(&mut self, id: MessageId) {
        if let Some(bytes) = self.in_flight.remove(&id) {
            self.in_flight_bytes -= bytes;
        }
    }

    /// The mailbox was thrown away.
    pub(super) fn confirm_all(&mut self) {
        self.in_flight.clear();
        self.in_flight_bytes = 0;
    }

    fn has_room(&self, limits: &Limits) -> bool {
        self.in_flight.len() < limits.window_messages && self.in_flight_bytes < limits.window_bytes
    }

    fn note_sent(&mut self, id: MessageId, bytes: u64) {
        self.cursor = id;
        self.in_flight.insert(id, bytes);
        self.in_flight_bytes += bytes;
    }
}
