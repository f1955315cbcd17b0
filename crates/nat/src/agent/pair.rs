//! One socket of ours, one address of theirs, and what is known about the way between them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::SocketId;
use crate::{candidate::CandidateKind, limits::Limits, stun::TransactionId};

/// Checks of one pair whose answers are still awaited; of more, the oldest is forgotten.
const IN_FLIGHT_MAX: usize = 4;

/// What is known of a pair (RFC 8445 §6.1.2.6, without `Frozen`: there is one stream).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Being tried.
    Checking,
    /// An answer came.
    Working,
    /// No answer came.
    Failed,
}

/// A check under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) transaction: TransactionId,
    pub(super) at: Instant,
    /// The nomination that it carries; 0: none.
    pub(super) nomination: u32,
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) socket: SocketId,
    pub(super) remote: SocketAddr,
    pub(super) kind: CandidateKind,
    pub(super) priority: u32,
    pub(super) state: State,
    /// Checks since the last answer.
    pub(super) unanswered: u32,
    /// An authentic check came from there.
    pub(super) heard: bool,
    /// The last answer.
    pub(super) answered_at: Option<Instant>,
    /// The next check; `None`: not by itself.
    pub(super) next_at: Option<Instant>,
    /// Waits in the queue of checks that go out at once.
    pub(super) is_triggered: bool,
    /// The nomination that the controlling agent asked for; 0: none.
    pub(super) wanted: u32,
    pub(super) rtt: Duration,
    /// As which the other one sees us on this way.
    pub(super) mapped: Option<SocketAddr>,
    wait: Duration,
    in_flight: [Option<Sent>; IN_FLIGHT_MAX],
    next_slot: usize,
}

/// What tells pairs apart before anything is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) socket: SocketId,
    pub(super) remote: SocketAddr,
    pub(super) kind: CandidateKind,
    pub(super) priority: u32,
}

impl Pair {
    pub(super) fn new(seen: Seen, now: Instant, first_wait: Duration) -> Self {
        Self {
            socket: seen.socket,
            remote: seen.remote,
            kind: seen.kind,
            priority: seen.priority,
            state: State::Checking,
            unanswered: 0,
            heard: false,
            answered_at: None,
            next_at: Some(now),
            is_triggered: false,
            wanted: 0,
            rtt: Duration::ZERO,
            mapped: None,
            wait: first_wait,
            in_flight: [None; IN_FLIGHT_MAX],
            next_slot: 0,
        }
    }

    pub(super) fn is_between(&self, socket: SocketId, remote: SocketAddr) -> bool {
        self.socket == socket && self.remote == remote
    }

    /// Whether nothing has been sent on it yet.
    pub(super) fn is_new(&self) -> bool {
        self.unanswered == 0 && self.answered_at.is_none()
    }

    /// Whether one more check may go to an address that does not answer. Who has sent us authentic
    /// checks gets twice as many: replayed ones do not make it endless.
    pub(super) fn has_budget(&self, limits: &Limits) -> bool {
        let max = limits.unanswered_per_address;
        self.unanswered < if self.heard { max * 2 } else { max }
    }

    /// Tries it anew, now.
    pub(super) fn revive(&mut self, now: Instant, first_wait: Duration) {
        self.state = State::Checking;
        self.next_at = Some(now);
        self.wait = first_wait;
        self.wanted = 0;
        if self.answered_at.is_some() {
            self.unanswered = 0;
        }
    }

    /// Notes a check that goes out now, and when to repeat it.
    pub(super) fn on_sent(&mut self, sent: Sent, longest_wait: Duration) {
        self.unanswered += 1;
        self.next_at = Some(sent.at + self.wait);
        self.wait = (self.wait * 2).min(longest_wait);
        self.in_flight[self.next_slot] = Some(sent);
        self.next_slot = (self.next_slot + 1) % IN_FLIGHT_MAX;
    }

    /// Asks at `at`, and if that is not answered, soon again.
    pub(super) fn ask(&mut self, at: Instant, first_wait: Duration) {
        self.next_at = Some(at);
        self.wait = first_wait;
    }

    /// The check that this transaction belongs to; each is answered once.
    pub(super) fn take_sent(&mut self, transaction: TransactionId) -> Option<Sent> {
        let is_it = |sent: &Option<Sent>| sent.is_some_and(|sent| sent.transaction == transaction);
        self.in_flight.iter_mut().find(|sent| is_it(sent))?.take()
    }

    pub(super) fn awaits(&self, transaction: TransactionId) -> bool {
        self.in_flight.iter().flatten().any(|sent| sent.transaction == transaction)
    }

    pub(super) fn on_answer(&mut self, now: Instant, sent: Sent, mapped: Option<SocketAddr>) {
        self.state = State::Working;
        self.unanswered = 0;
        self.answered_at = Some(now);
        self.next_at = None;
        self.rtt = now.saturating_duration_since(sent.at);
        self.mapped = mapped;
    }
}
