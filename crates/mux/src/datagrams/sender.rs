//! Datagrams to send, and those sent ones that may have to be sent again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    ENTRY, UNDECIDED_MAX,
    budget::Budget,
    plan::{Occasion, Planner, Wish},
    record::{Outcome, Record, Records},
};
use crate::{
    MuxStats, SentFrame,
    frame::{DatagramCopy, SEQUENCE_SPACE, datagram_overhead, put_datagram_header},
};

/// Copies that wait at once; with more, further messages get none.
const PLANNED_MAX: usize = 256;

/// The round trip before one was measured.
const ROUND_TRIP_ASSUMED: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Waiting {
    payload: Bytes,
    expires: Option<Instant>,
}

/// A copy in advance that waits for a packet.
#[derive(Debug, Clone, Copy)]
struct Planned {
    sequence: u64,
    /// From when on it may ride in a packet with other content.
    earliest: Instant,
    /// When it goes alone.
    latest: Instant,
}

/// Datagrams to send, and those sent ones that may have to be sent again.
#[derive(Debug)]
pub(crate) struct DatagramSender {
    waiting: VecDeque<Waiting>,
    waiting_held: usize,
    queue_max: usize,
    records: Records,
    newest_acked: Option<u64>,
    /// Lost messages to be sent again, by their numbers.
    repairs: VecDeque<u64>,
    planned: VecDeque<Planned>,
    /// The time of a planned copy has come.
    is_copy_due: bool,
    planner: Planner,
    budget: Budget,
    /// Bytes that each packet costs beside its frames; `None`: the carrier loses nothing.
    packet_overhead: Option<usize>,
    round_trip: Option<Duration>,
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
            records: Records::default(),
            newest_acked: None,
            repairs: VecDeque::new(),
            planned: VecDeque::new(),
            is_copy_due: false,
            planner: Planner::new(),
            budget: Budget::new(redundancy_percent),
            packet_overhead: None,
            round_trip: None,
        }
    }

    /// The carrier loses packets, and each costs so many bytes beside its frames.
    pub(crate) fn set_packet_overhead(&mut self, bytes: usize) {
        self.packet_overhead = Some(bytes);
    }

    pub(crate) fn on_round_trip(&mut self, shortest: Duration) {
        self.round_trip = Some(shortest);
    }

    /// Queues `payload`; the oldest give way, those first that were sent already.
    pub(crate) fn push(&mut self, payload: Bytes, expires: Option<Instant>, stats: &mut MuxStats) {
        self.waiting_held += payload.len() + ENTRY;
        stats.datagram_bytes_queued += payload.len() as u64;
        self.waiting.push_back(Waiting { payload, expires });
        while self.waiting_held + self.records.held() > self.queue_max && self.drop_oldest(stats) {}
    }

    /// Whether something must be sent now.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.repairs.is_empty() && !self.is_copy_due
    }

    /// When the next copy must go that has found no packet to ride in.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_copy_due {
            return None;
        }
        self.planned.iter().map(|planned| planned.latest).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.is_copy_due |= self.planned.iter().any(|planned| planned.latest <= now);
    }

    /// Puts the next datagram into `place` if one fits: lost ones that can still come in time
    /// first, copies in advance last.
    pub(crate) fn poll(
        &mut self,
        place: &mut Place<'_>,
        stats: &mut MuxStats,
    ) -> Option<SentFrame> {
        self.poll_repair(place, stats)
            .or_else(|| self.poll_waiting(place, stats))
            .or_else(|| self.poll_planned(place, stats))
    }

    /// A copy of a message arrived.
    pub(crate) fn on_acked(
        &mut self,
        now: Instant,
        sequence: u64,
        repeated: bool,
        stats: &mut MuxStats,
    ) {
        self.newest_acked = self.newest_acked.max(Some(sequence));
        if !repeated {
            self.planner.loss.on_arrived();
        }
        let way = self.way();
        let Some(record) = self.records.get(sequence) else { return };
        // The acknowledgement needed half a round trip at least.
        let in_time = now.checked_sub(way).is_none_or(|then| then <= record.expires);
        let outcome = if in_time { Outcome::InTime } else { Outcome::Late };
        self.records.settle(sequence, outcome, stats);
    }

    /// A copy of a message did not arrive: without another one under way it is sent again, if
    /// that can be in time.
    pub(crate) fn on_lost(
        &mut self,
        now: Instant,
        sequence: u64,
        repeated: bool,
        stats: &mut MuxStats,
    ) {
        if !repeated {
            self.planner.loss.on_lost(sequence);
        }
        let Some(record) = self.records.get(sequence) else { return };
        record.under_way = record.under_way.saturating_sub(1);
        self.repair_or_settle(now, sequence, stats);
    }

    pub(crate) fn memory(&self) -> usize {
        self.waiting_held
            + self.records.memory()
            + self.waiting.capacity() * size_of::<Waiting>()
            + self.planned.capacity() * size_of::<Planned>()
            + self.repairs.capacity() * size_of::<u64>()
    }

    /// Half of the shortest round trip: how long a packet takes, as far as can be told.
    fn way(&self) -> Duration {
        self.round_trip.unwrap_or_default() / 2
    }

    fn repair_or_settle(&mut self, now: Instant, sequence: u64, stats: &mut MuxStats) {
        let way = self.way();
        let Some(record) = self.records.get(sequence) else { return };
        if record.under_way > 0 || record.planned > 0 {
            return;
        }
        if record.is_worth_sending(now, way) {
            record.planned += 1;
            self.repairs.push_back(sequence);
        } else {
            self.records.settle(sequence, Outcome::Lost, stats);
        }
    }

    fn poll_repair(&mut self, place: &mut Place<'_>, stats: &mut MuxStats) -> Option<SentFrame> {
        while let Some(&sequence) = self.repairs.front() {
            match self.put_copy(sequence, place, stats) {
                Put::NoRoom => return None,
                Put::NotWorthIt => {
                    self.repairs.pop_front();
                }
                Put::Done(bytes) => {
                    self.repairs.pop_front();
                    self.budget.spend(bytes);
                    self.plan_copies(place.now, sequence, Occasion::Repair);
                    return Some(SentFrame::RepairableDatagram { sequence, repeated: true });
                }
            }
        }
        None
    }

    fn poll_planned(&mut self, place: &mut Place<'_>, stats: &mut MuxStats) -> Option<SentFrame> {
        let mut index = 0;
        while let Some(&Planned { sequence, earliest, .. }) = self.planned.get(index) {
            if earliest > place.now {
                index += 1;
                continue;
            }
            match self.put_copy(sequence, place, stats) {
                Put::NoRoom => index += 1,
                Put::NotWorthIt => drop(self.planned.remove(index)),
                Put::Done(_) => {
                    self.planned.remove(index);
                    if let (true, Some(overhead)) = (place.is_first, self.packet_overhead) {
                        self.budget.spend(overhead);
                    }
                    return Some(SentFrame::RepairableDatagram { sequence, repeated: true });
                }
            }
        }
        // What did not fit is due again in the next packet.
        self.is_copy_due = self.planned.iter().any(|planned| planned.latest <= place.now);
        None
    }

    /// Puts a further copy of a message into `place`.
    fn put_copy(&mut self, sequence: u64, place: &mut Place<'_>, stats: &mut MuxStats) -> Put {
        let way = self.way();
        let Some(record) = self.records.get(sequence) else { return Put::NotWorthIt };
        let payload = match &record.payload {
            Some(payload) if record.is_worth_sending(place.now, way) => payload,
            Some(_) | None => {
                record.planned -= 1;
                self.repair_or_settle(place.now, sequence, stats);
                return Put::NotWorthIt;
            }
        };
        if payload.len() > place.payload_max {
            record.planned -= 1;
            record.payload = None;
            self.repair_or_settle(place.now, sequence, stats);
            return Put::NotWorthIt;
        }
        let Some(bytes) = put(place, Some((sequence, true)), payload) else { return Put::NoRoom };
        record.planned -= 1;
        record.under_way += 1;
        stats.datagrams_repeated += 1;
        stats.datagram_bytes_repeated += bytes as u64;
        Put::Done(bytes)
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
        let sequence = self.next_sequence();
        let next = self.waiting.front()?;
        let sequence = next.expires.and(sequence);
        let bytes = put(place, sequence.map(|sequence| (sequence, false)), &next.payload)?;
        let Waiting { payload, expires } = self.pop(stats)?;
        stats.datagrams_sent += 1;
        let (Some(expires), Some(_)) = (expires, sequence) else {
            return Some(SentFrame::Datagram);
        };
        let sequence = self.records.push(Record::new(payload, expires));
        self.on_first_sent(place, sequence, bytes);
        Some(SentFrame::RepairableDatagram { sequence, repeated: false })
    }

    /// The number for the next message, unless so many are undecided that the remote could take
    /// one for another.
    fn next_sequence(&self) -> Option<u64> {
        let next = self.records.next();
        let unheard = next - self.newest_acked.map_or(0, |newest| newest.min(next));
        let few = self.records.undecided() < UNDECIDED_MAX && unheard < UNDECIDED_MAX;
        few.then_some(next)
    }

    fn on_first_sent(&mut self, place: &Place<'_>, sequence: u64, bytes: usize) {
        let Some(overhead) = self.packet_overhead else { return };
        self.budget.earn(place.now, bytes + if place.is_first { overhead } else { 0 });
        self.planner.on_sent(place.now);
        self.plan_copies(place.now, sequence, Occasion::First);
    }

    fn plan_copies(&mut self, now: Instant, sequence: u64, occasion: Occasion) {
        if self.packet_overhead.is_none() {
            return;
        }
        let Some(record) = self.records.get(sequence) else { return };
        let Some(payload) = &record.payload else { return };
        let bytes = datagram_overhead(Some(SEQUENCE_SPACE - 1), payload.len()) + payload.len();
        let left = record.expires.saturating_duration_since(now);
        let plan = self.planner.plan(Wish {
            left,
            round_trip: self.round_trip.unwrap_or(ROUND_TRIP_ASSUMED),
            copies_max: self.budget.times(bytes),
            occasion,
        });
        for number in 1..=u32::from(plan.copies) {
            if self.planned.len() >= PLANNED_MAX || !self.budget.reserve(bytes) {
                return;
            }
            let start = now + plan.latest * (number - 1);
            let (earliest, latest) = (start + plan.earliest, start + plan.latest);
            self.planned.push_back(Planned { sequence, earliest, latest });
            record.planned += 1;
        }
    }

    fn drop_oldest(&mut self, stats: &mut MuxStats) -> bool {
        if self.records.release_oldest() {
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

/// What became of the wish to send a copy.
enum Put {
    /// It is in the packet, and took so many bytes.
    Done(usize),
    NoRoom,
    /// It arrived already, or would be too late.
    NotWorthIt,
}

/// Appends a frame if it fits; answers its bytes.
fn put(place: &mut Place<'_>, copy: Option<(u64, bool)>, payload: &Bytes) -> Option<usize> {
    let copy = copy
        .map(|(sequence, repeated)| DatagramCopy { sequence: sequence % SEQUENCE_SPACE, repeated });
    let bytes = datagram_overhead(copy.map(|copy| copy.sequence), payload.len()) + payload.len();
    if bytes > place.room {
        return None;
    }
    put_datagram_header(place.out, copy, payload.len());
    place.out.extend_from_slice(payload);
    Some(bytes)
}
