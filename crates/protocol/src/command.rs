//! What a client asks of the server.

use std::fmt;

use portolan_peer_id::PeerId;
use serde::{Deserialize, Serialize};

use crate::{MessageId, Name, Recipient, Timestamp, table::table};

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
        /// Makes a group. Answered by `done`.
        CreateGroup(CreateGroup) = "create_group",
        /// Adds a user to a group. Answered by `done`.
        AddToGroup(AddToGroup) = "add_to_group",
        /// Leaves a group. Answered by `done`.
        LeaveGroup(LeaveGroup) = "leave_group",
        /// The groups we are in. Answered by `groups`.
        ListGroups(ListGroups) = "list_groups",
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
}

/// Asks for one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// Whom.
    pub name: Name,
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

/// Makes a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateGroup {
    /// Its name, under the rules of user names.
    pub group: String,
}

/// Adds a user to a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddToGroup {
    /// Which group.
    pub group: String,
    /// Whom.
    pub user: Name,
}

/// Leaves a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveGroup {
    /// Which.
    pub group: String,
}

/// Asks for the groups that we are in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListGroups {}

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

/// Keeps a key out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Which.
    pub id: PeerId,
    /// Told to its holder.
    #[serde(default)]
    pub reason: String,
    /// Until when; for ever otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Tells everyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// What.
    pub text: String,
}
