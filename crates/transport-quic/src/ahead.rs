//! How far writers may be ahead of what the remote has acknowledged.

use std::{
    pin::Pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use portolan_transport::{Limits, Priority};
use quinn::{SendStream, WriteError};

use crate::config::connection_window;

/// What may wait in quinn however short or narrow the way is.
const LEAST: u64 = 256 << 10;

/// Congestion windows that may wait in quinn: as for our own streams, so that a gap in what has
/// arrived does not leave the way without work until it is repaired.
const CONGESTION_WINDOWS: u64 = 4;

/// Bytes handed over from one look at the congestion window to the next.
const LOOK_AFTER: u64 = 64 << 10;

/// How far writers may be ahead of what the remote has acknowledged, all streams together.
///
/// quinn counts what is written against the remote's window at once, and sends it in the order of
/// priorities only afterwards. Were it given all that the window takes, an urgent stream would
/// find no credit and wait for everything that lies in front. So lazy streams are let in as far as
/// the congestion window can make use of, and more urgent ones a little further, each class by a
/// reserve of its own.
#[derive(Debug)]
pub(crate) struct Ahead {
    quinn: quinn::Connection,
    /// The most for lazy streams.
    most: u64,
    /// What each class has beyond the next lazier one.
    reserve: u64,
    /// What quinn's send window is, but while an urgent stream is being served.
    now: Mutex<u64>,
    unobserved: AtomicU64,
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
            unobserved: AtomicU64::new(0),
        }
    }

    /// Writes to `stream`, as far as its class may go.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        (stream, priority): (&mut SendStream, Priority),
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        let mut written = Pin::new(&mut *stream).poll_write(cx, bytes);
        if written.is_pending() {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            self.look(&mut now);
            let further = classes_below(priority) * self.reserve;
            if further > 0 {
                self.quinn.set_send_window(*now + further);
            }
            written = Pin::new(stream).poll_write(cx, bytes);
            if further > 0 {
                self.quinn.set_send_window(*now);
            }
        }
        if let Poll::Ready(Ok(len)) = &written {
            self.on_written(*len as u64);
        }
        written
    }

    fn on_written(&self, len: u64) {
        if self.unobserved.fetch_add(len, Relaxed) + len >= LOOK_AFTER {
            self.look(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Follows the congestion window.
    fn look(&self, now: &mut u64) {
        self.unobserved.store(0, Relaxed);
        let of_use = CONGESTION_WINDOWS * self.quinn.stats().path.cwnd;
        let next = of_use.max(LEAST).min(self.most);
        if next != *now {
            *now = next;
            self.quinn.set_send_window(next);
        }
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
