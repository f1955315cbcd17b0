//! Who is there, and how the server fares.

use std::{
    collections::BTreeMap,
    ops::{
        Bound::{self, Excluded, Unbounded},
        RangeBounds,
    },
};

use portolan_protocol::{
    ErrorBody, ErrorCode, Limits as MessageLimits, List, Lookup, Name, RegistryInfo, RequestId,
    ServerInfo, UserInfo, Users, Whom,
};

use super::{
    Core, Now, SessionId,
    commands::{SOFTWARE, rate_limited},
    presence::LastSeen,
    rates::Action,
    registry::Registry,
};
use crate::store::UserId;

/// By what right somebody asks about others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// Everything may be known.
    Admin,
    /// What concerns acquaintances may be.
    User(UserId),
}

impl Core {
    pub(super) fn list(&mut self, now: Now, session: SessionId, id: RequestId, list: &List) {
        let result = self
            .logged_in_or_admin(session)
            .and_then(|()| self.check_question(now, session, list.whom))
            .and_then(|()| self.page_of_users(session, list));
        self.respond(session, id, result);
    }

    fn page_of_users(&self, session: SessionId, list: &List) -> Result<Users, ErrorBody> {
        let limit = page_size(list.limit);
        let from = list.after.as_ref().map_or(Unbounded, |name| Excluded(name.key()));
        let from = (from, Unbounded);
        let mut users: Vec<UserId> = match (&list.transport, list.whom) {
            (Some(scheme), _) => first(&self.registry(scheme)?.users, from, limit),
            (None, Whom::Online) => first(&self.directory.online, from, limit),
            (None, Whom::All) => match self.asker(session) {
                Asker::Admin => first(&self.directory.names, from, limit),
                Asker::User(user) => self.online_and_acquainted(user, from, limit),
            },
        };
        let more = users.len() > limit;
        users.truncate(limit);
        let info = |&user: &UserId| self.user_info(user).or_else(|| self.absent(session, user));
        Ok(Users { users: users.iter().filter_map(info).collect(), more })
    }

    /// Those who are there and those whom the user knows, in order of name, one more than a page.
    fn online_and_acquainted(
        &self,
        user: UserId,
        from: (Bound<String>, Bound<String>),
        limit: usize,
    ) -> Vec<UserId> {
        let online = self.directory.online.range(from.clone()).take(limit + 1);
        let mut page: BTreeMap<String, UserId> =
            online.map(|(name, &user)| (name.clone(), user)).collect();
        for other in self.acquaintances_of(user) {
            let Some(known) = self.user(other).filter(|known| known.online.is_none()) else {
                continue;
            };
            let name = known.name.key();
            if from.contains(&name) {
                page.insert(name, other);
            }
            if page.len() > limit + 1 {
                page.pop_last();
            }
        }
        page.into_values().collect()
    }

    /// A user who is not there, as the asker may see them.
    fn absent(&self, session: SessionId, user: UserId) -> Option<UserInfo> {
        let last_seen = match self.asker(session) {
            Asker::Admin => LastSeen::Told,
            Asker::User(asker) if asker == user => LastSeen::Told,
            // Who hides it does not see it of others.
            Asker::User(asker)
                if self.are_acquainted(asker, user)
                    && self.user(asker).is_some_and(|known| known.settings.last_seen) =>
            {
                LastSeen::Told
            }
            Asker::User(_) => LastSeen::Hidden,
        };
        self.absent_user_info(user, last_seen)
    }

    /// Questions about the absent cost more, and are asked for less often.
    fn check_question(
        &mut self,
        now: Now,
        session: SessionId,
        whom: Whom,
    ) -> Result<(), ErrorBody> {
        let Some(key) = self.sessions.get(&session).map(|state| state.remote.id) else {
            return Ok(());
        };
        match (whom, self.asker(session)) {
            (Whom::Online, _) | (Whom::All, Asker::Admin) => Ok(()),
            (Whom::All, Asker::User(_)) if self.rates.take(now.instant, key, Action::Absent) => {
                Ok(())
            }
            (Whom::All, Asker::User(_)) => {
                Err(rate_limited("questions about the absent", self.limits.absent.per_second))
            }
        }
    }

    /// By what right the session asks.
    fn asker(&self, session: SessionId) -> Asker {
        match (self.sessions.get(&session), self.logged_in(session)) {
            (Some(state), _) if state.has_admin_right => Asker::Admin,
            (_, Ok(user)) => Asker::User(user),
            // Nobody has this number.
            (_, Err(_)) => Asker::User(UserId(0)),
        }
    }

    fn registry(&self, scheme: &str) -> Result<&Registry, ErrorBody> {
        self.registries.iter().find(|registry| registry.transport == scheme).ok_or_else(|| {
            let known: Vec<&str> = self.registries.iter().map(|r| r.transport).collect();
            let message = format!("no such transport here; this server has {}", known.join(", "));
            ErrorBody::new(ErrorCode::BadRequest, message).with_detail("transport")
        })
    }

    pub(super) fn lookup(&mut self, now: Now, session: SessionId, id: RequestId, lookup: &Lookup) {
        let name = &lookup.name;
        let result = self
            .logged_in_or_admin(session)
            .and_then(|()| self.check_question(now, session, lookup.whom))
            .and_then(|()| match lookup.whom {
                Whom::Online => self.online_user(name),
                Whom::All => self.known_user(name),
            })
            .and_then(|user| {
                let info = self.user_info(user).or_else(|| self.absent(session, user));
                info.ok_or_else(|| offline(name))
            });
        self.respond(session, id, result);
    }

    /// The user of that name, who is there.
    pub(super) fn online_user(&self, name: &Name) -> Result<UserId, ErrorBody> {
        let user = self.known_user(name)?;
        match self.user(user).and_then(|known| known.online.as_ref()) {
            Some(_) => Ok(user),
            None => Err(offline(name)),
        }
    }

    /// The user of that name, there or not.
    pub(super) fn known_user(&self, name: &Name) -> Result<UserId, ErrorBody> {
        let is_saved = |user: &UserId| self.user(*user).is_some_and(|known| known.is_saved);
        self.directory.find(name).filter(is_saved).ok_or_else(|| {
            let message = format!("nobody here has the name {name}");
            ErrorBody::new(ErrorCode::UnknownUser, message).with_detail(name.as_str())
        })
    }

    pub(super) fn server_info(&mut self, session: SessionId, id: RequestId) {
        let result = self.logged_in_or_admin(session).map(|()| ServerInfo {
            id: self.id,
            software: SOFTWARE.to_owned(),
            since: self.since,
            registries: self.registries.iter().map(|r| self.registry_info(r)).collect(),
            conversations: self.conversations.len() as u64,
            waiting: self.directory.waiting.messages,
            relays: self.relays.len() as u64,
            // The shell knows.
            relay_servers: Vec::new(),
        });
        self.respond(session, id, result);
    }

    fn registry_info(&self, registry: &Registry) -> RegistryInfo {
        RegistryInfo { users: self.names(&registry.users), ..registry.info() }
    }

    fn names(&self, users: &BTreeMap<String, UserId>) -> Vec<Name> {
        users
            .values()
            .take(MessageLimits::V1.page as usize)
            .filter_map(|&user| Some(self.user(user)?.name.clone()))
            .collect()
    }

    fn logged_in_or_admin(&self, session: SessionId) -> Result<(), ErrorBody> {
        match self.sessions.get(&session) {
            Some(state) if state.has_admin_right => Ok(()),
            Some(_) | None => self.logged_in(session).map(drop),
        }
    }
}

/// A page of users, and one more if there are more.
fn first(
    users: &BTreeMap<String, UserId>,
    from: (Bound<String>, Bound<String>),
    limit: usize,
) -> Vec<UserId> {
    users.range(from).take(limit + 1).map(|(_, &user)| user).collect()
}

/// The entries of a page: what was asked for, within the bound.
pub(super) fn page_size(asked: Option<u16>) -> usize {
    let limit = MessageLimits::V1.page as usize;
    asked.map_or(limit, |asked| usize::from(asked).clamp(1, limit))
}

fn offline(name: &Name) -> ErrorBody {
    let message = format!("{name} is not logged in; a message would wait in the mailbox");
    ErrorBody::new(ErrorCode::Offline, message).with_detail(name.as_str())
}
