//! How sessions begin, and who owns which name.

use portolan_protocol::{
    ErrorBody, ErrorCode, LoggedIn, Login, LoginAttempt, Name, Password, PresenceChange, RequestId,
};

use super::{
    Core, Now, Proof, Remote, SessionId,
    addresses::Deed,
    commands::rate_limited,
    devices::{PLAIN, Stand},
    directory::Online,
    mailbox::Pending,
    password::name_taken,
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

impl Core {
    pub(super) fn on_connected(&mut self, now: Now, session: SessionId, remote: Remote) {
        let state = Session {
            remote,
            has_admin_right: self.admins.contains(&remote.id),
            is_stranger: false,
            said_hello: false,
            login: LoginState::None,
            device: None,
            attempt: None,
            relays: 0,
            is_guest: false,
            login_deadline: None,
            is_attentive: false,
            heard: now.instant,
            silent_at: None,
            commands: TokenBucket::new(now.instant, self.limits.commands),
            garbage: 0,
            refusals: 0,
            inbox: Inbox::default(),
        };
        self.sessions.insert(session, state);
        self.expect_login(now, session);
        if self.is_stopping {
            return self.dismiss(session, close_code::SHUTDOWN, "the server is going down");
        }
        self.meet_stranger(now, session);
    }

    /// Gives the session its time to log in, from now.
    pub(super) fn expect_login(&mut self, now: Now, session: SessionId) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let deadline = now.instant + self.timing.login;
        state.login = LoginState::None;
        let before = state.login_deadline.replace(deadline);
        self.stop_login_timer(session, before);
        self.timers.start(deadline, Timer::Login(session));
    }

    pub(super) fn login(&mut self, now: Now, session: SessionId, id: RequestId, login: &Login) {
        if let Err(error) = self.try_login(now, session, id, login) {
            self.log_refused_login(session, &error);
            self.refuse(session, id, error);
        }
    }

    pub(super) fn log_refused_login(&mut self, session: SessionId, error: &ErrorBody) {
        if let Some(remote) = self.sessions.get(&session).map(|state| state.remote) {
            self.log(LogEntry::LoginRefused {
                id: remote.id,
                code: error.code.as_str(),
                address: remote.address.to_string(),
            });
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
        if !self.has_users {
            let message = "this server only relays for others; log in at the server that has your \
                           name";
            return Err(ErrorBody::new(ErrorCode::Unsupported, message));
        }
        if state.login != LoginState::None {
            return Err(ErrorBody::new(
                ErrorCode::Conflict,
                "this session has logged in already; log out first",
            ));
        }
        if !self.rates.take(now.instant, remote.id, Action::Login) {
            return Err(rate_limited("logins", self.limits.logins.per_second));
        }
        self.pay_at_address(now, session, Deed::Login)?;
        let name = Name::new(&login.name).map_err(|error| {
            ErrorBody::new(ErrorCode::NameInvalid, error.to_string()).with_detail("name")
        })?;
        self.check_ban(now, remote.id)?;
        self.check_registry(remote, &name)?;
        if let Some(state) = self.sessions.get_mut(&session) {
            state.device = login.device;
            state.attempt = login.attempt;
        }
        match self.directory.find(&name) {
            Some(user) if self.is_owner(user, &name, remote)? => {
                if self.is_locked(user, remote.proof) {
                    self.unlock(now, (session, id), user, login.password.as_ref())?;
                } else {
                    self.enter_as_device(now, (session, id), user, false);
                }
            }
            Some(_) if remote.proof == Proof::Gateway => return Err(name_taken(&name)),
            Some(user) => {
                self.prove_by_password(now, (session, id), user, login.password.as_ref())?;
            }
            None if self.reserved.contains(&name) => return Err(reserved(&name)),
            None => self.register(now, session, id, name)?,
        }
        Ok(())
    }

    /// Whether the key alone does not open the name.
    fn is_locked(&self, user: UserId, proof: Proof) -> bool {
        let has_password = self.user(user).is_some_and(|known| known.password.is_some());
        has_password && proof == Proof::Gateway
    }

    /// Lets a gateway's user in who knows the name's password.
    fn unlock(
        &mut self,
        now: Now,
        (session, id): (SessionId, RequestId),
        user: UserId,
        password: Option<&Password>,
    ) -> Result<(), ErrorBody> {
        if password.is_none() {
            let error = ErrorBody::new(ErrorCode::WrongPassword, "this name has a password");
            return Err(error.with_detail("password"));
        }
        self.prove_by_password(now, (session, id), user, password)
    }

    /// Whether the name belongs to this key.
    fn is_owner(&self, user: UserId, name: &Name, remote: Remote) -> Result<bool, ErrorBody> {
        let Some(known) = self.user(user) else { return Ok(false) };
        let is_owner = known.key == remote.id;
        if is_owner && !known.is_saved {
            let message = format!("the name {name} is being taken by another session of this key");
            return Err(ErrorBody::new(ErrorCode::Conflict, message));
        }
        Ok(is_owner)
    }

    /// Refuses a login that its client gave up before it made the one that stands here.
    pub(super) fn check_attempt(&self, session: SessionId, user: UserId) -> Result<(), ErrorBody> {
        let Some(attempt) = self.sessions.get(&session).and_then(|state| state.attempt) else {
            return Ok(());
        };
        let online = self.user(user).and_then(|known| known.online.as_ref());
        let is_later =
            |later: LoginAttempt| later.client == attempt.client && later.number > attempt.number;
        let mut others = online.into_iter().flat_map(|online| &online.stands);
        if others.any(|stand| stand.attempt.is_some_and(is_later)) {
            let message = "this login comes late: the same client has logged in again meanwhile";
            return Err(ErrorBody::new(ErrorCode::Conflict, message).with_detail("attempt"));
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
        self.check_names_of(session)?;
        if self.directory.len() >= self.limits.users {
            return Err(ErrorBody::new(ErrorCode::Quota, "this server takes no new names"));
        }
        self.pay_at_address(now, session, Deed::NewName)?;
        let Some(state) = self.sessions.get_mut(&session) else { return Ok(()) };
        let stored = self.directory.reserve(name, state.remote.id, now.wall);
        state.login = LoginState::Saving(stored.id);
        let pending = PendingLogin { session, id, user: stored.id };
        self.store(Pending::Login(pending), Operation::AddUser(stored));
        Ok(())
    }

    /// Whether the session's key may have another name.
    pub(super) fn check_names_of(&self, session: SessionId) -> Result<(), ErrorBody> {
        let Some(state) = self.sessions.get(&session) else { return Ok(()) };
        let limit = self.limits.names_per_key;
        if self.directory.names_of(state.remote.id) < limit {
            return Ok(());
        }
        let message = format!("your key has its {limit} names; log in with one of them");
        Err(ErrorBody::new(ErrorCode::Quota, message))
    }

    pub(super) fn on_name_saved(&mut self, now: Now, login: &PendingLogin, outcome: &Outcome) {
        let &PendingLogin { session, id, user } = login;
        if matches!(outcome, Outcome::Failed(_)) {
            self.directory.forget(user);
            self.expect_login(now, session);
            return self.refuse(session, id, super::mailbox::store_failed());
        }
        let Some(known) = self.directory.get_mut(user) else { return };
        known.is_saved = true;
        let (name, key) = (known.name.clone(), known.key);
        self.log(LogEntry::Registered { name, id: key });
        if self.sessions.contains_key(&session) {
            self.enter_as_device(now, (session, id), user, false);
        }
    }

    /// Logs the session in as a user whose owner it has proved to be; `moved`: just now, by the
    /// password.
    pub(super) fn enter(
        &mut self,
        now: Now,
        session: SessionId,
        id: RequestId,
        user: UserId,
        moved: bool,
    ) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.login = LoginState::Done(user);
        state.inbox.start();
        let (remote, admin, device) = (state.remote, state.has_admin_right, state.device);
        self.addresses.part(state);
        let deadline = state.login_deadline.take();
        self.stop_login_timer(session, deadline);
        let change = match self.user(user).and_then(|known| known.online.as_ref()) {
            Some(_) => PresenceChange::Changed,
            None => PresenceChange::Online,
        };
        self.take_place(now, session, user);
        let Some(mut logged_in) = self.go_online(user, remote) else { return };
        logged_in.admin = admin;
        logged_in.moved = moved;
        self.see_device(now, user, device.unwrap_or(PLAIN));
        self.answer(session, id, logged_in);
        self.sight(user, now.wall);
        self.tell_presence(user, change);
        self.resume_conversations(user, session);
        self.attend(now, session);
        self.repeat_invitations(user, session);
        self.pump(session);
    }

    /// Puts the session in the place of those that it replaces, or beside them.
    fn take_place(&mut self, now: Now, session: SessionId, user: UserId) {
        let Some(state) = self.sessions.get(&session) else { return };
        let (asked, attempt, registry) = (state.device, state.attempt, state.remote.registry);
        let device = asked.unwrap_or(PLAIN);
        let Some(known) = self.directory.get_mut(user) else { return };
        let online = known.online.get_or_insert_with(|| Online {
            stands: Vec::new(),
            since: now.wall,
            state_since: now.wall,
            is_busy: false,
        });
        let is_replaced = |stand: &Stand| asked.is_none_or(|_| stand.device == device);
        let (older, mut stands): (Vec<Stand>, Vec<Stand>) =
            std::mem::take(&mut online.stands).into_iter().partition(is_replaced);
        if stands.is_empty() {
            online.since = now.wall;
        }
        stands.push(Stand { session, registry, device, attempt });
        online.stands = stands;
        for stand in older {
            self.conversations.move_to(user, stand.session, session);
            self.replace(user, stand);
        }
    }

    /// Enters the user, who has a session now, into the lists.
    fn go_online(&mut self, user: UserId, remote: Remote) -> Option<LoggedIn> {
        let known = self.user(user)?;
        let online = known.online.as_ref()?;
        let beside = u32::try_from(online.stands.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let device = online.latest()?.device;
        let copies = self.devices.waiting(user, device);
        let (name, waiting) = (known.name.clone(), copies.unwrap_or(known.waiting).messages);
        self.directory.online.insert(name.key(), user);
        let registry = self.registries.get_mut(remote.registry)?;
        registry.enter(&name, user);
        let transport = registry.transport;
        self.log(LogEntry::Login {
            name: name.clone(),
            id: remote.id,
            transport,
            address: remote.address.to_string(),
        });
        Some(LoggedIn {
            name,
            transport: transport.to_owned(),
            waiting,
            admin: false,
            moved: false,
            beside,
        })
    }
}

fn reserved(name: &Name) -> ErrorBody {
    let message = format!("the name {name} is kept back on this server; choose another one");
    ErrorBody::new(ErrorCode::NameInvalid, message).with_detail(name.as_str())
}
