//! Who is there, and how the server fares.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use portolan_protocol::{
    ErrorBody, ErrorCode, Limits as MessageLimits, List, Name, RegistryInfo, RequestId, ServerInfo,
    Users,
};

use super::{Core, SessionId, commands::SOFTWARE, registry::Registry};
use crate::store::UserId;

impl Core {
    pub(super) fn list(&mut self, session: SessionId, id: RequestId, list: &List) {
        let result = self.logged_in_or_admin(session).and_then(|()| self.page_of_users(list));
        self.respond(session, id, result);
    }

    fn page_of_users(&self, list: &List) -> Result<Users, ErrorBody> {
        let names = match &list.transport {
            None => &self.directory.online,
            Some(scheme) => &self.registry(scheme)?.users,
        };
        let limit = page_size(list.limit);
        let from = list.after.as_ref().map_or(Unbounded, |name| Excluded(name.key()));
        let mut behind = names.range((from, Unbounded));
        let users = behind.by_ref().take(limit).filter_map(|(_, &user)| self.user_info(user));
        let users = users.collect();
        Ok(Users { users, more: behind.next().is_some() })
    }

    fn registry(&self, scheme: &str) -> Result<&Registry, ErrorBody> {
        self.registries.iter().find(|registry| registry.transport == scheme).ok_or_else(|| {
            let known: Vec<&str> = self.registries.iter().map(|r| r.transport).collect();
            let message = format!("no such transport here; this server has {}", known.join(", "));
            ErrorBody::new(ErrorCode::BadRequest, message).with_detail("transport")
        })
    }

    pub(super) fn lookup(&mut self, session: SessionId, id: RequestId, name: &Name) {
        let result = self
            .logged_in_or_admin(session)
            .and_then(|()| self.online_user(name))
            .and_then(|user| self.user_info(user).ok_or_else(|| offline(name)));
        self.respond(session, id, result);
    }

    /// The user of that name, who is there.
    pub(super) fn online_user(&self, name: &Name) -> Result<UserId, ErrorBody> {
        let user = self.known_user(name)?;
        match self.user(user).and_then(|known| known.online) {
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

/// The entries of a page: what was asked for, within the bound.
pub(super) fn page_size(asked: Option<u16>) -> usize {
    let limit = MessageLimits::V1.page as usize;
    asked.map_or(limit, |asked| usize::from(asked).clamp(1, limit))
}

fn offline(name: &Name) -> ErrorBody {
    let message = format!("{name} is not logged in; a message would wait in the mailbox");
    ErrorBody::new(ErrorCode::Offline, message).with_detail(name.as_str())
}
