//! Packets that were declared lost and may only be late: on paths that change the order of packets
//! (RFC 9002 §6.1, RFC 9438 §4.9).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::sent::Frames;

/// Packets after which an unacknowledged one is usually lost (RFC 9002 §6.1.1).
pub(crate) const REORDER_MIN: u16 = 3;

/// Lost packets that are remembered.
const LATE_MAX: usize = 256;

/// Above so many packets of reordering only time counts.
const REORDER_MAX: u16 = 1024;

/// Eighths of a round trip for which a packet may be overtaken: usually (RFC 9002 §6.1.2), and on
/// a path that changes the order.
const EIGHTHS_MIN: u8 = 1;
const EIGHTHS_MAX: u8 = 8;

/// Losses in a row that were real after which the path is trusted more again.
const CALM: u8 = 16;

/// A packet that counts as lost.
#[derive(Debug)]
pub(crate) struct LatePacket {
    pub(crate) number: u64,
    pub(crate) sent: Instant,
    pub(crate) size: u64,
    /// The number of the path that it was sent on.
    pub(crate) path: u32,
    pub(crate) frames: Frames,
    pub(crate) declared: Instant,
}

/// Those that were lost not long ago, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct LatePackets {
    packets: VecDeque<LatePacket>,
}

impl LatePackets {
    /// Remembers one, and forgets the oldest if there are too many.
    pub(crate) fn keep(&mut self, packet: LatePacket) {
        if self.packets.len() == LATE_MAX {
            self.packets.pop_front();
        }
        self.packets.push_back(packet);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Forgets those that were declared lost longer than `patience` ago.
    pub(crate) fn forget(&mut self, now: Instant, patience: Duration) {
        let is_old = |packet: &LatePacket| packet.declared + patience < now;
        while self.packets.front().is_some_and(is_old) {
            self.packets.pop_front();
        }
    }

    /// Takes out the first with a number from `first` to `last`: it has arrived.
    pub(crate) fn take_in(&mut self, first: u64, last: u64) -> Option<LatePacket> {
        let index = self.packets.partition_point(|packet| packet.number < first);
        self.packets.get(index).filter(|packet| packet.number <= last)?;
        self.packets.remove(index)
    }
}

/// How far a path changes the order of packets, as far as we have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reordering {
    /// Packets after which one that is missing counts as lost.
    packets: u16,
    /// Eighths of a round trip after which it does.
    eighths: u8,
    calm: u8,
}

impl Reordering {
    pub(crate) fn new() -> Self {
        Self { packets: REORDER_MIN, eighths: EIGHTHS_MIN, calm: 0 }
    }

    pub(crate) fn packets(self) -> u64 {
        self.packets.into()
    }

    pub(crate) fn eighths(self) -> u32 {
        self.eighths.into()
    }

    /// Packets were declared lost; whether they were, is not known yet.
    pub(crate) fn on_lost(&mut self) {
        self.calm += 1;
        if self.calm >= CALM {
            self.calm = 0;
            self.packets = (self.packets / 2).max(REORDER_MIN);
            self.eighths = (self.eighths / 2).max(EIGHTHS_MIN);
        }
    }

    /// One of them arrived after all, overtaken by `overtakers` packets and after `took`, where
    /// `rtt` is usual.
    pub(crate) fn on_late(&mut self, overtakers: u64, took: Duration, rtt: Duration) {
        self.calm = 0;
        let packets = u16::try_from(overtakers.saturating_add(1)).unwrap_or(REORDER_MAX);
        self.packets = self.packets.max(packets.min(REORDER_MAX));
        let eighth = (rtt / 8).max(Duration::from_nanos(1));
        let over = took.saturating_sub(rtt).as_nanos().div_ceil(eighth.as_nanos());
        let needed = u8::try_from(over).unwrap_or(EIGHTHS_MAX).min(EIGHTHS_MAX);
        self.eighths = self.eighths.max(needed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::epoch;

    const MS: Duration = Duration::from_millis(1);

    fn late(numbers: impl IntoIterator<Item = u64>) -> LatePackets {
        let mut packets = LatePackets::default();
        for number in numbers {
            let declared = epoch() + MS * u32::try_from(number).unwrap();
            let frames = Frames::default();
            packets.keep(LatePacket { number, sent: epoch(), size: 1, path: 0, frames, declared });
        }
        packets
    }

    #[test]
    fn a_lost_packet_is_found_once_by_its_number() {
        let mut packets = late([3, 5, 9]);
        assert!(packets.take_in(0, 2).is_none());
        assert!(packets.take_in(6, 8).is_none());
        assert_eq!(packets.take_in(4, 9).map(|packet| packet.number), Some(5));
        assert_eq!(packets.take_in(4, 9).map(|packet| packet.number), Some(9));
        assert!(packets.take_in(4, u64::MAX).is_none());
    }

    #[test]
    fn only_some_are_remembered_and_only_for_a_while() {
        let mut packets = late(0..300);
        assert!(packets.take_in(0, 43).is_none());
        packets.forget(epoch() + 310 * MS, 210 * MS);
        assert_eq!(packets.take_in(0, u64::MAX).map(|packet| packet.number), Some(100));
        packets.forget(epoch() + 1_000 * MS, 210 * MS);
        assert!(packets.is_empty());
    }

    #[test]
    fn patience_grows_with_the_reordering_that_is_seen_and_has_a_bound() {
        let mut path = Reordering::new();
        path.on_late(7, 52 * MS, 40 * MS);
        assert_eq!((path.packets, path.eighths), (8, 3));
        path.on_late(u64::MAX, 1_000 * MS, 40 * MS);
        assert_eq!((path.packets(), path.eighths()), (1024, 8));
    }

    #[test]
    fn losses_that_are_real_bring_it_back() {
        let mut path = Reordering::new();
        path.on_late(50, 60 * MS, 40 * MS);
        (0..200).for_each(|_| path.on_lost());
        assert_eq!((path.packets, path.eighths), (3, 1));
    }
}
