//! Who is told that a user came, went or changed.

use portolan_protocol::{Availability, Presence, PresenceChange, UserInfo};

use super::{Core, Effect, SessionId};
use crate::store::UserId;

impl Core {
    /// The user as others may see them; `None` when they are not there.
    pub(super) fn user_info(&self, user: UserId) -> Option<UserInfo> {
        let known = self.user(user)?;
        let online = known.online?;
        let is_busy = self.conversations.partner(user).is_some();
        Some(UserInfo {
            name: known.name.clone(),
            id: known.key,
            transport: self.registries.get(online.registry)?.transport.to_owned(),
            state: if is_busy { Availability::Busy } else { Availability::Free },
            since: online.state_since,
            online_since: online.since,
            with: None,
        })
    }

    /// Tells the others what the directory shows now.
    pub(super) fn tell_presence(&mut self, user: UserId, change: PresenceChange) {
        if let Some(info) = self.user_info(user) {
            self.broadcast_presence(user, info, change);
        }
    }

    /// Tells the others, unless there are so many that telling everyone of everyone costs more
    /// than it is worth: then they ask for the list.
    pub(super) fn broadcast_presence(
        &mut self,
        about: UserId,
        info: UserInfo,
        change: PresenceChange,
    ) {
        if self.directory.online.len() > self.limits.presence_users {
            return;
        }
        let to: Vec<SessionId> = self
            .sessions_of_all()
            .filter_map(|(user, session)| (user != about).then_some(session))
            .collect();
        if !to.is_empty() {
            let event = Presence { user: info, change }.into();
            self.effects.push(Effect::Tell { to, event });
        }
    }

    /// Everyone who is logged in, in order of name.
    pub(super) fn sessions_of_all(&self) -> impl Iterator<Item = (UserId, SessionId)> {
        self.directory.online.values().filter_map(|&user| {
            let online = self.directory.get(user)?.online?;
            Some((user, online.session))
        })
    }
}
