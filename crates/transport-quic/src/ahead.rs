//! How far writers may be ahead of what the remote has acknowledged.

use std::{
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use portolan_transport::{Limits, Priority};
use quinn::{SendStream, WriteError};

use crate::config::connection_window;

/// What may wait in quinn however short or narrow the way is.
const LEAST: u64 = 256 << 10;

/// Congestion windows that may wait in quinn: as for our own streams, so that a gap in what has
/// arrived does not leave the way without work until it is repaired.
const CONGESTION_WINDOWS: u64 = 4;

/// A round trip below which a way needs no more than [`SHORT_WAY`] to be kept busy: what waits
/// longer leaves the processor's cache.
const SHORT: Duration = Duration::from_millis(2);

/// A round trip above which a way is not what it was when it was short.
const OTHER: Duration = Duration::from_millis(20);

/// What may wait for a short way.
const SHORT_WAY: u64 = 1 << 20;

/// How often the congestion window is looked at while what may wait is handed over.
const LOOKS: u64 = 4;

/// How far writers may be ahead of what the remote has acknowledged, all streams together.
///
/// quinn counts what is written against the remote's window at once, and sends it in the order of
/// priorities only afterwards. Were it given all that the window takes, an urgent stream would
/// find no credit and wait for everything that lies in front. So lazy streams are let in as far as
/// the congestion window can make use of, and more urgent ones a little further, each class by a
/// reserve of its own.
///
/// Writers who are stopped are asked for more once a quarter of the window is free, and not with
/// each acknowledgement: quinn's window is lowered that far while somebody waits.
#[derive(Debug)]
pub(crate) struct Ahead {
    quinn: quinn::Connection,
    /// The most for lazy streams.
    most: u64,
    /// What each class has beyond the next lazier one.
    reserve: u64,
    /// What quinn's send window is, but while an urgent stream is being served or a writer waits.
    now: Mutex<u64>,
    /// Microseconds of the shortest round trip of late: what queues add makes no way long.
    shortest: AtomicU64,
    /// Bytes to hand over until the next look.
    unobserved: AtomicU64,
    /// quinn's window is lowered.
    lowered: AtomicBool,
}

impl Ahead {
    /// Takes over the send window of `quinn`.
    pub(crate) fn new(quinn: quinn::Connection, limits: &Limits) -> Self {
        let most = most(limits);
        let now = LEAST.min(most);
        quinn.set_send_window(now);
        Self {
            quinn,
            most,
            reserve: reserve(limits),
            now: Mutex::new(now),
            shortest: AtomicU64::new(u64::MAX),
            unobserved: AtomicU64::new(now / LOOKS),
            lowered: AtomicBool::new(false),
        }
    }

    /// Writes to `stream`, as far as its class may go.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        (stream, priority): (&mut SendStream, Priority),
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        if self.lowered.load(Relaxed) {
            self.raise();
        }
        let mut written = Pin::new(&mut *stream).poll_write(cx, bytes);
        if written.is_pending() {
            let mut now = self.lock();
            let has_more = self.look(&mut now);
            let further = classes_below(priority) * self.reserve;
            if further > 0 {
                self.quinn.set_send_window(*now + further);
            }
            if has_more || further > 0 {
                written = Pin::new(stream).poll_write(cx, bytes);
            }
            let is_lowered = written.is_pending();
            self.lowered.store(is_lowered, Relaxed);
            self.quinn.set_send_window(if is_lowered { *now - *now / 4 } else { *now });
        }
        if let Poll::Ready(Ok(len)) = &written {
            self.on_written(*len as u64);
        }
        written
    }

    /// Whoever writes may fill the window again.
    fn raise(&self) {
        let now = self.lock();
        if self.lowered.swap(false, Relaxed) {
            self.quinn.set_send_window(*now);
        }
    }

    fn on_written(&self, len: u64) {
        let left = self.unobserved.load(Relaxed);
        // Two at once may be counted as one: it is looked at a little later then.
        self.unobserved.store(left.saturating_sub(len), Relaxed);
        if left <= len {
            self.look(&mut self.lock());
        }
    }

    /// Follows the congestion window; answers whether there is more room than before.
    fn look(&self, now: &mut u64) -> bool {
        let path = self.quinn.stats().path;
        let of_use = CONGESTION_WINDOWS * path.cwnd;
        let most = if self.is_short(path.rtt) { self.most.min(SHORT_WAY) } else { self.most };
        let before = std::mem::replace(now, of_use.max(LEAST).min(most));
        self.unobserved.store(*now / LOOKS, Relaxed);
        if before != *now {
            self.quinn.set_send_window(*now);
        }
        before < *now
    }

    /// Whether the way is short, now that its round trip takes so long.
    fn is_short(&self, round_trip: Duration) -> bool {
        let now = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        // No queue of ours is so long: it is another way than before, or a slow one.
        let is_other = round_trip > OTHER;
        let shortest = if is_other { now } else { now.min(self.shortest.load(Relaxed)) };
        self.shortest.store(shortest, Relaxed);
        Duration::from_micros(shortest) < SHORT
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Three quarters of the window that the remote is taken to have: the same as ours.
fn most(limits: &Limits) -> u64 {
    let window = u64::from(connection_window(limits));
    window - window / 4
}

/// A share of the last quarter for each of the three classes that are not bulk.
fn reserve(limits: &Limits) -> u64 {
    u64::from(connection_window(limits)) / 12
}

const fn classes_below(priority: Priority) -> u64 {
    match priority {
        Priority::Control => 3,
        Priority::Live => 2,
        Priority::Interactive => 1,
        Priority::Bulk => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_classes_together_keep_within_the_window() {
        let limits = Limits::default();
        let all = most(&limits) + classes_below(Priority::Control) * reserve(&limits);
        assert!(all <= u64::from(connection_window(&limits)), "{all}");
        assert!(reserve(&limits) >= 1 << 20, "an urgent stream has room of its own");
    }
}
