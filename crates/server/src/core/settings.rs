//! How the server treats a name, as its owner wants it.

use portolan_protocol::{ChangeSettings, ErrorBody, ErrorCode, RequestId, Settings};

use super::{
    Core, Effect, Now, SessionId,
    mailbox::{Pending, store_failed},
};
use crate::store::{Operation, Outcome, UserId};

/// A change on its way into the store.
#[derive(Debug)]
pub(super) struct PendingSettings {
    session: SessionId,
    id: RequestId,
    user: UserId,
    before: Settings,
}

impl Core {
    pub(super) fn change_settings(
        &mut self,
        now: Now,
        session: SessionId,
        id: RequestId,
        change: ChangeSettings,
    ) {
        match self.plan_settings(session, change) {
            Err(error) => self.refuse(session, id, error),
            Ok((_, before, settings)) if before == settings => self.answer(session, id, settings),
            Ok((user, before, settings)) => {
                self.apply_settings(now, user, settings);
                let pending = PendingSettings { session, id, user, before };
                self.store(Pending::Settings(pending), Operation::SetSettings { user, settings });
            }
        }
    }

    /// Whose settings these are, what they are, and what they are to be.
    fn plan_settings(
        &self,
        session: SessionId,
        change: ChangeSettings,
    ) -> Result<(UserId, Settings, Settings), ErrorBody> {
        let user = self.logged_in(session)?;
        let before = self.user(user).map(|known| known.settings).unwrap_or_default();
        let most = self.limits.conversations_per_user;
        if let Some(asked) = change.conversations.filter(|asked| !(1..=most).contains(asked)) {
            let message = format!("{asked} conversations at a time; choose 1 to {most}");
            return Err(ErrorBody::new(ErrorCode::BadRequest, message).with_detail("conversations"));
        }
        let settings = Settings {
            seen: change.seen.unwrap_or(before.seen),
            conversations: change.conversations.unwrap_or(before.conversations),
            last_seen: change.last_seen.unwrap_or(before.last_seen),
        };
        Ok((user, before, settings))
    }

    /// Conversations that run go on, however few are allowed now.
    fn apply_settings(&mut self, now: Now, user: UserId, settings: Settings) {
        if let Some(known) = self.directory.get_mut(user) {
            known.settings = settings;
        }
        self.close_if_busy(user);
        self.refresh_states(now, &[user]);
    }

    pub(super) fn on_settings_kept(
        &mut self,
        now: Now,
        pending: PendingSettings,
        outcome: &Outcome,
    ) {
        let PendingSettings { session, id, user, before } = pending;
        if matches!(outcome, Outcome::Failed(_)) {
            self.apply_settings(now, user, before);
            return self.refuse(session, id, store_failed());
        }
        let Some(settings) = self.user(user).map(|known| known.settings) else { return };
        self.answer(session, id, settings);
        let to: Vec<SessionId> =
            self.sessions_of(user).into_iter().filter(|other| *other != session).collect();
        if !to.is_empty() {
            self.effects.push(Effect::Tell { to, event: settings.into() });
        }
    }
}
