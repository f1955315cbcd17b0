//! Who has called and was not answered yet, by class.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Release},
        },
    },
};

use portolan_transport::Priority;

const CLASSES: usize = Priority::ALL.len();

/// Calls in a queue for each class; to find that there are none takes no lock.
#[derive(Debug)]
pub(crate) struct Calls<T> {
    waiting: Mutex<[VecDeque<Arc<T>>; CLASSES]>,
    /// The most urgent class that has any; [`CLASSES`]: none has.
    first: AtomicUsize,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), first: AtomicUsize::new(CLASSES) }
    }
}

impl<T> Calls<T> {
    pub(crate) fn push(&self, priority: Priority, call: Arc<T>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting[priority as usize].push_back(call);
        self.first.fetch_min(priority as usize, Release);
    }

    /// Takes the oldest of the most urgent class.
    pub(crate) fn next(&self) -> Option<Arc<T>> {
        self.take(CLASSES)
    }

    /// Takes the oldest of the most urgent class that is more urgent than `priority`.
    pub(crate) fn next_before(&self, priority: Priority) -> Option<Arc<T>> {
        self.take(priority as usize)
    }

    fn take(&self, end: usize) -> Option<Arc<T>> {
        if self.first.load(Acquire) >= end {
            return None;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = waiting.iter_mut().take(end).find_map(VecDeque::pop_front);
        let first = waiting.iter().position(|calls| !calls.is_empty());
        self.first.store(first.unwrap_or(CLASSES), Release);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_and_of_those_the_oldest_is_answered_first() {
        let calls = Calls::default();
        for (priority, number) in
            [(Priority::Bulk, 1), (Priority::Live, 2), (Priority::Control, 3), (Priority::Live, 4)]
        {
            calls.push(priority, Arc::new(number));
        }
        let order: Vec<_> = std::iter::from_fn(|| calls.next()).map(|call| *call).collect();
        assert_eq!(order, [3, 2, 4, 1]);
    }

    #[test]
    fn nobody_answers_calls_that_are_not_more_urgent_than_himself() {
        let calls = Calls::default();
        calls.push(Priority::Interactive, Arc::new(()));
        assert!(calls.next_before(Priority::Interactive).is_none());
        assert!(calls.next_before(Priority::Bulk).is_some());
        assert!(calls.next_before(Priority::Bulk).is_none());
    }
}
