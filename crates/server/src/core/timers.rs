//! Deadlines of the core, with their reasons.

use std::{collections::BTreeSet, time::Instant};

use super::SessionId;
use crate::store::UserId;

/// Why the core wants to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A client has not logged in.
    Login(SessionId),
    /// A client in a conversation should have been heard.
    Silence(SessionId),
    /// A request for a conversation lapses.
    Request {
        /// Who asked.
        asker: UserId,
        /// Who was asked.
        asked: UserId,
    },
    /// Old marks in the store are to be forgotten.
    Purge,
}

/// When the core wants to be called, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// Why.
    pub why: Timer,
}

/// All deadlines, the next one first.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Instant, Timer)>);

impl Timers {
    pub(super) fn start(&mut self, at: Instant, why: Timer) {
        self.0.insert((at, why));
    }

    pub(super) fn stop(&mut self, at: Instant, why: Timer) {
        self.0.remove(&(at, why));
    }

    pub(super) fn next(&self) -> Option<Deadline> {
        self.0.first().map(|&(at, why)| Deadline { at, why })
    }

    /// Takes the next deadline that has passed.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        self.next().filter(|deadline| deadline.at <= now)?;
        self.0.pop_first().map(|(_, why)| why)
    }
}
