//! Which groups of a file are still to come, and which of its owners is at which.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::GroupRange;
use tokio::sync::Notify;

/// What an owner is to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// These groups.
    Run(GroupRange),
    /// Nothing: every group is there, or nobody waits for them any more.
    Done,
    /// Nothing any more: it has sent what is not of the file.
    Banned,
}

/// Shares the groups out. Every group is given to one owner at a time.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Not written yet and with nobody.
    free: BTreeSet<u32>,
    /// Not written yet and with an owner.
    taken: HashMap<usize, BTreeSet<u32>>,
    banned: HashSet<usize>,
    ended: bool,
}

impl Pool {
    pub(crate) fn new(missing: &[GroupRange]) -> Self {
        let free = missing.iter().flat_map(|range| range.first..range.first + range.count);
        let state = State { free: free.collect(), ..State::default() };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// The next run of at most `max` neighbours, if there is one right now.
    pub(crate) fn take(&self, owner: usize, max: u32) -> Option<Work> {
        let mut state = self.lock();
        if state.banned.contains(&owner) {
            return Some(Work::Banned);
        }
        if state.is_done() {
            return Some(Work::Done);
        }
        let first = *state.free.first()?;
        let run = (first..first.saturating_add(max.max(1)))
            .take_while(|number| state.free.contains(number))
            .collect::<Vec<u32>>();
        let count = u32::try_from(run.len()).unwrap_or(1);
        for number in run {
            state.free.remove(&number);
            state.taken.entry(owner).or_default().insert(number);
        }
        Some(Work::Run(GroupRange { first, count }))
    }

    /// Waits for the next run. Cancel safe.
    pub(crate) async fn work(&self, owner: usize, max: u32) -> Work {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.take(owner, max) {
                Some(work) => return work,
                None => changed.await,
            }
        }
    }

    /// Waits until nothing is to be done any more. Cancel safe.
    pub(crate) async fn done(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.lock().is_done() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn is_banned(&self, owner: usize) -> bool {
        self.lock().banned.contains(&owner)
    }

    /// A group is on the disk, whoever sent it.
    pub(crate) fn wrote(&self, number: u32) {
        let mut state = self.lock();
        state.free.remove(&number);
        state.taken.values_mut().for_each(|taken| {
            taken.remove(&number);
        });
        if state.is_done() {
            self.changed.notify_waiters();
        }
    }

    /// What an owner was at is free for the others.
    pub(crate) fn give_back(&self, owner: usize) {
        let mut state = self.lock();
        let taken = state.taken.remove(&owner).unwrap_or_default();
        state.free.extend(taken);
        self.changed.notify_waiters();
    }

    /// Takes nothing from an owner any more; whether that is news.
    pub(crate) fn ban(&self, owner: usize) -> bool {
        let is_news = self.lock().banned.insert(owner);
        self.give_back(owner);
        is_news
    }

    /// Nobody waits for the file any more.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_done(&self) -> bool {
        self.ended || (self.free.is_empty() && self.taken.values().all(BTreeSet::is_empty))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_protocol::GroupRange;

    use super::{Pool, Work};

    fn run(first: u32, count: u32) -> Work {
        Work::Run(GroupRange { first, count })
    }

    #[tokio::test]
    async fn groups_are_shared_out_once_and_come_back_when_an_owner_fails() {
        let pool =
            Pool::new(&[GroupRange { first: 0, count: 3 }, GroupRange { first: 7, count: 2 }]);
        assert_eq!(pool.take(0, 2), Some(run(0, 2)));
        assert_eq!(pool.take(1, 9), Some(run(2, 1)), "a run has no gaps");
        assert_eq!(pool.take(1, 9), Some(run(7, 2)));
        assert_eq!(pool.take(0, 1), None);
        let idle = tokio::time::timeout(Duration::from_millis(5), pool.work(0, 1)).await;
        assert!(idle.is_err());
        pool.wrote(2);
        assert!(pool.ban(1) && !pool.ban(1));
        assert_eq!(pool.take(1, 1), Some(Work::Banned));
        assert_eq!(pool.work(0, 9).await, run(7, 2));
        for number in [0, 1, 7, 8] {
            pool.wrote(number);
        }
        assert_eq!(pool.work(0, 1).await, Work::Done);
        pool.done().await;
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_end() {
        let pool = Pool::new(&[GroupRange { first: 0, count: 1 }]);
        assert_eq!(pool.take(0, 1), Some(run(0, 1)));
        let (work, ()) = tokio::join!(pool.work(1, 1), async { pool.end() });
        assert_eq!(work, Work::Done);
    }
}
