//! Passwords: how a name gets one, and how one moves a name to a new key.
//!
//! Hashing takes long on purpose, so it is an effect; meanwhile the core goes on.

use std::sync::Arc;

use portolan_protocol::{ErrorBody, ErrorCode, Name, Password, RequestId, SetPassword};

use super::{
    Core, Effect, Now, Remote, SessionId, Token,
    addresses::Deed,
    commands::rate_limited,
    mailbox::{Pending, store_failed},
    rates::Action,
    session::LoginState,
};
use crate::{
    event_log::LogEntry,
    store::{Operation, Outcome, PasswordHash, UserId},
};

/// Bytes of a password; shorter ones are guessed, longer ones only cost time.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=1_024;

/// Something to be hashed outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashTask {
    /// Makes a hash of a new password.
    Make(Password),
    /// Compares a password with a hash.
    Check {
        /// What was typed.
        password: Password,
        /// What is known.
        hash: PasswordHash,
    },
}

/// What came of a [`HashTask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hashed {
    /// The hash of a new password.
    Made(PasswordHash),
    /// It is the password.
    Right,
    /// It is not.
    Wrong,
    /// It could not be computed; the words are for the log.
    Failed(Arc<str>),
}

/// What the core does when the hash is there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hashing {
    /// A name gets a password.
    Set(Asker),
    /// A name may move to the asker's key.
    Move(Asker),
}

/// Who waits for a hash or for the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    session: SessionId,
    id: RequestId,
    user: UserId,
}

impl Core {
    pub(super) fn set_password(
        &mut self,
        now: Now,
        session: SessionId,
        id: RequestId,
        set: SetPassword,
    ) {
        if let Err(error) = self.try_set_password(now, session, id, set) {
            self.refuse(session, id, error);
        }
    }

    fn try_set_password(
        &mut self,
        now: Now,
        session: SessionId,
        id: RequestId,
        set: SetPassword,
    ) -> Result<(), ErrorBody> {
        let user = self.logged_in(session)?;
        let asker = Asker { session, id, user };
        let Some(password) = set.password else {
            self.store_password(asker, None);
            return Ok(());
        };
        check_length(&password)?;
        self.pay_for_hash(now, session)?;
        self.hash(Hashing::Set(asker), HashTask::Make(password));
        Ok(())
    }

    /// The name belongs to another key: with its password it may move to this one. The answer
    /// follows when the password is checked and the store has it.
    pub(super) fn prove_by_password(
        &mut self,
        now: Now,
        (session, id): (SessionId, RequestId),
        user: UserId,
        password: Option<&Password>,
    ) -> Result<(), ErrorBody> {
        let Some(known) = self.user(user) else { return Ok(()) };
        let (name, hash) = (known.name.clone(), known.password.clone());
        let (Some(password), Some(hash)) = (password, hash) else {
            return Err(name_taken(&name));
        };
        self.check_names_of(session)?;
        self.pay_for_hash(now, session)?;
        let rate = self.limits.guesses;
        let guess = self.directory.get_mut(user).map(|known| {
            known
                .guesses
                .get_or_insert_with(|| super::rates::TokenBucket::new(now.instant, rate))
                .take(now.instant, rate)
        });
        if guess != Some(true) {
            let message = format!("too many attempts at the password of {name}; try again later");
            return Err(ErrorBody::new(ErrorCode::RateLimited, message));
        }
        if let Some(state) = self.sessions.get_mut(&session) {
            state.login = LoginState::Saving(user);
        }
        let task = HashTask::Check { password: password.clone(), hash };
        self.hash(Hashing::Move(Asker { session, id, user }), task);
        Ok(())
    }

    fn pay_for_hash(&mut self, now: Now, session: SessionId) -> Result<(), ErrorBody> {
        let key = self.sessions.get(&session).map(|state| state.remote.id);
        if key.is_some_and(|key| !self.rates.take(now.instant, key, Action::Password)) {
            return Err(rate_limited("passwords", self.limits.passwords.per_second));
        }
        self.pay_at_address(now, session, Deed::Password)?;
        if self.hashing.len() >= self.limits.hashes {
            let message = "the server is busy with other passwords; try again in a moment";
            return Err(ErrorBody::new(ErrorCode::RateLimited, message));
        }
        Ok(())
    }

    fn hash(&mut self, hashing: Hashing, task: HashTask) {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.hashing.insert(token, hashing);
        self.effects.push(Effect::Hash { token, task });
    }

    pub(super) fn on_hashed(&mut self, now: Now, token: Token, hashed: Hashed) {
        let Some(hashing) = self.hashing.remove(&token) else { return };
        if let Hashed::Failed(detail) = &hashed {
            self.log(LogEntry::StoreFailed { detail: detail.to_string() });
        }
        match (hashing, hashed) {
            (Hashing::Set(asker), Hashed::Made(hash)) => self.store_password(asker, Some(hash)),
            (Hashing::Move(asker), Hashed::Right) => self.move_name(now, asker),
            (Hashing::Move(asker), Hashed::Wrong) => self.on_wrong_password(now, asker),
            (Hashing::Set(asker), _) => {
                self.refuse(asker.session, asker.id, store_failed());
            }
            (Hashing::Move(asker), _) => {
                self.expect_login(now, asker.session);
                self.refuse(asker.session, asker.id, store_failed());
            }
        }
    }

    fn on_wrong_password(&mut self, now: Now, asker: Asker) {
        let Asker { session, id, user } = asker;
        self.expect_login(now, session);
        let name = self.user(user).map(|known| known.name.to_string()).unwrap_or_default();
        let message = format!("this is not the password of {name}");
        let error = ErrorBody::new(ErrorCode::WrongPassword, message).with_detail("password");
        self.log_refused_login(session, &error);
        self.refuse(session, id, error);
    }

    fn store_password(&mut self, asker: Asker, hash: Option<PasswordHash>) {
        let operation = Operation::SetPassword { user: asker.user, hash: hash.clone() };
        self.store(Pending::Password(asker, hash), operation);
    }

    pub(super) fn on_password_stored(
        &mut self,
        asker: Asker,
        hash: Option<PasswordHash>,
        outcome: &Outcome,
    ) {
        let Asker { session, id, user } = asker;
        if matches!(outcome, Outcome::Failed(_)) {
            return self.refuse(session, id, store_failed());
        }
        let Some(known) = self.directory.get_mut(user) else { return };
        let name = known.name.clone();
        let is_removed = hash.is_none();
        known.password = hash;
        self.log(LogEntry::Password { name, is_removed });
        self.respond_done(session, id, Ok(()));
    }

    fn move_name(&mut self, now: Now, asker: Asker) {
        let Some(remote) = self.sessions.get(&asker.session).map(|state| state.remote) else {
            return;
        };
        // The key may have taken names since it was asked.
        if let Err(error) = self.check_names_of(asker.session) {
            self.expect_login(now, asker.session);
            return self.refuse(asker.session, asker.id, error);
        }
        let operation = Operation::MoveName { user: asker.user, key: remote.id };
        self.store(Pending::Move(asker, remote), operation);
    }

    pub(super) fn on_name_moved(
        &mut self,
        now: Now,
        asker: Asker,
        remote: Remote,
        outcome: &Outcome,
    ) {
        let Asker { session, id, user } = asker;
        if matches!(outcome, Outcome::Failed(_)) {
            self.expect_login(now, session);
            return self.refuse(session, id, store_failed());
        }
        let Some(name) = self.directory.set_key(user, remote.id) else { return };
        self.log(LogEntry::Moved { name, id: remote.id, address: remote.address.to_string() });
        if self.sessions.contains_key(&session) {
            self.enter_as_device(now, (session, id), user, true);
        }
    }
}

fn check_length(password: &Password) -> Result<(), ErrorBody> {
    let length = password.0.len();
    if LENGTHS.contains(&length) {
        return Ok(());
    }
    let (least, most) = (LENGTHS.start(), LENGTHS.end());
    let message = format!("a password has {least} to {most} bytes, this one has {length}");
    Err(ErrorBody::new(ErrorCode::BadRequest, message).with_detail("password"))
}

/// The answer to another key, whether or not the name has a password.
pub(super) fn name_taken(name: &Name) -> ErrorBody {
    let message = format!(
        "the name {name} belongs to another key; choose another name, log in with the key file \
         that took it, or with its password if it has one"
    );
    ErrorBody::new(ErrorCode::NameTaken, message).with_detail(name.as_str())
}
