//! The one thread that writes: it takes what has gathered, commits it at once, and tells.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use tokio::sync::Notify;

use super::{Operation, Outcome, Store};
use crate::{core::Token, metrics::Meter, shell::clock};

/// Operations in one commit at most.
const BATCH: usize = 256;

/// Outcomes of one commit, in the order of their operations.
pub(crate) type Completed = Vec<(Token, Outcome)>;

/// The queue to the thread that owns the store.
pub(crate) struct StoreWriter {
    shared: Arc<Shared>,
    bounds: QueueBounds,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueLength {
    pub(crate) operations: usize,
    pub(crate) bytes: usize,
}

/// What came of the last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreHealth {
    Working,
    /// The disk or the database said no.
    Failing,
    /// The thread is gone.
    Dead,
}

/// How much may wait before requests are not read any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueBounds {
    pub(crate) operations: usize,
    pub(crate) bytes: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    drained: Notify,
    is_failing: AtomicBool,
}

#[derive(Default)]
struct Queue {
    operations: VecDeque<(Token, Operation)>,
    /// Of texts.
    bytes: usize,
    is_closed: bool,
}

impl StoreWriter {
    /// Hands `store` to a thread of its own, which gives the outcomes of every commit to `done`.
    pub(crate) fn start(
        store: Box<dyn Store>,
        bounds: QueueBounds,
        meter: Meter,
        done: impl Fn(Completed) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Notify::new(),
            is_failing: AtomicBool::new(false),
        });
        let queue = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_batches(&queue, store, &meter, &done))?;
        Ok(Self { shared, bounds, thread: Mutex::new(Some(thread)) })
    }

    /// Queues an operation. The bound is kept by those who wait for room before they take a
    /// request: each adds at most one operation of a request and one page of a mailbox.
    pub(crate) fn push(&self, token: Token, operation: Operation) {
        let mut queue = self.shared.lock();
        queue.bytes += size(&operation);
        queue.operations.push_back((token, operation));
        drop(queue);
        self.shared.filled.notify_one();
    }

    /// Waits until the queue is below its bound. Cancel safe.
    pub(crate) async fn wait_for_room(&self) {
        loop {
            let drained = self.shared.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.shared.lock().is_below(self.bounds) {
                return;
            }
            drained.await;
        }
    }

    pub(crate) fn length(&self) -> QueueLength {
        let queue = self.shared.lock();
        QueueLength { operations: queue.operations.len(), bytes: queue.bytes }
    }

    pub(crate) fn health(&self) -> StoreHealth {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return StoreHealth::Dead;
        }
        match self.shared.is_failing.load(Ordering::Relaxed) {
            true => StoreHealth::Failing,
            false => StoreHealth::Working,
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
        let batch: Vec<(Token, Operation)> = queue.operations.drain(..count).collect();
        queue.bytes -= batch.iter().map(|(_, operation)| size(operation)).sum::<usize>();
        drop(queue);
        self.drained.notify_waiters();
        Some(batch)
    }
}

impl Queue {
    fn is_below(&self, bounds: QueueBounds) -> bool {
        self.operations.len() < bounds.operations && self.bytes < bounds.bytes
    }
}

/// What an operation holds besides itself.
fn size(operation: &Operation) -> usize {
    match operation {
        Operation::Put(message) => message.text.len(),
        Operation::AddUser(_)
        | Operation::SetPassword { .. }
        | Operation::MoveName { .. }
        | Operation::SetSettings { .. }
        | Operation::AddDevices { .. }
        | Operation::SeeDevice { .. }
        | Operation::ForgetDevice { .. }
        | Operation::Trim { .. }
        | Operation::Load { .. }
        | Operation::Receipts { .. }
        | Operation::Clear { .. }
        | Operation::Purge { .. }
        | Operation::History { .. }
        | Operation::WriteGroup(_)
        | Operation::Ban(_)
        | Operation::Unban(_)
        | Operation::Backup => 0,
    }
}

fn write_batches(
    queue: &Shared,
    mut store: Box<dyn Store>,
    meter: &Meter,
    done: &dyn Fn(Completed),
) {
    while let Some(batch) = queue.next_batch() {
        let (tokens, operations): (Vec<Token>, Vec<Operation>) = batch.into_iter().unzip();
        let begun = clock::now().instant;
        let result = store.apply(&operations);
        let took = clock::now().instant.saturating_duration_since(begun);
        meter.commit(took, operations.len(), result.is_ok());
        queue.is_failing.store(result.is_err(), Ordering::Relaxed);
        let outcomes = result.unwrap_or_else(|error| {
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

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex, mpsc::sync_channel},
        thread,
    };

    use portolan_protocol::Timestamp;

    use super::{Completed, QueueBounds, StoreWriter};
    use crate::{
        core::Token,
        metrics::Meter,
        store::{MemoryStore, Operation, Outcome, Snapshot, Store, StoreError},
    };

    /// A store whose disk is as fast as the test lets it be.
    struct Slow {
        go: Arc<Mutex<()>>,
        batches: Vec<usize>,
        told: std::sync::mpsc::SyncSender<Vec<usize>>,
    }

    impl Store for Slow {
        fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
            MemoryStore::default().snapshot()
        }

        fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
            let _go = self.go.lock().unwrap();
            self.batches.push(operations.len());
            Ok(vec![Outcome::Done; operations.len()])
        }
    }

    impl Drop for Slow {
        fn drop(&mut self) {
            self.told.send(std::mem::take(&mut self.batches)).unwrap();
        }
    }

    #[tokio::test]
    async fn what_gathers_is_committed_at_once_and_a_full_queue_makes_wait() {
        let go = Arc::new(Mutex::new(()));
        let (told, batches) = sync_channel(1);
        let store = Slow { go: Arc::clone(&go), batches: Vec::new(), told };
        let all = Arc::new(Mutex::new(Vec::new()));
        let all_done = Arc::clone(&all);
        let bounds = QueueBounds { operations: 10, bytes: 1 };
        let done = move |completed: Completed| {
            all.lock().unwrap().extend(completed.into_iter().map(|(token, _)| token.0));
        };
        let writer = StoreWriter::start(Box::new(store), bounds, Meter::default(), done).unwrap();

        let held = go.lock().unwrap();
        for token in 0..300 {
            writer.push(Token(token), Operation::Purge { before: Timestamp(0) });
        }
        assert!(!writer.shared.lock().is_below(bounds));
        drop(held);
        writer.wait_for_room().await;
        thread::scope(|scope| scope.spawn(|| writer.close()).join().unwrap());
        assert_eq!(*all_done.lock().unwrap(), (0..300).collect::<Vec<u64>>());
        let batches = batches.recv().unwrap();
        assert!(batches.len() <= 3, "{batches:?}");
    }
}
