//! Who is where, and who is told that a user came, went or changed.

use portolan_protocol::{
    Availability, Presence, PresenceChange, RequestId, SetAway, Timestamp, UserInfo,
};

use super::{
    Core, Effect, Now, SessionId,
    commands::{check_short_text, rate_limited},
    devices::Stand,
    rates::Action,
};
use crate::{
    presence::{Place, Sighting},
    store::UserId,
};

/// Whether somebody may know when a user was last there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastSeen {
    Told,
    Hidden,
}

impl Core {
    /// The user as others may see them; `None` when they are not there.
    pub(super) fn user_info(&self, user: UserId) -> Option<UserInfo> {
        let known = self.user(user)?;
        let online = known.online.as_ref()?;
        let latest = self.transport_of(online.latest()?)?;
        let mut also = Vec::new();
        for transport in online.stands.iter().filter_map(|stand| self.transport_of(*stand)) {
            if transport != latest && !also.iter().any(|known| known == transport) {
                also.push(transport.to_owned());
            }
        }
        Some(UserInfo {
            name: known.name.clone(),
            id: known.key,
            transport: latest.to_owned(),
            state: if self.is_busy(user) { Availability::Busy } else { Availability::Free },
            since: online.state_since,
            online_since: online.since,
            with: None,
            away: known.away.clone(),
            also,
        })
    }

    fn transport_of(&self, stand: Stand) -> Option<&'static str> {
        self.registries.get(stand.registry).map(|registry| registry.transport)
    }

    /// The user, who is not there, as those may see them who may know when that was last so, or as
    /// everybody may.
    pub(super) fn absent_user_info(&self, user: UserId, last_seen: LastSeen) -> Option<UserInfo> {
        let known = self.user(user).filter(|known| known.is_saved)?;
        let since = match last_seen {
            LastSeen::Told => known.last_seen.filter(|_| known.settings.last_seen),
            LastSeen::Hidden => None,
        };
        Some(UserInfo {
            name: known.name.clone(),
            id: known.key,
            transport: String::new(),
            state: Availability::Offline,
            since: since.unwrap_or(Timestamp(0)),
            online_since: Timestamp(0),
            with: None,
            away: None,
            also: Vec::new(),
        })
    }

    /// Takes what is remembered of who was last seen when. Once, before anybody logs in.
    pub fn recall(&mut self, sightings: &[Sighting]) {
        for sighting in sightings {
            let user = self.directory.find(&sighting.name);
            if let Some(known) = user.and_then(|user| self.directory.get_mut(user)) {
                known.last_seen = Some(sighting.at);
            }
        }
    }

    /// Reports where the user is now.
    pub(super) fn sight(&mut self, user: UserId, at: Timestamp) {
        let Some(known) = self.user(user) else { return };
        let place = known.online.as_ref().and_then(|online| {
            let transport = self.transport_of(online.latest()?)?.to_owned();
            Some(Place { server: self.id, transport, since: online.since })
        });
        let sighting = Sighting { name: known.name.clone(), place, at };
        self.effects.push(Effect::Sighted(sighting));
    }

    pub(super) fn set_away(&mut self, now: Now, session: SessionId, id: RequestId, away: SetAway) {
        let result = self.logged_in(session).and_then(|user| {
            check_short_text(away.text.as_deref().unwrap_or_default(), "text")?;
            let Some(key) = self.user(user).map(|known| known.key) else { return Ok(()) };
            if !self.rates.take(now.instant, key, Action::Away) {
                return Err(rate_limited("changes", self.limits.requests.per_second));
            }
            let Some(known) = self.directory.get_mut(user) else { return Ok(()) };
            if known.away != away.text {
                known.away = away.text;
                self.tell_presence(user, PresenceChange::Changed);
            }
            Ok(())
        });
        self.respond_done(session, id, result);
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

    /// Every session of everyone who is logged in, in order of name.
    pub(super) fn sessions_of_all(&self) -> impl Iterator<Item = (UserId, SessionId)> {
        self.directory.online.values().flat_map(|&user| {
            let online = self.directory.get(user).and_then(|known| known.online.as_ref());
            let stands = online.map_or(&[][..], |online| &online.stands);
            stands.iter().map(move |stand| (user, stand.session))
        })
    }
}
