//! How much more of a directory may come: an offer is not exceeded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files and bytes that are left of what was offered.
#[derive(Debug)]
pub(crate) struct Budget(Mutex<(u64, u64)>);

/// A part of it for one file, which goes back unless the file arrives.
#[derive(Debug)]
pub(crate) struct Reserved {
    budget: Arc<Budget>,
    bytes: u64,
    spent: bool,
}

impl Budget {
    pub(crate) fn new(files: u64, bytes: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new((files, bytes))))
    }

    /// Room for a file of so many bytes.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reserved> {
        let mut left = self.lock();
        let after = (left.0.checked_sub(1)?, left.1.checked_sub(bytes)?);
        *left = after;
        Some(Reserved { budget: Arc::clone(self), bytes, spent: false })
    }

    fn lock(&self) -> MutexGuard<'_, (u64, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// The file has so many bytes after all; `false`: that is too many.
    pub(crate) fn fits(&mut self, bytes: u64) -> bool {
        let mut left = self.budget.lock();
        let Some(after) = left.1.saturating_add(self.bytes).checked_sub(bytes) else {
            return false;
        };
        (left.1, self.bytes) = (after, bytes);
        true
    }

    /// The file has arrived.
    pub(crate) fn spend(mut self) {
        self.spent = true;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.spent {
            let mut left = self.budget.lock();
            *left = (left.0.saturating_add(1), left.1.saturating_add(self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn files_that_arrive_use_it_up_and_others_give_it_back() {
        let budget = Budget::new(2, 10);
        assert!(budget.reserve(11).is_none());
        let mut first = budget.reserve(4).unwrap();
        assert!(first.fits(10) && !first.fits(11));
        assert!(budget.reserve(1).is_none());
        drop(first);
        budget.reserve(6).unwrap().spend();
        let mut second = budget.reserve(1).unwrap();
        assert!(second.fits(4) && !second.fits(5));
        second.spend();
        assert!(budget.reserve(0).is_none(), "two files were offered");
    }
}
