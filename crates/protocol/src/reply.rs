//! What the server answers.

use portolan_peer_id::PeerId;
use serde::{Deserialize, Serialize};

use crate::{
    Limits, MessageId, Name, RelayInfo, Role, Settings, Timestamp, UserInfo, command::Empty,
    event::Delivery, table::table,
};

table! {
    /// The answer to a [`Command`](crate::Command) that was granted.
    pub enum Reply {
        /// To `hello`.
        Welcome(Welcome) = "welcome",
        /// To `login`.
        LoggedIn(LoggedIn) = "logged_in",
        /// To what needs no more than a yes.
        Done(Empty) = "done",
        /// To `heartbeat`.
        Heartbeat(HeartbeatReply) = "heartbeat",
        /// To `list`.
        Users(Users) = "users",
        /// To `lookup`.
        User(UserInfo) = "user",
        /// To `converse`.
        Requested(Requested) = "requested",
        /// To `send`.
        Sent(Sent) = "sent",
        /// To `echo`.
        Echo(EchoReply) = "echo",
        /// To `mailbox` and `history`.
        Messages(Messages) = "messages",
        /// To `settings`.
        Settings(Settings) = "settings",
        /// To `list_groups`.
        Groups(Groups) = "groups",
        /// To `list_members`.
        Members(Members) = "members",
        /// To `list_bans`.
        Bans(Bans) = "bans",
        /// To `backup`.
        BackedUp(BackedUp) = "backed_up",
        /// To `server_info`.
        ServerInfo(ServerInfo) = "server_info",
    }
}

/// Version and features that both sides have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both will speak.
    pub version: u16,
    /// Features that both have.
    #[serde(default)]
    pub features: Vec<String>,
    /// Program and version of the server.
    #[serde(default)]
    pub software: String,
    /// The server's bounds.
    #[serde(default)]
    pub limits: Limits,
    /// Silence after which the server gives a client up, in milliseconds.
    #[serde(default)]
    pub heartbeat_ms: u32,
    /// A quiet connection says something at least this often, in milliseconds; 0: not told.
    #[serde(default)]
    pub keep_alive_ms: u32,
    /// With the feature `attentive`: the same silence while the client is in a conversation.
    #[serde(default)]
    pub attention_ms: u32,
    /// The client's address as the server sees it.
    #[serde(default)]
    pub seen_as: String,
}

/// The name is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedIn {
    /// As the directory has it.
    pub name: Name,
    /// The registry that keeps us.
    pub transport: String,
    /// Messages that wait; they follow as events.
    #[serde(default)]
    pub waiting: u64,
    /// Whether this session has the admin right.
    #[serde(default)]
    pub admin: bool,
    /// Whether the password has just moved the name to this key.
    #[serde(default)]
    pub moved: bool,
    /// Other sessions of our name that are there.
    #[serde(default)]
    pub beside: u32,
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// The asker's number.
    pub nonce: u64,
    /// The server's clock.
    pub at: Timestamp,
}

/// A page of users in order of name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// At most `Limits::page`.
    pub users: Vec<UserInfo>,
    /// Whether more follow: ask again with `after` the last of these.
    pub more: bool,
}

/// The request is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// It lapses after so many milliseconds.
    pub expires_ms: u32,
}

/// The message is safe with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its id.
    pub id: MessageId,
    /// When the server took it.
    pub at: Timestamp,
    /// Recipients who are there.
    pub online: u32,
    /// Recipients for whom it waits.
    pub waiting: u32,
}

/// The text of an `echo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoReply {
    /// As it came.
    pub text: String,
}

/// A page of what waits, in order of id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// At most `Limits::page`.
    pub messages: Vec<Delivery>,
    /// Whether more follow.
    pub more: bool,
}

/// The groups that we are in or invited to, in order of name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// Each as we stand to it.
    pub groups: Vec<GroupInfo>,
}

/// A group as one user stands to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// Its name.
    pub group: String,
    /// Our role; `None`: we are invited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How many are in it.
    pub members: u32,
    /// Whether those who join may read what was said before.
    #[serde(default)]
    pub history: bool,
}

/// A page of a group's members in order of name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// At most `Limits::page`.
    pub members: Vec<Member>,
    /// Whether more follow.
    pub more: bool,
}

/// A user in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub name: Name,
    /// What they may do; `None`: they are invited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// A page of keys that are kept out, in order of key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bans {
    /// At most `Limits::page`.
    pub bans: Vec<BanInfo>,
    /// Whether more follow.
    pub more: bool,
}

/// A key that is kept out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanInfo {
    /// Which.
    pub id: PeerId,
    /// Told to its holder.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; for ever otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The copy is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// Where, on the server's machine.
    pub path: String,
    /// How long it is.
    pub bytes: u64,
}

/// What the server is and how it fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Its key.
    pub id: PeerId,
    /// Program and version.
    pub software: String,
    /// Running since.
    pub since: Timestamp,
    /// One entry a transport, in the order of its table.
    pub registries: Vec<RegistryInfo>,
    /// Conversations under way.
    pub conversations: u64,
    /// Messages that wait for someone.
    pub waiting: u64,
    /// Relay streams under way.
    pub relays: u64,
    /// Other relays that the server uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relay_servers: Vec<RelayInfo>,
}

/// The clients of one transport.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryInfo {
    /// `tcp`, `udp`, `quic`, …
    pub transport: String,
    /// Where it listens.
    pub address: String,
    /// Users logged in, in order of name; at most `Limits::page`.
    pub users: Vec<Name>,
    /// How many are logged in.
    pub online: u64,
    /// Logins since the start.
    pub logins: u64,
    /// Sessions that ended without a word.
    pub vanished: u64,
    /// Connections that never logged in or were refused.
    pub refused: u64,
    /// How many may be logged in at once; 0: not told.
    #[serde(default)]
    pub clients: u64,
    /// Silence after which a client has vanished, in milliseconds.
    #[serde(default)]
    pub heartbeat_ms: u32,
    /// The rest of its counters.
    #[serde(default)]
    pub counters: RegistryCounters,
}

/// What a registry counts from the start of the server on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryCounters {
    /// The most users that were logged in at once.
    pub peak: u64,
    /// Logins refused because the registry was full.
    pub full: u64,
    /// Sessions ended by a logout.
    pub logged_out: u64,
    /// Sessions that a newer one of the same user took the place of.
    pub replaced: u64,
    /// Sessions that an admin ended, or that broke the rules too often.
    pub kicked: u64,
    /// Sessions of clients that did not read what was sent to them.
    pub too_slow: u64,
    /// Frames that came from clients, on their control streams.
    pub frames_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Frames that went to clients, on their control streams.
    pub frames_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
}
