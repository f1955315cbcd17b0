//! Who may know when somebody who is not there was last seen.

use std::collections::{BTreeSet, HashMap};

use super::Core;
use crate::store::{Snapshot, UserId};

/// Who has written to whom, as far as the server remembers: for as long as it keeps messages, and
/// each user's first so many.
#[derive(Debug, Default)]
pub(super) struct Acquaintances {
    wrote: HashMap<UserId, BTreeSet<UserId>>,
    most: usize,
}

impl Acquaintances {
    /// What the store knows, at most so many of each user.
    pub(super) fn load(snapshot: &Snapshot, most: usize) -> Self {
        let mut all = Self { wrote: HashMap::new(), most };
        for &(from, to) in &snapshot.wrote {
            all.note(from, to);
        }
        all
    }

    /// One has written to the other.
    pub(super) fn note(&mut self, from: UserId, to: UserId) {
        let wrote = self.wrote.entry(from).or_default();
        if wrote.len() < self.most {
            wrote.insert(to);
        }
    }

    /// Whether both have written to the other. Who only writes learns nothing.
    fn are(&self, one: UserId, other: UserId) -> bool {
        let wrote = |from, to| self.wrote.get(&from).is_some_and(|wrote| wrote.contains(&to));
        wrote(one, other) && wrote(other, one)
    }

    /// To whom the user has written and who has written back.
    fn of(&self, user: UserId) -> impl Iterator<Item = UserId> {
        let wrote = self.wrote.get(&user).into_iter().flatten().copied();
        wrote.filter(move |&other| self.are(user, other))
    }
}

impl Core {
    /// Whether two users know each other: they have written to each other, or are in a group
    /// together.
    pub(super) fn are_acquainted(&self, one: UserId, other: UserId) -> bool {
        self.acquaintances.are(one, other)
            || self
                .groups
                .of(one)
                .any(|group| group.role(one).is_some() && group.role(other).is_some())
    }

    /// Those whom a user knows, some of them more than once.
    pub(super) fn acquaintances_of(&self, user: UserId) -> impl Iterator<Item = UserId> {
        let groups = self.groups.of(user).filter(move |group| group.role(user).is_some());
        let members = groups.flat_map(super::groups::Group::joined);
        self.acquaintances.of(user).chain(members)
    }
}
