//! What others may know of a user.

use portolan_peer_id::PeerId;
use serde::{Deserialize, Serialize};

use crate::{Name, Timestamp};

/// A user as the directory shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// The name as the owner typed it.
    pub name: Name,
    /// The key that owns the name.
    pub id: PeerId,
    /// The transport of the session (`tcp`, `udp`, `quic`, …), and so the registry it is kept in;
    /// empty for those who are not there.
    pub transport: String,
    /// In a conversation or free, or not there.
    pub state: Availability,
    /// In this state since; 0 where that is not known, or not to be known.
    pub since: Timestamp,
    /// Logged in since; 0 for those who are not there.
    pub online_since: Timestamp,
    /// With whom, when busy and both agree that it may be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<Name>,
    /// Not at the keyboard, in the user's words, perhaps none; untrusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<String>,
    /// The transports of the name's other sessions, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

/// How the server treats a name, as its owner wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Whether others learn what we have seen, and we what they have.
    pub seen: bool,
    /// In how many conversations we may be at a time.
    pub conversations: u8,
    /// Whether others learn when we were there last.
    pub last_seen: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seen: true, conversations: 1, last_seen: true }
    }
}

/// Whether a user can be asked for a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// Can be asked.
    Free,
    /// In as many conversations as they allow.
    Busy,
    /// Not there: only those who ask for the absent see it.
    Offline,
}

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// One user.
    User(Name),
    /// The members of a group.
    Group(String),
    /// Everyone who is logged in, the sender included.
    All,
    /// Everyone who is logged in but the sender.
    Others,
}
