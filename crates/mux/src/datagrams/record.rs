//! What became of each message that is repaired.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::ENTRY;
use crate::MuxStats;

/// One message that was sent and has a number.
#[derive(Debug)]
pub(super) struct Record {
    /// `None`: nothing can be sent again, only the outcome is of interest.
    pub(super) payload: Option<Bytes>,
    pub(super) expires: Instant,
    /// Copies that were sent and are neither acknowledged nor lost.
    pub(super) under_way: u16,
    /// Copies that wait to be sent.
    pub(super) planned: u16,
    is_settled: bool,
}

impl Record {
    pub(super) fn new(payload: Bytes, expires: Instant) -> Self {
        Self { payload: Some(payload), expires, under_way: 1, planned: 0, is_settled: false }
    }

    /// Whether a copy that is sent now can arrive before the message expires.
    pub(super) fn is_worth_sending(&self, now: Instant, way: Duration) -> bool {
        self.payload.is_some() && now + way < self.expires
    }
}

/// How a message ended that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    InTime,
    Late,
    Lost,
}

/// The messages that are not decided, in the order of their numbers, and decided ones between
/// them.
#[derive(Debug, Default)]
pub(super) struct Records {
    ring: VecDeque<Record>,
    /// The number of the first.
    base: u64,
    /// Below it no record has its payload any more.
    released: u64,
    /// Bytes of the payloads, with what each counts beyond.
    held: usize,
}

impl Records {
    /// The number of the next message.
    pub(super) fn next(&self) -> u64 {
        self.base + self.ring.len() as u64
    }

    /// How many numbers there are from the first undecided message on.
    pub(super) fn undecided(&self) -> u64 {
        self.ring.len() as u64
    }

    /// Remembers the next message; answers its number.
    pub(super) fn push(&mut self, record: Record) -> u64 {
        let sequence = self.next();
        self.held += cost(&record);
        self.ring.push_back(record);
        sequence
    }

    /// The message, if it is undecided.
    pub(super) fn get(&mut self, sequence: u64) -> Option<&mut Record> {
        let index = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        self.ring.get_mut(index).filter(|record| !record.is_settled)
    }

    /// Decides about a message and counts it; what was decided before stays so.
    pub(super) fn settle(&mut self, sequence: u64, outcome: Outcome, stats: &mut MuxStats) {
        let Some(record) = self.get(sequence) else { return };
        record.is_settled = true;
        let freed = release(record);
        self.held -= freed;
        match outcome {
            Outcome::InTime => stats.datagrams_in_time += 1,
            Outcome::Late => stats.datagrams_late += 1,
            Outcome::Lost => stats.datagrams_lost += 1,
        }
        while self.ring.front().is_some_and(|record| record.is_settled) {
            self.ring.pop_front();
            self.base += 1;
        }
    }

    /// Gives up the payload of the oldest message that has one; answers whether there was one.
    pub(super) fn release_oldest(&mut self) -> bool {
        self.released = self.released.max(self.base);
        while let Some(record) =
            usize::try_from(self.released - self.base).ok().and_then(|at| self.ring.get_mut(at))
        {
            self.released += 1;
            let freed = release(record);
            self.held -= freed;
            if freed > 0 {
                return true;
            }
        }
        false
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn memory(&self) -> usize {
        self.held + self.ring.capacity() * size_of::<Record>()
    }
}

fn cost(record: &Record) -> usize {
    record.payload.as_ref().map_or(0, |payload| payload.len() + ENTRY)
}

fn release(record: &mut Record) -> usize {
    let freed = cost(record);
    record.payload = None;
    freed
}
