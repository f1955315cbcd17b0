//! How much more of a directory may come: an offer is not exceeded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files and bytes that are left of what was offered.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Files and bytes.
    left: Mutex<(u64, u64)>,
    /// Bytes that one file may have.
    file_max: u64,
}

/// A part of it for one file, which goes back unless the file arrives.
#[derive(Debug)]
pub(crate) struct Reserved {
    budget: Arc<Budget>,
    bytes: u64,
    spent: bool,
}

impl Budget {
    pub(crate) fn new(files: u64, bytes: u64, file_max: Option<u64>) -> Arc<Self> {
        let file_max = file_max.unwrap_or(u64::MAX);
        Arc::new(Self { left: Mutex::new((files, bytes)), file_max })
    }

    /// Bytes that may still come.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().1
    }

    /// Room for a file of so many bytes.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reserved> {
        if bytes > self.file_max {
            return None;
        }
        let mut left = self.lock();
        let after = (left.0.checked_sub(1)?, left.1.checked_sub(bytes)?);
        *left = after;
        Some(Reserved { budget: Arc::clone(self), bytes, spent: false })
    }

    fn lock(&self) -> MutexGuard<'_, (u64, u64)> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// The file has so many bytes after all; `false`: that is too many.
    pub(crate) fn fits(&mut self, bytes: u64) -> bool {
        if bytes > self.budget.file_max {
            return false;
        }
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
        let budget = Budget::new(2, 10, None);
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

    #[test]
    fn one_file_is_bounded_too() {
        let budget = Budget::new(9, 100, Some(10));
        assert!(budget.reserve(11).is_none());
        let mut file = budget.reserve(10).unwrap();
        assert!(!file.fits(11) && file.fits(9));
        assert_eq!(budget.bytes(), 91);
    }
}
