//! How sessions begin and end, and who owns which name.

use std::time::Instant;

use portolan_protocol::{
    Closing, ClosingReason, ErrorBody, ErrorCode, LoggedIn, Login, Name, PresenceChange, RequestId,
};
use portolan_transport::CloseCode;

use super::{
    Core, Now, Remote, SessionId,
    commands::{check_password, rate_limited},
    directory::Online,
    mailbox::Pending,
    rates::{Action, TokenBucket},
    session::{Inbox, LoginState, Session},
    timers::Timer,
};
use crate::{
    close_code,
    event_log::LogEntry,
    store::{Operation, Outcome, UserId},
};

/// A login that waits for the store.
#[derive(Debug)]
pub(super) struct PendingLogin {
    session: SessionId,
    id: RequestId,
    user: UserId,
}

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
    pub(super) fn on_connected(&mut self, now: Now, session: SessionId, remote: Remote) {
        let deadline = now.instant + self.timing.login;
        self.timers.start(deadline, Timer::Login(session));
        let state = Session {
            remote,
            has_admin_right: self.admins.contains(&remote.id),
            said_hello: false,
            login: LoginState::None,
            login_deadline: Some(deadline),
            commands: TokenBucket::new(now.instant, self.limits.commands),
            garbage: 0,
            inbox: Inbox::default(),
        };
        self.sessions.insert(session, state);
        if self.is_stopping {
            self.dismiss(session, close_code::SHUTDOWN, "the server is going down");
        }
    }

    pub(super) fn login(&mut self, now: Now, session: SessionId, id: RequestId, login: &Login) {
        if let Err(error) = self.try_login(now, session, id, login) {
            if let Some(remote) = self.sessions.get(&session).map(|state| state.remote) {
                self.log(LogEntry::LoginRefused {
                    id: remote.id,
                    code: error.code.as_str(),
                    address: remote.address.to_string(),
                });
            }
            self.refuse(session, id, error);
        }
    }

    fn try_login(
        &mut self,
        now: Now,
        session: SessionId,
        id: RequestId,
        login: &Login,
    ) -> Result<(), ErrorBody> {
        let Some(state) = self.sessions.get(&session) else { return Ok(()) };
        let remote = state.remote;
        if state.login != LoginState::None {
            return Err(ErrorBody::new(
                ErrorCode::Conflict,
                "this session has logged in already; log out first",
            ));
        }
        if !self.rates.take(now.instant, remote.id, Action::Login) {
            return Err(rate_limited("logins", self.limits.logins.per_second));
        }
        let name = Name::new(&login.name).map_err(|error| {
            ErrorBody::new(ErrorCode::NameInvalid, error.to_string()).with_detail("name")
        })?;
        check_password(login.password.as_ref())?;
        self.check_registry(remote)?;
        match self.directory.find(&name) {
            Some(user) => {
                self.check_owner(user, &name, remote)?;
                self.enter(now, session, id, user);
            }
            None => self.register(now, session, id, name)?,
        }
        Ok(())
    }

    fn check_registry(&self, remote: Remote) -> Result<(), ErrorBody> {
        let limit = self.limits.users_per_registry;
        match self.registries.get(remote.registry) {
            Some(registry) if registry.users.len() >= limit => Err(ErrorBody::new(
                ErrorCode::Quota,
                format!(
                    "the server has its {limit} users over {}; try another transport, or later",
                    registry.transport
                ),
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn check_owner(&self, user: UserId, name: &Name, remote: Remote) -> Result<(), ErrorBody> {
        let Some(known) = self.user(user) else { return Ok(()) };
        if known.key != remote.id {
            let message = format!(
                "the name {name} belongs to another key; choose another name, or log in with the \
                 key file that took it"
            );
            return Err(ErrorBody::new(ErrorCode::NameTaken, message).with_detail(name.as_str()));
        }
        if !known.is_saved {
            let message = format!("the name {name} is being taken by another session of this key");
            return Err(ErrorBody::new(ErrorCode::Conflict, message));
        }
        Ok(())
    }

    /// Takes a name that nobody has; the answer follows when the store has it.
    fn register(
        &mut self,
        now: Now,
        session: SessionId,
        id: RequestId,
        name: Name,
    ) -> Result<(), ErrorBody> {
        let Some(state) = self.sessions.get_mut(&session) else { return Ok(()) };
        let key = state.remote.id;
        if self.directory.names_of(key) >= self.limits.names_per_key {
            let message = format!(
                "your key has its {} names; log in with one of them",
                self.limits.names_per_key
            );
            return Err(ErrorBody::new(ErrorCode::Quota, message));
        }
        if self.directory.len() >= self.limits.users {
            return Err(ErrorBody::new(ErrorCode::Quota, "this server takes no new names"));
        }
        let stored = self.directory.reserve(name, key, now.wall);
        state.login = LoginState::Saving(stored.id);
        let pending = PendingLogin { session, id, user: stored.id };
        self.store(Pending::Login(pending), Operation::AddUser(stored));
        Ok(())
    }

    pub(super) fn on_name_saved(&mut self, now: Now, login: &PendingLogin, outcome: &Outcome) {
        let &PendingLogin { session, id, user } = login;
        if matches!(outcome, Outcome::Failed(_)) {
            self.directory.forget(user);
            if let Some(state) = self.sessions.get_mut(&session) {
                state.login = LoginState::None;
            }
            return self.refuse(session, id, super::mailbox::store_failed());
        }
        let Some(known) = self.directory.get_mut(user) else { return };
        known.is_saved = true;
        let (name, key) = (known.name.clone(), known.key);
        self.log(LogEntry::Registered { name, id: key });
        if self.sessions.contains_key(&session) {
            self.enter(now, session, id, user);
        }
    }

    /// Logs the session in as a user whose owner it has proved to be.
    fn enter(&mut self, now: Now, session: SessionId, id: RequestId, user: UserId) {
        let before = self.directory.get(user).and_then(|known| known.online);
        if let Some(online) = before {
            self.replace(online.session);
        }
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.login = LoginState::Done(user);
        state.inbox.start();
        let (remote, admin) = (state.remote, state.has_admin_right);
        let deadline = state.login_deadline.take();
        self.stop_login_timer(session, deadline);
        let Some(known) = self.directory.get_mut(user) else { return };
        known.online = Some(Online {
            session,
            registry: remote.registry,
            since: now.wall,
            state_since: before.map_or(now.wall, |online| online.state_since),
        });
        let (name, waiting) = (known.name.clone(), known.waiting.messages);
        self.directory.online.insert(name.key(), user);
        let Some(registry) = self.registries.get_mut(remote.registry) else { return };
        registry.users.insert(name.key(), user);
        registry.logins += 1;
        let transport = registry.transport;
        self.log(LogEntry::Login {
            name: name.clone(),
            id: remote.id,
            transport,
            address: remote.address.to_string(),
        });
        self.answer(
            session,
            id,
            LoggedIn { name, transport: transport.to_owned(), waiting, admin },
        );
        let change = before.map_or(PresenceChange::Online, |_| PresenceChange::Changed);
        self.tell_presence(user, change);
        self.resume_conversations(user);
        self.pump(session);
    }

    /// Ends the older session of a user who logs in anew; the user stays.
    fn replace(&mut self, older: SessionId) {
        let Some(state) = self.sessions.remove(&older) else { return };
        if let LoginState::Done(user) = state.login {
            self.leave_registry(user, state.remote.registry);
        }
        let text = "you logged in elsewhere with the same key";
        self.farewell(older, ClosingReason::Replaced, text);
        self.close(older, close_code::REPLACED, text);
    }

    fn leave_registry(&mut self, user: UserId, registry: usize) {
        let Some(key) = self.user(user).map(|user| user.name.key()) else { return };
        if let Some(registry) = self.registries.get_mut(registry) {
            registry.users.remove(&key);
        }
    }

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

    pub(super) fn on_stop(&mut self, now: Now, reason: &str) {
        self.is_stopping = true;
        let mut sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        sessions.sort_unstable();
        let text = if reason.is_empty() { "the server is going down" } else { reason };
        let closing = Closing {
            why: ClosingReason::Shutdown,
            text: text.to_owned(),
            reconnect_after_ms: Some(5_000),
        };
        self.effects.push(super::Effect::Tell { to: sessions.clone(), event: closing.into() });
        for session in sessions {
            self.leave(now, session, Departure::Shutdown, text);
            self.close(session, close_code::SHUTDOWN, text);
        }
    }

    fn dismiss(&mut self, session: SessionId, code: CloseCode, reason: &str) {
        let deadline = self.sessions.remove(&session).and_then(|state| state.login_deadline);
        self.stop_login_timer(session, deadline);
        self.close(session, code, reason);
    }

    pub(super) fn farewell(&mut self, session: SessionId, why: ClosingReason, text: &str) {
        let closing = Closing { why, text: text.to_owned(), reconnect_after_ms: None };
        self.tell(session, closing);
    }

    /// Forgets a session; if a user was logged in over it, the user is gone and others are told.
    pub(super) fn leave(&mut self, now: Now, session: SessionId, how: Departure, reason: &str) {
        let Some(state) = self.sessions.remove(&session) else { return };
        self.stop_login_timer(session, state.login_deadline);
        match state.login {
            LoginState::Done(user) => self.go_offline(now, user, state.remote, how, reason),
            LoginState::None | LoginState::Saving(_) => self.on_refused(&state, reason),
        }
    }

    fn on_refused(&mut self, state: &Session, reason: &str) {
        if state.has_admin_right {
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

    fn go_offline(&mut self, now: Now, user: UserId, remote: Remote, how: Departure, reason: &str) {
        let last_seen = self.user_info(user);
        self.leave_registry(user, remote.registry);
        if how == Departure::Vanished
            && let Some(registry) = self.registries.get_mut(remote.registry)
        {
            registry.vanished += 1;
        }
        let Some(known) = self.directory.get_mut(user) else { return };
        known.online = None;
        let name = known.name.clone();
        self.directory.online.remove(&name.key());
        self.log(LogEntry::Left {
            name,
            how: how.as_str(),
            reason: if how == Departure::LoggedOut { String::new() } else { reason.to_owned() },
        });
        if how == Departure::Shutdown {
            return;
        }
        self.abandon_conversations(now, user, reason);
        if let Some(info) = last_seen {
            self.broadcast_presence(user, info, how.change());
        }
    }

    fn stop_login_timer(&mut self, session: SessionId, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.timers.stop(deadline, Timer::Login(session));
        }
    }
}
