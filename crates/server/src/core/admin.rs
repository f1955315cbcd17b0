//! What admins may do, logged in or not.

use std::time::Duration;

use portolan_identity::PeerId;
use portolan_protocol::{
    Announce, Announcement, BackedUp, ClosingReason, ErrorBody, ErrorCode, Kick, Name, RequestId,
    Shutdown,
};

use super::{
    Core, Effect, Now, SessionId,
    commands::{check_short_text, check_text},
    departure::Departure,
    mailbox::{Pending, store_failed},
};
use crate::{
    close_code,
    event_log::LogEntry,
    store::{Operation, Outcome},
};

impl Core {
    pub(super) fn kick(&mut self, now: Now, session: SessionId, id: RequestId, kick: &Kick) {
        let result = self.try_kick(now, session, kick);
        self.respond_done(session, id, result);
    }

    fn try_kick(&mut self, now: Now, session: SessionId, kick: &Kick) -> Result<(), ErrorBody> {
        let by = self.admin(session)?;
        check_short_text(&kick.reason, "reason")?;
        let user = self.online_user(&kick.name)?;
        self.log_admin(by, "kick", Some(kick.name.clone()), &kick.reason);
        let text = match kick.reason.as_str() {
            "" => "an admin ended your session".to_owned(),
            reason => format!("an admin ended your session: {reason}"),
        };
        let told = match kick.reason.as_str() {
            "" => "kicked by an admin".to_owned(),
            reason => format!("kicked by an admin: {reason}"),
        };
        for session in self.sessions_of(user) {
            self.farewell(session, ClosingReason::Kicked, &text);
            self.leave(now, session, Departure::Kicked, &told);
            self.close(session, close_code::KICKED, text.clone());
        }
        Ok(())
    }

    pub(super) fn announce(
        &mut self,
        now: Now,
        session: SessionId,
        id: RequestId,
        announce: Announce,
    ) {
        let result = self.admin(session).and_then(|by| {
            check_text(&announce.text)?;
            self.log_admin(by, "announce", None, "");
            let to: Vec<SessionId> = self.sessions_of_all().map(|(_, session)| session).collect();
            let event = Announcement { text: announce.text, at: now.wall }.into();
            self.effects.push(Effect::Tell { to, event });
            Ok(())
        });
        self.respond_done(session, id, result);
    }

    pub(super) fn shutdown(&mut self, session: SessionId, id: RequestId, shutdown: Shutdown) {
        let result = self.admin(session).and_then(|by| {
            check_short_text(&shutdown.reason, "reason")?;
            self.log_admin(by, "shutdown", None, &shutdown.reason);
            Ok(())
        });
        let is_granted = result.is_ok();
        self.respond_done(session, id, result);
        if is_granted {
            let restart_after = shutdown.restart_after_ms.map(u64::from).map(Duration::from_millis);
            self.effects.push(Effect::Shutdown { reason: shutdown.reason, restart_after });
        }
    }

    pub(super) fn backup(&mut self, session: SessionId, id: RequestId) {
        match self.admin(session) {
            Err(error) => self.refuse(session, id, error),
            Ok(by) => {
                self.log_admin(by, "backup", None, "");
                self.store(Pending::Backup { session, id }, Operation::Backup);
            }
        }
    }

    pub(super) fn on_backed_up(&mut self, session: SessionId, id: RequestId, outcome: Outcome) {
        match outcome {
            Outcome::BackedUp { path, bytes } => {
                self.answer(session, id, BackedUp { path: path.display().to_string(), bytes });
            }
            Outcome::Failed(detail) => {
                let message = format!("there is no backup: {detail}");
                self.refuse(session, id, ErrorBody::new(ErrorCode::Internal, message));
            }
            Outcome::Done
            | Outcome::Kept
            | Outcome::Repeated { .. }
            | Outcome::Page { .. }
            | Outcome::Noted { .. }
            | Outcome::Trimmed { .. } => self.refuse(session, id, store_failed()),
        }
    }

    /// The session's key, if it has the admin right.
    pub(super) fn admin(&self, session: SessionId) -> Result<PeerId, ErrorBody> {
        match self.sessions.get(&session) {
            Some(state) if state.has_admin_right => Ok(state.remote.id),
            Some(_) | None => Err(ErrorBody::new(
                ErrorCode::Forbidden,
                "only an admin may do this; use the server's own key, or start the server with \
                 --admin and your key",
            )),
        }
    }

    pub(super) fn log_admin(
        &mut self,
        by: PeerId,
        what: &'static str,
        name: Option<Name>,
        reason: &str,
    ) {
        self.log(LogEntry::Admin { by, what, name, reason: reason.to_owned() });
    }
}
