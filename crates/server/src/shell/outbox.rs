//! What waits to be written to one client: bounded, and closed in good order.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use portolan_transport::CloseCode;
use tokio::sync::{Notify, futures::Notified};

use crate::{bus::Weight, config::Limits};

/// Bytes that the writer takes at once.
const BATCH: usize = 64 << 10;

/// Bytes of queue for each open request that is allowed: beyond their product no request is read.
const BYTES_PER_REQUEST: usize = 256;

/// Frames that wait to be written to one client.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// There is something to write; the writer alone waits for it.
    filled: Notify,
    /// There is room for a request; the reader alone waits for it.
    drained: Notify,
    /// The end has come, or is written. Waited for by several.
    ended: Notify,
    frames_max: usize,
    bytes_max: usize,
    requests_max: usize,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Requests read and not yet answered, or answered and not yet written.
    owed: usize,
    farewell: Option<Farewell>,
    /// Something was thrown away that may not be missing: what would follow it is out of order.
    has_overflown: bool,
    has_writer: bool,
    is_flushed: bool,
}

#[derive(Debug)]
struct Frame {
    bytes: Bytes,
    is_answer: bool,
}

/// How a connection is to be closed once everything was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Farewell {
    pub(super) code: CloseCode,
    pub(super) reason: String,
    /// Whether somebody writes what is still queued.
    pub(super) has_writer: bool,
}

/// The queue is over its bound, and has been emptied: the client is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overflow;

impl Outbox {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
            ended: Notify::new(),
            frames_max: limits.outbox_frames,
            bytes_max: limits.outbox_bytes,
            requests_max: limits.open_requests,
        }
    }

    /// Queues the answer to a request. Answers are bounded by the requests that are read.
    pub(super) fn push_answer(&self, bytes: Bytes) {
        let mut state = self.lock();
        if state.farewell.is_none() {
            state.push(Frame { bytes, is_answer: true });
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Queues an event.
    pub(super) fn push_event(&self, bytes: Bytes, weight: Weight) -> Result<(), Overflow> {
        let mut state = self.lock();
        if state.farewell.is_some() || (state.has_overflown && weight != Weight::Last) {
            return Ok(());
        }
        let is_over = |share: usize| {
            state.frames.len() >= self.frames_max / share
                || state.bytes + bytes.len() > self.bytes_max / share
        };
        match weight {
            Weight::Advisory if is_over(2) => return Ok(()),
            Weight::Binding if is_over(1) => {
                state.frames.clear();
                state.bytes = 0;
                state.has_overflown = true;
                return Err(Overflow);
            }
            Weight::Advisory | Weight::Binding | Weight::Last => {}
        }
        state.push(Frame { bytes, is_answer: false });
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes nothing more; what is queued is written, then the connection is closed.
    pub(super) fn close(&self, code: CloseCode, reason: String) {
        let mut state = self.lock();
        let has_writer = state.has_writer;
        state.farewell.get_or_insert(Farewell { code, reason, has_writer });
        drop(state);
        self.filled.notify_one();
        self.ended.notify_waiters();
    }

    /// Claims the writer's place; `false`: somebody has it.
    pub(super) fn claim_writer(&self) -> bool {
        !std::mem::replace(&mut self.lock().has_writer, true)
    }

    /// Waits until another request may be read, and counts it. Cancel safe.
    pub(super) async fn wait_for_request(&self) {
        self.wait(&self.drained, |state| {
            let has_room = state.owed < self.requests_max
                && state.bytes < self.requests_max * BYTES_PER_REQUEST;
            if has_room {
                state.owed += 1;
            }
            has_room.then_some(())
        })
        .await;
    }

    /// Takes back the count of a frame that was no request.
    pub(super) fn forgive_request(&self) {
        let mut state = self.lock();
        state.owed = state.owed.saturating_sub(1);
        drop(state);
        self.drained.notify_one();
    }

    /// Waits for frames to write; `None`: everything was written and the end has come.
    /// Cancel safe.
    pub(super) async fn next_batch(&self) -> Option<Vec<Bytes>> {
        let batch = self
            .wait(&self.filled, |state| match state.take_batch() {
                Some(batch) => Some(Some(batch)),
                None if state.farewell.is_some() => Some(None),
                None => None,
            })
            .await;
        self.drained.notify_one();
        batch
    }

    /// Notes that the writer has ended.
    pub(super) fn set_flushed(&self) {
        self.lock().is_flushed = true;
        self.ended.notify_waiters();
    }

    /// Waits until the connection is to be closed. Cancel safe.
    pub(super) async fn farewell(&self) -> Farewell {
        self.wait(&self.ended, |state| state.farewell.clone()).await
    }

    /// Waits until the writer has ended. Cancel safe.
    pub(super) async fn flushed(&self) {
        self.wait(&self.ended, |state| state.is_flushed.then_some(())).await;
    }

    /// Waits until `check` finds what it looks for; it looks again whenever `news` come.
    async fn wait<T>(&self, news: &Notify, mut check: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed: Notified<'_> = news.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(value) = check(&mut self.lock()) {
                return value;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, frame: Frame) {
        self.bytes += frame.bytes.len();
        self.frames.push_back(frame);
    }

    fn take_batch(&mut self) -> Option<Vec<Bytes>> {
        let mut batch = Vec::new();
        let mut size = 0;
        while size < BATCH
            && let Some(frame) = self.frames.pop_front()
        {
            size += frame.bytes.len();
            self.bytes -= frame.bytes.len();
            self.owed = self.owed.saturating_sub(usize::from(frame.is_answer));
            batch.push(frame.bytes);
        }
        (!batch.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use portolan_transport::CloseCode;

    use super::{Outbox, Overflow};
    use crate::{bus::Weight, config::Limits};

    fn outbox(frames: usize) -> Outbox {
        Outbox::new(&Limits { outbox_frames: frames, open_requests: 2, ..Limits::default() })
    }

    #[test]
    fn a_full_queue_leaves_out_what_is_advisory_and_then_is_too_slow() {
        let outbox = outbox(4);
        for _ in 0..3 {
            assert_eq!(outbox.push_event(Bytes::from_static(b"x"), Weight::Advisory), Ok(()));
        }
        assert_eq!(outbox.lock().frames.len(), 2);
        for _ in 0..2 {
            assert_eq!(outbox.push_event(Bytes::from_static(b"x"), Weight::Binding), Ok(()));
        }
        assert_eq!(outbox.push_event(Bytes::from_static(b"x"), Weight::Binding), Err(Overflow));
        assert_eq!(outbox.lock().bytes, 0);
    }

    #[test]
    fn behind_what_was_thrown_away_comes_only_the_farewell() {
        let outbox = outbox(2);
        for _ in 0..2 {
            assert_eq!(outbox.push_event(Bytes::from_static(b"x"), Weight::Binding), Ok(()));
        }
        assert_eq!(outbox.push_event(Bytes::from_static(b"lost"), Weight::Binding), Err(Overflow));
        // The core has not been told yet: a message after the lost one would overtake it.
        assert_eq!(outbox.push_event(Bytes::from_static(b"next"), Weight::Binding), Ok(()));
        assert_eq!(outbox.push_event(Bytes::from_static(b"bye"), Weight::Last), Ok(()));
        let frames: Vec<Bytes> =
            outbox.lock().frames.iter().map(|frame| frame.bytes.clone()).collect();
        assert_eq!(frames, ["bye"]);
    }

    #[tokio::test]
    async fn requests_wait_until_the_answers_before_them_are_taken() {
        let outbox = outbox(4);
        outbox.wait_for_request().await;
        outbox.wait_for_request().await;
        let mut third = Box::pin(outbox.wait_for_request());
        assert!(futures_util::poll!(&mut third).is_pending());
        outbox.push_answer(Bytes::from_static(b"x"));
        assert!(futures_util::poll!(&mut third).is_pending());
        outbox.next_batch().await.unwrap();
        assert!(futures_util::poll!(&mut third).is_ready());
    }

    #[tokio::test]
    async fn what_is_queued_at_the_end_is_still_written() {
        let outbox = outbox(4);
        outbox.push_answer(Bytes::from_static(b"x"));
        outbox.close(CloseCode::DONE, String::new());
        outbox.push_answer(Bytes::from_static(b"too late"));
        assert_eq!(outbox.next_batch().await.unwrap(), ["x"]);
        assert_eq!(outbox.next_batch().await, None);
    }
}
