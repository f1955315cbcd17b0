//! How far work on a disk has come, told between its thread and a task.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::content::ContentError;

/// Counts bytes for a task that waits, and stops for one that does not wait any more.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    bytes: AtomicU64,
    abandoned: AtomicBool,
}

impl Reached {
    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Nobody waits any more.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Counts bytes; an error means that nobody waits any more.
    pub(crate) fn advance(&self, bytes: u64) -> Result<(), ContentError> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.abandoned.load(Ordering::Relaxed) {
            true => Err(ContentError::Stalled),
            false => Ok(()),
        }
    }
}
