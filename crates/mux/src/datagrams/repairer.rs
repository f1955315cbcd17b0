//! What is done so that messages with a deadline arrive in time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    UNDECIDED_MAX,
    budget::Budget,
    group::{Fate, Fates, Open, Parity, span},
    plan::{Occasion, Planner, Wish},
    record::{Outcome, Record, Records},
    sender::{Place, put},
};
use crate::{
    MuxStats, Sending, SentFrame,
    frame::{
        REPAIR_OVERHEAD_MAX, RepairHeader, SEQUENCE_SPACE, datagram_overhead, put_repair_header,
    },
};

/// Copies that wait at once; with more, further messages get none.
const PLANNED_MAX: usize = 256;

/// Longest message in bytes that is taken into a group: the remote must hold a group of them.
const GROUPED_MAX: usize = 4 << 10;

/// Parities that wait at once; with more, further groups get none.
const PARITIES_WAITING_MAX: usize = 16;

/// The round trip before one was measured.
const ROUND_TRIP_ASSUMED: Duration = Duration::from_millis(100);

/// A copy in advance that waits for a packet.
#[derive(Debug, Clone, Copy)]
struct Planned {
    sequence: u64,
    /// From when on it may ride in a packet with other content.
    earliest: Instant,
    /// When it goes alone.
    latest: Instant,
}

/// What the carrier has told of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Carrier {
    /// Bytes that each packet costs beside its frames; `None`: it loses nothing.
    pub(super) packet_overhead: Option<usize>,
    pub(super) round_trip: Option<Duration>,
}

/// What is done so that messages with a deadline arrive in time. It exists from the first on.
#[derive(Debug)]
pub(super) struct Repairer {
    pub(super) carrier: Carrier,
    pub(super) records: Records,
    newest_acked: Option<u64>,
    /// Lost messages to be sent again, by their numbers.
    repairs: VecDeque<u64>,
    planned: VecDeque<Planned>,
    /// The time of a planned copy has come.
    is_copy_due: bool,
    /// The group that is being filled.
    open: Option<Open>,
    /// Parities of closed groups that wait to be sent.
    parities: VecDeque<Parity>,
    fates: Fates,
    /// The remote keeps messages from this number on to compute others from: it begins with the
    /// first parity.
    decodes_from: Option<u64>,
    planner: Planner,
    budget: Budget,
}

impl Repairer {
    pub(super) fn new(carrier: Carrier, redundancy_percent: u32) -> Self {
        Self {
            carrier,
            records: Records::default(),
            newest_acked: None,
            repairs: VecDeque::new(),
            planned: VecDeque::new(),
            is_copy_due: false,
            open: None,
            parities: VecDeque::new(),
            fates: Fates::default(),
            decodes_from: None,
            planner: Planner::new(),
            budget: Budget::new(redundancy_percent),
        }
    }

    /// Whether nothing must be sent now.
    pub(super) fn is_idle(&self) -> bool {
        self.repairs.is_empty() && self.parities.is_empty() && !self.is_copy_due
    }

    /// When the next copy must go that has found no packet to ride in, or a group must be closed
    /// that has not filled.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let closes = self.open.as_ref().map(|open| open.closes);
        let latest = self.planned.iter().map(|planned| planned.latest);
        // What is due already waits for a packet, not for time.
        let latest = latest.filter(|_| !self.is_copy_due);
        latest.chain(closes).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.open.as_ref().is_some_and(|open| open.closes <= now) {
            self.close_group();
        }
        self.is_copy_due |= self.planned.iter().any(|planned| planned.latest <= now);
    }

    /// A copy of a message arrived.
    pub(super) fn on_acked(
        &mut self,
        now: Instant,
        sequence: u64,
        copy: Sending,
        stats: &mut MuxStats,
    ) {
        self.newest_acked = self.newest_acked.max(Some(sequence));
        if copy == Sending::First {
            self.planner.loss.on_arrived();
        }
        self.settle_arrived(now, sequence, stats);
        if let Some(fate) = self.fates.of(sequence).copied() {
            self.decide(now, fate, stats);
        }
    }

    /// A parity of the group that begins with `first` arrived.
    pub(super) fn on_parity_acked(&mut self, now: Instant, first: u64, stats: &mut MuxStats) {
        self.decodes_from.get_or_insert(self.records.next());
        if let Some(fate) = self.fates.of(first) {
            fate.arrived += 1;
        }
        self.on_parity_landed(now, first, stats);
    }

    /// A parity of the group that begins with `first` was lost, or was never sent.
    pub(super) fn on_parity_lost(&mut self, now: Instant, first: u64, stats: &mut MuxStats) {
        self.on_parity_landed(now, first, stats);
    }

    fn on_parity_landed(&mut self, now: Instant, first: u64, stats: &mut MuxStats) {
        let Some(fate) = self.fates.of(first) else { return };
        fate.under_way = fate.under_way.saturating_sub(1);
        let fate = *fate;
        self.decide(now, fate, stats);
    }

    /// A copy of a message did not arrive: without another one under way it is sent again, if
    /// that can be in time.
    pub(super) fn on_lost(
        &mut self,
        now: Instant,
        sequence: u64,
        copy: Sending,
        stats: &mut MuxStats,
    ) {
        if copy == Sending::First {
            self.planner.loss.on_lost(sequence);
        }
        let Some(record) = self.records.get(sequence) else { return };
        record.under_way = record.under_way.saturating_sub(1);
        let has_copies = record.under_way > 0 || record.planned > 0;
        if has_copies && copy == Sending::First && self.planner.doubts_copies() {
            self.repair(now, sequence);
            return;
        }
        match self.fates.of(sequence).copied() {
            Some(fate) => self.decide(now, fate, stats),
            None => self.repair_or_settle(now, sequence, stats),
        }
    }

    /// The number for the next message, unless so many are undecided that the remote could take
    /// one for another.
    pub(super) fn next_sequence(&self) -> Option<u64> {
        let next = self.records.next();
        let unheard = next - self.newest_acked.map_or(0, |newest| newest.min(next));
        let few = self.records.undecided() < UNDECIDED_MAX && unheard < UNDECIDED_MAX;
        few.then_some(next)
    }

    /// A message was sent for the first time, in a frame of so many bytes; answers its number.
    pub(super) fn on_first_sent(
        &mut self,
        place: &Place<'_>,
        (payload, expires): (Bytes, Instant),
        bytes: usize,
    ) -> u64 {
        let sequence = self.records.push(Record::new(payload, expires));
        if let Some(overhead) = self.carrier.packet_overhead {
            self.budget.earn(place.now, bytes + if place.is_first { overhead } else { 0 });
            self.planner.on_sent(place.now);
            if !self.join_group(place, sequence, overhead) {
                self.plan_copies(place.now, sequence, Occasion::First);
            }
        }
        sequence
    }

    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.records.memory()
            + self.planned.capacity() * size_of::<Planned>()
            + self.repairs.capacity() * size_of::<u64>()
            + self.parities.iter().map(|parity| parity.bytes.capacity()).sum::<usize>()
            + self.fates.memory()
    }

    /// Half of the shortest round trip: how long a packet takes, as far as can be told.
    fn way(&self) -> Duration {
        self.carrier.round_trip.unwrap_or_default() / 2
    }

    fn settle_arrived(&mut self, now: Instant, sequence: u64, stats: &mut MuxStats) {
        let way = self.way();
        let Some(record) = self.records.get(sequence) else { return };
        // The acknowledgement needed half a round trip at least.
        let in_time = now.checked_sub(way).is_none_or(|then| then <= record.expires);
        let outcome = if in_time { Outcome::InTime } else { Outcome::Late };
        self.records.settle(sequence, outcome, stats);
    }

    /// Decides about the lost messages of a group: the remote has computed them, or cannot any
    /// more, so that they are to be sent again.
    fn decide(&mut self, now: Instant, fate: Fate, stats: &mut MuxStats) {
        let (mut lost, mut under_way) = (0, 0);
        let given_up = fate.given_up;
        for sequence in fate.numbers() {
            match self.records.get(sequence) {
                None => {}
                Some(record) if record.under_way > 0 || record.planned > 0 => under_way += 1,
                Some(_) => lost += 1,
            }
        }
        let decodes = self.decodes_from.is_some_and(|from| from <= fate.first);
        let (arrived, hoped) = if decodes { (fate.arrived, fate.under_way) } else { (0, 0) };
        let missing = lost + given_up;
        if lost == 0 || missing <= arrived + hoped && under_way + hoped > 0 {
            return;
        }
        for sequence in fate.numbers() {
            let Some(record) = self.records.get(sequence) else { continue };
            if record.under_way > 0 || record.planned > 0 {
                continue;
            }
            if missing <= arrived {
                self.settle_arrived(now, sequence, stats);
            } else {
                self.repair_or_settle(now, sequence, stats);
            }
        }
    }

    /// Queues a message to be sent again; answers whether that can be in time.
    fn repair(&mut self, now: Instant, sequence: u64) -> bool {
        let way = self.way();
        let Some(record) = self.records.get(sequence) else { return false };
        let is_worth_it = record.is_worth_sending(now, way);
        if is_worth_it {
            record.planned += 1;
            self.repairs.push_back(sequence);
        }
        is_worth_it
    }

    fn repair_or_settle(&mut self, now: Instant, sequence: u64, stats: &mut MuxStats) {
        let Some(record) = self.records.get(sequence) else { return };
        if record.under_way > 0 || record.planned > 0 {
            return;
        }
        if !self.repair(now, sequence) {
            self.records.settle(sequence, Outcome::Lost, stats);
            if let Some(fate) = self.fates.of(sequence) {
                fate.given_up += 1;
            }
        }
    }

    pub(super) fn poll_repair(
        &mut self,
        place: &mut Place<'_>,
        stats: &mut MuxStats,
    ) -> Option<SentFrame> {
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
                    return Some(SentFrame::RepairableDatagram {
                        sequence,
                        copy: Sending::Repeated,
                    });
                }
            }
        }
        None
    }

    pub(super) fn poll_planned(
        &mut self,
        place: &mut Place<'_>,
        stats: &mut MuxStats,
    ) -> Option<SentFrame> {
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
                    if let (true, Some(overhead)) = (place.is_first, self.carrier.packet_overhead) {
                        self.budget.spend(overhead);
                    }
                    return Some(SentFrame::RepairableDatagram {
                        sequence,
                        copy: Sending::Repeated,
                    });
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
        let Some(bytes) = put(place, Some((sequence, Sending::Repeated)), payload) else {
            return Put::NoRoom;
        };
        record.planned -= 1;
        record.under_way += 1;
        stats.datagrams_repeated += 1;
        stats.datagram_bytes_repeated += bytes as u64;
        Put::Done(bytes)
    }

    /// Takes a message into a group, if it is one that groups protect better than copies.
    fn join_group(&mut self, place: &Place<'_>, sequence: u64, overhead: usize) -> bool {
        let Some(record) = self.records.get(sequence) else { return false };
        let expires = record.expires;
        let Some(payload) = record.payload.clone() else { return false };
        if self.open.as_ref().is_some_and(|open| !open.continues(sequence)) {
            self.close_group();
        }
        let fits = payload.len() <= GROUPED_MAX
            && payload.len() + REPAIR_OVERHEAD_MAX <= place.payload_max;
        let too_long_to_copy = !self.budget.sustains(payload.len(), overhead);
        if !fits || !too_long_to_copy {
            self.close_group();
            return false;
        }
        if self.open.is_none() {
            let left = expires.saturating_duration_since(place.now);
            let round_trip = self.carrier.round_trip.unwrap_or(ROUND_TRIP_ASSUMED);
            let wish = Wish { left, round_trip, copies_max: 0, occasion: Occasion::First };
            let Some(shape) = self.planner.shape(wish, self.budget.share()) else { return false };
            let closes = place.now + span(left, round_trip);
            self.open = Some(Open::new(sequence, shape, closes, expires));
        }
        if self.open.as_mut().is_some_and(|open| open.add(&payload, expires)) {
            self.close_group();
        }
        true
    }

    /// Queues the parities of the group that is being filled, as far as they are affordable.
    fn close_group(&mut self) {
        let Some(open) = self.open.take() else { return };
        let bytes =
            open.parity_len() + REPAIR_OVERHEAD_MAX + self.carrier.packet_overhead.unwrap_or(0);
        let mut fate = None;
        for parity in open.close() {
            if self.parities.len() >= PARITIES_WAITING_MAX || !self.budget.reserve(bytes) {
                break;
            }
            let (first, members) = (parity.first, parity.members);
            let fate =
                fate.get_or_insert(Fate { first, members, under_way: 0, arrived: 0, given_up: 0 });
            fate.under_way += 1;
            self.parities.push_back(parity);
        }
        if let Some(fate) = fate {
            self.fates.push(fate);
        }
    }

    pub(super) fn poll_parity(
        &mut self,
        place: &mut Place<'_>,
        stats: &mut MuxStats,
    ) -> Option<SentFrame> {
        let way = self.way();
        loop {
            let parity = self.parities.front()?;
            let first = parity.first;
            let fits_a_packet = parity.bytes.len() <= place.payload_max;
            if !fits_a_packet || place.now + way >= parity.expires {
                self.parities.pop_front();
                self.on_parity_lost(place.now, first, stats);
                continue;
            }
            let header = RepairHeader {
                first: first % SEQUENCE_SPACE,
                members: parity.members,
                index: parity.index,
            };
            if parity.bytes.len() + REPAIR_OVERHEAD_MAX > place.room {
                return None;
            }
            let start = place.out.len();
            put_repair_header(place.out, header, parity.bytes.len());
            place.out.extend_from_slice(&parity.bytes);
            self.parities.pop_front();
            stats.datagrams_repeated += 1;
            stats.datagram_bytes_repeated += (place.out.len() - start) as u64;
            return Some(SentFrame::Repair { first });
        }
    }

    fn plan_copies(&mut self, now: Instant, sequence: u64, occasion: Occasion) {
        if self.carrier.packet_overhead.is_none() {
            return;
        }
        let Some(record) = self.records.get(sequence) else { return };
        let Some(payload) = &record.payload else { return };
        let bytes = datagram_overhead(Some(SEQUENCE_SPACE - 1), payload.len()) + payload.len();
        let left = record.expires.saturating_duration_since(now);
        let plan = self.planner.plan(Wish {
            left,
            round_trip: self.carrier.round_trip.unwrap_or(ROUND_TRIP_ASSUMED),
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
}

/// What became of the wish to send a copy.
enum Put {
    /// It is in the packet, and took so many bytes.
    Done(usize),
    NoRoom,
    /// It arrived already, or would be too late.
    NotWorthIt,
}
