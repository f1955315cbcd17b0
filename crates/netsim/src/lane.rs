//! The state of a link: its queue, whether it is up, what it has counted.

use std::time::{Duration, Instant};

use crate::{
    Link, LinkStats, Rate,
    flow::{Draws, Flow, happens, part},
};

/// One direction between two hosts.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) link: Link,
    pub(crate) up: bool,
    pub(crate) stats: LinkStats,
    /// When the packets that wait now have all been sent.
    busy_until: Option<Instant>,
}

/// When a packet's first and second copy arrive, and which bit was flipped in the first.
#[derive(Debug)]
pub(crate) struct Passage {
    pub(crate) arrival: Instant,
    pub(crate) second: Option<Instant>,
    pub(crate) flipped_bit: Option<u64>,
}

impl Lane {
    pub(crate) fn new(link: Link, up: bool) -> Self {
        Self { link, up, stats: LinkStats::default(), busy_until: None }
    }

    /// Decides what becomes of a packet of `size` bytes on the wire; `None`: dropped.
    pub(crate) fn pass(&mut self, now: Instant, size: u64, flow: &mut Flow) -> Option<Passage> {
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
        let Some(sent) = self.enqueue(now, size) else {
            self.stats.overflowed += 1;
            return None;
        };
        if lost {
            self.stats.lost += 1;
            return None;
        }
        Some(self.carry(sent, size, flow, &draws))
    }

    /// Counts a packet for an address behind which nobody stands.
    pub(crate) fn turn_away(&mut self, flow: &mut Flow) {
        self.stats.entered += 1;
        self.stats.blackholed += 1;
        flow.draw();
    }

    /// When the last bit of the packet leaves the queue; `None`: it did not fit.
    fn enqueue(&mut self, now: Instant, size: u64) -> Option<Instant> {
        let Some(rate) = self.link.rate else { return Some(now) };
        let start = self.busy_until.map_or(now, |busy| busy.max(now));
        let waiting = bytes_within(rate, start - now);
        if waiting + size > u64::from(rate.queue) {
            return None;
        }
        let sent = start + time_to_send(rate, size);
        self.busy_until = Some(sent);
        Some(sent)
    }

    fn carry(&mut self, sent: Instant, size: u64, flow: &mut Flow, draws: &Draws) -> Passage {
        let arrival = self.arrival(sent, flow, draws);
        let second = happens(self.link.duplicate, draws.duplicate)
            .then(|| arrival + part(self.link.jitter, draws.duplicate_jitter));
        let flipped_bit = happens(self.link.corrupt, draws.corrupt).then_some(draws.corrupt_bit);

        let copies = 1 + u64::from(second.is_some());
        self.stats.carried += copies;
        self.stats.bytes_carried += copies * size;
        self.stats.duplicated += u64::from(second.is_some());
        self.stats.corrupted += u64::from(flipped_bit.is_some());
        Passage { arrival, second, flipped_bit }
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
        let arrival = flow.last_arrival.map_or(arrival, |last| last.max(arrival));
        flow.last_arrival = Some(arrival);
        arrival
    }
}

/// Time in which `size` bytes leave; rounded up, so that no rate is ever exceeded.
fn time_to_send(rate: Rate, size: u64) -> Duration {
    let nanos = (u128::from(size) * 8 * 1_000_000_000).div_ceil(u128::from(rate.bits_per_second));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Bytes that leave within `time`.
fn bytes_within(rate: Rate, time: Duration) -> u64 {
    let bytes = time.as_nanos() * u128::from(rate.bits_per_second) / 8 / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
