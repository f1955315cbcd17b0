//! A bus that hands bytes over: parcels are encoded, wait in a bounded queue, and are decoded and
//! put through by a thread of its own. What is between the two halves could be a network.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Bus, Doors, Parcel, wire};
use crate::core::SessionId;

/// How much may wait before requests are not read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Parcels.
    pub parcels: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Puts parcels through from a thread of its own, so that whoever decides does not wait for those
/// who deliver.
pub struct QueuedBus {
    shared: Arc<Shared>,
    bounds: Bounds,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    drained: Notify,
}

#[derive(Default)]
struct Queue {
    parcels: VecDeque<Bytes>,
    bytes: usize,
    is_closed: bool,
}

impl QueuedBus {
    /// A bus to these doors; `slow` is told of sessions that are too slow.
    ///
    /// The bounds are kept by those who wait for room before they take a request, each of which
    /// then adds what one request causes.
    ///
    /// # Errors
    /// The system's, when it gives no thread.
    pub fn start(
        doors: Arc<dyn Doors>,
        bounds: Bounds,
        slow: impl Fn(SessionId) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let queue = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("bus".into())
            .spawn(move || queue.carry(doors.as_ref(), &slow))?;
        Ok(Self { shared, bounds, thread: Mutex::new(Some(thread)) })
    }
}

impl Bus for QueuedBus {
    fn publish(&self, parcel: Parcel, _slow: &mut Vec<SessionId>) {
        let bytes = wire::encode(&parcel);
        let mut queue = self.shared.lock();
        queue.bytes += bytes.len();
        queue.parcels.push_back(bytes);
        drop(queue);
        self.shared.filled.notify_one();
    }

    fn has_room(&self) -> bool {
        let queue = self.shared.lock();
        queue.parcels.len() < self.bounds.parcels && queue.bytes < self.bounds.bytes
    }

    fn made_room(&self) -> &Notify {
        &self.shared.drained
    }

    fn close(&self) {
        self.shared.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ended = thread.join();
        }
    }
}

impl Drop for QueuedBus {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_one();
    }

    fn carry(&self, doors: &dyn Doors, tell: &dyn Fn(SessionId)) {
        let mut slow = Vec::new();
        while let Some(parcels) = self.next_batch() {
            for parcel in parcels {
                match wire::decode(&parcel) {
                    Some(parcel) => doors.put_through(parcel, &mut slow),
                    None => tracing::error!("a parcel on the bus cannot be read"),
                }
            }
            slow.drain(..).for_each(tell);
        }
    }

    /// Waits for parcels; `None`: the bus is closed and empty.
    fn next_batch(&self) -> Option<VecDeque<Bytes>> {
        let mut queue = self.lock();
        while queue.parcels.is_empty() {
            if queue.is_closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.bytes = 0;
        let parcels = std::mem::take(&mut queue.parcels);
        drop(queue);
        self.drained.notify_waiters();
        Some(parcels)
    }
}
