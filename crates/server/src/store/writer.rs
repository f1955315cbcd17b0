//! The one thread that writes: it takes what has gathered, commits it at once, and tells.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use tokio::sync::Notify;

use super::{Operation, Outcome, Store};
use crate::core::Token;

/// Operations in one commit.
const BATCH: usize = 256;

/// Outcomes of one commit, in the order of their operations.
pub(crate) type Completed = Vec<(Token, Outcome)>;

/// The queue to the thread that owns the store.
pub(crate) struct StoreWriter {
    shared: Arc<Shared>,
    queue_max: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    drained: Notify,
}

#[derive(Default)]
struct Queue {
    operations: VecDeque<(Token, Operation)>,
    is_closed: bool,
}

impl StoreWriter {
    /// Hands `store` to a thread of its own, which gives the outcomes of every commit to `done`.
    pub(crate) fn start(
        store: Box<dyn Store>,
        queue_max: usize,
        done: impl Fn(Completed) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Notify::new(),
        });
        let queue = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_batches(&queue, store, &done))?;
        Ok(Self { shared, queue_max, thread: Mutex::new(Some(thread)) })
    }

    /// Queues an operation. The bound is kept by those who wait for room before they take a
    /// request: each adds at most one operation of a request and one page of a mailbox.
    pub(crate) fn push(&self, token: Token, operation: Operation) {
        self.shared.lock().operations.push_back((token, operation));
        self.shared.filled.notify_one();
    }

    /// Waits until the queue is below its bound. Cancel safe.
    pub(crate) async fn wait_for_room(&self) {
        loop {
            let drained = self.shared.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.shared.lock().operations.len() < self.queue_max {
                return;
            }
            drained.await;
        }
    }

    /// Commits what waits and ends the thread. Blocks for as long as the disk takes.
    pub(crate) fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.filled.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ended = thread.join();
        }
    }
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for operations; `None`: the queue is closed and empty.
    fn next_batch(&self) -> Option<Vec<(Token, Operation)>> {
        let mut queue = self.lock();
        while queue.operations.is_empty() {
            if queue.is_closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let count = queue.operations.len().min(BATCH);
        let batch = queue.operations.drain(..count).collect();
        drop(queue);
        self.drained.notify_waiters();
        Some(batch)
    }
}

fn write_batches(queue: &Shared, mut store: Box<dyn Store>, done: &dyn Fn(Completed)) {
    while let Some(batch) = queue.next_batch() {
        let (tokens, operations): (Vec<Token>, Vec<Operation>) = batch.into_iter().unzip();
        let outcomes = store.apply(&operations).unwrap_or_else(|error| {
            let detail: Arc<str> = describe(&error).into();
            tracing::error!(error = %detail, "the store failed");
            vec![Outcome::Failed(detail); operations.len()]
        });
        done(tokens.into_iter().zip(outcomes).collect());
    }
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
