//! Who may open a byte stream to whom, and how many.

use std::collections::HashMap;

use portolan_identity::PeerId;
use portolan_protocol::{ErrorBody, ErrorCode, Name, Side};

use super::{Core, Effect, Now, SessionId};
use crate::{event_log::LogEntry, store::UserId};

/// A relay; numbers are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub u64);

/// What the shell needs to carry a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayGrant {
    /// To be given back with [`Core::end_relay`].
    pub relay: RelayId,
    /// Whose connection the other stream is opened on.
    pub callee: SessionId,
    /// The key that the callee logged in with.
    pub callee_id: PeerId,
    /// Who calls.
    pub caller_name: Name,
    /// The key that the caller logged in with.
    pub caller_id: PeerId,
}

/// The relays under way.
#[derive(Debug, Default)]
pub(super) struct RelayTable {
    relays: HashMap<RelayId, Parties>,
    last_id: u64,
}

/// Between whom a relay carries.
#[derive(Debug)]
pub(super) enum Parties {
    /// Caller and callee, logged in here.
    Users(UserId, UserId),
    /// Those whom another server has introduced, as far as they have come.
    Guests(Guests),
}

/// Caller and callee.
pub(super) type Guests = [Option<(SessionId, PeerId)>; 2];

impl RelayTable {
    pub(super) fn len(&self) -> usize {
        self.relays.len()
    }

    /// Whether one carries between these two, whoever has called.
    pub(super) fn is_between(&self, one: UserId, other: UserId) -> bool {
        let is_theirs = |parties: &Parties| match parties {
            Parties::Users(caller, callee) => {
                [(one, other), (other, one)].contains(&(*caller, *callee))
            }
            Parties::Guests(_) => false,
        };
        self.relays.values().any(is_theirs)
    }

    /// Begins one.
    pub(super) fn open(&mut self, parties: Parties) -> RelayId {
        self.last_id += 1;
        let relay = RelayId(self.last_id);
        self.relays.insert(relay, parties);
        relay
    }

    pub(super) fn is_open(&self, relay: RelayId) -> bool {
        self.relays.contains_key(&relay)
    }

    /// Notes that a guest has come.
    pub(super) fn seat(&mut self, relay: RelayId, side: Side, guest: (SessionId, PeerId)) {
        if let Some(Parties::Guests([caller, callee])) = self.relays.get_mut(&relay) {
            match side {
                Side::Caller => *caller = Some(guest),
                Side::Callee => *callee = Some(guest),
            }
        }
    }
}

impl Core {
    /// Whether the session's user may open a relay to `to` now; it counts from here.
    ///
    /// # Errors
    /// The answer that the caller is owed.
    pub fn open_relay(
        &mut self,
        session: SessionId,
        to: &Name,
    ) -> Result<(RelayGrant, Vec<Effect>), ErrorBody> {
        let caller = self.logged_in(session)?;
        if self.is_ending() {
            let message = "the server is going down; try again when it is back";
            return Err(ErrorBody::new(ErrorCode::ShuttingDown, message));
        }
        let callee = self.online_user(to)?;
        let limit = self.limits.relays_per_user;
        let relays = |user| self.user(user).map(|known| known.relays).unwrap_or_default();
        if relays(caller).calling >= limit {
            let message = format!("you have {limit} relays open; end one first");
            return Err(ErrorBody::new(ErrorCode::Quota, message));
        }
        if relays(callee).called >= limit {
            let message = format!("{to} has {limit} relays open; try again later");
            return Err(ErrorBody::new(ErrorCode::Quota, message).with_detail(to.as_str()));
        }
        let grant = self
            .grant(caller, callee)
            .ok_or_else(|| ErrorBody::new(ErrorCode::Offline, format!("{to} has just left")))?;
        self.log(LogEntry::RelayOpened { from: grant.caller_name.clone(), to: to.clone() });
        Ok((grant, std::mem::take(&mut self.effects)))
    }

    fn grant(&mut self, caller: UserId, callee: UserId) -> Option<RelayGrant> {
        let known = self.directory.get(callee)?;
        let online = known.online.as_ref()?;
        // The device that talks with the caller, else the one that came last.
        let talking = self.conversations.holder(callee, caller);
        let session = talking.or_else(|| online.latest().map(|stand| stand.session))?;
        let callee_id = known.key;
        let known = self.directory.get(caller)?;
        let (caller_name, caller_id) = (known.name.clone(), known.key);
        let relay = self.relays.open(Parties::Users(caller, callee));
        self.directory.get_mut(caller)?.relays.calling += 1;
        self.directory.get_mut(callee)?.relays.called += 1;
        Some(RelayGrant { relay, callee: session, callee_id, caller_name, caller_id })
    }

    /// Notes that a relay has ended, after so many bytes in both directions.
    #[must_use]
    pub fn end_relay(
        &mut self,
        now: Now,
        relay: RelayId,
        (bytes, how): (u64, String),
    ) -> Vec<Effect> {
        match self.relays.relays.remove(&relay) {
            Some(Parties::Users(caller, callee)) => {
                self.on_relay_ended((caller, callee), bytes, how);
            }
            Some(Parties::Guests(guests)) => {
                if let [Some((_, from)), Some((_, to))] = guests {
                    self.log(LogEntry::Carried { from, to, bytes, how });
                }
                self.see_guests_off(now, guests);
            }
            None => {}
        }
        std::mem::take(&mut self.effects)
    }

    fn on_relay_ended(&mut self, (caller, callee): (UserId, UserId), bytes: u64, how: String) {
        if let Some(known) = self.directory.get_mut(caller) {
            known.relays.calling = known.relays.calling.saturating_sub(1);
        }
        if let Some(known) = self.directory.get_mut(callee) {
            known.relays.called = known.relays.called.saturating_sub(1);
        }
        let name = |user| self.user(user).map(|known| known.name.clone());
        if let (Some(from), Some(to)) = (name(caller), name(callee)) {
            self.log(LogEntry::RelayEnded { from, to, bytes, how });
        }
    }
}
