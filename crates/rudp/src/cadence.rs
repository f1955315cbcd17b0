//! How often the remote is asked to acknowledge (draft-ietf-quic-ack-frequency).
//!
//! An acknowledgement costs both sides a packet. The sender knows what it needs them for: a
//! sixteenth of its window is often enough to keep it moving and measured, but while it starts, or
//! has little under way, every second packet is not too often. So the sender decides, and the
//! receiver ([`crate::ack`]) obeys within its own bounds.

use std::time::{Duration, Instant};

use portolan_mux::put_varint;

use crate::{frame::ACK_FREQUENCY, late::REORDER_MIN, rtt::GRANULARITY};

/// Packets to be acknowledged after which it is usually done at once (RFC 9000 §13.2.2).
const PACKETS_USUAL: u64 = 2;

/// No remote is asked to wait for more packets than this.
pub(crate) const PACKETS_MAX: u64 = 256;

/// Acknowledgements of one window.
const PARTS_OF_WINDOW: u64 = 16;

/// Acknowledgements in one round trip, at the least.
const PARTS_OF_ROUND: u32 = 4;

/// Bytes of an ACK_FREQUENCY frame, at most: its type, two small numbers, a sequence, a time.
const FRAME_MAX: usize = 2 + 8 + 8 + 8 + 8;

/// When acknowledgements are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cadence {
    /// Packets to be acknowledged after which it is done at once.
    pub(crate) packets: u64,
    /// Longest time for which one packet waits.
    pub(crate) delay: Duration,
    /// So far behind the newest a missing packet is told at once: when the sender will take it for
    /// lost. One: every gap is.
    pub(crate) reorder: u64,
}

impl Cadence {
    /// What RFC 9000 §13.2 prescribes.
    pub(crate) fn usual(delay: Duration) -> Self {
        Self { packets: PACKETS_USUAL, delay, reorder: 1 }
    }

    /// What a sender with such a window wishes for; `longest` is what the remote holds back at
    /// most.
    pub(crate) fn of_window(window_packets: u64, rtt: Duration, longest: Duration) -> Self {
        let packets = (window_packets / PARTS_OF_WINDOW).min(PACKETS_MAX);
        if packets <= PACKETS_USUAL {
            return Self::usual(longest);
        }
        let delay = (rtt / PARTS_OF_ROUND).max(GRANULARITY).min(longest);
        Self { packets, delay, reorder: REORDER_MIN.into() }
    }

    /// Whether the difference is worth a frame.
    fn is_far_from(&self, other: &Self) -> bool {
        let is_far = |one: u128, other: u128| one > 2 * other || other > 2 * one;
        is_far(self.packets.into(), other.packets.into())
            || is_far(self.delay.as_micros(), other.delay.as_micros())
            || self.reorder != other.reorder
    }
}

/// What we have asked the remote for.
#[derive(Debug)]
pub(crate) struct Request {
    asked: Cadence,
    sequence: u64,
    is_due: bool,
    /// Frequent changes are not worth their frames.
    not_before: Option<Instant>,
}

impl Request {
    /// The remote does as usual, unasked.
    pub(crate) fn new(delay: Duration) -> Self {
        Self { asked: Cadence::usual(delay), sequence: 0, is_due: false, not_before: None }
    }

    /// The remote's parameters are known: so long it holds back acknowledgements.
    pub(crate) fn on_delay(&mut self, delay: Duration) {
        self.asked.delay = delay;
    }

    /// Asks for something else, unless it is much the same or was changed in this round trip. What
    /// is needed more often than before is asked for at once.
    pub(crate) fn wish(&mut self, now: Instant, rtt: Duration, wish: Cadence) {
        let is_sooner = wish.packets < self.asked.packets;
        let is_early = self.not_before.is_some_and(|time| now < time);
        if !wish.is_far_from(&self.asked) || is_early && !is_sooner {
            return;
        }
        self.asked = wish;
        self.sequence += 1;
        self.is_due = true;
        self.not_before = Some(now + rtt);
    }

    /// Whether there is a frame to be sent.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Appends the frame before `end` if it is to be sent; answers whether it was.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, end: usize) -> bool {
        if !self.is_due || out.len() + FRAME_MAX > end {
            return false;
        }
        self.is_due = false;
        let delay_us = u64::try_from(self.asked.delay.as_micros()).unwrap_or(u64::MAX);
        let Cadence { packets, reorder, .. } = self.asked;
        for value in [ACK_FREQUENCY, self.sequence, packets, delay_us.min(1 << 30), reorder] {
            put_varint(out, value);
        }
        true
    }

    /// A packet that carried it is lost. The newest wish is said again, whichever it carried.
    pub(crate) fn on_lost(&mut self) {
        self.is_due = true;
    }
}

/// An ACK_FREQUENCY frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Wishes are counted: an older one that comes late is void.
    pub(crate) sequence: u64,
    pub(crate) packets: u64,
    pub(crate) delay_us: u64,
    pub(crate) reorder: u64,
}

impl Wish {
    /// What we do about it, given what we have promised: never later than `delay`.
    pub(crate) fn cadence(&self, delay: Duration) -> Cadence {
        Cadence {
            packets: self.packets.clamp(1, PACKETS_MAX),
            delay: Duration::from_micros(self.delay_us).min(delay),
            reorder: self.reorder.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_mux::Reader;

    use super::*;
    use crate::{frame::Frame, tests::epoch};

    const MS: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(25);

    fn sent(request: &mut Request) -> Option<Wish> {
        let mut out = Vec::new();
        request.put(&mut out, 1_000).then_some(())?;
        assert!(out.len() <= FRAME_MAX);
        match Frame::decode(&mut Reader::new(&out)) {
            Ok(Frame::AckFrequency(wish)) => Some(wish),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_large_window_is_acknowledged_in_sixteen_parts_or_four_times_a_round() {
        let cadence = Cadence::of_window(320, 40 * MS, LONGEST);
        assert_eq!((cadence.packets, cadence.delay), (20, 10 * MS));
        assert_eq!(Cadence::of_window(1 << 20, MS, LONGEST).packets, PACKETS_MAX);
        assert_eq!(Cadence::of_window(40, 40 * MS, LONGEST), Cadence::usual(LONGEST));
        assert_eq!(Cadence::of_window(320, 400 * MS, LONGEST).delay, LONGEST);
    }

    #[test]
    fn a_wish_is_sent_once_and_again_when_it_is_lost() {
        let mut request = Request::new(LONGEST);
        assert_eq!(sent(&mut request), None, "nothing is wished for");
        request.wish(epoch(), 40 * MS, Cadence::of_window(320, 40 * MS, LONGEST));
        let wish = sent(&mut request).unwrap();
        assert_eq!(wish.cadence(LONGEST), Cadence::of_window(320, 40 * MS, LONGEST));
        assert_eq!(sent(&mut request), None);
        request.on_lost();
        assert_eq!(sent(&mut request), Some(wish));
    }

    #[test]
    fn more_frequent_ones_are_asked_for_at_once_and_fewer_once_a_round() {
        let mut request = Request::new(LONGEST);
        let of = |packets| Cadence::of_window(packets, 40 * MS, LONGEST);
        request.wish(epoch(), 40 * MS, of(320));
        sent(&mut request).unwrap();
        request.wish(epoch() + MS, 40 * MS, of(1_600));
        assert_eq!(sent(&mut request), None, "in the same round");
        request.wish(epoch() + 2 * MS, 40 * MS, of(64));
        assert_eq!(sent(&mut request).unwrap().packets, 4);
        request.wish(epoch() + 50 * MS, 40 * MS, of(96));
        assert_eq!(sent(&mut request), None, "much the same");
    }

    #[test]
    fn no_wish_makes_us_break_what_we_have_promised() {
        let most = u64::MAX;
        let wish = Wish { sequence: 1, packets: most, delay_us: most, reorder: most };
        assert_eq!((wish.cadence(LONGEST).packets, wish.cadence(LONGEST).delay), (256, LONGEST));
        let least = Wish { sequence: 1, packets: 0, delay_us: 0, reorder: 0 };
        let cadence = Cadence { packets: 1, delay: Duration::ZERO, reorder: 1 };
        assert_eq!(least.cadence(LONGEST), cadence);
    }
}
