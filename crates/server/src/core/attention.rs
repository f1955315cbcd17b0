//! Quick detection of clients that have vanished from a conversation.
//!
//! A quiet connection is asked for a sign of life seldom, so that thousands of them cost little.
//! Whoever talks with somebody wants to know sooner that nobody is there any more. Clients that say
//! [`ATTENTIVE`] in their hello therefore ask for a heartbeat of their own, several times within
//! the time of attention, while they are in a conversation; from whom nothing came for that long
//! has vanished. It is the same on every transport.

use portolan_protocol::Hello;

use super::{Core, Now, SessionId, departure::Departure, session::LoginState, timers::Timer};
use crate::close_code;

/// The feature of clients that keep showing signs of life while they are in a conversation.
pub(super) const ATTENTIVE: &str = "attentive";

impl Core {
    /// Whether the client of this hello is attentive.
    pub(super) fn is_attentive(hello: &Hello) -> bool {
        hello.features.iter().take(super::commands::VERSIONS_MAX).any(|word| word == ATTENTIVE)
    }

    /// The session may hold a conversation now: then its client is expected to be heard.
    pub(super) fn attend(&mut self, now: Now, session: SessionId) {
        let is_holding = self.holds_conversation(session);
        let attention = self.timing.attention;
        let Some(state) = self.sessions.get_mut(&session) else { return };
        if !state.is_attentive || !is_holding {
            return;
        }
        // What was not heard before the conversation does not count.
        state.heard = now.instant;
        if state.silent_at.is_some() {
            return;
        }
        let at = now.instant + attention;
        state.silent_at = Some(at);
        self.timers.start(at, Timer::Silence(session));
    }

    /// Looks whether a client in a conversation was heard.
    pub(super) fn on_silence_due(&mut self, now: Now, session: SessionId) {
        let is_holding = self.holds_conversation(session);
        let attention = self.timing.attention;
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.silent_at = None;
        if !is_holding {
            return;
        }
        let at = state.heard + attention;
        if at > now.instant {
            state.silent_at = Some(at);
            return self.timers.start(at, Timer::Silence(session));
        }
        let reason = format!("time-out: nothing was heard for {} s", attention.as_secs());
        self.leave(now, session, Departure::Vanished, &reason);
        self.close(session, close_code::SILENT, reason);
    }

    fn holds_conversation(&self, session: SessionId) -> bool {
        match self.sessions.get(&session).map(|state| state.login) {
            Some(LoginState::Done(user)) => {
                self.conversations.partners(user).iter().any(|(_, holder)| *holder == session)
            }
            Some(LoginState::None | LoginState::Saving(_)) | None => false,
        }
    }
}
