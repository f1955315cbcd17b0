//! CoDel (RFC 8289): drops ever more often while packets wait for too long.
//!
//! RFC 8289 decides when a packet leaves its queue; here everything is decided when it enters. That
//! is the same, since the queue is first in, first out and its speed is known: on entry it is
//! certain when the packet will leave (once all those before it that are not dropped have been
//! sent), so its sojourn is known, and packets enter in the order in which they leave, so the
//! states follow each other as in the RFC. A packet that is dropped takes no link time: the next
//! one is judged for the same moment, as in the loop of RFC 8289 §5.5.
//!
//! One thing is not known on entry: what will have come in *behind* the packet when it leaves. RFC
//! 8289 never acts while no more than the longest packet is left there. Here it is not more than
//! the longest packet *before* it, on entry, that protects it: the same amount under steady
//! traffic, and the same purpose (a slow link, on which one packet takes longer than the target,
//! keeps busy). The last packets of a burst are thus not spared as the RFC's are.
//! Neither is a change of speed foreseen: packets that wait keep the fate that they have.

use std::time::{Duration, Instant};

/// The state variables of RFC 8289 §5.3.
#[derive(Debug, Default)]
pub(crate) struct CoDel {
    /// When it will have been above the target for an interval.
    first_above: Option<Instant>,
    /// When to act next, while dropping; afterwards, when it would have been.
    drop_next: Option<Instant>,
    /// How often it acted since dropping began.
    count: u32,
    /// The count with which dropping began.
    last_count: u32,
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// Acts at `drop_next`.
    Dropping,
    /// Has just acted; the next packet decides whether `drop_next` moves on or dropping ends.
    Acted,
}

/// An episode that begins within this many intervals of the last one goes on where that ended.
const MEMORY: u32 = 16;

impl CoDel {
    /// Whether the packet that leaves at `now` is to be dropped or marked. `above` says that it
    /// waited for too long, and holds the interval.
    pub(crate) fn acts(&mut self, now: Instant, above: Option<Duration>) -> bool {
        let Some(interval) = self.lasting(now, above) else {
            self.phase = Phase::Idle;
            return false;
        };
        match self.phase {
            Phase::Idle => {
                self.begin(now, interval);
                true
            }
            Phase::Acted => {
                self.drop_next = self.drop_next.map(|last| control_law(last, interval, self.count));
                self.phase = Phase::Dropping;
                self.goes_on(now)
            }
            Phase::Dropping => self.goes_on(now),
        }
    }

    /// The interval, if packets have waited for too long for all of it ("ok to drop").
    fn lasting(&mut self, now: Instant, above: Option<Duration>) -> Option<Duration> {
        let Some(interval) = above else {
            self.first_above = None;
            return None;
        };
        let first_above = *self.first_above.get_or_insert(now + interval);
        (now >= first_above).then_some(interval)
    }

    /// Begins to drop; soon after the last time, as often as it did at its end.
    fn begin(&mut self, now: Instant, interval: Duration) {
        let delta = self.count - self.last_count;
        let is_recent = self.drop_next.is_some_and(|last| now < last + MEMORY * interval);
        self.count = if delta > 1 && is_recent { delta } else { 1 };
        self.last_count = self.count;
        self.drop_next = Some(control_law(now, interval, self.count));
        self.phase = Phase::Dropping;
    }

    fn goes_on(&mut self, now: Instant) -> bool {
        let is_due = self.drop_next.is_some_and(|next| now >= next);
        if is_due {
            self.count = self.count.saturating_add(1);
            self.phase = Phase::Acted;
        }
        is_due
    }
}

/// When to act after the time `last` for the `count`th time (RFC 8289 §4.3).
fn control_law(last: Instant, interval: Duration, count: u32) -> Instant {
    last + interval.div_f64(f64::from(count).sqrt())
}
