//! Small writes, gathered on their way to quinn.
//!
//! quinn takes a lock, makes an allocation and wakes its task for each write, and keeps each as a
//! piece of its own. A program that writes a message and flushes it, and another and another,
//! pays that for every one of them, although nothing can leave before its task yields. So a write
//! goes straight to quinn if something was sent since the last that did, or the [`Courier`] has
//! been here: then quinn has had its turn. What follows is gathered, and the courier, a task of
//! the connection's, hands it over in one piece when its own turn comes. There is no timer, and a
//! lone message goes out as it would without this.
//!
//! What is urgent is gathered also when quinn has no room. Room comes when the remote reads, and
//! all who were blocked are woken then, in no order: who writes on a lazier stream first hands over
//! what more urgent ones have gathered. So bulk that has used up the remote's window, and bulk
//! alone runs while the system has stopped our other tasks, does not pass what is urgent.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Relaxed, Release},
        },
    },
    task::{Context, Poll, Wake, Waker},
};

use portolan_transport::{Priority, StreamCode};
use quinn::{SendStream, VarInt, WriteError};
use tokio::sync::Notify;

use crate::{ahead::Ahead, calls::Calls};

/// Bytes that a stream gathers at most, within the limit for what it accepts.
const GATHERED_MAX: usize = 64 << 10;

/// A write from here on gains nothing by being gathered.
const LARGE: usize = 8 << 10;

/// Bytes of memory that a stream may keep for its next small writes.
const KEEP: usize = 2 << 10;

/// The task that hands over what was gathered, and its list of streams to look after.
pub(crate) struct Courier {
    ahead: Ahead,
    /// How often the socket has sent something.
    sends: Arc<AtomicU64>,
    gathered_max: usize,
    called: Calls<Bell>,
    /// Streams of each class.
    streams: [AtomicUsize; Priority::ALL.len()],
    /// Streams whose last bytes nobody but the courier holds any more.
    left: Mutex<Vec<Arc<Outbox>>>,
    bell: Notify,
}

impl Courier {
    pub(crate) fn new(ahead: Ahead, sends: Arc<AtomicU64>, send_buffer: u32) -> Arc<Self> {
        Arc::new(Self {
            ahead,
            sends,
            gathered_max: GATHERED_MAX.min(send_buffer as usize).max(1),
            called: Calls::default(),
            streams: Default::default(),
            left: Mutex::default(),
            bell: Notify::new(),
        })
    }

    /// Serves until it is aborted.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.bell.notified().await;
            // The most urgent first: what is handed over first takes the credit.
            while let Some(bell) = self.called.next() {
                bell.answer();
            }
            let done = {
                let mut left = lock(&self.left);
                let (waiting, done) = left.drain(..).partition(|outbox| outbox.is_waiting());
                *left = waiting;
                done
            };
            // Without the lock: quinn's streams lock their connection when they are dropped.
            drop::<Vec<_>>(done);
        }
    }

    /// Forgets everything; for the end of the connection.
    pub(crate) fn clear(&self) {
        let left = std::mem::take(&mut *lock(&self.left));
        drop(left);
    }

    fn call(&self, bell: Arc<Bell>) {
        self.called.push(bell.priority, bell);
        self.bell.notify_one();
    }

    /// Hands over what is more urgent than a stream of class `priority`.
    fn serve_before(&self, priority: Priority) {
        while let Some(bell) = self.called.next_before(priority) {
            bell.answer();
        }
    }

    /// Whether there are streams that a stream of class `priority` must not wait for.
    fn has_lazier(&self, priority: Priority) -> bool {
        let lazier = self.streams.iter().skip(priority as usize + 1);
        lazier.into_iter().any(|count| count.load(Relaxed) > 0)
    }
}

/// Calls the courier to one stream; quinn rings it when a stream that was blocked has room.
///
/// quinn does so with its lock held, so that it must not hold the stream itself: to drop that
/// takes the same lock.
struct Bell {
    courier: Weak<Courier>,
    outbox: Weak<Outbox>,
    priority: Priority,
    /// The courier has been called and has not come yet.
    rung: AtomicBool,
}

impl Bell {
    /// Does what it was rung for.
    fn answer(&self) {
        self.rung.store(false, Release);
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.deliver();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, AcqRel)
            && let Some(courier) = self.courier.upgrade()
        {
            courier.call(Arc::clone(self));
        }
    }
}

/// A stream's sending half, and what was gathered for it.
pub(crate) struct Outbox {
    courier: Arc<Courier>,
    priority: Priority,
    bell: Waker,
    state: Mutex<State>,
}

struct State {
    stream: SendStream,
    gathered: Vec<u8>,
    /// How much of `gathered` quinn has taken.
    taken: usize,
    /// Of the last write that went straight to quinn: how often the socket had sent by then. The
    /// courier clears it.
    direct: Option<u64>,
    /// The end comes after what is gathered.
    finishing: bool,
    failed: Option<WriteError>,
    writer: Option<Waker>,
}

impl Outbox {
    pub(crate) fn new(stream: SendStream, priority: Priority, courier: &Arc<Courier>) -> Arc<Self> {
        courier.streams[priority as usize].fetch_add(1, Relaxed);
        Arc::new_cyclic(|outbox| {
            let bell = Bell {
                courier: Arc::downgrade(courier),
                outbox: Weak::clone(outbox),
                priority,
                rung: AtomicBool::new(false),
            };
            let state = State {
                stream,
                gathered: Vec::new(),
                taken: 0,
                direct: None,
                finishing: false,
                failed: None,
                writer: None,
            };
            Self {
                courier: Arc::clone(courier),
                priority,
                bell: Waker::from(Arc::new(bell)),
                state: Mutex::new(state),
            }
        })
    }

    /// Takes some of `bytes`, or waits for room.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        self.courier.serve_before(self.priority);
        let mut state = lock(&self.state);
        if let Some(error) = &state.failed {
            return Poll::Ready(Err(error.clone()));
        }
        let sends = self.courier.sends.load(Relaxed);
        if !state.is_empty() {
            return self.gather(cx, &mut state, bytes);
        }
        if bytes.len() < LARGE && state.direct == Some(sends) {
            self.bell.wake_by_ref();
            return self.gather(cx, &mut state, bytes);
        }
        state.direct = Some(sends);
        if !self.courier.has_lazier(self.priority) {
            return self.courier.ahead.poll_write(cx, (&mut state.stream, self.priority), bytes);
        }
        // Without room now quinn rings when there is some, and what was gathered goes first then.
        let mut bell = Context::from_waker(&self.bell);
        let ahead = &self.courier.ahead;
        match ahead.poll_write(&mut bell, (&mut state.stream, self.priority), bytes) {
            Poll::Pending => self.gather(cx, &mut state, bytes),
            written => written,
        }
    }

    /// Keeps some of `bytes` until there is room for them, or waits for room here.
    fn gather(
        &self,
        cx: &Context<'_>,
        state: &mut State,
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        let room = state.room(self.courier.gathered_max);
        if room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (now, _) = bytes.split_at(bytes.len().min(room));
        state.gather(now, self.courier.gathered_max);
        Poll::Ready(Ok(now.len()))
    }

    /// Ends the stream after what was written.
    pub(crate) fn finish(&self) -> Result<(), WriteError> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if state.is_empty() {
            return state.stream.finish().map_err(|_| WriteError::ClosedStream);
        }
        state.finishing = true;
        Ok(())
    }

    /// Whether the reader has asked us to stop; quinn's `finish` does not say.
    pub(crate) fn stopped(&self) -> Option<VarInt> {
        let state = lock(&self.state);
        let mut asked = Box::pin(state.stream.stopped());
        match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(code)) => code,
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    /// Abandons the stream.
    pub(crate) fn reset(&self, code: StreamCode) {
        let mut state = lock(&self.state);
        state.forget();
        // A stream that has ended already has nothing to abandon.
        let _ = state.stream.reset(VarInt::from_u32(code.0));
    }

    /// The program has let go: the courier keeps it until the last byte is handed over.
    pub(crate) fn leave(self: &Arc<Self>) {
        if self.is_waiting() {
            lock(&self.courier.left).push(Arc::clone(self));
            // It may have come in between.
            self.bell.wake_by_ref();
        }
    }

    /// Hands over what was gathered, as far as quinn has room; it rings when there is more.
    fn deliver(&self) {
        let mut state = lock(&self.state);
        state.direct = None;
        let mut cx = Context::from_waker(&self.bell);
        while !state.is_empty() {
            let State { stream, gathered, taken, .. } = &mut *state;
            let rest = gathered.get(*taken..).unwrap_or_default();
            match self.courier.ahead.poll_write(&mut cx, (stream, self.priority), rest) {
                Poll::Ready(Ok(len)) => *taken += len,
                Poll::Ready(Err(error)) => {
                    state.forget();
                    state.failed = Some(error);
                }
                Poll::Pending => break,
            }
        }
        if state.is_empty() {
            state.on_emptied();
        }
        let has_room = state.room(self.courier.gathered_max) > 0;
        let writer = if has_room { state.writer.take() } else { None };
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    fn is_waiting(&self) -> bool {
        !lock(&self.state).is_empty()
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.courier.streams[self.priority as usize].fetch_sub(1, Relaxed);
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.taken == self.gathered.len()
    }

    fn room(&self, max: usize) -> usize {
        max.saturating_sub(self.gathered.len() - self.taken)
    }

    fn gather(&mut self, bytes: &[u8], max: usize) {
        if self.taken >= max {
            self.gathered.drain(..self.taken);
            self.taken = 0;
        }
        self.gathered.extend_from_slice(bytes);
    }

    fn forget(&mut self) {
        self.gathered = Vec::new();
        self.taken = 0;
        self.finishing = false;
    }

    fn on_emptied(&mut self) {
        // Memory for many is kept only from one many to the next.
        if self.gathered.len() <= KEEP && self.gathered.capacity() > KEEP {
            self.gathered = Vec::new();
        }
        self.gathered.clear();
        self.taken = 0;
        if std::mem::take(&mut self.finishing) {
            // Fails only when the stream has ended otherwise, which its reader knows.
            let _ = self.stream.finish();
        }
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
