//! One waker for all lanes: tokio keeps a single reader's waker for a socket.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use crate::Lane;

/// Wakes the readers of every lane.
///
/// Its lock is taken while a lane's lock may be held, never the other way round.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    wakers: Mutex<[Option<Waker>; Lane::ALL.len()]>,
    /// Lanes for which others read.
    resting: [AtomicBool; Lane::ALL.len()],
}

impl Readers {
    /// Remembers who reads `lane`; the last one counts.
    pub(crate) fn register(&self, lane: Lane, waker: &Waker) {
        let mut slots = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[lane.index()];
        if slot.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Wakes the reader of `lane`, if it waits.
    pub(crate) fn wake_lane(&self, lane: Lane) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let waker = wakers[lane.index()].take();
        drop(wakers);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether others read for `lane`: then it is not woken for what may be theirs.
    pub(crate) fn is_resting(&self, lane: Lane) -> bool {
        self.resting[lane.index()].load(Ordering::Relaxed)
    }

    /// Says whether others read for `lane`; who has rested is woken to read for itself.
    pub(crate) fn rest(&self, lane: Lane, rests: bool) {
        let rested = self.resting[lane.index()].swap(rests, Ordering::Relaxed);
        if rested && !rests {
            self.wake_lane(lane);
        }
    }
}

impl Wake for Readers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for lane in Lane::ALL.into_iter().filter(|lane| !self.is_resting(*lane)) {
            self.wake_lane(lane);
        }
    }
}
