//! Who talks with whom, and who has asked whom.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use super::SessionId;
use crate::store::UserId;

/// A request that nobody has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenRequest {
    /// The session that asks.
    pub(super) session: SessionId,
    pub(super) lapses_at: Instant,
}

/// Conversations and open requests. Two users have at most one conversation, and while they have
/// it no request; a user who is in as many as they allow has no open request with anyone.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    /// User → partner → the user's session that holds the conversation.
    partners: HashMap<UserId, BTreeMap<UserId, SessionId>>,
    /// Asker → asked.
    made: HashMap<UserId, BTreeMap<UserId, OpenRequest>>,
    /// Asked → askers.
    received: HashMap<UserId, BTreeSet<UserId>>,
    /// Conversations under way.
    count: usize,
}

impl Conversations {
    /// Conversations under way.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// In how many a user is.
    pub(super) fn of(&self, user: UserId) -> usize {
        self.partners.get(&user).map_or(0, BTreeMap::len)
    }

    /// With whom a user talks, and which of the user's sessions does.
    pub(super) fn partners(&self, user: UserId) -> Vec<(UserId, SessionId)> {
        let partners = self.partners.get(&user).into_iter().flatten();
        partners.map(|(partner, session)| (*partner, *session)).collect()
    }

    /// The session by which `user` talks with `other`, if they talk.
    pub(super) fn holder(&self, user: UserId, other: UserId) -> Option<SessionId> {
        self.partners.get(&user)?.get(&other).copied()
    }

    pub(super) fn start(&mut self, one: (UserId, SessionId), other: (UserId, SessionId)) {
        self.partners.entry(one.0).or_default().insert(other.0, one.1);
        self.partners.entry(other.0).or_default().insert(one.0, other.1);
        self.count += 1;
    }

    /// Ends a conversation; `false`: there was none.
    pub(super) fn end(&mut self, one: UserId, other: UserId) -> bool {
        let is_ended = self.remove(one, other) && self.remove(other, one);
        self.count -= usize::from(is_ended);
        is_ended
    }

    fn remove(&mut self, user: UserId, partner: UserId) -> bool {
        let Some(partners) = self.partners.get_mut(&user) else { return false };
        let was_there = partners.remove(&partner).is_some();
        if partners.is_empty() {
            self.partners.remove(&user);
        }
        was_there
    }

    /// Lets one session of a user hold a conversation in place of another.
    pub(super) fn hold(&mut self, user: UserId, partner: UserId, session: SessionId) {
        if let Some(held) = self.partners.get_mut(&user).and_then(|all| all.get_mut(&partner)) {
            *held = session;
        }
    }

    /// What one session of a user holds and asks is another's now.
    pub(super) fn move_to(&mut self, user: UserId, from: SessionId, to: SessionId) {
        let held = self.partners.get_mut(&user).into_iter().flatten().map(|(_, session)| session);
        let made = self.made.get_mut(&user).into_iter().flatten();
        for session in held.chain(made.map(|(_, request)| &mut request.session)) {
            if *session == from {
                *session = to;
            }
        }
    }

    pub(super) fn open_request(&self, asker: UserId, asked: UserId) -> Option<OpenRequest> {
        self.made.get(&asker)?.get(&asked).copied()
    }

    pub(super) fn request(&mut self, asker: UserId, asked: UserId, request: OpenRequest) {
        self.made.entry(asker).or_default().insert(asked, request);
        self.received.entry(asked).or_default().insert(asker);
    }

    /// Takes a request off the table.
    pub(super) fn take_request(&mut self, asker: UserId, asked: UserId) -> Option<OpenRequest> {
        let made = self.made.get_mut(&asker)?;
        let request = made.remove(&asked)?;
        if made.is_empty() {
            self.made.remove(&asker);
        }
        if let Some(received) = self.received.get_mut(&asked) {
            received.remove(&asker);
            if received.is_empty() {
                self.received.remove(&asked);
            }
        }
        Some(request)
    }

    /// Whom the user has asked, and by which session.
    pub(super) fn asked_by(&self, asker: UserId) -> Vec<(UserId, SessionId)> {
        let made = self.made.get(&asker).into_iter().flatten();
        made.map(|(asked, request)| (*asked, request.session)).collect()
    }

    /// Who has asked the user.
    pub(super) fn askers_of(&self, asked: UserId) -> Vec<UserId> {
        self.received.get(&asked).map(|askers| askers.iter().copied().collect()).unwrap_or_default()
    }
}
