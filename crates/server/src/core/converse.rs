//! Conversations: request, accept, deny, busy, time-out, end, vanished.

use std::time::Instant;

use portolan_protocol::{
    Conversation, ConversationState, Deny, ErrorBody, ErrorCode, Name, PresenceChange, RequestId,
    Requested,
};

use super::{
    Core, Now, SessionId,
    commands::{check_short_text, millis, rate_limited},
    rates::Action,
    timers::Timer,
};
use crate::{event_log::LogEntry, store::UserId};

impl Core {
    pub(super) fn converse(&mut self, now: Now, session: SessionId, id: RequestId, with: &Name) {
        match self.check_request(now, session, with) {
            Err(error) => self.refuse(session, id, error),
            Ok((asker, asked)) if self.conversations.lapses_at(asked, asker).is_some() => {
                // Both have asked: that is agreement.
                self.answer(session, id, Requested { expires_ms: 0 });
                self.begin(now, asked, asker);
            }
            Ok((asker, asked)) => self.ask(now, session, id, asker, asked),
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
        if let Some(partner) = self.conversations.partner(asker) {
            let partner = self.name_of(partner);
            let message = format!("you are in a conversation with {partner}; end it first");
            return Err(ErrorBody::new(ErrorCode::Conflict, message).with_detail(partner));
        }
        if self.conversations.partner(asked).is_some() {
            let message = format!("{with} is in another conversation; try again later");
            return Err(ErrorBody::new(ErrorCode::Busy, message).with_detail(with.as_str()));
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

    fn check_open_requests(
        &self,
        asker: UserId,
        asked: UserId,
        with: &Name,
    ) -> Result<(), ErrorBody> {
        let limit = self.limits.requests_per_user;
        if self.conversations.lapses_at(asker, asked).is_some() {
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
        if let Some(lapses_at) = self.conversations.lapses_at(asker, asked) {
            let left = lapses_at.saturating_duration_since(now.instant);
            return self.answer(session, id, Requested { expires_ms: millis(left) });
        }
        let lapses_at = now.instant + self.timing.request;
        self.conversations.request(asker, asked, lapses_at);
        self.timers.start(lapses_at, Timer::Request { asker, asked });
        self.answer(session, id, Requested { expires_ms: millis(self.timing.request) });
        self.tell_state(asked, asker, ConversationState::Requested, None);
        self.log_state(asker, asked, ConversationState::Requested);
    }

    pub(super) fn accept(&mut self, now: Now, session: SessionId, id: RequestId, with: &Name) {
        let result = self.request_from(session, with);
        let both = result.as_ref().ok().copied();
        self.respond_done(session, id, result.map(drop));
        if let Some((asker, asked)) = both {
            self.begin(now, asker, asked);
        }
    }

    pub(super) fn deny(&mut self, session: SessionId, id: RequestId, deny: Deny) {
        let result = check_short_text(deny.reason.as_deref().unwrap_or_default(), "reason")
            .and_then(|()| self.request_from(session, &deny.with));
        let both = result.as_ref().ok().copied();
        self.respond_done(session, id, result.map(drop));
        if let Some((asker, asked)) = both {
            self.drop_request(asker, asked);
            self.tell_state(asker, asked, ConversationState::Denied, deny.reason);
            self.log_state(asker, asked, ConversationState::Denied);
        }
    }

    /// Who asked and who was asked, if `with` has an open request to this session's user.
    fn request_from(&self, session: SessionId, with: &Name) -> Result<(UserId, UserId), ErrorBody> {
        let asked = self.logged_in(session)?;
        let asker = self.known_user(with)?;
        self.conversations.lapses_at(asker, asked).map(|_| (asker, asked)).ok_or_else(|| {
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
        if self.conversations.partner(user) == Some(other) {
            self.conversations.end(user);
            self.mark_free(now, &[user, other]);
            self.tell_state(other, user, ConversationState::Ended, None);
            self.log_state(user, other, ConversationState::Ended);
            return Ok(());
        }
        if self.drop_request(user, other) {
            self.tell_state(other, user, ConversationState::Ended, Some("taken back".into()));
            self.log_state(user, other, ConversationState::Ended);
            return Ok(());
        }
        let message = format!("you have no conversation with {with}, and no open request");
        Err(ErrorBody::new(ErrorCode::NoConversation, message).with_detail(with.as_str()))
    }

    pub(super) fn on_request_lapsed(&mut self, asker: UserId, asked: UserId) {
        if self.drop_request(asker, asked) {
            self.tell_state(asker, asked, ConversationState::TimedOut, None);
            self.tell_state(asked, asker, ConversationState::TimedOut, None);
            self.log_state(asker, asked, ConversationState::TimedOut);
        }
    }

    /// Both agreed. What else they asked, or were asked, ends here.
    fn begin(&mut self, now: Now, asker: UserId, asked: UserId) {
        self.drop_request(asker, asked);
        self.conversations.start(asker, asked);
        for user in [asker, asked] {
            self.withdraw_requests(user);
            self.turn_askers_away(user);
        }
        self.set_state_since(now, &[asker, asked]);
        self.tell_state(asker, asked, ConversationState::Accepted, None);
        self.tell_state(asked, asker, ConversationState::Accepted, None);
        self.log_state(asker, asked, ConversationState::Accepted);
        for user in [asker, asked] {
            self.tell_presence(user, PresenceChange::Changed);
        }
    }

    fn withdraw_requests(&mut self, asker: UserId) {
        for asked in self.conversations.asked_by(asker) {
            self.drop_request(asker, asked);
            let reason = "now in another conversation".to_owned();
            self.tell_state(asked, asker, ConversationState::Ended, Some(reason));
            self.log_state(asker, asked, ConversationState::Ended);
        }
    }

    fn turn_askers_away(&mut self, asked: UserId) {
        for asker in self.conversations.askers_of(asked) {
            self.drop_request(asker, asked);
            self.tell_state(asker, asked, ConversationState::Busy, None);
            self.log_state(asker, asked, ConversationState::Busy);
        }
    }

    /// The user is gone: everyone who talks with them, has asked them or was asked is told why.
    pub(super) fn abandon_conversations(&mut self, now: Now, user: UserId, reason: &str) {
        let mut told = Vec::new();
        if let Some(partner) = self.conversations.end(user) {
            self.mark_free(now, &[partner]);
            told.push((user, partner, partner));
        }
        for asked in self.conversations.asked_by(user) {
            self.drop_request(user, asked);
            told.push((user, asked, asked));
        }
        for asker in self.conversations.askers_of(user) {
            self.drop_request(asker, user);
            told.push((asker, user, asker));
        }
        for (from, to, whom) in told {
            self.tell_state(whom, user, ConversationState::Vanished, Some(reason.to_owned()));
            self.log_state(from, to, ConversationState::Vanished);
        }
    }

    /// A user who logged in anew learns of what goes on.
    pub(super) fn resume_conversations(&mut self, user: UserId) {
        if let Some(partner) = self.conversations.partner(user) {
            self.tell_state(user, partner, ConversationState::Accepted, None);
        }
        for asker in self.conversations.askers_of(user) {
            self.tell_state(user, asker, ConversationState::Requested, None);
        }
    }

    fn drop_request(&mut self, asker: UserId, asked: UserId) -> bool {
        let lapses_at: Option<Instant> = self.conversations.take_request(asker, asked);
        if let Some(at) = lapses_at {
            self.timers.stop(at, Timer::Request { asker, asked });
        }
        lapses_at.is_some()
    }

    fn mark_free(&mut self, now: Now, users: &[UserId]) {
        self.set_state_since(now, users);
        for &user in users {
            self.tell_presence(user, PresenceChange::Changed);
        }
    }

    fn set_state_since(&mut self, now: Now, users: &[UserId]) {
        for &user in users {
            if let Some(online) = self.directory.get_mut(user).and_then(|u| u.online.as_mut()) {
                online.state_since = now.wall;
            }
        }
    }

    /// Tells `whom` the state of what they have with `with`.
    fn tell_state(
        &mut self,
        whom: UserId,
        with: UserId,
        state: ConversationState,
        reason: Option<String>,
    ) {
        if let Some(with) = self.user(with).map(|user| user.name.clone()) {
            self.tell_user(whom, Conversation { with, state, reason });
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
