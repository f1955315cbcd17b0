//! What the clients of one `cod` gateway share.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::Name;

use super::{
    ids::Ids,
    wire::{self, Id},
};

/// Notices that wait for one who is away.
const NOTICES_MAX: usize = 64;

/// Users for whom notices wait, and groups that are remembered.
const USERS_MAX: usize = 10_000;

/// Ids, groups that were made here, and notices for those who are away.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ids: Ids,
    groups: HashMap<Id, (String, Vec<Id>)>,
    notices: HashMap<Name, VecDeque<Vec<u8>>>,
}

impl Shared {
    /// Works with the ids.
    pub(super) fn ids<T>(&self, work: impl FnOnce(&mut Ids) -> T) -> T {
        work(&mut self.lock().ids)
    }

    /// Remembers how a group was made.
    pub(super) fn make_group(&self, group: Id, time: &str, members: &[Id]) {
        let mut state = self.lock();
        if state.groups.len() < USERS_MAX {
            state.groups.insert(group, (time.to_owned(), members.to_vec()));
        }
    }

    /// What is told of a group that was made here.
    pub(super) fn joined(&self, group: Id) -> Option<String> {
        let state = self.lock();
        let (time, members) = state.groups.get(&group)?;
        Some(wire::joined(group, time, members))
    }

    /// Keeps a notice until its reader comes; the oldest goes first.
    pub(super) fn keep(&self, to: &Name, notice: &[u8]) {
        let mut state = self.lock();
        if state.notices.len() >= USERS_MAX && !state.notices.contains_key(to) {
            return;
        }
        let notices = state.notices.entry(to.clone()).or_default();
        if notices.len() >= NOTICES_MAX {
            notices.pop_front();
        }
        notices.push_back(notice.to_vec());
    }

    /// The notices for one who has come.
    pub(super) fn collect(&self, me: &Name) -> VecDeque<Vec<u8>> {
        self.lock().notices.remove(me).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
