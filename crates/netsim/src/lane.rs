//! The state of a link: its queue, whether it is up, what it has counted.

use std::time::Instant;

use crate::{
    Ecn, Link, LinkStats, Order,
    bottleneck::{Bottleneck, Verdict},
    flow::{Draws, Flow, happens, part},
};

/// One direction between two hosts.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) link: Link,
    pub(crate) up: bool,
    pub(crate) stats: LinkStats,
    bottleneck: Bottleneck,
}

/// When a packet's first and second copy arrive, which bit was flipped in the first, and the mark
/// that both carry.
#[derive(Debug)]
pub(crate) struct Passage {
    pub(crate) arrival: Instant,
    pub(crate) second: Option<Instant>,
    pub(crate) flipped_bit: Option<u64>,
    pub(crate) ecn: Option<Ecn>,
}

impl Lane {
    pub(crate) fn new(link: Link, up: bool) -> Self {
        Self { link, up, stats: LinkStats::default(), bottleneck: Bottleneck::default() }
    }

    /// Decides what becomes of a packet of `size` bytes on the wire; `None`: dropped.
    pub(crate) fn pass(
        &mut self,
        now: Instant,
        size: u64,
        ecn: Option<Ecn>,
        flow: &mut Flow,
    ) -> Option<Passage> {
        self.stats.entered += 1;
        let draws = flow.draw();
        // Stepped before anything can drop the packet: bursts last in packets offered.
        let lost = flow.loses(self.link.loss, &draws);
        if !self.up {
            self.stats.blackholed += 1;
            return None;
        }
        if size > u64::from(self.link.mtu) {
            self.stats.oversized += 1;
            return None;
        }
        let (sent, ecn) = self.queue(now, size, ecn)?;
        if lost {
            self.stats.lost += 1;
            return None;
        }
        let (arrival, second) = self.carry(sent, size, flow, &draws);
        let flipped_bit = happens(self.link.corrupt, draws.corrupt).then_some(draws.corrupt_bit);
        self.stats.corrupted += u64::from(flipped_bit.is_some());
        Some(Passage { arrival, second, flipped_bit, ecn })
    }

    /// Counts a packet for an address behind which nobody stands.
    pub(crate) fn turn_away(&mut self, flow: &mut Flow) {
        self.stats.entered += 1;
        self.stats.blackholed += 1;
        flow.draw();
    }

    /// When the last bit of the packet leaves the queue, and its mark then; `None`: dropped there.
    fn queue(
        &mut self,
        now: Instant,
        size: u64,
        ecn: Option<Ecn>,
    ) -> Option<(Instant, Option<Ecn>)> {
        let Some(rate) = &self.link.rate else { return Some((now, ecn)) };
        match self.bottleneck.enter(now, rate, size, ecn) {
            Verdict::Sent { at, ecn: mark } => {
                self.stats.marked += u64::from(mark != ecn);
                Some((at, mark))
            }
            Verdict::Full => {
                self.stats.overflowed += 1;
                None
            }
            Verdict::Shed => {
                self.stats.shed += 1;
                None
            }
        }
    }

    /// When the copies of the packet arrive.
    fn carry(
        &mut self,
        sent: Instant,
        size: u64,
        flow: &mut Flow,
        draws: &Draws,
    ) -> (Instant, Option<Instant>) {
        let arrival = self.arrival(sent, flow, draws);
        let second = happens(self.link.duplicate, draws.duplicate)
            .then(|| arrival + part(self.link.jitter, draws.duplicate_jitter));
        let copies = 1 + u64::from(second.is_some());
        self.stats.carried += copies;
        self.stats.bytes_carried += copies * size;
        self.stats.duplicated += u64::from(second.is_some());
        (arrival, second)
    }

    /// A packet in order waits for the one before it; one held back lets the others pass.
    fn arrival(&mut self, sent: Instant, flow: &mut Flow, draws: &Draws) -> Instant {
        let arrival = sent + self.link.delay + part(self.link.jitter, draws.jitter);
        if let Some(reorder) = self.link.reorder
            && happens(reorder.probability, draws.reorder)
        {
            self.stats.reordered += 1;
            return arrival + reorder.hold;
        }
        match self.link.order {
            Order::Kept => {
                let arrival = flow.last_arrival.map_or(arrival, |last| last.max(arrival));
                flow.last_arrival = Some(arrival);
                arrival
            }
            Order::Free => arrival,
        }
    }
}
