//! Messages that may be lost: the queue of those to send and the queue of those received.

use std::{
    collections::{BTreeMap, VecDeque},
    mem::size_of,
    time::Instant,
};

use bytes::Bytes;

use crate::{
    MuxStats,
    frame::{DatagramCopy, datagram_overhead, put_datagram_header},
};

/// What a queue counts for one datagram beyond its bytes, so that empty ones are bounded too.
const ENTRY: usize = 128;

/// Numbers that the receiver remembers below the highest; the sender repairs no older ones.
const REMEMBERED: u64 = 64 * (WORDS as u64 - 1);

#[derive(Debug)]
struct Waiting {
    payload: Bytes,
    repair: Option<Repair>,
}

/// A datagram that is repaired until it expires.
#[derive(Debug, Clone, Copy)]
struct Repair {
    sequence: u64,
    expires: Instant,
    repeated: bool,
}

#[derive(Debug)]
struct Kept {
    payload: Bytes,
    expires: Instant,
}

/// Datagrams to send, and those sent ones that may have to be sent again.
#[derive(Debug)]
pub(crate) struct DatagramSender {
    waiting: VecDeque<Waiting>,
    kept: BTreeMap<u64, Kept>,
    held: usize,
    queue_max: usize,
    next_sequence: u64,
}

impl DatagramSender {
    pub(crate) fn new(queue_max: u32) -> Self {
        Self {
            waiting: VecDeque::new(),
            kept: BTreeMap::new(),
            held: 0,
            queue_max: queue_max as usize,
            next_sequence: 0,
        }
    }

    /// Queues `payload`; the oldest give way, those first that were sent already.
    pub(crate) fn push(&mut self, payload: Bytes, expires: Option<Instant>, stats: &mut MuxStats) {
        let repair = expires.map(|expires| {
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            Repair { sequence, expires, repeated: false }
        });
        self.held += payload.len() + ENTRY;
        stats.datagram_bytes_queued += payload.len() as u64;
        self.waiting.push_back(Waiting { payload, repair });
        while self.held > self.queue_max && self.drop_oldest(stats) {}
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts the first datagram into `out` if it fits into `room` bytes; expired ones, and those
    /// longer than `payload_max`, are dropped on the way. Answers its number, if it has one.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        (room, payload_max): (usize, usize),
        stats: &mut MuxStats,
    ) -> Option<Option<u64>> {
        let next = loop {
            let next = self.waiting.front()?;
            let expired = next.repair.is_some_and(|repair| repair.expires <= now);
            if !expired && next.payload.len() <= payload_max {
                break next;
            }
            stats.datagrams_expired += u64::from(expired);
            stats.datagrams_dropped += u64::from(!expired);
            self.pop(stats);
        };
        let sequence = next.repair.map(|repair| repair.sequence);
        if datagram_overhead(sequence, next.payload.len()) + next.payload.len() > room {
            return None;
        }
        let Waiting { payload, repair } = self.pop(stats)?;
        let copy =
            repair.map(|Repair { sequence, repeated, .. }| DatagramCopy { sequence, repeated });
        put_datagram_header(out, copy, payload.len());
        out.extend_from_slice(&payload);
        if !repair.is_some_and(|repair| repair.repeated) {
            stats.datagrams_sent += 1;
        }
        if let Some(Repair { sequence, expires, .. }) = repair {
            self.held += payload.len() + ENTRY;
            self.kept.insert(sequence, Kept { payload, expires });
        }
        Some(sequence)
    }

    pub(crate) fn on_acked(&mut self, sequence: u64, stats: &mut MuxStats) {
        match self.kept.remove(&sequence) {
            Some(kept) => self.held -= kept.payload.len() + ENTRY,
            None => self.take_back(sequence, stats),
        }
    }

    /// Takes a repetition back that waits: the datagram was not lost after all.
    fn take_back(&mut self, sequence: u64, stats: &mut MuxStats) {
        let mut repeated = self.waiting.iter().map_while(|waiting| {
            waiting.repair.filter(|repair| repair.repeated).map(|repair| repair.sequence)
        });
        if let Some(place) = repeated.position(|other| other == sequence)
            && let Some(waiting) = self.waiting.remove(place)
        {
            self.held -= waiting.payload.len() + ENTRY;
            stats.datagram_bytes_queued -= waiting.payload.len() as u64;
        }
    }

    /// Queues the datagram again, before all others, unless its time has passed.
    pub(crate) fn on_lost(&mut self, now: Instant, sequence: u64, stats: &mut MuxStats) {
        let Some(Kept { payload, expires }) = self.kept.remove(&sequence) else { return };
        if expires <= now || sequence + REMEMBERED <= self.next_sequence {
            self.held -= payload.len() + ENTRY;
            stats.datagrams_expired += u64::from(expires <= now);
            return;
        }
        stats.datagram_bytes_queued += payload.len() as u64;
        let repair = Some(Repair { sequence, expires, repeated: true });
        self.waiting.push_front(Waiting { payload, repair });
    }

    pub(crate) fn memory(&self) -> usize {
        self.held + self.waiting.capacity() * size_of::<Waiting>()
    }

    fn drop_oldest(&mut self, stats: &mut MuxStats) -> bool {
        if let Some((_, kept)) = self.kept.pop_first() {
            self.held -= kept.payload.len() + ENTRY;
            return true;
        }
        let dropped = self.pop(stats).is_some();
        stats.datagrams_dropped += u64::from(dropped);
        dropped
    }

    fn pop(&mut self, stats: &mut MuxStats) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.held -= first.payload.len() + ENTRY;
        stats.datagram_bytes_queued -= first.payload.len() as u64;
        Some(first)
    }
}

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
        if let Some(copy) = copy
            && !self.seen.get_or_insert_default().insert(copy.sequence)
        {
            stats.datagrams_duplicate += 1;
            return false;
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

/// The numbers that came: one bit each for the highest and at least `REMEMBERED` below it.
#[derive(Debug)]
struct Seen {
    /// Index of the word that holds the highest number.
    last: u64,
    words: [u64; WORDS],
}

const WORDS: usize = 65;

impl Default for Seen {
    fn default() -> Self {
        Self { last: 0, words: [0; WORDS] }
    }
}

impl Seen {
    /// Answers whether `sequence` is new; what is too old to know counts as seen.
    fn insert(&mut self, sequence: u64) -> bool {
        let word = sequence / 64;
        if word + WORDS as u64 <= self.last {
            return false;
        }
        if word >= self.last + WORDS as u64 {
            self.words.fill(0);
        } else {
            for passed in self.last + 1..=word {
                self.words[Self::slot(passed)] = 0;
            }
        }
        self.last = self.last.max(word);
        let bit = 1 << (sequence % 64);
        let known = self.words[Self::slot(word)] & bit != 0;
        self.words[Self::slot(word)] |= bit;
        !known
    }

    #[expect(clippy::cast_possible_truncation, reason = "below the number of words")]
    const fn slot(word: u64) -> usize {
        (word % WORDS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_new_exactly_once(steps in prop::collection::vec(0..10_000_u64, 0..400)) {
            let (mut seen, mut model, mut highest) = (Seen::default(), HashSet::new(), 0);
            for sequence in steps {
                let new = seen.insert(sequence);
                if sequence + REMEMBERED >= highest {
                    prop_assert_eq!(new, model.insert(sequence));
                } else {
                    prop_assert!(!new || model.insert(sequence));
                }
                highest = highest.max(sequence);
            }
        }
    }

    #[test]
    fn the_largest_number_is_taken() {
        let mut seen = Seen::default();
        assert!(seen.insert(crate::VARINT_MAX));
        assert!(!seen.insert(crate::VARINT_MAX));
        assert!(!seen.insert(0));
    }
}
