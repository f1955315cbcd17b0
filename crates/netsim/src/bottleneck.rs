//! The state of a queue: until when the link is busy, and who will be dropped on leaving.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{Discipline, Ecn, Rate, codel::CoDel};

/// A queue before a link of limited speed.
#[derive(Debug, Default)]
pub(crate) struct Bottleneck {
    /// When the packets that wait now have all been sent.
    busy_until: Option<Instant>,
    codel: CoDel,
    /// Packets that CoDel drops when they leave, and their bytes: until then they take up room,
    /// though never link time.
    doomed: VecDeque<(Instant, u64)>,
    doomed_bytes: u64,
    /// The longest packet so far.
    packet_max: u64,
}

/// What becomes of a packet in the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its last bit leaves at this time, with this mark.
    Sent { at: Instant, ecn: Option<Ecn> },
    /// It did not fit.
    Full,
    /// CoDel drops it.
    Shed,
}

impl Bottleneck {
    pub(crate) fn enter(
        &mut self,
        now: Instant,
        rate: &Rate,
        size: u64,
        ecn: Option<Ecn>,
    ) -> Verdict {
        let start = self.busy_until.map_or(now, |busy| busy.max(now));
        let waiting = bytes_within(rate, start - now) + self.doomed_bytes(now);
        if waiting + size > u64::from(rate.queue.bytes) {
            return Verdict::Full;
        }
        self.packet_max = self.packet_max.max(size);
        let too_late = self.is_too_late(now, start, rate);
        let too_long = rate.queue.ecn_threshold.is_some_and(|most| waiting > u64::from(most));
        match ecn {
            None if too_late => {
                self.doomed.push_back((start, size));
                self.doomed_bytes += size;
                Verdict::Shed
            }
            Some(_) if too_late || too_long => self.send(start, rate, size, Some(Ecn::Ce)),
            None | Some(_) => self.send(start, rate, size, ecn),
        }
    }

    fn send(&mut self, start: Instant, rate: &Rate, size: u64, ecn: Option<Ecn>) -> Verdict {
        let at = start + time_to_send(rate, size);
        self.busy_until = Some(at);
        Verdict::Sent { at, ecn }
    }

    /// Whether the queue's discipline acts on the packet that entered now and leaves at `start`.
    fn is_too_late(&mut self, now: Instant, start: Instant, rate: &Rate) -> bool {
        match rate.queue.discipline {
            Discipline::DropTail => false,
            Discipline::CoDel { target, interval } => {
                let waited = start - now;
                let is_above = waited >= target && waited > time_to_send(rate, self.packet_max);
                self.codel.acts(start, is_above.then_some(interval))
            }
        }
    }

    fn doomed_bytes(&mut self, now: Instant) -> u64 {
        while let Some((_, size)) = self.doomed.pop_front_if(|(leaves, _)| *leaves <= now) {
            self.doomed_bytes -= size;
        }
        self.doomed_bytes
    }
}

/// Time in which `size` bytes leave; rounded up, so that no rate is ever exceeded.
fn time_to_send(rate: &Rate, size: u64) -> Duration {
    let nanos = (u128::from(size) * 8 * 1_000_000_000).div_ceil(u128::from(rate.bits_per_second));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Bytes that leave within `time`.
fn bytes_within(rate: &Rate, time: Duration) -> u64 {
    let bytes = time.as_nanos() * u128::from(rate.bits_per_second) / 8 / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
