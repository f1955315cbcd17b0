//! A disk with group commit that a `kill -9` can cut off anywhere.
//!
//! Operations queue up; a commit takes the first of them, all or none, into a real store; the
//! outcomes are told later. A kill keeps what was committed, told or not, and loses the rest.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use portolan_server::{
    core::Token,
    store::{MemoryStore, Operation, Outcome, Snapshot, SqliteStore, Store},
};

/// Bytes of texts kept for the history: more than any run says.
const HISTORY: u64 = 1 << 20;

/// An operation that was carried out, or failed, and of which the core does not know yet.
pub(crate) type Settled = (Token, Operation, Outcome);

pub(crate) struct Disk {
    store: Box<dyn Store>,
    /// Where the database is, if it is one.
    path: Option<PathBuf>,
    queue: VecDeque<(Token, Operation)>,
    settled: VecDeque<Settled>,
}

impl Disk {
    pub(crate) fn in_memory() -> Self {
        Self {
            store: Box::new(MemoryStore::new(HISTORY)),
            path: None,
            queue: VecDeque::new(),
            settled: VecDeque::new(),
        }
    }

    pub(crate) fn database(path: PathBuf) -> Self {
        let store = Box::new(SqliteStore::open(&path, HISTORY).expect("a new database"));
        Self { store, path: Some(path), ..Self::in_memory() }
    }

    /// How many operations wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn push(&mut self, token: Token, operation: Operation) {
        self.queue.push_back((token, operation));
    }

    /// Commits the first `count` operations; their outcomes wait to be told.
    pub(crate) fn commit(&mut self, count: usize) -> Vec<(Operation, Outcome)> {
        let batch: Vec<(Token, Operation)> = self.queue.drain(..count).collect();
        let operations: Vec<Operation> = batch.iter().map(|(_, op)| op.clone()).collect();
        let outcomes = self.store.apply(&operations).expect("this store does not fail");
        assert_eq!(outcomes.len(), operations.len(), "one outcome an operation");
        let settled = batch.into_iter().zip(outcomes.iter().cloned());
        self.settled.extend(settled.map(|((token, op), outcome)| (token, op, outcome)));
        operations.into_iter().zip(outcomes).collect()
    }

    /// The first `count` operations do not happen.
    pub(crate) fn fail(&mut self, count: usize) {
        for (token, operation) in self.queue.drain(..count) {
            let outcome = Outcome::Failed(Arc::from("no space left on the disk"));
            self.settled.push_back((token, operation, outcome));
        }
    }

    /// The next outcome to be told.
    pub(crate) fn poll_settled(&mut self) -> Option<Settled> {
        self.settled.pop_front()
    }

    /// The process is gone: nobody is told, nothing more is written.
    pub(crate) fn cut_off(&mut self) {
        self.queue.clear();
        self.settled.clear();
    }

    /// What the next process finds.
    pub(crate) fn start(&mut self) -> Snapshot {
        if let Some(path) = &self.path {
            // The old handle keeps the lock until it is gone.
            self.store = Box::new(MemoryStore::default());
            self.store = Box::new(SqliteStore::open(path, HISTORY).expect("what we wrote"));
        }
        self.store.snapshot().expect("a store that can be read")
    }
}
