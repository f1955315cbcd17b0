//! Packets that are under way: a ring of slots in the order of packet numbers.
//!
//! The packets of a transfer leave in trains, and those of a train differ in nothing but their
//! number and which piece of the stream they carry. Such a row has one slot, and is acknowledged
//! at one go as far as one range of an ACK covers it. A row is cut where its packets meet different
//! fates.

use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use portolan_mux::SentFrame;

use crate::delivery::Snapshot;

/// Slots that a connection keeps when nothing is under way.
const SLOTS_KEPT: usize = 64;

/// A packet under way that is to be acknowledged.
#[derive(Debug, Clone)]
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

    /// The packet of its row that was sent so many packets later.
    fn later(&self, by: u64) -> Self {
        let mut packet = self.clone();
        packet.then.advance(by * self.size);
        if let Some(SentFrame::Stream { start, len, .. }) = &mut packet.content.mux.first {
            *start += by * u64::from(*len);
        }
        packet
    }
}

/// Packets with numbers one after the other that are alike, each with the next piece of the same
/// stream; or only one, whatever it carries.
#[derive(Debug)]
pub(crate) struct Row {
    /// Of the first.
    pub(crate) number: u64,
    pub(crate) count: u64,
    /// The first.
    pub(crate) packet: SentPacket,
}

impl Row {
    /// The number of the last.
    pub(crate) fn last(&self) -> u64 {
        self.number + self.count - 1
    }

    /// Bytes of all.
    pub(crate) fn size(&self) -> u64 {
        self.count * self.packet.size
    }

    /// What all of them carry of the mux, pieces that follow each other as one.
    pub(crate) fn frames(&self) -> impl Iterator<Item = SentFrame> {
        let times = u32::try_from(self.count).unwrap_or(u32::MAX);
        self.packet.content.mux.iter().map(move |frame| match *frame {
            SentFrame::Stream { id, start, len, fin } => {
                SentFrame::Stream { id, start, len: len.saturating_mul(times), fin }
            }
            other => other,
        })
    }

    /// Cuts it; answers the packets from the `at`-th on.
    fn split_off(&mut self, at: u64) -> Self {
        let count = std::mem::replace(&mut self.count, at) - at;
        Self { number: self.number + at, count, packet: self.packet.later(at) }
    }

    /// Each packet by itself.
    fn singles(self) -> impl Iterator<Item = (u64, SentPacket)> {
        let Self { number, count, packet } = self;
        (0..count).map(move |index| (number + index, packet.later(index)))
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
    /// Packets.
    count: u64,
}

#[derive(Debug)]
struct Slot {
    /// The last number in it.
    last: u64,
    /// `None`: acknowledged before older ones.
    row: Option<Row>,
}

impl Slot {
    fn new(row: Row) -> Self {
        Self { last: row.last(), row: Some(row) }
    }
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
        self.insert_row(Row { number, count: 1, packet });
    }

    /// Remembers packets with numbers above all before; one that carries more than a piece of a
    /// stream stands alone.
    pub(crate) fn insert_row(&mut self, row: Row) {
        self.count += row.count;
        self.slots.push_back(Slot::new(row));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where [`Self::take_next`] begins to look for packets from `number` on.
    pub(crate) fn place_of(&self, number: u64) -> usize {
        // Mostly the oldest are acknowledged.
        match self.slots.front() {
            Some(slot) if slot.last < number => {
                self.slots.partition_point(|slot| slot.last < number)
            }
            Some(_) | None => 0,
        }
    }

    /// Takes out the next packets of `numbers` from `place` on, which moves behind them.
    pub(crate) fn take_next(
        &mut self,
        place: &mut usize,
        numbers: &RangeInclusive<u64>,
    ) -> Option<Row> {
        while let Some(slot) = self.slots.get_mut(*place) {
            *place += 1;
            let Some(row) = &mut slot.row else { continue };
            if row.number > *numbers.end() {
                *place -= 1;
                return None;
            }
            let before = numbers.start().saturating_sub(row.number);
            if before >= row.count {
                continue;
            }
            if before > 0 {
                self.cut(*place - 1, before);
                continue;
            }
            let wanted = numbers.end() - row.number + 1;
            if wanted < row.count {
                self.cut(*place - 1, wanted);
                *place -= 1;
                continue;
            }
            self.count -= row.count;
            return slot.row.take();
        }
        None
    }

    /// Cuts the row in the slot at `place` into two slots.
    fn cut(&mut self, place: usize, at: u64) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        let Some(row) = &mut slot.row else { return };
        let rest = row.split_off(at);
        slot.last = row.last();
        self.slots.insert(place + 1, Slot::new(rest));
    }

    /// Takes out what is lost once `acked` is acknowledged: sent so many packets before it, or
    /// longer than `patience.delay` ago (RFC 9002 §6.1).
    pub(crate) fn take_lost(&mut self, now: Instant, acked: u64, patience: Patience) -> Losses {
        let mut losses = Losses::default();
        let mut place = 0;
        while let Some(slot) = self.slots.get(place) {
            place += 1;
            let Some(row) = &slot.row else { continue };
            let overtaken = acked.saturating_sub(row.number).min(row.count);
            if overtaken == 0 {
                break;
            }
            let due = row.packet.time + patience.delay;
            let lost = if due > now {
                (acked + 1).saturating_sub(patience.packets + row.number).min(overtaken)
            } else {
                overtaken
            };
            if lost > 0 {
                let numbers = row.number..=row.number + lost - 1;
                place -= 1;
                losses.packets.extend(
                    self.take_next(&mut place, &numbers).map(Row::singles).into_iter().flatten(),
                );
            }
            if lost < overtaken {
                // Those after it were sent later still.
                losses.next = Some(due);
                break;
            }
        }
        self.trim();
        losses
    }

    /// When the oldest was sent.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.slots.iter().find_map(|slot| slot.row.as_ref()).map(|row| row.packet.time)
    }

    /// What the oldest carries whose content was not sent again yet: now it will be.
    pub(crate) fn probe_oldest(&mut self) -> Option<Content> {
        let is_next = |row: &Row| !row.packet.is_probed && !row.packet.is_size_probe;
        let place = self.slots.iter().position(|slot| slot.row.as_ref().is_some_and(is_next))?;
        if self.slots.get(place)?.row.as_ref()?.count > 1 {
            self.cut(place, 1);
        }
        let packet = &mut self.slots.get_mut(place)?.row.as_mut()?.packet;
        packet.is_probed = true;
        Some(Content { acked: None, ..packet.content.clone() })
    }

    /// Gives up all packets; answers their bytes.
    pub(crate) fn clear(&mut self) -> u64 {
        let bytes = self.slots.iter().filter_map(|slot| slot.row.as_ref()).map(Row::size).sum();
        *self = Self::default();
        bytes
    }

    /// Forgets empty slots at the front; after packets were taken out.
    pub(crate) fn trim(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.row.is_none()) {
            self.slots.pop_front();
        }
        if self.slots.is_empty() && self.slots.capacity() > SLOTS_KEPT {
            self.slots = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_mux::StreamId;
    use proptest::prelude::*;

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
    fn take(packets: &mut SentPackets, range: RangeInclusive<u64>) -> Option<Row> {
        let mut place = packets.place_of(*range.start());
        packets.take_next(&mut place, &range)
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
        assert_eq!(take(&mut packets, 0..=u64::MAX).map(|row| row.number), Some(3));
        packets.trim();
        assert_eq!(take(&mut packets, 0..=u64::MAX).map(|row| row.number), Some(7));
        packets.trim();
        assert!(take(&mut packets, 0..=u64::MAX).is_none());
    }

    const LEN: u32 = 7;

    /// Packets `numbers`, each with the next piece of a stream, in one slot or one each.
    fn pieces(numbers: std::ops::Range<u64>, time: Instant, is_row: bool) -> Vec<Row> {
        let row = |number: u64, count: u64| {
            let start = number * u64::from(LEN);
            let frame = SentFrame::Stream { id: StreamId(0), start, len: LEN, fin: false };
            let content = Content { mux: Frames::of(&[frame]), ..Content::default() };
            let then = Delivery::new(time).on_sent(time, 10, 10 * (number + 1));
            Row { number, count, packet: SentPacket::new(time, 10, content, then) }
        };
        match is_row {
            true => vec![row(numbers.start, numbers.end - numbers.start)],
            false => numbers.map(|number| row(number, 1)).collect(),
        }
    }

    /// Number, frame and snapshot of each packet.
    fn seen(rows: impl IntoIterator<Item = Row>) -> Vec<(u64, String)> {
        let one = |(number, packet): (u64, SentPacket)| {
            (number, format!("{:?} {:?} {:?}", packet.content.mux, packet.then, packet.is_probed))
        };
        rows.into_iter().flat_map(Row::singles).map(one).collect()
    }

    fn take_all(packets: &mut SentPackets, range: &RangeInclusive<u64>) -> Vec<Row> {
        let mut place = packets.place_of(*range.start());
        std::iter::from_fn(|| packets.take_next(&mut place, range)).collect()
    }

    #[test]
    fn a_row_is_acknowledged_at_one_go_with_all_that_it_carried() {
        let mut packets = SentPackets::default();
        packets.insert_row(pieces(5..45, epoch(), true).remove(0));
        let row = take(&mut packets, 0..=34).unwrap();
        assert_eq!((row.number, row.last(), row.size()), (5, 34, 300));
        let frame = SentFrame::Stream { id: StreamId(0), start: 35, len: 30 * LEN, fin: false };
        assert_eq!(row.frames().collect::<Vec<_>>(), [frame]);
        assert_eq!(take(&mut packets, 0..=99).map(|row| row.number), Some(35));
        assert!(packets.is_empty());
    }

    proptest! {
        #[test]
        fn rows_meet_the_same_fate_as_their_packets_one_by_one(
            lens in prop::collection::vec((1..20_u64, 0..2_u64), 1..8),
            steps in prop::collection::vec((0..4_u8, 0..100_u64, 0..40_u32), 0..30),
        ) {
            let (mut rows, mut singles) = (SentPackets::default(), SentPackets::default());
            let mut next = 0;
            for (index, (len, skipped)) in (0..).zip(lens) {
                let time = epoch() + index * MS;
                let numbers = next + skipped..next + skipped + len;
                next = numbers.end;
                pieces(numbers.clone(), time, true).into_iter().for_each(|row| rows.insert_row(row));
                pieces(numbers, time, false).into_iter().for_each(|row| singles.insert_row(row));
            }
            for (step, from, len) in steps {
                let range = from..=from + u64::from(len);
                match step {
                    0 | 1 => prop_assert_eq!(
                        seen(take_all(&mut rows, &range)),
                        seen(take_all(&mut singles, &range))
                    ),
                    2 => {
                        let now = epoch() + 3 * MS;
                        let [mut ours, mut theirs] = [&mut rows, &mut singles]
                            .map(|packets| packets.take_lost(now, from, patience(len / 10)));
                        prop_assert_eq!(ours.next, theirs.next);
                        let each = |losses: &mut Losses| {
                            let packets = losses.packets.drain(..);
                            seen(packets.map(|(number, packet)| Row { number, count: 1, packet }))
                        };
                        prop_assert_eq!(each(&mut ours), each(&mut theirs));
                    }
                    _ => prop_assert_eq!(
                        format!("{:?}", rows.probe_oldest()),
                        format!("{:?}", singles.probe_oldest())
                    ),
                }
                rows.trim();
                singles.trim();
                prop_assert_eq!(rows.oldest(), singles.oldest());
                prop_assert_eq!(rows.is_empty(), singles.is_empty());
            }
            prop_assert_eq!(rows.clear(), singles.clear());
        }
    }
}
