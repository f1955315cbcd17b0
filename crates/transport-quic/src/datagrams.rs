//! Datagrams that wait to be sent, and expire while they do.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use portolan_transport::Lifetime;
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, timeout_at},
};

/// What an entry takes beside its payload, in bytes; bounds empty datagrams too.
const ENTRY_OVERHEAD: usize = 64;

/// The queue in front of quinn's own small one, where nothing expires.
///
/// While quinn takes datagrams at once the queue is not used. Otherwise one task hands them over
/// as room comes, and ends with the last.
#[derive(Debug)]
pub(crate) struct DatagramQueue {
    state: Mutex<State>,
    limit: usize,
    runtime: Handle,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    pump: Option<AbortHandle>,
    expired: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Waiting {
    payload: Bytes,
    expires: Option<Instant>,
}

/// Counts for the connection's statistics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DatagramCounts {
    pub(crate) waiting_bytes: usize,
    pub(crate) expired: u64,
    pub(crate) dropped: u64,
}

impl DatagramQueue {
    /// An empty queue of at most `limit` bytes. Must be called inside a tokio runtime.
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), limit, runtime: Handle::current() }
    }

    /// Sends `payload`, now or as soon as `connection` has room.
    pub(crate) fn send(
        self: &Arc<Self>,
        connection: &quinn::Connection,
        payload: Bytes,
        lifetime: Lifetime,
    ) -> Result<(), quinn::SendDatagramError> {
        let mut state = self.lock();
        if lifetime == Lifetime::Until(Duration::ZERO) {
            state.expired += 1;
            return Ok(());
        }
        if state.pump.is_none() && connection.datagram_send_buffer_space() > payload.len() {
            drop(state);
            return connection.send_datagram(payload);
        }
        let expires = match lifetime {
            Lifetime::Once => None,
            Lifetime::Until(time) => Instant::now().checked_add(time),
        };
        state.push(Waiting { payload, expires }, self.limit);
        if state.pump.is_none() {
            let pump = pump(connection.clone(), Arc::clone(self));
            state.pump = Some(self.runtime.spawn(pump).abort_handle());
        }
        Ok(())
    }

    /// Forgets what waits and stops the task; for the end of the connection.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.waiting.clear();
        state.bytes = 0;
        if let Some(pump) = state.pump.take() {
            pump.abort();
        }
    }

    pub(crate) fn counts(&self) -> DatagramCounts {
        let state = self.lock();
        DatagramCounts {
            waiting_bytes: state.waiting.iter().map(|waiting| waiting.payload.len()).sum(),
            expired: state.expired,
            dropped: state.dropped,
        }
    }

    /// The next datagram worth sending; without one the task has ended.
    fn next(&self, now: Instant) -> Option<Waiting> {
        let mut state = self.lock();
        let next = state.pop(now);
        if next.is_none() {
            state.pump = None;
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts `waiting` last; the oldest make room.
    fn push(&mut self, waiting: Waiting, limit: usize) {
        self.bytes += cost(&waiting);
        self.waiting.push_back(waiting);
        while self.bytes > limit && self.waiting.len() > 1 {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.bytes -= cost(&oldest);
            self.dropped += 1;
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Waiting> {
        while let Some(oldest) = self.waiting.pop_front() {
            self.bytes -= cost(&oldest);
            if oldest.expires.is_none_or(|expires| now < expires) {
                return Some(oldest);
            }
            self.expired += 1;
        }
        None
    }
}

fn cost(waiting: &Waiting) -> usize {
    waiting.payload.len() + ENTRY_OVERHEAD
}

/// Hands datagrams to quinn as it has room, until none waits.
async fn pump(connection: quinn::Connection, queue: Arc<DatagramQueue>) {
    while let Some(Waiting { payload, expires }) = queue.next(Instant::now()) {
        let sending = connection.send_datagram_wait(payload);
        let sent = match expires {
            None => sending.await,
            Some(expires) => match timeout_at(expires, sending).await {
                Ok(sent) => sent,
                Err(_) => {
                    queue.lock().expired += 1;
                    continue;
                }
            },
        };
        // The packet size has shrunk meanwhile, or the connection has ended.
        queue.lock().dropped += u64::from(sent.is_err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(size: usize, expires: Option<Instant>) -> Waiting {
        Waiting { payload: Bytes::from(vec![0; size]), expires }
    }

    #[tokio::test]
    async fn an_expired_datagram_is_never_handed_over() {
        let now = Instant::now();
        let mut state = State::default();
        state.push(waiting(1, Some(now + Duration::from_millis(10))), 1000);
        state.push(waiting(2, None), 1000);
        let next = state.pop(now + Duration::from_millis(10)).expect("one is left");
        assert_eq!(next.payload.len(), 2);
        assert_eq!(state.expired, 1);
        assert_eq!(state.bytes, 0);
    }

    #[tokio::test]
    async fn the_oldest_makes_room_in_a_full_queue() {
        let mut state = State::default();
        for size in [10, 20, 30] {
            state.push(waiting(size, None), 2 * ENTRY_OVERHEAD + 50);
        }
        assert_eq!(state.dropped, 1);
        assert_eq!(state.pop(Instant::now()).map(|next| next.payload.len()), Some(20));
    }
}
