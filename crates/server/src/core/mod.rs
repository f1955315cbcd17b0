//! The pure core: what the server decides, without a socket, a file, a clock or a thread.
//!
//! One [`Core::handle`] call an input; its [`Effect`]s are carried out in order. Deadlines are
//! read with [`Core::poll_timeout`] and answered with [`Core::handle_timeout`].

mod acquaintances;
mod addresses;
mod admin;
mod attention;
mod bans;
mod census;
mod commands;
mod conversations;
mod converse;
mod departure;
mod devices;
mod directory;
mod group_references;
mod grouping;
mod groups;
mod history;
mod lists;
mod login;
mod mailbox;
mod message;
mod messages;
mod passes;
mod password;
mod presence;
mod rates;
mod refusals;
mod registry;
mod relays;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod timers;
mod vouching;

use std::collections::{HashMap, HashSet};

use portolan_identity::PeerId;
use portolan_protocol::{ErrorBody, Event, Name, Reply, RequestId, Timestamp};
use portolan_transport::CloseCode;

use self::{
    acquaintances::Acquaintances,
    addresses::Addresses,
    bans::Banned,
    conversations::Conversations,
    devices::Devices,
    directory::{Directory, User},
    group_references::References,
    groups::Groups,
    mailbox::Pending,
    passes::Passes,
    password::Hashing,
    rates::KeyRates,
    relays::RelayTable,
    session::Session,
    timers::Timers,
};
pub use self::{
    census::Census,
    message::{Effect, Frame, Input, Now, Proof, Remote, SessionId, Token},
    passes::Entrance,
    password::{HashTask, Hashed},
    registry::{HeartbeatPolicy, Registry, RegistryPolicy, Traffic},
    relays::{RelayGrant, RelayId},
    timers::{Deadline, Timer},
};
use crate::{
    close_code,
    config::{Limits, Relaying, Rights, Timing},
    event_log::LogEntry,
    store::{Operation, Outcome, Snapshot, UserId},
};

/// How often old marks in the store are forgotten.
const PURGE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(3600);

/// What the core is made with.
#[derive(Debug)]
pub struct CoreConfig {
    /// The server's key.
    pub id: PeerId,
    /// Keys with the admin right, besides the server's own.
    pub admins: Vec<PeerId>,
    /// Who may do what only some may.
    pub rights: Rights,
    /// Names that nobody may take.
    pub reserved: Vec<Name>,
    /// For whom it relays besides its own users, and whether it has any.
    pub relaying: Relaying,
    /// One a transport, in the order of the table.
    pub registries: Vec<Registry>,
    /// Bounds.
    pub limits: Limits,
    /// Times.
    pub timing: Timing,
}

/// The state of a server and every decision it takes.
#[derive(Debug)]
pub struct Core {
    id: PeerId,
    admins: HashSet<PeerId>,
    rights: Rights,
    reserved: HashSet<Name>,
    issuers: HashSet<PeerId>,
    has_users: bool,
    bans: Banned,
    limits: Limits,
    timing: Timing,
    since: Timestamp,
    is_draining: bool,
    is_stopping: bool,
    registries: Vec<Registry>,
    directory: Directory,
    acquaintances: Acquaintances,
    devices: Devices,
    sessions: HashMap<SessionId, Session>,
    conversations: Conversations,
    groups: Groups,
    references: References,
    relays: RelayTable,
    passes: Passes,
    rates: KeyRates,
    addresses: Addresses,
    timers: Timers,
    pending: HashMap<Token, Pending>,
    hashing: HashMap<Token, Hashing>,
    last_token: u64,
    last_message: u64,
    effects: Vec<Effect>,
}

impl Core {
    /// A server that knows what `snapshot` holds, and to whom nobody is connected.
    #[must_use]
    pub fn new(now: Now, mut config: CoreConfig, snapshot: &Snapshot) -> Self {
        config.limits = config.limits.consistent();
        let mut admins: HashSet<PeerId> = config.admins.into_iter().collect();
        admins.insert(config.id);
        let mut timers = Timers::default();
        timers.start(now.instant, Timer::Purge);
        Self {
            id: config.id,
            admins,
            rights: config.rights,
            reserved: config.reserved.into_iter().collect(),
            issuers: config.relaying.issuers.into_iter().collect(),
            has_users: !config.relaying.is_only,
            acquaintances: Acquaintances::load(snapshot, config.limits.acquaintances),
            bans: snapshot.bans.iter().map(|ban| (ban.key, ban.clone())).collect(),
            rates: KeyRates::new(&config.limits),
            addresses: Addresses::new(&config.limits),
            limits: config.limits,
            timing: config.timing,
            since: now.wall,
            is_draining: false,
            is_stopping: false,
            registries: config.registries,
            directory: Directory::load(snapshot),
            devices: Devices::load(snapshot),
            sessions: HashMap::new(),
            conversations: Conversations::default(),
            groups: Groups::load(snapshot),
            references: References::load(snapshot),
            relays: RelayTable::default(),
            passes: Passes::default(),
            timers,
            pending: HashMap::new(),
            hashing: HashMap::new(),
            last_token: 0,
            last_message: snapshot.last_message.0,
            effects: Vec::new(),
        }
    }

    /// Takes one input; the effects are to be carried out in order.
    #[must_use]
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Effect> {
        match input {
            Input::Connected { session, remote } => self.on_connected(now, session, remote),
            Input::Command { session, id, command } => self.on_command(now, session, id, command),
            Input::NoRequest { session, frame } => self.on_no_request(now, session, frame),
            Input::Gone { session, reason } => self.on_gone(now, session, &reason),
            Input::TooSlow { session } => self.on_too_slow(now, session),
            Input::Stored { token, outcome } => self.on_stored(now, token, outcome),
            Input::Hashed { token, hashed } => self.on_hashed(now, token, hashed),
            Input::Drain => self.is_draining = true,
            Input::Stop { reason, restart_after } => self.on_stop(now, &reason, restart_after),
        }
        std::mem::take(&mut self.effects)
    }

    /// When [`Self::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.timers.next()
    }

    /// Acts on every deadline that has passed.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Now) -> Vec<Effect> {
        while let Some(timer) = self.timers.pop_due(now.instant) {
            match timer {
                Timer::Login(session) => self.on_login_overdue(now, session),
                Timer::Request { asker, asked } => self.on_request_lapsed(asker, asked),
                Timer::Silence(session) => self.on_silence_due(now, session),
                Timer::Purge => self.on_purge_due(now),
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Sessions that are not gone, logged in or not.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn on_stored(&mut self, now: Now, token: Token, outcome: Outcome) {
        let Some(pending) = self.pending.remove(&token) else { return };
        if let Outcome::Failed(detail) = &outcome {
            self.log(LogEntry::StoreFailed { detail: detail.to_string() });
        }
        match pending {
            Pending::Login(login) => self.on_name_saved(now, &login, &outcome),
            Pending::Send(send) => self.on_message_stored(send, &outcome),
            Pending::Page { session } => self.on_page_loaded(session, outcome),
            Pending::Mailbox { session, id } => self.on_mailbox_read(session, id, outcome),
            Pending::Receipts(receipts) => self.on_receipts_noted(&receipts, outcome),
            Pending::Device(device) => self.on_device_kept(now, device, &outcome),
            Pending::Trim { owner, device } => self.on_trimmed(owner, device, &outcome),
            Pending::Settings(change) => self.on_settings_kept(now, change, &outcome),
            Pending::Clear { session, id, owner } => {
                self.on_cleared(session, id, owner, &outcome);
            }
            Pending::Group(group) => self.on_group_stored(now, group, &outcome),
            Pending::Password(asker, hash) => self.on_password_stored(asker, hash, &outcome),
            Pending::Move(asker, remote) => self.on_name_moved(now, asker, remote, &outcome),
            Pending::Ban(ban) => self.on_ban_stored(now, ban, &outcome),
            Pending::Backup { session, id } => self.on_backed_up(session, id, outcome),
            Pending::Purge => {}
        }
    }

    fn on_purge_due(&mut self, now: Now) {
        let retention = u64::try_from(self.timing.retention.as_millis()).unwrap_or(u64::MAX);
        let before = Timestamp(now.wall.0.saturating_sub(retention));
        self.store(Pending::Purge, Operation::Purge { before });
        self.forget_bans(now);
        self.forget_devices(before);
        self.timers.start(now.instant + PURGE_INTERVAL, Timer::Purge);
    }

    fn answer(&mut self, session: SessionId, id: RequestId, reply: impl Into<Reply>) {
        self.effects.push(Effect::Answer { session, id, reply: reply.into() });
    }

    fn respond(
        &mut self,
        session: SessionId,
        id: RequestId,
        result: Result<impl Into<Reply>, ErrorBody>,
    ) {
        match result {
            Ok(reply) => self.answer(session, id, reply),
            Err(error) => self.refuse(session, id, error),
        }
    }

    fn tell(&mut self, session: SessionId, event: impl Into<Event>) {
        self.effects.push(Effect::Tell { to: vec![session], event: event.into() });
    }

    fn tell_user(&mut self, user: UserId, event: impl Into<Event>) {
        let to = self.sessions_of(user);
        if !to.is_empty() {
            self.effects.push(Effect::Tell { to, event: event.into() });
        }
    }

    fn close(&mut self, session: SessionId, code: CloseCode, reason: impl Into<String>) {
        self.effects.push(Effect::Close { session, code, reason: reason.into() });
    }

    fn store(&mut self, pending: Pending, operation: Operation) {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.pending.insert(token, pending);
        self.effects.push(Effect::Store { token, operation });
    }

    fn log(&mut self, entry: LogEntry) {
        self.effects.push(Effect::Log(entry));
    }

    fn user(&self, user: UserId) -> Option<&User> {
        self.directory.get(user)
    }

    /// Frames without an answer are paid for like requests; garbage is borne for a while only.
    fn on_no_request(&mut self, now: Now, session: SessionId, frame: Frame) {
        let rate = self.limits.commands;
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let is_paid = state.commands.take(now.instant, rate);
        state.garbage += u32::from(frame == Frame::Garbage);
        if state.garbage > self.limits.garbage || !is_paid {
            let reason = "too many frames that are no requests; speak the protocol that \
                          docs/protocol.md describes";
            self.send_away(now, session, close_code::ABUSE, reason);
        }
    }
}
