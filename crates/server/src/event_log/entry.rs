//! What is logged. `docs/server.md` lists the fields.

use portolan_identity::PeerId;
use portolan_protocol::{ConversationState, GroupChange, MessageId, Name};
use serde::Serialize;

/// One line of the event log, without its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LogEntry {
    /// The server listens.
    Started {
        /// Its key.
        id: PeerId,
        /// `transport address` of each registry.
        addresses: Vec<String>,
    },
    /// The server has ended in good order.
    Stopped {
        /// Why.
        reason: String,
    },
    /// A key took a name that nobody had.
    Registered {
        /// The name.
        name: Name,
        /// The key.
        id: PeerId,
    },
    /// A name was given a password, or lost it.
    Password {
        /// The name.
        name: Name,
        /// Whether it has none now.
        #[serde(rename = "removed")]
        is_removed: bool,
    },
    /// A name was moved to another key by its password.
    Moved {
        /// The name.
        name: Name,
        /// The new key.
        id: PeerId,
        /// From where.
        address: String,
    },
    /// A user logged in.
    Login {
        /// The name.
        name: Name,
        /// The key.
        id: PeerId,
        /// The registry.
        transport: &'static str,
        /// From where.
        address: String,
    },
    /// A login was refused.
    LoginRefused {
        /// The key.
        id: PeerId,
        /// The code of the answer.
        code: &'static str,
        /// From where.
        address: String,
    },
    /// A session asks for too much, or for what it has no right to: said now and then.
    Refused {
        /// The key.
        id: PeerId,
        /// From where.
        address: String,
        /// The code of the last answer.
        code: &'static str,
        /// How many of this session were refused so far.
        count: u32,
    },
    /// A user's session ended.
    Left {
        /// The name.
        name: Name,
        /// How.
        how: &'static str,
        /// Why.
        #[serde(skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A connection that was not logged in was sent away.
    SentAway {
        /// The key.
        id: PeerId,
        /// From where.
        address: String,
        /// Why.
        reason: String,
    },
    /// A conversation was asked for or changed its state.
    Conversation {
        /// Who asked.
        from: Name,
        /// Who was asked.
        to: Name,
        /// The new state.
        state: ConversationState,
    },
    /// A group was changed.
    Group {
        /// Its name before.
        group: Name,
        /// What happened.
        change: GroupChange,
        /// Who did it.
        by: Name,
        /// To whom.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<Name>,
    },
    /// A message was taken.
    Message {
        /// Its id.
        id: MessageId,
        /// Who wrote it.
        from: Name,
        /// To whom: a name, `all` or `others`.
        to: String,
        /// Length of the text.
        bytes: usize,
        /// For how many a copy was kept.
        copies: usize,
    },
    /// A relay was opened.
    RelayOpened {
        /// Who called.
        from: Name,
        /// Who was called.
        to: Name,
    },
    /// A relay has ended.
    RelayEnded {
        /// Who called.
        from: Name,
        /// Who was called.
        to: Name,
        /// Bytes carried, both ways.
        bytes: u64,
        /// How it ended.
        how: String,
    },
    /// Bytes are carried between two whom another server has introduced.
    Carrying {
        /// The key of that server.
        issuer: PeerId,
        /// The caller's key.
        from: PeerId,
        /// The callee's.
        to: PeerId,
    },
    /// That has ended.
    Carried {
        /// The caller's key.
        from: PeerId,
        /// The callee's.
        to: PeerId,
        /// Bytes carried, both ways.
        bytes: u64,
        /// How it ended.
        how: String,
    },
    /// Another relay answers, or does not any more.
    RelayServer {
        /// Its key.
        id: PeerId,
        /// Where it is.
        address: String,
        /// Whether it answers.
        up: bool,
        /// Why not.
        #[serde(skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// An admin did something.
    Admin {
        /// The admin's key.
        by: PeerId,
        /// What: `kick`, `ban`, `unban`, `announce`, `backup` or `shutdown`.
        what: &'static str,
        /// To whom.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<Name>,
        /// The admin's reason.
        #[serde(skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The store failed: what was asked was refused.
    StoreFailed {
        /// The engine's words.
        detail: String,
    },
    /// Lines were lost because the log could not keep up.
    Dropped {
        /// How many.
        lines: u64,
    },
}
