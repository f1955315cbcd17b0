//! What the server tells without being asked.

use serde::{Deserialize, Serialize};

use crate::{
    Candidate, MessageId, Name, ReceiptState, Recipient, Role, Settings, Timestamp, UserInfo,
    table::table,
};

table! {
    /// News for a client, on its control stream.
    pub enum Event {
        /// A message for us. Answer with a `delivered` receipt, or it comes again.
        Message(Delivery) = "message",
        /// What became of a message of ours.
        Receipt(Receipt) = "receipt",
        /// A conversation changed its state.
        Conversation(Conversation) = "conversation",
        /// A user came, went or changed.
        Presence(Presence) = "presence",
        /// Something changed in a group that we are in or invited to.
        Group(GroupNews) = "group",
        /// Another session of our name has changed the settings.
        Settings(Settings) = "settings",
        /// A user tells where they may be reached.
        Candidates(PeerCandidates) = "candidates",
        /// An admin tells everyone.
        Announcement(Announcement) = "announcement",
        /// The server is about to end this session.
        Closing(Closing) = "closing",
    }
}

/// A message as it reaches its recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id; one seen before is the same message again.
    pub id: MessageId,
    /// Who wrote it.
    pub from: Name,
    /// To whom it was written.
    pub to: Recipient,
    /// The text; untrusted.
    pub text: String,
    /// When the server took it.
    pub at: Timestamp,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Which.
    pub id: MessageId,
    /// What became of it.
    pub state: ReceiptState,
    /// At whose end.
    pub by: Name,
}

/// The state of our conversation with a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// With whom.
    pub with: Name,
    /// The new state.
    pub state: ConversationState,
    /// Why, where there is more to say; untrusted when it is the other's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether another session of our name holds it, or has just done this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
}

/// States of a conversation as one side sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationState {
    /// We have asked the other, and no answer has come; told to sessions that begin later.
    Asked,
    /// The other asks us.
    Requested,
    /// Both agreed; it runs.
    Accepted,
    /// The other said no.
    Denied,
    /// The other is in as many conversations as they allow.
    Busy,
    /// No answer in time, or our own answer came too late.
    TimedOut,
    /// One side ended it, or took the request back.
    Ended,
    /// The other's session is gone.
    Vanished,
}

/// A user came, went or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Who, as the directory shows them now or showed them last.
    pub user: UserInfo,
    /// What happened.
    pub change: PresenceChange,
}

/// What happened to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceChange {
    /// Logged in.
    Online,
    /// Logged out.
    LoggedOut,
    /// Nothing was heard for the heartbeat time, or the connection broke.
    Vanished,
    /// An admin ended the session.
    Kicked,
    /// Free or busy, another transport or address.
    Changed,
}

/// What changed in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupNews {
    /// Which, by its name before the change.
    pub group: String,
    /// What happened.
    pub change: GroupChange,
    /// Who did it.
    pub by: Name,
    /// To whom, if not to the one who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Name>,
    /// With `role`: the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// With `renamed`: the new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What happened in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupChange {
    /// A user was asked to join.
    Invited,
    /// An invited user joined.
    Joined,
    /// A member left, or an invited user turned the invitation down.
    Left,
    /// A member was put out, or an invitation was taken back.
    Removed,
    /// A member has another role.
    Role,
    /// The group has another name.
    Renamed,
}

/// Where a user may be reached directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCandidates {
    /// Who.
    pub from: Name,
    /// Where, best first; untrusted.
    pub candidates: Vec<Candidate>,
    /// The address from which the server sees them, without a port; the server's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

/// An admin's words for everyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The words.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// The end of this session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Why.
    pub why: ClosingReason,
    /// The same for people.
    pub text: String,
    /// Whether and when to come back, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect_after_ms: Option<u32>,
}

/// Why the server ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosingReason {
    /// The server goes down.
    Shutdown,
    /// The same key logged in elsewhere.
    Replaced,
    /// An admin ended it.
    Kicked,
    /// An admin keeps this key out.
    Banned,
    /// The client did not read what was sent to it.
    TooSlow,
    /// Rules were broken too often.
    Abuse,
}
