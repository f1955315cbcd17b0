//! Datagrams that arrived and wait for the application.

use std::{collections::VecDeque, mem::size_of};

use bytes::Bytes;

use super::{
    ENTRY,
    decoder::{Decoder, is_plausible},
    seen::Seen,
};
use crate::{
    MuxStats,
    frame::{DatagramCopy, RepairHeader},
};

/// Datagrams that arrived and wait for the application.
#[derive(Debug)]
pub(crate) struct DatagramReceiver {
    waiting: VecDeque<Bytes>,
    held: usize,
    queue_max: usize,
    seen: Option<Box<Seen>>,
    /// Once a parity has come.
    decoder: Option<Box<Decoder>>,
}

impl DatagramReceiver {
    pub(crate) fn new(queue_max: u32) -> Self {
        Self {
            waiting: VecDeque::new(),
            held: 0,
            queue_max: queue_max as usize,
            seen: None,
            decoder: None,
        }
    }

    /// Takes a datagram; the oldest give way. Answers whether there is something new.
    pub(crate) fn push(
        &mut self,
        copy: Option<DatagramCopy>,
        data: &[u8],
        stats: &mut MuxStats,
    ) -> bool {
        let Some(copy) = copy else {
            self.keep(Bytes::copy_from_slice(data), stats);
            return true;
        };
        let seen = self.seen.get_or_insert_default();
        let sequence = seen.expand(copy.sequence);
        if !seen.insert(sequence) {
            stats.datagrams_duplicate += 1;
            return false;
        }
        stats.datagrams_repaired += u64::from(copy.repeated);
        let payload = Bytes::copy_from_slice(data);
        if let Some(decoder) = &mut self.decoder {
            decoder.on_message(sequence, payload.clone());
        }
        self.keep(payload, stats);
        self.recover(sequence, stats);
        true
    }

    /// Takes a parity over messages of at most `datagram_max` bytes; answers whether a message
    /// that was missing has come of it.
    pub(crate) fn on_repair(
        &mut self,
        header: RepairHeader,
        data: &[u8],
        datagram_max: usize,
        stats: &mut MuxStats,
    ) -> bool {
        if !is_plausible(data.len(), datagram_max) {
            return false;
        }
        let first = self.seen.get_or_insert_default().expand(header.first);
        self.decoder.get_or_insert_default().on_parity(first, header, data);
        self.recover(first, stats)
    }

    /// Hands out what can be computed in the group of `sequence`.
    fn recover(&mut self, sequence: u64, stats: &mut MuxStats) -> bool {
        let Some(decoder) = &mut self.decoder else { return false };
        let mut is_new = false;
        for (sequence, payload) in decoder.recover(sequence) {
            // It may have come and been forgotten since.
            if self.seen.get_or_insert_default().insert(sequence) {
                stats.datagrams_repaired += 1;
                self.keep(payload, stats);
                is_new = true;
            }
        }
        is_new
    }

    fn keep(&mut self, payload: Bytes, stats: &mut MuxStats) {
        stats.datagrams_received += 1;
        self.held += payload.len() + ENTRY;
        self.waiting.push_back(payload);
        while self.held > self.queue_max && self.pop().is_some() {
            stats.datagrams_dropped += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let first = self.waiting.pop_front()?;
        self.held -= first.len() + ENTRY;
        Some(first)
    }

    pub(crate) fn memory(&self) -> usize {
        self.held
            + self.seen.as_ref().map_or(0, |_| size_of::<Seen>())
            + self.decoder.as_ref().map_or(0, |decoder| decoder.memory())
    }
}
