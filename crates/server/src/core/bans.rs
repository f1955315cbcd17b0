//! Keys that are kept out.

use std::{collections::BTreeMap, ops::Bound};

use portolan_identity::PeerId;
use portolan_protocol::{
    Ban, BanInfo, Bans, ClosingReason, ErrorBody, ErrorCode, Limits as MessageLimits, ListBans,
    RequestId, Timestamp, Unban,
};

use super::{
    Core, Now, SessionId,
    commands::check_short_text,
    departure::Departure,
    mailbox::{Pending, store_failed},
};
use crate::{
    close_code,
    store::{Operation, Outcome, StoredBan},
};

/// Every ban, by key.
pub(super) type Banned = BTreeMap<PeerId, StoredBan>;

/// A change on its way into the store.
#[derive(Debug)]
pub(super) struct PendingBan {
    session: SessionId,
    id: RequestId,
    change: BanChange,
}

#[derive(Debug)]
enum BanChange {
    Ban(StoredBan),
    Unban(PeerId),
}

impl Core {
    pub(super) fn ban(&mut self, now: Now, session: SessionId, id: RequestId, ban: Ban) {
        match self.plan_ban(now, session, ban) {
            Err(error) => self.refuse(session, id, error),
            Ok(ban) => {
                let operation = Operation::Ban(ban.clone());
                let change = BanChange::Ban(ban);
                self.store(Pending::Ban(PendingBan { session, id, change }), operation);
            }
        }
    }

    fn plan_ban(&mut self, now: Now, session: SessionId, ban: Ban) -> Result<StoredBan, ErrorBody> {
        let by = self.admin(session)?;
        check_short_text(&ban.reason, "reason")?;
        let key = match (ban.name, ban.id) {
            (Some(name), None) => {
                let user = self.known_user(&name)?;
                self.user(user).map(|known| known.key).ok_or_else(which)?
            }
            (None, Some(key)) => key,
            (Some(_), Some(_)) | (None, None) => return Err(which()),
        };
        if self.admins.contains(&key) {
            let message = "this key has the admin right; take that away first";
            return Err(ErrorBody::new(ErrorCode::Conflict, message));
        }
        if ban.until.is_some_and(|until| until <= now.wall) {
            let message = "that time is over; name one that is to come, or none";
            return Err(ErrorBody::new(ErrorCode::BadRequest, message).with_detail("until"));
        }
        if self.bans.len() >= self.limits.bans && !self.bans.contains_key(&key) {
            return Err(ErrorBody::new(ErrorCode::Quota, "too many keys are banned already"));
        }
        Ok(StoredBan { key, reason: ban.reason, since: now.wall, until: ban.until, by })
    }

    pub(super) fn unban(&mut self, session: SessionId, id: RequestId, unban: &Unban) {
        let key = unban.id;
        let result = self.admin(session).and_then(|_| match self.bans.contains_key(&key) {
            true => Ok(()),
            false => Err(ErrorBody::new(ErrorCode::UnknownUser, "this key is not banned")),
        });
        match result {
            Err(error) => self.refuse(session, id, error),
            Ok(()) => {
                let change = BanChange::Unban(key);
                let pending = Pending::Ban(PendingBan { session, id, change });
                self.store(pending, Operation::Unban(key));
            }
        }
    }

    pub(super) fn on_ban_stored(&mut self, now: Now, pending: PendingBan, outcome: &Outcome) {
        let PendingBan { session, id, change } = pending;
        if matches!(outcome, Outcome::Failed(_)) {
            return self.refuse(session, id, store_failed());
        }
        self.respond_done(session, id, Ok(()));
        match change {
            BanChange::Ban(ban) => {
                self.log_admin(ban.by, "ban", None, &format!("{}: {}", ban.key, ban.reason));
                let key = ban.key;
                self.bans.insert(key, ban);
                self.send_banned_away(now, key);
            }
            BanChange::Unban(key) => {
                self.bans.remove(&key);
                if let Ok(by) = self.admin(session) {
                    self.log_admin(by, "unban", None, &key.to_string());
                }
            }
        }
    }

    fn send_banned_away(&mut self, now: Now, key: PeerId) {
        let Some(error) = self.check_ban(now, key).err() else { return };
        let theirs = self.sessions.iter().filter(|(_, state)| state.remote.id == key);
        let mut sessions: Vec<SessionId> = theirs.map(|(session, _)| *session).collect();
        sessions.sort_unstable();
        for session in sessions {
            self.farewell(session, ClosingReason::Banned, &error.message);
            self.leave(now, session, Departure::Kicked, "banned by an admin");
            self.close(session, close_code::KICKED, error.message.clone());
        }
    }

    /// Whether the key may come in now.
    pub(super) fn check_ban(&self, now: Now, key: PeerId) -> Result<(), ErrorBody> {
        let is_over = |until: Timestamp| until <= now.wall;
        let Some(ban) = self.bans.get(&key).filter(|ban| !ban.until.is_some_and(is_over)) else {
            return Ok(());
        };
        let until = match ban.until {
            Some(until) => {
                let minutes = until.0.saturating_sub(now.wall.0).div_ceil(60_000);
                format!("for {minutes} more minutes")
            }
            None => "for good".to_owned(),
        };
        let message = match ban.reason.as_str() {
            "" => format!("your key is banned here {until}"),
            reason => format!("your key is banned here {until}: {reason}"),
        };
        Err(ErrorBody::new(ErrorCode::Banned, message))
    }

    /// Forgets bans whose time is over.
    pub(super) fn forget_bans(&mut self, now: Now) {
        let is_over = |ban: &StoredBan| ban.until.is_some_and(|until| until <= now.wall);
        let over: Vec<PeerId> =
            self.bans.values().filter(|ban| is_over(ban)).map(|ban| ban.key).collect();
        for key in over {
            self.bans.remove(&key);
            self.store(Pending::Purge, Operation::Unban(key));
        }
    }

    pub(super) fn list_bans(&mut self, session: SessionId, id: RequestId, list: &ListBans) {
        let result = self.admin(session).map(|_| {
            let limit = MessageLimits::V1.page as usize;
            let after = list.after.map_or(Bound::Unbounded, Bound::Excluded);
            let mut behind = self.bans.range((after, Bound::Unbounded));
            let bans = behind.by_ref().take(limit).map(|(_, ban)| BanInfo {
                id: ban.key,
                reason: ban.reason.clone(),
                since: ban.since,
                until: ban.until,
            });
            Bans { bans: bans.collect(), more: behind.next().is_some() }
        });
        self.respond(session, id, result);
    }
}

fn which() -> ErrorBody {
    let message = "say whom to ban: either a name or a key";
    ErrorBody::new(ErrorCode::BadRequest, message)
}
