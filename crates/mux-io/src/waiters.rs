//! Who waits for what.

use std::{collections::HashMap, task::Waker};

use portolan_mux::{Event, Mux, StreamId};
use portolan_transport::CloseReason;
use tokio::sync::Notify;

/// Wakers of stream halves, and the reason once the connection is gone; under the host's lock.
#[derive(Debug, Default)]
pub struct Waiters {
    readers: HashMap<StreamId, Waker>,
    writers: HashMap<StreamId, Waker>,
    reason: Option<CloseReason>,
}

/// Signals for waits that several tasks may share; beside the host's lock, not under it.
#[derive(Debug, Default)]
pub struct Signals {
    pub(crate) opened: Notify,
    pub(crate) available: Notify,
    pub(crate) datagram: Notify,
    pub(crate) closed: Notify,
}

/// Tasks to wake once the lock is released.
#[derive(Debug, Default)]
#[must_use = "wake them after releasing the lock"]
pub struct Woken(Vec<Waker>);

impl Waiters {
    /// Nobody waits, and the connection is there.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the machine's events and finds out whom they concern.
    pub fn dispatch(&mut self, mux: &mut Mux, signals: &Signals) -> Woken {
        let mut woken = Woken::default();
        while let Some(event) = mux.poll_event() {
            match event {
                Event::StreamOpened => signals.opened.notify_waiters(),
                Event::StreamsAvailable => signals.available.notify_waiters(),
                Event::DatagramReceived => signals.datagram.notify_waiters(),
                Event::Readable(id) => woken.0.extend(self.readers.remove(&id)),
                Event::Writable(id) => woken.0.extend(self.writers.remove(&id)),
            }
        }
        woken
    }

    /// The connection is gone: every pending operation ends with `reason`. The first call counts.
    pub fn close(&mut self, reason: CloseReason, signals: &Signals) -> Woken {
        self.reason.get_or_insert(reason);
        signals.opened.notify_waiters();
        signals.available.notify_waiters();
        signals.datagram.notify_waiters();
        signals.closed.notify_waiters();
        let readers = self.readers.drain();
        Woken(readers.chain(self.writers.drain()).map(|(_, waker)| waker).collect())
    }

    /// Why the connection is gone, if it is.
    #[must_use]
    pub fn reason(&self) -> Option<&CloseReason> {
        self.reason.as_ref()
    }

    /// How many wakers are kept: at most one for each half of a stream that somebody holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.readers.len() + self.writers.len()
    }

    /// Whether no waker is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // A waker that is not needed any more is answered, so that it is dropped without the lock:
    // with it may go a task, and with that the handles it holds.

    pub(crate) fn read_later(&mut self, id: StreamId, waker: &Waker) -> Option<Waker> {
        keep(&mut self.readers, id, waker)
    }

    pub(crate) fn write_later(&mut self, id: StreamId, waker: &Waker) -> Option<Waker> {
        keep(&mut self.writers, id, waker)
    }

    pub(crate) fn forget_reader(&mut self, id: StreamId) -> Option<Waker> {
        self.readers.remove(&id)
    }

    pub(crate) fn forget_writer(&mut self, id: StreamId) -> Option<Waker> {
        self.writers.remove(&id)
    }
}

fn keep(wakers: &mut HashMap<StreamId, Waker>, id: StreamId, waker: &Waker) -> Option<Waker> {
    if wakers.get(&id).is_some_and(|kept| kept.will_wake(waker)) {
        return None;
    }
    wakers.insert(id, waker.clone())
}

impl Woken {
    /// Wakes them all; call it without the lock.
    pub fn wake(self) {
        for waker in self.0 {
            waker.wake();
        }
    }

    /// Adds those of another round.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}
