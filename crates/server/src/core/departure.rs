//! How sessions end, and who is told.

use std::time::{Duration, Instant};

use portolan_protocol::{Closing, ClosingReason, PresenceChange, RequestId};
use portolan_transport::CloseCode;

use super::{
    Core, Effect, Now, SessionId,
    commands::millis,
    devices::Stand,
    session::{LoginState, Session},
    timers::Timer,
};
use crate::{close_code, event_log::LogEntry, store::UserId};

/// After a restart so many clients are asked to come back at once …
const RETURN_GROUP: usize = 50;

/// … and the next ones so much later: 500 a second.
const RETURN_SPAN: Duration = Duration::from_millis(100);

/// How a user's session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    LoggedOut,
    Vanished,
    Kicked,
    TooSlow,
    Abuse,
    Shutdown,
}

impl Departure {
    fn as_str(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::Vanished => "vanished",
            Self::Kicked => "kicked",
            Self::TooSlow => "too_slow",
            Self::Abuse => "abuse",
            Self::Shutdown => "shutdown",
        }
    }

    fn change(self) -> PresenceChange {
        match self {
            Self::LoggedOut | Self::Shutdown => PresenceChange::LoggedOut,
            Self::Vanished | Self::TooSlow => PresenceChange::Vanished,
            Self::Kicked | Self::Abuse => PresenceChange::Kicked,
        }
    }
}

impl Core {
    pub(super) fn logout(&mut self, now: Now, session: SessionId, id: RequestId) {
        let result = self.logged_in(session).map(drop);
        let is_done = result.is_ok();
        self.respond_done(session, id, result);
        if is_done {
            self.leave(now, session, Departure::LoggedOut, "logged out");
            self.close(session, CloseCode::DONE, "logged out");
        }
    }

    pub(super) fn on_gone(&mut self, now: Now, session: SessionId, reason: &str) {
        self.leave(now, session, Departure::Vanished, reason);
    }

    pub(super) fn on_login_overdue(&mut self, now: Now, session: SessionId) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.login_deadline = None;
        match state.login {
            // An admin may ask without a name; a name on its way needs only the store.
            LoginState::None if state.has_admin_right && state.said_hello => {}
            // So may those for whom we relay, who ask how much there is to do.
            LoginState::None if state.relays > 0 || self.issuers.contains(&state.remote.id) => {}
            LoginState::Saving(_) | LoginState::Done(_) => {}
            LoginState::None => {
                let reason = "no login in time; say hello and log in right after connecting";
                self.leave(now, session, Departure::Abuse, reason);
                self.close(session, close_code::LOGIN_OVERDUE, reason);
            }
        }
    }

    pub(super) fn on_too_slow(&mut self, now: Now, session: SessionId) {
        let text = "you did not read what was sent to you; messages wait for your next login";
        self.farewell(session, ClosingReason::TooSlow, text);
        self.leave(now, session, Departure::TooSlow, text);
        self.close(session, close_code::TOO_SLOW, text);
    }

    pub(super) fn send_away(
        &mut self,
        now: Now,
        session: SessionId,
        code: CloseCode,
        reason: &str,
    ) {
        self.farewell(session, ClosingReason::Abuse, reason);
        self.leave(now, session, Departure::Abuse, reason);
        self.close(session, code, reason);
    }

    pub(super) fn on_stop(&mut self, now: Now, reason: &str, restart_after: Option<Duration>) {
        self.is_stopping = true;
        let mut sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        sessions.sort_unstable();
        let text = if reason.is_empty() { "the server is going down" } else { reason };
        self.say_when_to_return(&sessions, text, restart_after.unwrap_or(self.timing.restart));
        for session in sessions {
            self.leave(now, session, Departure::Shutdown, text);
            self.close(session, close_code::SHUTDOWN, text);
        }
    }

    /// Asks everyone to come back, a few at a time: who starts a server again has handshakes for
    /// so many, and no more.
    fn say_when_to_return(&mut self, sessions: &[SessionId], text: &str, first: Duration) {
        let mut after = first;
        for group in sessions.chunks(RETURN_GROUP) {
            let closing = Closing {
                why: ClosingReason::Shutdown,
                text: text.to_owned(),
                reconnect_after_ms: Some(millis(after)),
            };
            self.effects.push(Effect::Tell { to: group.to_vec(), event: closing.into() });
            after += RETURN_SPAN;
        }
    }

    pub(super) fn dismiss(&mut self, session: SessionId, code: CloseCode, reason: &str) {
        let Some(mut state) = self.sessions.remove(&session) else { return };
        self.addresses.part(&mut state);
        let deadline = state.login_deadline;
        self.stop_login_timer(session, deadline);
        self.close(session, code, reason);
    }

    pub(super) fn farewell(&mut self, session: SessionId, why: ClosingReason, text: &str) {
        let closing = Closing { why, text: text.to_owned(), reconnect_after_ms: None };
        self.tell(session, closing);
    }

    /// Forgets a session; if it was the last one of a user, the user is gone and others are told.
    pub(super) fn leave(&mut self, now: Now, session: SessionId, how: Departure, reason: &str) {
        let Some(mut state) = self.sessions.remove(&session) else { return };
        self.addresses.part(&mut state);
        self.stop_login_timer(session, state.login_deadline);
        self.stop_silence_timer(session, state.silent_at);
        match state.login {
            LoginState::Done(user) => self.go_offline(now, (user, session), how, reason),
            LoginState::None | LoginState::Saving(_) => self.on_refused(&state, reason),
        }
    }

    fn on_refused(&mut self, state: &Session, reason: &str) {
        if state.has_admin_right || state.is_guest || self.issuers.contains(&state.remote.id) {
            return;
        }
        if let Some(registry) = self.registries.get_mut(state.remote.registry) {
            registry.refused += 1;
        }
        self.log(LogEntry::SentAway {
            id: state.remote.id,
            address: state.remote.address.to_string(),
            reason: reason.to_owned(),
        });
    }

    /// A session of a user has ended; with the last one the user is gone.
    fn go_offline(
        &mut self,
        now: Now,
        (user, session): (UserId, SessionId),
        how: Departure,
        reason: &str,
    ) {
        let last_seen = self.user_info(user);
        let Some(stand) = self.leave_place(user, session) else { return };
        self.count_departure(stand.registry, how);
        self.see_device(now, user, stand.device);
        let Some(known) = self.directory.get_mut(user) else { return };
        known.last_seen = Some(now.wall);
        let is_farewell =
            matches!(how, Departure::LoggedOut | Departure::Kicked | Departure::Abuse);
        if is_farewell && known.online.is_none() {
            known.away = None;
        }
        self.sight(user, now.wall);
        self.log_left(user, how.as_str(), if how == Departure::LoggedOut { "" } else { reason });
        let stays = self.user(user).is_some_and(|known| known.online.is_some());
        if how == Departure::Shutdown {
            return;
        }
        if stays {
            self.abandon_session(now, (user, session), reason);
            return self.tell_presence(user, PresenceChange::Changed);
        }
        self.abandon_conversations(now, user, reason);
        if let Some(info) = last_seen {
            self.broadcast_presence(user, info, how.change());
        }
    }

    fn count_departure(&mut self, registry: usize, how: Departure) {
        let Some(registry) = self.registries.get_mut(registry) else { return };
        match how {
            Departure::LoggedOut => registry.counters.logged_out += 1,
            Departure::Vanished => registry.vanished += 1,
            Departure::Kicked | Departure::Abuse => registry.counters.kicked += 1,
            Departure::TooSlow => registry.counters.too_slow += 1,
            Departure::Shutdown => {}
        }
    }

    /// Takes a session off the list of a user's sessions, and the user off the lists with the last.
    fn leave_place(&mut self, user: UserId, session: SessionId) -> Option<Stand> {
        let known = self.directory.get_mut(user)?;
        let online = known.online.as_mut()?;
        let place = online.stands.iter().position(|stand| stand.session == session)?;
        let stand = online.stands.remove(place);
        if online.stands.is_empty() {
            known.online = None;
            let key = known.name.key();
            self.directory.online.remove(&key);
        }
        self.leave_registry(user, stand.registry);
        Some(stand)
    }

    fn log_left(&mut self, user: UserId, how: &'static str, reason: &str) {
        if let Some(name) = self.user(user).map(|known| known.name.clone()) {
            self.log(LogEntry::Left { name, how, reason: reason.to_owned() });
        }
    }

    pub(super) fn stop_login_timer(&mut self, session: SessionId, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.timers.stop(deadline, Timer::Login(session));
        }
    }

    fn stop_silence_timer(&mut self, session: SessionId, at: Option<Instant>) {
        if let Some(at) = at {
            self.timers.stop(at, Timer::Silence(session));
        }
    }

    /// Ends the older session of a user who logs in anew and stays.
    pub(super) fn replace(&mut self, user: UserId, older: Stand) {
        let Stand { session, registry, .. } = older;
        let silent_at = self.sessions.remove(&session).and_then(|state| state.silent_at);
        self.stop_silence_timer(session, silent_at);
        self.leave_registry(user, registry);
        if let Some(registry) = self.registries.get_mut(registry) {
            registry.counters.replaced += 1;
        }
        self.log_left(user, "replaced", "");
        let text = "you logged in elsewhere with the same key";
        self.farewell(session, ClosingReason::Replaced, text);
        self.close(session, close_code::REPLACED, text);
    }

    /// Takes a user off a registry over which they have no session any more.
    fn leave_registry(&mut self, user: UserId, index: usize) {
        let Some(known) = self.user(user) else { return };
        let stands = known.online.iter().flat_map(|online| &online.stands);
        if stands.into_iter().any(|stand| stand.registry == index) {
            return;
        }
        let key = known.name.key();
        if let Some(registry) = self.registries.get_mut(index) {
            registry.users.remove(&key);
        }
    }
}
