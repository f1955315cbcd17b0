//! How many bytes a relay may carry in all, by its stream and by its datagrams.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What is left, shared by everything that carries for one relay; none: there is no bound.
#[derive(Debug, Clone)]
pub(in crate::shell) struct Quota(Option<Arc<AtomicU64>>);

impl Quota {
    /// No bound.
    pub(in crate::shell) const fn none() -> Self {
        Self(None)
    }

    /// So many bytes.
    pub(in crate::shell) fn of(bytes: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(bytes))))
    }

    /// Takes so many; false: there are not as many any more, and from now on none.
    pub(in crate::shell) fn take(&self, bytes: u64) -> bool {
        let Some(left) = &self.0 else { return true };
        let taken = left.try_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            left.store(0, Relaxed);
        }
        taken.is_ok()
    }

    /// Whether nothing is left.
    pub(in crate::shell) fn is_spent(&self) -> bool {
        self.0.as_ref().is_some_and(|left| left.load(Relaxed) == 0)
    }
}
