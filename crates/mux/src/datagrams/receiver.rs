//! Datagrams that arrived and wait for the application.

use std::{collections::VecDeque, mem::size_of};

use bytes::Bytes;

use super::{ENTRY, seen::Seen};
use crate::{MuxStats, frame::DatagramCopy};

/// Datagrams that arrived and wait for the application.
#[derive(Debug)]
pub(crate) struct DatagramReceiver {
    waiting: VecDeque<Bytes>,
    held: usize,
    queue_max: usize,
    seen: Option<Box<Seen>>,
}

impl DatagramReceiver {
    pub(crate) fn new(queue_max: u32) -> Self {
        Self { waiting: VecDeque::new(), held: 0, queue_max: queue_max as usize, seen: None }
    }

    /// Takes a datagram; the oldest give way. Answers whether it is new.
    pub(crate) fn push(
        &mut self,
        copy: Option<DatagramCopy>,
        data: &[u8],
        stats: &mut MuxStats,
    ) -> bool {
        if let Some(copy) = copy {
            let seen = self.seen.get_or_insert_default();
            if !seen.insert(seen.expand(copy.sequence)) {
                stats.datagrams_duplicate += 1;
                return false;
            }
        }
        stats.datagrams_received += 1;
        stats.datagrams_repaired += u64::from(copy.is_some_and(|copy| copy.repeated));
        self.held += data.len() + ENTRY;
        self.waiting.push_back(Bytes::copy_from_slice(data));
        while self.held > self.queue_max && self.pop().is_some() {
            stats.datagrams_dropped += 1;
        }
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let first = self.waiting.pop_front()?;
        self.held -= first.len() + ENTRY;
        Some(first)
    }

    pub(crate) fn memory(&self) -> usize {
        self.held + self.seen.as_ref().map_or(0, |_| size_of::<Seen>())
    }
}
