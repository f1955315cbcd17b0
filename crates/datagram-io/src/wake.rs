//! One waker for all lanes: tokio keeps a single reader's waker for a socket.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Wake, Waker},
};

use crate::Lane;

/// Wakes the readers of every lane.
///
/// Its lock is taken while a lane's lock may be held, never the other way round.
#[derive(Debug, Default)]
pub(crate) struct Readers(Mutex<[Option<Waker>; Lane::ALL.len()]>);

impl Readers {
    /// Remembers who reads `lane`; the last one counts.
    pub(crate) fn register(&self, lane: Lane, waker: &Waker) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[lane.index()];
        if slot.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Wakes the reader of `lane`, if it waits.
    pub(crate) fn wake_lane(&self, lane: Lane) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner)[lane.index()].take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Readers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for lane in Lane::ALL {
            self.wake_lane(lane);
        }
    }
}
