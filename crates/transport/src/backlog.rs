//! Finished handshakes that wait for `accept`: a piece for those who write transports.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// A bounded queue that ends: what a transport keeps between a finished handshake and
/// [`Endpoint::accept`](crate::Endpoint::accept).
#[derive(Debug)]
pub struct Backlog<T> {
    state: Mutex<State<T>>,
    limit: usize,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T> Backlog<T> {
    /// Holds at most `limit` items, and at least one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let state = State { waiting: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), limit: limit.max(1), changed: Notify::new() }
    }

    /// Whether a [`push`](Self::push) would be refused for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lock().waiting.len() >= self.limit
    }

    /// Puts `item` last.
    ///
    /// # Errors
    /// Gives it back when there is no room or nobody comes any more.
    pub fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() >= self.limit {
            return Err(item);
        }
        state.waiting.push_back(item);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// The next item; `None` once closed. Cancel safe.
    pub async fn pop(&self) -> Option<T> {
        loop {
            {
                let mut state = self.lock();
                if state.closed {
                    // Passed on, so that every waiting task learns it.
                    self.changed.notify_one();
                    return None;
                }
                if let Some(item) = state.waiting.pop_front() {
                    if !state.waiting.is_empty() {
                        self.changed.notify_one();
                    }
                    return Some(item);
                }
            }
            self.changed.notified().await;
        }
    }

    /// Ends the queue and drops what waits.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        self.changed.notify_one();
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_does_not_fit_is_given_back() {
        let backlog = Backlog::new(1);
        assert_eq!(backlog.push(1), Ok(()));
        assert!(backlog.is_full());
        assert_eq!(backlog.push(2), Err(2));
    }

    #[tokio::test]
    async fn closing_ends_every_waiting_task() {
        let backlog = Arc::new(Backlog::<u8>::new(4));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let backlog = Arc::clone(&backlog);
                tokio::spawn(async move { backlog.pop().await })
            })
            .collect();
        backlog.close();
        for task in waiting {
            assert_eq!(task.await.expect("no panic"), None);
        }
        assert_eq!(backlog.push(1), Err(1));
    }

    #[tokio::test]
    async fn each_item_goes_to_one_task() {
        let backlog = Arc::new(Backlog::new(4));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let backlog = Arc::clone(&backlog);
                tokio::spawn(async move { backlog.pop().await })
            })
            .collect();
        for item in 0..3 {
            assert_eq!(backlog.push(item), Ok(()));
        }
        let mut seen = Vec::new();
        for task in waiting {
            seen.push(task.await.expect("no panic"));
        }
        seen.sort_unstable();
        assert_eq!(seen, [Some(0), Some(1), Some(2)]);
    }
}
