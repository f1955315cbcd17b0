//! Datagrams to send, in the order in which they came.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    ENTRY,
    repairer::{Carrier, Repairer},
};
use crate::{
    MuxStats, Sending, SentFrame,
    frame::{DatagramCopy, SEQUENCE_SPACE, datagram_overhead, put_datagram_header},
};

#[derive(Debug)]
struct Waiting {
    payload: Bytes,
    expires: Option<Instant>,
}

/// Datagrams to send, and those sent ones that may have to be sent again.
#[derive(Debug)]
pub(crate) struct DatagramSender {
    waiting: VecDeque<Waiting>,
    waiting_held: usize,
    queue_max: usize,
    redundancy_percent: u32,
    carrier: Carrier,
    /// Once a message with a deadline was sent.
    repairer: Option<Box<Repairer>>,
}

/// Where a datagram goes: the end of a packet under construction.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) now: Instant,
    pub(crate) out: &'a mut Vec<u8>,
    /// Bytes that `out` may still grow by.
    pub(crate) room: usize,
    /// Longest datagram that fits into an empty packet.
    pub(crate) payload_max: usize,
    /// Nothing else has been put into the packet.
    pub(crate) is_first: bool,
}

impl DatagramSender {
    pub(crate) fn new(queue_max: u32, redundancy_percent: u32) -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_held: 0,
            queue_max: queue_max as usize,
            redundancy_percent,
            carrier: Carrier::default(),
            repairer: None,
        }
    }

    /// The carrier loses packets, and each costs so many bytes beside its frames.
    pub(crate) fn set_packet_overhead(&mut self, bytes: usize) {
        self.carrier.packet_overhead = Some(bytes);
        self.tell_repairer();
    }

    pub(crate) fn on_round_trip(&mut self, shortest: Duration) {
        self.carrier.round_trip = Some(shortest);
        self.tell_repairer();
    }

    fn tell_repairer(&mut self) {
        if let Some(repairer) = &mut self.repairer {
            repairer.carrier = self.carrier;
        }
    }

    /// Queues `payload`; the oldest give way, those first that were sent already.
    pub(crate) fn push(&mut self, payload: Bytes, expires: Option<Instant>, stats: &mut MuxStats) {
        self.waiting_held += payload.len() + ENTRY;
        stats.datagram_bytes_queued += payload.len() as u64;
        self.waiting.push_back(Waiting { payload, expires });
        while self.held() > self.queue_max && self.drop_oldest(stats) {}
    }

    /// Whether nothing must be sent now.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.repairer.as_ref().is_none_or(|repairer| repairer.is_idle())
    }

    /// Whether what must be sent now begins with something that has a deadline.
    pub(crate) fn has_live(&self) -> bool {
        match self.waiting.front() {
            Some(first) => first.expires.is_some(),
            None => !self.is_idle(),
        }
    }

    /// Whether [`Self::poll`] has nothing for any packet, copies in advance included.
    pub(crate) fn is_still(&self) -> bool {
        self.is_idle() && self.poll_timeout().is_none()
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.repairer.as_ref().and_then(|repairer| repairer.poll_timeout())
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(repairer) = &mut self.repairer {
            repairer.handle_timeout(now);
        }
    }

    /// Puts the next datagram into `place` if one fits: lost ones that can still come in time
    /// first, copies in advance last.
    pub(crate) fn poll(
        &mut self,
        place: &mut Place<'_>,
        stats: &mut MuxStats,
    ) -> Option<SentFrame> {
        let repair = self.repairer.as_mut().and_then(|repairer| repairer.poll_repair(place, stats));
        repair.or_else(|| self.poll_waiting(place, stats)).or_else(|| {
            let repairer = self.repairer.as_mut()?;
            repairer.poll_parity(place, stats).or_else(|| repairer.poll_planned(place, stats))
        })
    }

    /// A copy of a message arrived.
    pub(crate) fn on_acked(
        &mut self,
        now: Instant,
        sequence: u64,
        copy: Sending,
        stats: &mut MuxStats,
    ) {
        if let Some(repairer) = &mut self.repairer {
            repairer.on_acked(now, sequence, copy, stats);
        }
    }

    /// A copy of a message did not arrive.
    pub(crate) fn on_lost(
        &mut self,
        now: Instant,
        sequence: u64,
        copy: Sending,
        stats: &mut MuxStats,
    ) {
        if let Some(repairer) = &mut self.repairer {
            repairer.on_lost(now, sequence, copy, stats);
        }
    }

    /// A parity of the group that begins with `first` arrived.
    pub(crate) fn on_parity_acked(&mut self, now: Instant, first: u64, stats: &mut MuxStats) {
        if let Some(repairer) = &mut self.repairer {
            repairer.on_parity_acked(now, first, stats);
        }
    }

    /// A parity of the group that begins with `first` was lost.
    pub(crate) fn on_parity_lost(&mut self, now: Instant, first: u64, stats: &mut MuxStats) {
        if let Some(repairer) = &mut self.repairer {
            repairer.on_parity_lost(now, first, stats);
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.waiting_held
            + self.waiting.capacity() * size_of::<Waiting>()
            + self.repairer.as_ref().map_or(0, |repairer| repairer.memory())
    }

    fn held(&self) -> usize {
        self.waiting_held + self.repairer.as_ref().map_or(0, |repairer| repairer.records.held())
    }

    fn poll_waiting(&mut self, place: &mut Place<'_>, stats: &mut MuxStats) -> Option<SentFrame> {
        loop {
            let next = self.waiting.front()?;
            let expired = next.expires.is_some_and(|expires| expires <= place.now);
            if !expired && next.payload.len() <= place.payload_max {
                break;
            }
            stats.datagrams_expired += u64::from(expired);
            stats.datagrams_dropped += u64::from(!expired);
            self.pop(stats);
        }
        let next = self.waiting.front()?;
        let sequence = match (next.expires, &self.repairer) {
            (None, _) => None,
            (Some(_), None) => Some(0),
            (Some(_), Some(repairer)) => repairer.next_sequence(),
        };
        let bytes = put(place, sequence.map(|sequence| (sequence, Sending::First)), &next.payload)?;
        let Waiting { payload, expires } = self.pop(stats)?;
        stats.datagrams_sent += 1;
        let (Some(expires), Some(_)) = (expires, sequence) else {
            return Some(SentFrame::Datagram);
        };
        let (carrier, percent) = (self.carrier, self.redundancy_percent);
        let new = || Box::new(Repairer::new(carrier, percent));
        let repairer = self.repairer.get_or_insert_with(new);
        let sequence = repairer.on_first_sent(place, (payload, expires), bytes);
        Some(SentFrame::RepairableDatagram { sequence, copy: Sending::First })
    }

    fn drop_oldest(&mut self, stats: &mut MuxStats) -> bool {
        if self.repairer.as_mut().is_some_and(|repairer| repairer.records.release_oldest()) {
            return true;
        }
        let dropped = self.pop(stats).is_some();
        stats.datagrams_dropped += u64::from(dropped);
        dropped
    }

    fn pop(&mut self, stats: &mut MuxStats) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.waiting_held -= first.payload.len() + ENTRY;
        stats.datagram_bytes_queued -= first.payload.len() as u64;
        Some(first)
    }
}

/// Appends a frame if it fits; answers its bytes.
pub(super) fn put(
    place: &mut Place<'_>,
    copy: Option<(u64, Sending)>,
    payload: &Bytes,
) -> Option<usize> {
    let copy = copy.map(|(sequence, sending)| DatagramCopy {
        sequence: sequence % SEQUENCE_SPACE,
        repeated: sending == Sending::Repeated,
    });
    let bytes = datagram_overhead(copy.map(|copy| copy.sequence), payload.len()) + payload.len();
    if bytes > place.room {
        return None;
    }
    put_datagram_header(place.out, copy, payload.len());
    place.out.extend_from_slice(payload);
    Some(bytes)
}
