//! The receiving side of parities: the last messages and parities, and what can be computed from
//! them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::code::{LENGTH, MEMBERS_MAX, PARITIES_MAX, recover};
use crate::frame::RepairHeader;

/// Messages that are kept to compute lost ones from.
const KEPT_MAX: usize = 64;

/// Parities that are kept until they can be of use.
const PARITIES_KEPT_MAX: usize = 16;

/// Bytes of both that are kept, with what each counts beyond.
pub(crate) const DECODER_BYTES_MAX: usize = 128 << 10;

/// What each counts beyond its bytes.
const ENTRY: usize = 64;

/// The last messages and parities. It exists once a parity has come, and not before.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    kept: VecDeque<(u64, Bytes)>,
    parities: VecDeque<Parity>,
    bytes: usize,
}

#[derive(Debug)]
struct Parity {
    /// The number of the group's first message.
    first: u64,
    members: u8,
    index: u8,
    bytes: Bytes,
}

impl Parity {
    fn covers(&self, sequence: u64) -> bool {
        (self.first..self.first + u64::from(self.members)).contains(&sequence)
    }
}

impl Decoder {
    /// Keeps a message that arrived.
    pub(super) fn on_message(&mut self, sequence: u64, payload: Bytes) {
        self.bytes += payload.len() + ENTRY;
        self.kept.push_back((sequence, payload));
        self.trim();
    }

    /// Keeps a parity of the group whose first message has the number `first`.
    pub(super) fn on_parity(&mut self, first: u64, header: RepairHeader, bytes: &[u8]) {
        let RepairHeader { members, index, .. } = header;
        if self.parities.iter().any(|known| known.first == first && known.index == index) {
            return;
        }
        let bytes = Bytes::copy_from_slice(bytes);
        self.bytes += bytes.len() + ENTRY;
        self.parities.push_back(Parity { first, members, index, bytes });
        self.trim();
    }

    /// Messages of the group of `sequence` that were missing and can be computed now.
    pub(super) fn recover(&mut self, sequence: u64) -> Vec<(u64, Bytes)> {
        let Some(group) = self.parities.iter().find(|parity| parity.covers(sequence)) else {
            return Vec::new();
        };
        let (first, members) = (group.first, group.members);
        let same = |parity: &&Parity| parity.first == first && parity.members == members;
        let numbers = first..first + u64::from(members);
        let place = |sequence: u64| usize::try_from(sequence - first).unwrap_or(MEMBERS_MAX);
        let mut there: [Option<&[u8]>; MEMBERS_MAX] = [None; MEMBERS_MAX];
        for (sequence, payload) in self.kept.iter().filter(|(kept, _)| numbers.contains(kept)) {
            if let Some(slot) = there.get_mut(place(*sequence)) {
                *slot = Some(payload);
            }
        }
        let there = there.get(..members.into()).unwrap_or_default();
        let missing: Vec<usize> = (0..there.len()).filter(|&at| there[at].is_none()).collect();
        let parities: Vec<_> = self.parities.iter().filter(same).collect();
        if missing.len() > parities.len().min(PARITIES_MAX) {
            return Vec::new();
        }
        let rows: Vec<_> = parities.iter().map(|p| (usize::from(p.index), &p.bytes[..])).collect();
        let present: Vec<_> =
            there.iter().enumerate().filter_map(|(at, payload)| Some((at, (*payload)?))).collect();
        let found = recover(&present, &missing, &rows).unwrap_or_default();
        let found: Vec<_> = missing
            .iter()
            .zip(found)
            .map(|(&at, payload)| (first + at as u64, Bytes::from(payload)))
            .collect();
        // Whatever came of it, the group has given all it can.
        self.forget(first);
        found
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes
            + self.kept.capacity() * size_of::<(u64, Bytes)>()
            + self.parities.capacity() * size_of::<Parity>()
    }

    fn forget(&mut self, first: u64) {
        let before: usize = self.parities.iter().map(|parity| parity.bytes.len() + ENTRY).sum();
        self.parities.retain(|parity| parity.first != first);
        let after: usize = self.parities.iter().map(|parity| parity.bytes.len() + ENTRY).sum();
        self.bytes -= before - after;
    }

    fn trim(&mut self) {
        while self.parities.len() > PARITIES_KEPT_MAX
            || self.bytes > DECODER_BYTES_MAX && self.kept.is_empty()
        {
            let Some(oldest) = self.parities.pop_front() else { return };
            self.bytes -= oldest.bytes.len() + ENTRY;
        }
        while self.kept.len() > KEPT_MAX || self.bytes > DECODER_BYTES_MAX {
            let Some((_, oldest)) = self.kept.pop_front() else { return };
            self.bytes -= oldest.len() + ENTRY;
        }
    }
}

/// Whether a parity of this length can belong to messages of at most `payload_max` bytes.
pub(super) const fn is_plausible(len: usize, payload_max: usize) -> bool {
    len >= LENGTH && len <= LENGTH + payload_max
}
