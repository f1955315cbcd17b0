//! From a command to the one that answers it.

use portolan_protocol::{
    Command, EchoReply, Empty, ErrorBody, ErrorCode, Heartbeat, HeartbeatReply, Hello,
    InviteToGroup, Limits as MessageLimits, RemoveFromGroup, RenameGroup, RequestId, SetRole,
    VERSIONS, Welcome,
};

use super::{
    Core, Now, SessionId, attention::ATTENTIVE, groups::Change, rates::Action, session::LoginState,
};
use crate::store::UserId;

/// What the server calls itself.
pub(super) const SOFTWARE: &str = concat!("portolan-server/", env!("CARGO_PKG_VERSION"));

/// Versions and features beyond these of one `hello` are not looked at.
pub(super) const VERSIONS_MAX: usize = 32;

impl Core {
    pub(super) fn on_command(
        &mut self,
        now: Now,
        session: SessionId,
        id: RequestId,
        command: Command,
    ) {
        if let Err(error) = self.admit(now, session, &command) {
            return self.refuse(session, id, error);
        }
        match command {
            Command::Hello(hello) => self.hello(session, id, &hello),
            Command::Login(login) => self.login(now, session, id, &login),
            Command::Logout(_) => self.logout(now, session, id),
            Command::Heartbeat(heartbeat) => self.heartbeat(now, session, id, heartbeat),
            Command::List(list) => self.list(now, session, id, &list),
            Command::Lookup(lookup) => self.lookup(now, session, id, &lookup),
            Command::Converse(converse) => self.converse(now, session, id, &converse.with),
            Command::Accept(accept) => self.accept(now, session, id, &accept.with),
            Command::Deny(deny) => self.deny(session, id, deny),
            Command::End(end) => self.end(now, session, id, &end.with),
            Command::Send(send) => self.send(now, session, id, send),
            Command::Echo(echo) => self.echo(session, id, echo.text),
            Command::Receipts(receipts) => self.receipts(session, id, receipts),
            Command::Mailbox(mailbox) => self.mailbox(session, id, &mailbox),
            Command::ClearMailbox(_) => self.clear_mailbox(session, id),
            Command::SetPassword(set) => self.set_password(now, session, id, set),
            Command::SetAway(away) => self.set_away(now, session, id, away),
            Command::Settings(change) => self.change_settings(now, session, id, change),
            Command::History(history) => self.history(session, id, &history),
            Command::CreateGroup(create) => self.create_group(now, session, id, &create),
            Command::InviteToGroup(InviteToGroup { group, user, reference }) => {
                let asked = (session, id, reference);
                self.change_group(now, asked, &group, Change::Invite(user));
            }
            Command::JoinGroup(join) => {
                self.change_group(now, (session, id, join.reference), &join.group, Change::Join);
            }
            Command::LeaveGroup(leave) => {
                let asked = (session, id, leave.reference);
                self.change_group(now, asked, &leave.group, Change::Leave);
            }
            Command::RemoveFromGroup(RemoveFromGroup { group, user, reference }) => {
                let asked = (session, id, reference);
                self.change_group(now, asked, &group, Change::Remove(user));
            }
            Command::SetRole(SetRole { group, user, role, reference }) => {
                let asked = (session, id, reference);
                self.change_group(now, asked, &group, Change::SetRole(user, role));
            }
            Command::RenameGroup(RenameGroup { group, to, reference }) => {
                let asked = (session, id, reference);
                self.change_group(now, asked, &group, Change::Rename(to));
            }
            Command::ListGroups(_) => self.list_groups(session, id),
            Command::ListMembers(list) => self.list_members(session, id, &list),
            Command::Candidates(candidates) => self.vouch(session, id, candidates),
            Command::ServerInfo(_) => self.server_info(session, id),
            Command::Shutdown(shutdown) => self.shutdown(session, id, shutdown),
            Command::Kick(kick) => self.kick(now, session, id, &kick),
            Command::Ban(ban) => self.ban(now, session, id, ban),
            Command::Unban(unban) => self.unban(session, id, &unban),
            Command::ListBans(list) => self.list_bans(session, id, &list),
            Command::Backup(_) => self.backup(session, id),
            Command::Announce(announce) => self.announce(now, session, id, announce),
        }
    }

    /// Whether the session may ask this now.
    fn admit(&mut self, now: Now, session: SessionId, command: &Command) -> Result<(), ErrorBody> {
        let gone = || ErrorBody::new(ErrorCode::NotLoggedIn, "this session has ended");
        let state = self.sessions.get_mut(&session).ok_or_else(gone)?;
        if self.is_stopping {
            return Err(ErrorBody::new(ErrorCode::ShuttingDown, "the server is going down"));
        }
        let (rate, key) = (self.limits.commands, state.remote.id);
        state.heard = now.instant;
        if !state.commands.take(now.instant, rate)
            || !self.rates.take(now.instant, key, Action::Command)
        {
            return Err(rate_limited("requests", rate.per_second));
        }
        if !state.said_hello && !matches!(command, Command::Hello(_)) {
            return Err(ErrorBody::new(
                ErrorCode::Version,
                "say hello first, with the versions that you speak",
            ));
        }
        Ok(())
    }

    fn hello(&mut self, session: SessionId, id: RequestId, hello: &Hello) {
        let offered = hello.versions.iter().take(VERSIONS_MAX);
        let Some(&version) = VERSIONS.iter().find(|ours| offered.clone().any(|v| v == *ours))
        else {
            let message = format!(
                "no version in common: this server speaks {VERSIONS:?}; update the older of both"
            );
            return self.refuse(session, id, ErrorBody::new(ErrorCode::Version, message));
        };
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.said_hello = true;
        state.is_attentive = Self::is_attentive(hello);
        let features = state.is_attentive.then(|| ATTENTIVE.to_owned()).into_iter().collect();
        let registry = self.registries.get(state.remote.registry);
        let heartbeat = registry.map(|registry| registry.policy.heartbeat);
        let welcome = Welcome {
            version,
            features,
            software: SOFTWARE.to_owned(),
            limits: MessageLimits::V1,
            heartbeat_ms: heartbeat.map_or(0, |policy| millis(policy.idle)),
            keep_alive_ms: heartbeat.map_or(0, |policy| millis(policy.keep_alive)),
            attention_ms: millis(self.timing.attention),
            seen_as: state.remote.address.to_string(),
        };
        self.answer(session, id, welcome);
    }

    fn heartbeat(&mut self, now: Now, session: SessionId, id: RequestId, heartbeat: Heartbeat) {
        self.answer(session, id, HeartbeatReply { nonce: heartbeat.nonce, at: now.wall });
    }

    fn echo(&mut self, session: SessionId, id: RequestId, text: String) {
        let result = check_text(&text).map(|()| EchoReply { text });
        self.respond(session, id, result);
    }

    /// The user that the session has logged in as.
    pub(super) fn logged_in(&self, session: SessionId) -> Result<UserId, ErrorBody> {
        match self.sessions.get(&session).map(|state| state.login) {
            Some(LoginState::Done(user)) => Ok(user),
            Some(LoginState::None | LoginState::Saving(_)) | None => {
                Err(ErrorBody::new(ErrorCode::NotLoggedIn, "log in first, with the name you want"))
            }
        }
    }

    /// Answers `done` or the error.
    pub(super) fn respond_done(
        &mut self,
        session: SessionId,
        id: RequestId,
        result: Result<(), ErrorBody>,
    ) {
        self.respond(session, id, result.map(|()| Empty {}));
    }
}

/// A duration on the wire.
pub(super) fn millis(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

pub(super) fn rate_limited(what: &str, per_second: f64) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::RateLimited,
        format!("too many {what}: {per_second} a second are allowed; wait a moment"),
    )
}

/// Whether a text may be sent.
pub(super) fn check_text(text: &str) -> Result<(), ErrorBody> {
    let limit = MessageLimits::V1.text;
    if text.len() <= limit as usize {
        return Ok(());
    }
    let message =
        format!("a text of {} bytes is too long; at most {limit} are allowed", text.len());
    Err(ErrorBody::new(ErrorCode::TooLarge, message).with_detail("text"))
}

/// Whether a reason or other short text may be passed on.
pub(super) fn check_short_text(text: &str, field: &str) -> Result<(), ErrorBody> {
    let limit = MessageLimits::V1.short_text;
    if text.len() <= limit as usize {
        return Ok(());
    }
    let message = format!("{field} has {} bytes; at most {limit} are allowed", text.len());
    Err(ErrorBody::new(ErrorCode::TooLarge, message).with_detail(field))
}
