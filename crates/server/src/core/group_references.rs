//! Changes of groups that are asked for again after a break: done once, answered each time.
//!
//! A reference is kept in the same commit as the change it names, so that the answer to the second
//! request is true even when the server has died between the two.

use std::collections::{HashMap, VecDeque};

use portolan_protocol::RequestId;

use super::{Core, Now, SessionId, mailbox::store_failed};
use crate::store::{GroupWrite, Snapshot, StoredReference, UserId};

/// References remembered of one user; with more the oldest goes.
const REFERENCES_MAX: usize = 64;

/// A request that may be the same as an earlier one.
pub(super) type Asked = (SessionId, RequestId, Option<u64>);

/// What is known of the references of every user.
#[derive(Debug, Default)]
pub(super) struct References {
    /// Those whose changes are done, the oldest first.
    done: HashMap<UserId, VecDeque<u64>>,
    /// Those whose changes are on their way into the store, and who else waits for the outcome.
    pending: HashMap<(UserId, u64), Vec<(SessionId, RequestId)>>,
}

impl References {
    pub(super) fn load(snapshot: &Snapshot) -> Self {
        let mut references = Self::default();
        for stored in &snapshot.references {
            references.done.entry(stored.user).or_default().push_back(stored.reference);
        }
        references
    }
}

impl Core {
    /// Whether the request repeats one that was carried out or is under way; then it is answered,
    /// now or with the other.
    pub(super) fn is_repeated(&mut self, (session, id, reference): Asked) -> bool {
        let (Ok(user), Some(reference)) = (self.logged_in(session), reference) else {
            return false;
        };
        if let Some(waiting) = self.references.pending.get_mut(&(user, reference)) {
            waiting.push((session, id));
            return true;
        }
        let done = self.references.done.get(&user);
        let is_done = done.is_some_and(|done| done.contains(&reference));
        if is_done {
            self.respond_done(session, id, Ok(()));
        }
        is_done
    }

    /// Lets the reference be kept with the change.
    pub(super) fn note_reference(
        &mut self,
        now: Now,
        (session, _, reference): Asked,
        writes: &mut Vec<GroupWrite>,
    ) -> Option<(UserId, u64)> {
        let (user, reference) = (self.logged_in(session).ok()?, reference?);
        self.references.pending.insert((user, reference), Vec::new());
        let known = self.references.done.entry(user).or_default();
        while known.len() >= REFERENCES_MAX
            && let Some(oldest) = known.pop_front()
        {
            writes.push(GroupWrite::Unnote(StoredReference {
                user,
                reference: oldest,
                at: now.wall,
            }));
        }
        writes.push(GroupWrite::Note(StoredReference { user, reference, at: now.wall }));
        Some((user, reference))
    }

    /// The store has answered: those who wait for the same are told the same.
    pub(super) fn settle_reference(&mut self, noted: Option<(UserId, u64)>, is_done: bool) {
        let Some((user, reference)) = noted else { return };
        let waiting = self.references.pending.remove(&(user, reference)).unwrap_or_default();
        if is_done {
            self.references.done.entry(user).or_default().push_back(reference);
        }
        for (session, id) in waiting {
            let result = if is_done { Ok(()) } else { Err(store_failed()) };
            self.respond_done(session, id, result);
        }
    }
}
