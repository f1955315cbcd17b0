//! What has arrived, and when the remote is told: the whole policy of acknowledgements.

use std::time::{Duration, Instant};

use portolan_mux::RangeSet;

use crate::{
    Ecn,
    cadence::{Cadence, Wish},
    ecn::EcnCounts,
    frame::{AckHead, put_ack},
    packet::Level,
};

/// Ranges from which on the remote is asked now and then to confirm our acknowledgements, so
/// that old ones need not be repeated for ever (RFC 9000 §13.2.4).
const RANGES_MANY: usize = 16;

/// Acknowledgements between two such questions.
const QUESTION_EVERY: u32 = 16;

/// What has arrived at one level, and what the remote must hear of it.
#[derive(Debug)]
pub(crate) struct Acknowledger {
    received: RangeSet,
    /// One above the largest of them.
    next: u64,
    /// Below this nothing is new: the replay window's lower edge.
    floor: u64,
    /// Below this the remote knows what has arrived.
    confirmed: u64,
    largest_at: Option<Instant>,
    /// Packets to be acknowledged since the last acknowledgement.
    waiting: u64,
    /// Marks that have arrived.
    ecn: EcnCounts,
    /// When acknowledgements are due.
    cadence: Cadence,
    /// The wish of the remote that was obeyed last, of those it has counted.
    wish: Option<u64>,
    /// What is missing below this number has been told.
    told: u64,
    urgency: Urgency,
    /// Acknowledgements since the remote last had to confirm one.
    unconfirmed: u32,
}

/// How long an acknowledgement may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Nothing,
    /// For a packet that goes anyway.
    Whenever,
    Until(Instant),
    Now,
}

/// One packet that has arrived and was found genuine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) level: Level,
    pub(crate) number: u64,
    pub(crate) at: Instant,
    pub(crate) is_eliciting: bool,
    pub(crate) ecn: Option<Ecn>,
}

impl Acknowledger {
    /// Holds back acknowledgements for `delay` at most.
    pub(crate) fn new(delay: Duration) -> Self {
        Self {
            received: RangeSet::default(),
            next: 0,
            floor: 0,
            confirmed: 0,
            largest_at: None,
            waiting: 0,
            ecn: EcnCounts::default(),
            cadence: Cadence::usual(delay),
            wish: None,
            told: 0,
            urgency: Urgency::Nothing,
            unconfirmed: 0,
        }
    }

    /// Whether a packet of this number has not been seen; the replay window.
    pub(crate) fn is_new(&self, number: u64) -> bool {
        number >= self.next || number >= self.floor && !self.received.contains(number)
    }

    pub(crate) fn largest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Notes a packet; at most `ranges_max` ranges of numbers are remembered.
    pub(crate) fn on_received(&mut self, arrival: Arrival, ranges_max: usize) {
        let Arrival { level, number, at, is_eliciting, ecn } = arrival;
        let expected = self.next;
        self.next = expected.max(number + 1);
        self.received.insert(number..number + 1);
        self.ecn.count(ecn);
        while self.received.len() > ranges_max.max(1)
            && let Some(oldest) = self.received.pop_first()
        {
            self.floor = oldest.end;
        }
        if number >= expected {
            self.largest_at = Some(at);
        }
        if !is_eliciting {
            self.urgency = self.urgency.max_with(Urgency::Whenever);
            return;
        }
        self.waiting += 1;
        // RFC 9000 §13.2.1: handshakes, gaps and marks are told at once.
        let is_urgent = level != Level::Data
            || self.waiting >= self.cadence.packets
            || number != expected && self.is_gap_urgent(number)
            || number == expected && self.is_gap_due()
            || ecn == Some(Ecn::Ce);
        let urgency =
            if is_urgent { Urgency::Now } else { Urgency::Until(at + self.cadence.delay) };
        self.urgency = self.urgency.max_with(urgency);
    }

    /// Whether a packet out of order is to be told at once: it may have been told missing, or one
    /// before it has been missing for long enough.
    fn is_gap_urgent(&self, number: u64) -> bool {
        self.cadence.reorder <= 1 || number < self.told || self.is_gap_due()
    }

    /// Whether a packet is missing that was not told before and that lies so far behind that its
    /// sender would take it for lost.
    fn is_gap_due(&self) -> bool {
        if self.received.len() < 2 {
            return false;
        }
        let Some(newest) = self.received.last() else { return false };
        let Some(due) = newest.end.checked_sub(self.cadence.reorder) else { return false };
        let mut above = newest.start;
        // Only the last few numbers are looked at: those before `told` are known.
        for below in self.received.descending().skip(1) {
            if above <= self.told {
                return false;
            }
            if below.end.max(self.told) < due {
                return true;
            }
            above = below.start;
        }
        false
    }

    /// The remote wishes to hear more or less often; `delay` is what we have promised.
    pub(crate) fn on_wish(&mut self, wish: &Wish, delay: Duration) {
        if self.wish < Some(wish.sequence) {
            self.wish = Some(wish.sequence);
            self.cadence = wish.cadence(delay);
        }
    }

    /// The remote wishes to hear now.
    pub(crate) fn hurry(&mut self) {
        self.urgency = Urgency::Now;
    }

    /// When the remote must be told at the latest, if it cannot ride on another packet.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.urgency {
            Urgency::Until(time) => Some(time),
            Urgency::Nothing | Urgency::Whenever | Urgency::Now => None,
        }
    }

    /// The time came that [`Self::due`] named.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            self.urgency = Urgency::Now;
        }
    }

    /// Whether a packet is worth sending for the acknowledgement alone.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgency == Urgency::Now
    }

    /// Whether the remote knows all, so that [`Self::put`] has nothing to say.
    pub(crate) fn is_told(&self) -> bool {
        self.urgency == Urgency::Nothing
    }

    /// Appends an ACK frame before `end` if the remote does not know all; answers its largest
    /// number.
    pub(crate) fn put(&mut self, now: Instant, out: &mut Vec<u8>, end: usize) -> Option<u64> {
        if self.urgency == Urgency::Nothing {
            return None;
        }
        let delay = self.largest_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX).min(1 << 30);
        let head = AckHead { above: self.confirmed, delay_us, ecn: self.ecn };
        let largest = put_ack(out, end, &self.received, head)?;
        self.urgency = Urgency::Nothing;
        self.waiting = 0;
        self.told = (largest + 1).saturating_sub(self.cadence.reorder);
        self.unconfirmed += 1;
        Some(largest)
    }

    /// Whether a packet with nothing but an acknowledgement should ask to be acknowledged itself.
    pub(crate) fn wants_confirmation(&mut self) -> bool {
        let asks = self.unconfirmed >= QUESTION_EVERY && self.received.len() >= RANGES_MANY;
        if asks {
            self.unconfirmed = 0;
        }
        asks
    }

    /// The remote has an acknowledgement whose largest number was `largest`.
    pub(crate) fn on_confirmed(&mut self, largest: u64) {
        self.confirmed = self.confirmed.max(largest + 1);
        self.unconfirmed = 0;
    }

    pub(crate) fn memory(&self) -> usize {
        self.received.memory()
    }
}

impl Urgency {
    fn max_with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, _) | (_, Self::Now) => Self::Now,
            (Self::Until(first), Self::Until(second)) => Self::Until(first.min(second)),
            (Self::Until(time), _) | (_, Self::Until(time)) => Self::Until(time),
            (Self::Whenever, _) | (_, Self::Whenever) => Self::Whenever,
            (Self::Nothing, Self::Nothing) => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::epoch;

    const DELAY: Duration = Duration::from_millis(25);

    fn receive(acks: &mut Acknowledger, numbers: &[u64]) {
        for &number in numbers {
            let arrival =
                Arrival { level: Level::Data, number, at: epoch(), is_eliciting: true, ecn: None };
            acks.on_received(arrival, 4);
        }
    }

    fn put(acks: &mut Acknowledger) -> Option<u64> {
        acks.put(epoch(), &mut Vec::new(), 1000)
    }

    #[test]
    fn every_second_packet_is_acknowledged_at_once_and_a_single_one_later() {
        let mut acks = Acknowledger::new(DELAY);
        receive(&mut acks, &[0]);
        assert!(!acks.is_urgent());
        assert_eq!(acks.due(), Some(epoch() + DELAY));
        receive(&mut acks, &[1]);
        assert!(acks.is_urgent());
        assert_eq!(put(&mut acks), Some(1));
        assert_eq!(put(&mut acks), None, "nothing new to tell");
    }

    #[test]
    fn a_gap_and_what_fills_it_are_told_at_once() {
        let mut acks = Acknowledger::new(DELAY);
        receive(&mut acks, &[0, 1]);
        put(&mut acks);
        receive(&mut acks, &[3]);
        assert!(acks.is_urgent());
        put(&mut acks);
        receive(&mut acks, &[2]);
        assert!(acks.is_urgent());
    }

    fn thinned() -> Acknowledger {
        let mut acks = Acknowledger::new(DELAY);
        acks.on_wish(&Wish { sequence: 1, packets: 10, delay_us: 5_000, reorder: 3 }, DELAY);
        acks
    }

    #[test]
    fn a_wish_for_fewer_acknowledgements_is_obeyed_and_an_older_one_is_not() {
        let mut acks = thinned();
        acks.on_wish(&Wish { sequence: 0, packets: 2, delay_us: 5_000, reorder: 1 }, DELAY);
        receive(&mut acks, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(!acks.is_urgent());
        assert_eq!(acks.due(), Some(epoch() + Duration::from_millis(5)));
        receive(&mut acks, &[9]);
        assert!(acks.is_urgent());
    }

    #[test]
    fn a_gap_is_told_when_its_sender_takes_it_for_a_loss_and_only_once() {
        let mut acks = thinned();
        receive(&mut acks, &[0, 2, 3]);
        assert!(!acks.is_urgent(), "it may come late");
        receive(&mut acks, &[4]);
        assert!(acks.is_urgent());
        assert_eq!(put(&mut acks), Some(4));
        receive(&mut acks, &[5, 6, 7]);
        assert!(!acks.is_urgent(), "it was told");
        receive(&mut acks, &[9, 10, 11]);
        assert!(acks.is_urgent(), "another");
        put(&mut acks);
        receive(&mut acks, &[1]);
        assert!(acks.is_urgent(), "it was not lost, though its sender thinks so");
    }

    #[test]
    fn packets_that_change_places_are_not_told_of() {
        let mut acks = thinned();
        receive(&mut acks, &[0, 2, 1, 4, 5, 3, 6]);
        assert!(!acks.is_urgent());
    }

    #[test]
    fn gaps_one_after_the_other_are_each_told_in_time() {
        let mut acks = thinned();
        let mut told = Vec::new();
        for number in [0, 1, 3, 5, 7, 9, 11, 13] {
            receive(&mut acks, &[number]);
            if acks.is_urgent() {
                told.extend(put(&mut acks));
            }
        }
        assert_eq!(told, [5, 7, 9, 11, 13], "2 is told with 5, 4 with 7, …");
    }

    #[test]
    fn who_is_asked_to_hurry_does() {
        let mut acks = thinned();
        acks.hurry();
        receive(&mut acks, &[0]);
        assert!(acks.is_urgent());
    }

    #[test]
    fn an_acknowledgement_alone_asks_for_none() {
        let mut acks = Acknowledger::new(DELAY);
        let at = epoch();
        let (level, number) = (Level::Data, 0);
        let arrival = Arrival { level, number, at, is_eliciting: false, ecn: None };
        acks.on_received(arrival, 4);
        assert!(!acks.is_urgent());
        assert_eq!(acks.due(), None);
        assert_eq!(put(&mut acks), Some(0), "but it rides along");
    }

    #[test]
    fn a_number_is_new_once() {
        let mut acks = Acknowledger::new(DELAY);
        receive(&mut acks, &[0, 2, 4, 6]);
        for number in [0, 2, 4, 6] {
            assert!(!acks.is_new(number));
        }
        assert!(acks.is_new(3));
    }

    #[test]
    fn what_is_too_old_to_be_remembered_is_never_new() {
        let mut acks = Acknowledger::new(DELAY);
        receive(&mut acks, &[0, 2, 4, 6, 8]);
        assert!(!acks.is_new(0));
        assert!(acks.is_new(1), "above the range that was forgotten");
        receive(&mut acks, &[10]);
        assert!(!acks.is_new(1));
    }

    #[test]
    fn what_the_remote_confirmed_is_not_repeated() {
        let mut acks = Acknowledger::new(DELAY);
        receive(&mut acks, &[0, 2, 4]);
        acks.on_confirmed(2);
        let mut out = Vec::new();
        acks.put(epoch(), &mut out, 1000);
        let mut short = Vec::new();
        let mut only = RangeSet::default();
        only.insert(4..5);
        put_ack(&mut short, 1000, &only, AckHead::default());
        assert_eq!(out, short);
    }
}
