//! What a client asks of the server.

use std::fmt;

use portolan_peer_id::PeerId;
use serde::{Deserialize, Serialize};

use crate::{DeviceId, MessageId, Name, Recipient, Timestamp, table::table};

table! {
    /// A client's request on the control stream; each gets exactly one [`Reply`](crate::Reply)
    /// or error.
    pub enum Command {
        /// First of all: versions and features. Answered by `welcome`.
        Hello(Hello) = "hello",
        /// Takes a name. Answered by `logged_in`.
        Login(Login) = "login",
        /// Ends the session in good order. Answered by `done`.
        Logout(Logout) = "logout",
        /// Are you there? Answered by `heartbeat`.
        Heartbeat(Heartbeat) = "heartbeat",
        /// Who is there? Answered by `users`.
        List(List) = "list",
        /// One user by name. Answered by `user`.
        Lookup(Lookup) = "lookup",
        /// Asks a user for a conversation. Answered by `requested`; the outcome is an event.
        Converse(Converse) = "converse",
        /// Accepts a user's request. Answered by `done`.
        Accept(Accept) = "accept",
        /// Denies a user's request. Answered by `done`.
        Deny(Deny) = "deny",
        /// Ends a conversation, or takes a request back. Answered by `done`.
        End(End) = "end",
        /// Sends a text. Answered by `sent`.
        Send(Send) = "send",
        /// Sends the text back. Answered by `echo`.
        Echo(Echo) = "echo",
        /// Tells the senders what became of their messages. Answered by `done`.
        Receipts(Receipts) = "receipts",
        /// What waits for us. Answered by `messages`.
        Mailbox(Mailbox) = "mailbox",
        /// Throws away what waits for us. Answered by `done`.
        ClearMailbox(ClearMailbox) = "clear_mailbox",
        /// Gives our name a password, or none. Answered by `done`.
        SetPassword(SetPassword) = "set_password",
        /// Says that we are not at the keyboard, or are again. Answered by `done`.
        SetAway(SetAway) = "set_away",
        /// Changes how the server treats our name, or asks for it. Answered by `settings`.
        Settings(ChangeSettings) = "settings",
        /// What was said with a user or in a group. Answered by `messages`.
        History(History) = "history",
        /// Makes a group and owns it. Answered by `done`.
        CreateGroup(CreateGroup) = "create_group",
        /// Asks a user to join a group. Answered by `done`.
        InviteToGroup(InviteToGroup) = "invite_to_group",
        /// Takes an invitation. Answered by `done`.
        JoinGroup(JoinGroup) = "join_group",
        /// Leaves a group, or turns an invitation down. Answered by `done`.
        LeaveGroup(LeaveGroup) = "leave_group",
        /// Puts a member out of a group, or takes an invitation back. Answered by `done`.
        RemoveFromGroup(RemoveFromGroup) = "remove_from_group",
        /// Gives a member another role. Answered by `done`.
        SetRole(SetRole) = "set_role",
        /// Gives a group another name. Answered by `done`.
        RenameGroup(RenameGroup) = "rename_group",
        /// The groups that we are in or invited to. Answered by `groups`.
        ListGroups(ListGroups) = "list_groups",
        /// Who is in a group. Answered by `members`.
        ListMembers(ListMembers) = "list_members",
        /// Tells a user where we can be reached. Answered by `done`.
        Candidates(Candidates) = "candidates",
        /// What the server is and how it fares. Answered by `server_info`.
        ServerInfo(AskServerInfo) = "server_info",
        /// Admin: ends the server. Answered by `done`.
        Shutdown(Shutdown) = "shutdown",
        /// Admin: ends a user's session. Answered by `done`.
        Kick(Kick) = "kick",
        /// Admin: keeps a key out. Answered by `done`.
        Ban(Ban) = "ban",
        /// Admin: lets a key in again. Answered by `done`.
        Unban(Unban) = "unban",
        /// Admin: which keys are kept out. Answered by `bans`.
        ListBans(ListBans) = "list_bans",
        /// Admin: copies what the server keeps to a new file. Answered by `backed_up`.
        Backup(Backup) = "backup",
        /// Admin: tells everyone. Answered by `done`.
        Announce(Announce) = "announce",
    }
}

/// A body without fields; fields of newer versions are ignored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Versions and features of the asker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Versions it speaks, best first.
    pub versions: Vec<u16>,
    /// Optional features it knows.
    #[serde(default)]
    pub features: Vec<String>,
    /// Program and version, for logs.
    #[serde(default)]
    pub software: String,
}

/// Takes a name for the key that this connection has proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Unchecked: the server answers a bad one with what is wrong.
    pub name: String,
    /// Lets the owner move a name to a new key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// Which device this is: it stands beside the other sessions of the name. Without one, the
    /// session replaces them all; the same device again replaces its own session alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Which attempt this is. One that arrives behind a later one of the same client is refused:
    /// the client has given it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<LoginAttempt>,
}

/// Puts the logins of one client in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginAttempt {
    /// Chosen at random when the client starts.
    pub client: u64,
    /// Grows with each attempt.
    pub number: u64,
}

/// A password; never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Ends the session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logout {}

/// Asks for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Any number; it comes back.
    pub nonce: u64,
}

/// Asks for a page of users in order of name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Only those of one registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Only names after this one: the last of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Name>,
    /// At most so many; the server's page size otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
    /// Also those who are not there, as far as we share a group with them or have written to each
    /// other; admins: everyone.
    #[serde(default, skip_serializing_if = "Whom::is_online")]
    pub whom: Whom,
}

/// Whom a question about users means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// Those who are there.
    #[default]
    Online,
    /// Also those who are not.
    All,
}

impl Whom {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    fn is_online(&self) -> bool {
        *self == Self::Online
    }
}

/// Asks for one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// Whom.
    pub name: Name,
    /// Whether one who is not there is an answer too, and not the error `offline`.
    #[serde(default, skip_serializing_if = "Whom::is_online")]
    pub whom: Whom,
}

impl Lookup {
    /// Asks for one who is there.
    #[must_use]
    pub fn online(name: Name) -> Self {
        Self { name, whom: Whom::Online }
    }
}

/// Asks a user for a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Converse {
    /// With whom.
    pub with: Name,
}

/// Accepts a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// Whose.
    pub with: Name,
}

/// Denies a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deny {
    /// Whose.
    pub with: Name,
    /// Words for the asker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Ends a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// With whom.
    pub with: Name,
}

/// Sends a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// To whom.
    pub to: Recipient,
    /// What, at most `Limits::text` bytes.
    pub text: String,
    /// The sender's own number: the same one sent again (after a reconnect) is stored once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}

/// Sends the text back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// Anything within `Limits::text`.
    pub text: String,
}

/// What became of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    /// Which, at most `Limits::receipts`.
    pub ids: Vec<MessageId>,
    /// What became of them.
    pub state: ReceiptState,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptState {
    /// The server has it safe.
    Stored,
    /// The recipient's program has it.
    Delivered,
    /// The recipient has seen it.
    Seen,
}

/// Asks for a page of what waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Only ids after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<MessageId>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
}

/// Throws away what waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearMailbox {}

/// Gives our name a password, by which its owner can move it to a new key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPassword {
    /// The password, 8 to 1,024 bytes; none: the name belongs to the key alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// Says whether we are at the keyboard. Others see it; what they may do does not change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAway {
    /// Away, with words for the others, perhaps none; nothing: back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Changes settings of our name; what is missing stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSettings {
    /// Whether others learn what we have seen; if not, we do not learn it of them either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<bool>,
    /// In how many conversations we may be at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversations: Option<u8>,
    /// Whether others learn when we were there last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<bool>,
}

/// Asks for a page of what was said, the newest first asked for and in order of id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// With whom: a user or a group.
    pub with: Recipient,
    /// Only ids before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<MessageId>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
}

/// Makes a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateGroup {
    /// Its name, under the rules of user names.
    pub group: String,
    /// Whether those who join may read what was said before.
    #[serde(default)]
    pub history: bool,
    /// The asker's own number: the same one again (after a reconnect) is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}

/// Asks a user to join a group; its owner and admins may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteToGroup {
    /// Which group.
    pub group: String,
    /// Whom.
    pub user: Name,
    /// The asker's own number: the same one again (after a reconnect) is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}

/// Takes an invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGroup {
    /// Which group.
    pub group: String,
    /// The asker's own number: the same one again (after a reconnect) is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}

/// Leaves a group. An owner who leaves is followed by the admin, else the member, who has been
/// there longest; a group that everyone has left is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveGroup {
    /// Which.
    pub group: String,
    /// The asker's own number: the same one again (after a reconnect) is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}

/// Puts a member out of a group; only those of a lower role can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveFromGroup {
    /// Which group.
    pub group: String,
    /// Whom.
    pub user: Name,
    /// The asker's own number: the same one again (after a reconnect) is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}

/// Gives a member another role; only the owner may. A new owner makes the old one an admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRole {
    /// Which group.
    pub group: String,
    /// Whose.
    pub user: Name,
    /// Which role.
    pub role: Role,
    /// The asker's own number: the same one again (after a reconnect) is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}

/// What a member of a group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Speak, listen and leave.
    Member,
    /// Also invite, remove members and rename.
    Admin,
    /// Also give roles. A group has one.
    Owner,
}

/// Gives a group another name; its owner and admins may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameGroup {
    /// Which group.
    pub group: String,
    /// The new name.
    pub to: String,
    /// The asker's own number: the same one again (after a reconnect) is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
}

/// Asks for the groups that we are in or invited to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListGroups {}

/// Asks for a page of the members of a group that we are in, in order of name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListMembers {
    /// Which group.
    pub group: String,
    /// Only names after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Name>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
}

/// Tells a user where we may be reached directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidates {
    /// Whom.
    pub to: Name,
    /// Where, best first, at most `Limits::candidates`.
    pub candidates: Vec<Candidate>,
}

/// One address at which a peer may be reached (RFC 8445 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// `udp`, `quic`, `tcp`.
    pub transport: String,
    /// Address and port as text.
    pub address: String,
    /// How it was found.
    pub found: CandidateKind,
    /// Greater is tried first.
    pub priority: u32,
}

/// How a candidate was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateKind {
    /// An interface of the machine.
    Host,
    /// Seen from outside by STUN or by the server.
    Reflexive,
    /// Mapped on the router by UPnP, NAT-PMP or PCP.
    Mapped,
    /// Heard of on the LAN.
    Lan,
    /// Through a relay.
    Relay,
}

/// Asks what the server is and how it fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskServerInfo {}

/// Ends the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// Told to everyone.
    #[serde(default)]
    pub reason: String,
    /// When clients are to come back, in milliseconds; the server's own choice otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_after_ms: Option<u32>,
}

/// Ends a user's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kick {
    /// Whose.
    pub name: Name,
    /// Told to the user.
    #[serde(default)]
    pub reason: String,
}

/// Keeps a key out; one of name and key says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The key that owns this name now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<PeerId>,
    /// Told to its holder.
    #[serde(default)]
    pub reason: String,
    /// Until when; for ever otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Lets a key in again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unban {
    /// Which.
    pub id: PeerId,
}

/// Asks for a page of the keys that are kept out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListBans {
    /// Only keys after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PeerId>,
}

/// Copies what the server keeps to a new file in its data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {}

/// Tells everyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// What.
    pub text: String,
}
