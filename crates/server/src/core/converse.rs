//! Conversations: request, accept, deny, busy, time-out, end, vanished.
//!
//! A conversation is between two users and held by one session of each. Every session of a user is
//! told of it; those that do not hold it are told so with `elsewhere`.

use portolan_protocol::{
    Conversation, ConversationState, Deny, ErrorBody, ErrorCode, Name, PresenceChange, RequestId,
    Requested,
};

use super::{
    Core, Now, SessionId,
    commands::{check_short_text, millis, rate_limited},
    conversations::OpenRequest,
    rates::Action,
    timers::Timer,
};
use crate::{event_log::LogEntry, store::UserId};

impl Core {
    /// Whether a user is in as many conversations as they allow.
    pub(super) fn is_busy(&self, user: UserId) -> bool {
        let allowed = self.user(user).map_or(1, |known| usize::from(known.settings.conversations));
        self.conversations.of(user) >= allowed
    }

    pub(super) fn converse(&mut self, now: Now, session: SessionId, id: RequestId, with: &Name) {
        let (asker, asked) = match self.check_request(now, session, with) {
            Err(error) => return self.refuse(session, id, error),
            Ok(both) => both,
        };
        if self.conversations.holder(asker, asked).is_some() {
            self.answer(session, id, Requested { expires_ms: 0 });
            self.take_over(session, asker, asked);
            return self.attend(now, session);
        }
        match self.conversations.open_request(asked, asker) {
            // Both have asked: that is agreement.
            Some(request) => {
                self.answer(session, id, Requested { expires_ms: 0 });
                self.begin(now, (asked, request.session), (asker, session));
            }
            None => self.ask(now, session, id, asker, asked),
        }
    }

    fn check_request(
        &mut self,
        now: Now,
        session: SessionId,
        with: &Name,
    ) -> Result<(UserId, UserId), ErrorBody> {
        let asker = self.logged_in(session)?;
        let asked = self.online_user(with)?;
        if asker == asked {
            return Err(ErrorBody::new(
                ErrorCode::BadRequest,
                "a conversation takes two; ask somebody else",
            ));
        }
        match self.conversations.holder(asker, asked) {
            Some(holder) if holder == session => return Err(self.talking_already(with)),
            Some(_) => {}
            None if self.is_busy(asker) => return Err(self.all_taken(asker)),
            None if self.is_busy(asked) => {
                let message = format!("{with} is in another conversation; try again later");
                return Err(ErrorBody::new(ErrorCode::Busy, message).with_detail(with.as_str()));
            }
            None => {}
        }
        let key = self.user(asker).map(|user| user.key);
        if key.is_some_and(|key| !self.rates.take(now.instant, key, Action::Request)) {
            return Err(rate_limited(
                "requests for a conversation",
                self.limits.requests.per_second,
            ));
        }
        self.check_open_requests(asker, asked, with)?;
        Ok((asker, asked))
    }

    fn talking_already(&self, with: &Name) -> ErrorBody {
        let message = format!("you are in a conversation with {with} already");
        ErrorBody::new(ErrorCode::Conflict, message).with_detail(with.as_str())
    }

    fn all_taken(&self, asker: UserId) -> ErrorBody {
        let partners = self.conversations.partners(asker);
        let names: Vec<String> = partners.iter().map(|(user, _)| self.name_of(*user)).collect();
        let message = format!(
            "you are in a conversation with {}; end one first, or allow yourself more in your \
             settings",
            names.join(", ")
        );
        ErrorBody::new(ErrorCode::Conflict, message)
            .with_detail(names.first().cloned().unwrap_or_default())
    }

    fn check_open_requests(
        &self,
        asker: UserId,
        asked: UserId,
        with: &Name,
    ) -> Result<(), ErrorBody> {
        let limit = self.limits.requests_per_user;
        if self.conversations.open_request(asker, asked).is_some() {
            return Ok(());
        }
        if self.conversations.asked_by(asker).len() >= limit {
            let message = format!("you have {limit} open requests; wait for an answer");
            return Err(ErrorBody::new(ErrorCode::Quota, message));
        }
        if self.conversations.askers_of(asked).len() >= limit {
            let message = format!("{with} has {limit} open requests already; try again later");
            return Err(ErrorBody::new(ErrorCode::Busy, message).with_detail(with.as_str()));
        }
        Ok(())
    }

    fn ask(&mut self, now: Now, session: SessionId, id: RequestId, asker: UserId, asked: UserId) {
        if let Some(open) = self.conversations.open_request(asker, asked) {
            let left = open.lapses_at.saturating_duration_since(now.instant);
            return self.answer(session, id, Requested { expires_ms: millis(left) });
        }
        let lapses_at = now.instant + self.timing.request;
        self.conversations.request(asker, asked, OpenRequest { session, lapses_at });
        self.timers.start(lapses_at, Timer::Request { asker, asked });
        self.answer(session, id, Requested { expires_ms: millis(self.timing.request) });
        self.tell_state(asked, asker, ConversationState::Requested, None);
        self.tell_others((asker, session), asked, ConversationState::Asked);
        self.log_state(asker, asked, ConversationState::Requested);
    }

    /// Another session of a user goes on with a conversation.
    fn take_over(&mut self, session: SessionId, user: UserId, with: UserId) {
        self.conversations.hold(user, with, session);
        self.tell_state(user, with, ConversationState::Accepted, None);
    }

    pub(super) fn accept(&mut self, now: Now, session: SessionId, id: RequestId, with: &Name) {
        let result = self.request_from(session, with);
        let found = result.as_ref().ok().copied();
        self.respond_done(session, id, result.map(drop));
        if let Some((asker, asked, request)) = found {
            self.begin(now, (asker, request.session), (asked, session));
        }
    }

    pub(super) fn deny(&mut self, session: SessionId, id: RequestId, deny: Deny) {
        let result = check_short_text(deny.reason.as_deref().unwrap_or_default(), "reason")
            .and_then(|()| self.request_from(session, &deny.with));
        let found = result.as_ref().ok().copied();
        self.respond_done(session, id, result.map(drop));
        if let Some((asker, asked, request)) = found {
            self.drop_request(asker, asked);
            let asker_at = (asker, Some(request.session));
            self.tell_state_at(asker_at, asked, ConversationState::Denied, deny.reason);
            self.tell_others((asked, session), asker, ConversationState::Denied);
            self.log_state(asker, asked, ConversationState::Denied);
        }
    }

    /// Who asked and who was asked, if `with` has an open request to this session's user.
    fn request_from(
        &self,
        session: SessionId,
        with: &Name,
    ) -> Result<(UserId, UserId, OpenRequest), ErrorBody> {
        let asked = self.logged_in(session)?;
        let asker = self.known_user(with)?;
        let open = self.conversations.open_request(asker, asked);
        open.map(|request| (asker, asked, request)).ok_or_else(|| {
            let message =
                format!("no request from {with} is open: it lapsed, was taken back, or never came");
            ErrorBody::new(ErrorCode::NoConversation, message).with_detail(with.as_str())
        })
    }

    pub(super) fn end(&mut self, now: Now, session: SessionId, id: RequestId, with: &Name) {
        let result = self.try_end(now, session, with);
        self.respond_done(session, id, result);
    }

    fn try_end(&mut self, now: Now, session: SessionId, with: &Name) -> Result<(), ErrorBody> {
        let user = self.logged_in(session)?;
        let other = self.known_user(with)?;
        let held_at = self.conversations.holder(other, user);
        if self.conversations.end(user, other) {
            self.tell_state_at((other, held_at), user, ConversationState::Ended, None);
            self.tell_others((user, session), other, ConversationState::Ended);
            self.log_state(user, other, ConversationState::Ended);
            self.refresh_states(now, &[user, other]);
            return Ok(());
        }
        if self.drop_request(user, other).is_some() {
            self.tell_state(other, user, ConversationState::Ended, Some("taken back".into()));
            self.tell_others((user, session), other, ConversationState::Ended);
            self.log_state(user, other, ConversationState::Ended);
            return Ok(());
        }
        let message = format!("you have no conversation with {with}, and no open request");
        Err(ErrorBody::new(ErrorCode::NoConversation, message).with_detail(with.as_str()))
    }

    pub(super) fn on_request_lapsed(&mut self, asker: UserId, asked: UserId) {
        if let Some(request) = self.drop_request(asker, asked) {
            let asker_at = (asker, Some(request.session));
            self.tell_state_at(asker_at, asked, ConversationState::TimedOut, None);
            self.tell_state(asked, asker, ConversationState::TimedOut, None);
            self.log_state(asker, asked, ConversationState::TimedOut);
        }
    }

    /// Both agreed. What else is open between them ends here; so do all requests of those who are
    /// in as many conversations as they allow now.
    fn begin(&mut self, now: Now, asker: (UserId, SessionId), asked: (UserId, SessionId)) {
        self.drop_request(asker.0, asked.0);
        self.drop_request(asked.0, asker.0);
        self.conversations.start(asker, asked);
        self.tell_state(asker.0, asked.0, ConversationState::Accepted, None);
        self.tell_state(asked.0, asker.0, ConversationState::Accepted, None);
        self.log_state(asker.0, asked.0, ConversationState::Accepted);
        for (user, _) in [asker, asked] {
            self.close_if_busy(user);
        }
        self.refresh_states(now, &[asker.0, asked.0]);
        for (_, session) in [asker, asked] {
            self.attend(now, session);
        }
    }

    /// Ends the open requests of a user who has no room for another conversation.
    pub(super) fn close_if_busy(&mut self, user: UserId) {
        if self.is_busy(user) {
            self.withdraw_requests(user);
            self.turn_askers_away(user);
        }
    }

    fn withdraw_requests(&mut self, asker: UserId) {
        for (asked, session) in self.conversations.asked_by(asker) {
            self.drop_request(asker, asked);
            let reason = "now in another conversation".to_owned();
            self.tell_state(asked, asker, ConversationState::Ended, Some(reason));
            let reason = Some("your request is taken back: you are talking already".to_owned());
            let asker_at = (asker, Some(session));
            self.tell_state_at(asker_at, asked, ConversationState::Ended, reason);
            self.log_state(asker, asked, ConversationState::Ended);
        }
    }

    fn turn_askers_away(&mut self, asked: UserId) {
        for asker in self.conversations.askers_of(asked) {
            let request = self.drop_request(asker, asked);
            let asker_at = (asker, request.map(|request| request.session));
            self.tell_state_at(asker_at, asked, ConversationState::Busy, None);
            let reason = Some("you are talking already".to_owned());
            self.tell_state(asked, asker, ConversationState::TimedOut, reason);
            self.log_state(asker, asked, ConversationState::Busy);
        }
    }

    /// The user is gone: everyone who talks with them, has asked them or was asked is told why.
    pub(super) fn abandon_conversations(&mut self, now: Now, user: UserId, reason: &str) {
        for (partner, _) in self.conversations.partners(user) {
            self.break_off(now, user, partner, reason);
        }
        for (asked, _) in self.conversations.asked_by(user) {
            self.lose_request(user, asked, reason);
        }
        for asker in self.conversations.askers_of(user) {
            let request = self.drop_request(asker, user);
            let asker_at = (asker, request.map(|request| request.session));
            let reason = Some(reason.to_owned());
            self.tell_state_at(asker_at, user, ConversationState::Vanished, reason);
            self.log_state(asker, user, ConversationState::Vanished);
        }
    }

    /// One session of a user is gone and others stay: what it held and asked ends with it.
    pub(super) fn abandon_session(
        &mut self,
        now: Now,
        (user, session): (UserId, SessionId),
        reason: &str,
    ) {
        for (partner, holder) in self.conversations.partners(user) {
            if holder == session {
                self.break_off(now, user, partner, reason);
                self.tell_others((user, session), partner, ConversationState::Ended);
                self.refresh_states(now, &[user]);
            }
        }
        for (asked, holder) in self.conversations.asked_by(user) {
            if holder == session {
                self.lose_request(user, asked, reason);
                self.tell_others((user, session), asked, ConversationState::Ended);
            }
        }
    }

    fn break_off(&mut self, now: Now, user: UserId, partner: UserId, reason: &str) {
        let held_at = self.conversations.holder(partner, user);
        self.conversations.end(user, partner);
        let told = Some(reason.to_owned());
        self.tell_state_at((partner, held_at), user, ConversationState::Vanished, told);
        self.log_state(user, partner, ConversationState::Vanished);
        self.refresh_states(now, &[partner]);
    }

    fn lose_request(&mut self, asker: UserId, asked: UserId, reason: &str) {
        self.drop_request(asker, asked);
        self.tell_state(asked, asker, ConversationState::Vanished, Some(reason.to_owned()));
        self.log_state(asker, asked, ConversationState::Vanished);
    }

    /// A session that begins learns of what goes on.
    pub(super) fn resume_conversations(&mut self, user: UserId, session: SessionId) {
        let mut open: Vec<(UserId, ConversationState, bool)> = Vec::new();
        for (partner, holder) in self.conversations.partners(user) {
            open.push((partner, ConversationState::Accepted, holder != session));
        }
        for asker in self.conversations.askers_of(user) {
            open.push((asker, ConversationState::Requested, false));
        }
        for (asked, holder) in self.conversations.asked_by(user) {
            open.push((asked, ConversationState::Asked, holder != session));
        }
        for (with, state, elsewhere) in open {
            let Some(with) = self.user(with).map(|known| known.name.clone()) else { continue };
            self.tell(session, Conversation { with, state, reason: None, elsewhere });
        }
    }

    fn drop_request(&mut self, asker: UserId, asked: UserId) -> Option<OpenRequest> {
        let request = self.conversations.take_request(asker, asked)?;
        self.timers.stop(request.lapses_at, Timer::Request { asker, asked });
        Some(request)
    }

    /// Notes who is free or busy now, and tells the others what is news.
    pub(super) fn refresh_states(&mut self, now: Now, users: &[UserId]) {
        for &user in users {
            let is_busy = self.is_busy(user);
            let Some(online) = self.directory.get_mut(user).and_then(|u| u.online.as_mut()) else {
                continue;
            };
            if online.is_busy != is_busy {
                online.is_busy = is_busy;
                online.state_since = now.wall;
                self.tell_presence(user, PresenceChange::Changed);
            }
        }
    }

    /// Tells every session of `whom` the state of what they have with `with`.
    fn tell_state(
        &mut self,
        whom: UserId,
        with: UserId,
        state: ConversationState,
        reason: Option<String>,
    ) {
        let held_at = self.conversations.holder(whom, with);
        self.tell_state_at((whom, held_at), with, state, reason);
    }

    /// The same, when another of their sessions than the one given is not concerned itself.
    fn tell_state_at(
        &mut self,
        (whom, held_at): (UserId, Option<SessionId>),
        with: UserId,
        state: ConversationState,
        reason: Option<String>,
    ) {
        let Some(with) = self.user(with).map(|known| known.name.clone()) else { return };
        for session in self.sessions_of(whom) {
            let elsewhere = held_at.is_some_and(|holder| holder != session);
            let (with, reason) = (with.clone(), reason.clone());
            self.tell(session, Conversation { with, state, reason, elsewhere });
        }
    }

    /// Tells the other sessions of a user what this one has done.
    fn tell_others(
        &mut self,
        (user, session): (UserId, SessionId),
        with: UserId,
        state: ConversationState,
    ) {
        let Some(with) = self.user(with).map(|known| known.name.clone()) else { return };
        for other in self.sessions_of(user) {
            if other != session {
                let (with, reason, elsewhere) = (with.clone(), None, true);
                self.tell(other, Conversation { with, state, reason, elsewhere });
            }
        }
    }

    fn log_state(&mut self, from: UserId, to: UserId, state: ConversationState) {
        let name = |user| self.user(user).map(|known| known.name.clone());
        if let (Some(from), Some(to)) = (name(from), name(to)) {
            self.log(LogEntry::Conversation { from, to, state });
        }
    }

    fn name_of(&self, user: UserId) -> String {
        self.user(user).map(|known| known.name.to_string()).unwrap_or_default()
    }
}
