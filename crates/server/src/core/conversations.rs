//! Who talks with whom, and who has asked whom.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use crate::store::UserId;

/// Conversations and open requests: at most one conversation a user; nobody in a conversation has
/// an open request.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    partners: HashMap<UserId, UserId>,
    /// Asker → asked → when the request lapses.
    made: HashMap<UserId, BTreeMap<UserId, Instant>>,
    /// Asked → askers.
    received: HashMap<UserId, BTreeSet<UserId>>,
}

impl Conversations {
    /// Conversations under way.
    pub(super) fn len(&self) -> usize {
        self.partners.len() / 2
    }

    pub(super) fn partner(&self, user: UserId) -> Option<UserId> {
        self.partners.get(&user).copied()
    }

    pub(super) fn start(&mut self, one: UserId, other: UserId) {
        self.partners.insert(one, other);
        self.partners.insert(other, one);
    }

    /// Ends the user's conversation and says with whom it was.
    pub(super) fn end(&mut self, user: UserId) -> Option<UserId> {
        let partner = self.partners.remove(&user)?;
        self.partners.remove(&partner);
        Some(partner)
    }

    pub(super) fn lapses_at(&self, asker: UserId, asked: UserId) -> Option<Instant> {
        self.made.get(&asker)?.get(&asked).copied()
    }

    pub(super) fn request(&mut self, asker: UserId, asked: UserId, lapses_at: Instant) {
        self.made.entry(asker).or_default().insert(asked, lapses_at);
        self.received.entry(asked).or_default().insert(asker);
    }

    /// Takes a request off the table and says when it would have lapsed.
    pub(super) fn take_request(&mut self, asker: UserId, asked: UserId) -> Option<Instant> {
        let made = self.made.get_mut(&asker)?;
        let lapses_at = made.remove(&asked)?;
        if made.is_empty() {
            self.made.remove(&asker);
        }
        if let Some(received) = self.received.get_mut(&asked) {
            received.remove(&asker);
            if received.is_empty() {
                self.received.remove(&asked);
            }
        }
        Some(lapses_at)
    }

    /// Whom the user has asked.
    pub(super) fn asked_by(&self, asker: UserId) -> Vec<UserId> {
        self.made.get(&asker).map(|made| made.keys().copied().collect()).unwrap_or_default()
    }

    /// Who has asked the user.
    pub(super) fn askers_of(&self, asked: UserId) -> Vec<UserId> {
        self.received.get(&asked).map(|askers| askers.iter().copied().collect()).unwrap_or_default()
    }
}
