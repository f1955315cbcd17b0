//! Packets that are under way: a ring of slots in the order of packet numbers.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use portolan_mux::SentFrame;

use crate::delivery::Snapshot;

/// Slots that a connection keeps when nothing is under way.
const SLOTS_KEPT: usize = 256;

/// A packet under way that is to be acknowledged.
#[derive(Debug)]
pub(crate) struct SentPacket {
    pub(crate) time: Instant,
    /// Bytes, which count as in flight.
    pub(crate) size: u64,
    pub(crate) content: Content,
    /// What had been delivered when it was sent.
    pub(crate) then: Snapshot,
    /// Its content has been sent again by a probe: nothing is to be done if it is lost.
    pub(crate) is_probed: bool,
    /// It was sent to find out whether one of its size passes.
    pub(crate) is_size_probe: bool,
    /// It was sent with the mark of those that routers may mark.
    pub(crate) is_marked: bool,
    /// The number of the path that it was sent on.
    pub(crate) path: u32,
}

impl SentPacket {
    pub(crate) fn new(time: Instant, size: u64, content: Content, then: Snapshot) -> Self {
        Self {
            time,
            size,
            content,
            then,
            is_probed: false,
            is_size_probe: false,
            is_marked: false,
            path: 0,
        }
    }
}

/// What a packet carried that matters when it is acknowledged or lost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) mux: Frames,
    pub(crate) crypto: Option<CryptoPiece>,
    pub(crate) has_done: bool,
    /// It said how often we wish to be acknowledged.
    pub(crate) has_wish: bool,
    /// What it said of names; rare.
    pub(crate) names: Box<[NameFrame]>,
    /// Largest number that its ACK frame acknowledged.
    pub(crate) acked: Option<u64>,
}

/// Frames of the mux in one packet: nearly always one, which needs no memory of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    first: Option<SentFrame>,
    more: Box<[SentFrame]>,
}

impl Frames {
    pub(crate) fn of(frames: &[SentFrame]) -> Self {
        match frames {
            [] => Self::default(),
            [first, more @ ..] => Self { first: Some(*first), more: more.into() },
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &SentFrame> {
        self.first.iter().chain(&*self.more)
    }
}

/// A frame about names that is to be repeated when it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameFrame {
    New(u64),
    Retire(u64),
}

/// A piece of a level's handshake stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CryptoPiece {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The packets under way of one level, in the order of their numbers.
///
/// A slot is taken by packets that are to be acknowledged only, so that a remote which never
/// acknowledges cannot make it grow by what it makes us acknowledge.
#[derive(Debug, Default)]
pub(crate) struct SentPackets {
    slots: VecDeque<Slot>,
    count: usize,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    /// `None`: acknowledged before older ones.
    packet: Option<SentPacket>,
}

/// Packets that are lost now, and when the next will be.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    pub(crate) packets: Vec<(u64, SentPacket)>,
    pub(crate) next: Option<Instant>,
}

/// How far a packet may be overtaken before it counts as lost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) packets: u64,
    pub(crate) delay: Duration,
}

impl SentPackets {
    /// Remembers packet `number`, which is above all before.
    pub(crate) fn insert(&mut self, number: u64, packet: SentPacket) {
        self.slots.push_back(Slot { number, packet: Some(packet) });
        self.count += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where [`Self::take_next`] begins to look for packets from `number` on.
    pub(crate) fn place_of(&self, number: u64) -> usize {
        // Mostly every number has its slot.
        let first = self.slots.front().map_or(number, |slot| slot.number);
        let guess = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        match self.slots.get(guess) {
            Some(slot) if slot.number == number => guess,
            Some(_) | None => self.slots.partition_point(|slot| slot.number < number),
        }
    }

    /// Takes out the next packet up to `last` from `place` on, which moves behind it.
    pub(crate) fn take_next(&mut self, place: &mut usize, last: u64) -> Option<(u64, SentPacket)> {
        while let Some(slot) = self.slots.get_mut(*place).filter(|slot| slot.number <= last) {
            *place += 1;
            if let Some(packet) = slot.packet.take() {
                self.count -= 1;
                return Some((slot.number, packet));
            }
        }
        None
    }

    /// Takes out what is lost once `acked` is acknowledged: sent so many packets before it, or
    /// longer than `patience.delay` ago (RFC 9002 §6.1).
    pub(crate) fn take_lost(&mut self, now: Instant, acked: u64, patience: Patience) -> Losses {
        let mut losses = Losses::default();
        for slot in self.slots.iter_mut().take_while(|slot| slot.number < acked) {
            let Some(packet) = &slot.packet else { continue };
            let due = packet.time + patience.delay;
            if due > now && slot.number + patience.packets > acked {
                // Those after it were sent later still.
                losses.next = Some(due);
                break;
            }
            losses.packets.extend(slot.packet.take().map(|packet| (slot.number, packet)));
            self.count -= 1;
        }
        self.trim();
        losses
    }

    /// When the oldest was sent.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.slots.iter().find_map(|slot| slot.packet.as_ref()).map(|packet| packet.time)
    }

    /// What the oldest carries whose content was not sent again yet: now it will be.
    pub(crate) fn probe_oldest(&mut self) -> Option<Content> {
        let mut packets = self.slots.iter_mut().filter_map(|slot| slot.packet.as_mut());
        let packet = packets.find(|packet| !packet.is_probed && !packet.is_size_probe)?;
        packet.is_probed = true;
        Some(Content { acked: None, ..packet.content.clone() })
    }

    /// Gives up all packets; answers their bytes.
    pub(crate) fn clear(&mut self) -> u64 {
        let packets = self.slots.iter().filter_map(|slot| slot.packet.as_ref());
        let bytes = packets.map(|packet| packet.size).sum();
        *self = Self::default();
        bytes
    }

    /// Forgets empty slots at the front; after packets were taken out.
    pub(crate) fn trim(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.packet.is_none()) {
            self.slots.pop_front();
        }
        if self.slots.is_empty() && self.slots.capacity() > SLOTS_KEPT {
            self.slots = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use super::*;
    use crate::{delivery::Delivery, tests::epoch};

    const MS: Duration = Duration::from_millis(1);

    fn sent(numbers: impl IntoIterator<Item = u64>) -> SentPackets {
        let mut packets = SentPackets::default();
        for number in numbers {
            let time = epoch() + MS * u32::try_from(number).unwrap();
            let content = Content::default();
            let then = Delivery::new(time).on_sent(time, 10, 10);
            packets.insert(number, SentPacket::new(time, 10, content, then));
        }
        packets
    }

    fn patience(delay_ms: u32) -> Patience {
        Patience { packets: 3, delay: delay_ms * MS }
    }

    /// Takes out the smallest of a range.
    fn take(packets: &mut SentPackets, range: RangeInclusive<u64>) -> Option<(u64, SentPacket)> {
        let mut place = packets.place_of(*range.start());
        packets.take_next(&mut place, *range.end())
    }

    fn numbers(losses: &Losses) -> Vec<u64> {
        losses.packets.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn a_packet_is_lost_when_the_third_after_it_is_acknowledged() {
        let mut packets = sent(0..10);
        take(&mut packets, 5..=5).unwrap();
        let losses = packets.take_lost(epoch() + 10 * MS, 5, patience(100));
        assert_eq!(numbers(&losses), [0, 1, 2]);
        assert_eq!(losses.next, Some(epoch() + 103 * MS));
    }

    #[test]
    fn a_packet_is_lost_when_its_time_is_over() {
        let mut packets = sent(0..3);
        take(&mut packets, 2..=2).unwrap();
        assert_eq!(numbers(&packets.take_lost(epoch() + 50 * MS, 2, patience(50))), [0]);
        assert_eq!(numbers(&packets.take_lost(epoch() + 51 * MS, 2, patience(50))), [1]);
        assert!(packets.is_empty());
    }

    #[test]
    fn what_was_sent_after_the_acknowledged_is_not_lost() {
        let mut packets = sent(0..10);
        take(&mut packets, 0..=0).unwrap();
        assert_eq!(numbers(&packets.take_lost(epoch() + 1000 * MS, 0, patience(1))), []);
    }

    #[test]
    fn numbers_that_were_skipped_or_are_unknown_take_nothing_out() {
        let mut packets = sent([3, 7]);
        assert!(take(&mut packets, 0..=2).is_none());
        assert!(take(&mut packets, 4..=6).is_none());
        assert!(take(&mut packets, 8..=u64::MAX).is_none());
        assert_eq!(take(&mut packets, 0..=u64::MAX).map(|(number, _)| number), Some(3));
        packets.trim();
        assert_eq!(take(&mut packets, 0..=u64::MAX).map(|(number, _)| number), Some(7));
        packets.trim();
        assert!(take(&mut packets, 0..=u64::MAX).is_none());
    }
}
