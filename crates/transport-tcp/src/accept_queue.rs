//! Connections that wait for `accept`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::connection::TcpConnection;

/// Connections that wait for `accept`, and places kept for those still greeting.
#[derive(Debug)]
pub(crate) struct AcceptQueue {
    state: Mutex<State>,
    changed: Notify,
    max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<TcpConnection>,
    kept: usize,
    closed: bool,
}

/// A place in the queue, free again when dropped unused.
#[derive(Debug)]
pub(crate) struct Place(Arc<AcceptQueue>);

impl AcceptQueue {
    pub(crate) fn new(max: u32) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), max: max as usize }
    }

    /// Keeps a place, if there is one.
    pub(crate) fn keep(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() + state.kept >= self.max {
            return None;
        }
        state.kept += 1;
        Some(Place(Arc::clone(self)))
    }

    /// The next connection; `None` once closed. Cancel safe, several may wait.
    pub(crate) async fn next(&self) -> Option<TcpConnection> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                if let Some(connection) = state.waiting.pop_front() {
                    return Some(connection);
                }
            }
            changed.await;
        }
    }

    /// Hands out no more, and drops what waits.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Puts the connection into the place.
    pub(crate) fn take(self, connection: TcpConnection) {
        let mut state = self.0.lock();
        // Dropped, and so closed, if the queue is: after the lock is released.
        let refused = if state.closed {
            Some(connection)
        } else {
            state.waiting.push_back(connection);
            None
        };
        drop(state);
        drop(refused);
        self.0.changed.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().kept -= 1;
    }
}
