//! Everything the program says on its standard output, as values: one JSON object a line in
//! `--json`, rendered for people otherwise. `docs/events.md` documents them; they are never
//! renamed.

use std::collections::BTreeMap;

use portolan_protocol::{
    Announcement, AudioInfo, Availability, Closing, Conversation, ConversationState, Delivery,
    FileInfo, GroupChange, GroupInfo, GroupNews, Messages, Presence, PresenceChange, Receipt,
    ReceiptState, Recipient, Settings, UserInfo,
};
use serde::Serialize;

use super::{
    audio::AudioLine,
    exit::Failure,
    group::role_word,
    playing::{Decoded, Devices, Playing},
    status_line::{PathLine, Status},
    tree_line::TreeLine,
};
use crate::{
    CallPhase, CallUpdate, Event, FilePhase, FileRules, FileUpdate, Peer, SessionEnd,
    event::kind_word,
};

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line {
    Ready {
        name: String,
        id: String,
        transport: String,
        server: String,
        /// Other sessions of the name that are there.
        #[serde(skip_serializing_if = "is_zero")]
        beside: u32,
    },
    Users {
        users: Vec<User>,
    },
    Whois(User),
    Message(Message),
    Receipt {
        id: u64,
        state: &'static str,
        by: String,
    },
    Conversation(ConversationLine),
    Presence {
        change: &'static str,
        user: User,
    },
    Group(GroupLine),
    Groups {
        groups: Vec<Group>,
    },
    Members {
        group: String,
        members: Vec<Member>,
    },
    History {
        with: String,
        messages: Vec<Message>,
        more: bool,
    },
    Settings(SettingsLine),
    Mailbox {
        messages: Vec<Message>,
    },
    Talking {
        #[serde(skip_serializing_if = "Option::is_none")]
        with: Option<String>,
        others: Vec<String>,
    },
    Announcement {
        text: String,
        at: u64,
    },
    File(File),
    Call(CallLine),
    Audio(Box<AudioLine>),
    Transfers {
        files: Vec<File>,
    },
    AcceptFiles {
        rule: String,
        users: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_max: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        total_max: Option<u64>,
    },
    Tree(Box<TreeLine>),
    Path(PathLine),
    Lan(LanLine),
    Finding(FindingLine),
    Files {
        with: String,
        files: Vec<Shared>,
    },
    #[serde(rename = "audio")]
    Playing(Playing),
    Decoded(Decoded),
    Devices(Devices),
    Share {
        path: Option<String>,
    },
    Echo {
        text: String,
        rtt_us: u64,
    },
    Status(Box<Status>),
    Help {
        commands: Vec<Help>,
    },
    Id {
        name: String,
        id: String,
    },
    Password {
        name: String,
        #[serde(rename = "set")]
        is_set: bool,
    },
    Error {
        code: String,
        message: String,
    },
    Closing {
        why: String,
        text: String,
        reconnect_after_ms: Option<u32>,
    },
    Reconnecting {
        attempt: u32,
        after_ms: u64,
        why: String,
    },
    Reconnected {
        transport: &'static str,
        server: String,
    },
    Closed {
        reason: String,
    },
}

/// A user of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) transport: String,
    pub(crate) state: &'static str,
    pub(crate) since: u64,
    pub(crate) online_since: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) with: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) away: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<String>,
    /// Without a server: `known`, `new`, `changed` or `you`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) known: Option<&'static str>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    pub(crate) text: String,
    pub(crate) at: u64,
    /// Another of our devices has sent it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) own: bool,
}

/// How the server treats our name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SettingsLine {
    pub(crate) seen: bool,
    pub(crate) last_seen: bool,
    pub(crate) conversations: u8,
}

/// News of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ConversationLine {
    pub(crate) with: String,
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) elsewhere: bool,
}

/// News of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GroupLine {
    pub(crate) group: String,
    pub(crate) change: &'static str,
    pub(crate) by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
}

/// A group as we stand to it; without a role we are invited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub(crate) group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    pub(crate) members: u32,
    pub(crate) history: bool,
}

/// Who is in a group; without a role they are invited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
}

/// A transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct File {
    pub(crate) id: u64,
    pub(crate) phase: &'static str,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resumed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hash: Option<String>,
    pub(crate) with: String,
    pub(crate) direction: &'static str,
    /// `relayed`, `direct` or `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) via: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eta_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CallLine {
    pub(crate) id: u64,
    pub(crate) with: String,
    pub(crate) direction: &'static str,
    /// What is listened to together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    pub(crate) phase: &'static str,
    /// Of `muted` and `held`: whether it is, and at whose end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by_us: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Who hosts a network without a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LanLine {
    /// `hosting`, `joining` or `giving_way`.
    pub(crate) state: &'static str,
    /// The host's key.
    pub(crate) id: String,
    /// Of whom we join: `passing`, or `server` if somebody has set it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<String>,
    /// There was another host before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) again: bool,
}

/// Something that `doctor` has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FindingLine {
    pub(crate) check: &'static str,
    pub(crate) state: &'static str,
    pub(crate) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) means: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<&'static str>,
}

/// A shared file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Shared {
    pub(crate) path: String,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) modified: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) audio: Option<AudioInfo>,
}

/// A slash command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Help {
    pub(crate) usage: String,
    pub(crate) help: &'static str,
}

impl Line {
    pub(crate) fn ready(peer: &Peer) -> Self {
        Self::Ready {
            name: peer.name().to_string(),
            id: peer.id().to_string(),
            transport: peer.transport().to_owned(),
            server: peer.server_addr().to_string(),
            beside: peer.logged_in().beside,
        }
    }

    pub(crate) fn users(users: &[UserInfo]) -> Self {
        Self::Users { users: users.iter().map(User::from).collect() }
    }

    pub(crate) fn whois(user: &UserInfo) -> Self {
        Self::Whois(user.into())
    }

    pub(crate) fn groups(groups: &[GroupInfo]) -> Self {
        let groups = groups.iter().map(|group| Group {
            group: group.group.clone(),
            role: group.role.map(role_word),
            members: group.members,
            history: group.history,
        });
        Self::Groups { groups: groups.collect() }
    }

    pub(crate) fn members(group: &str, members: &[portolan_protocol::Member]) -> Self {
        let members = members.iter().map(|member| Member {
            name: member.name.to_string(),
            role: member.role.map(role_word),
        });
        Self::Members { group: group.to_owned(), members: members.collect() }
    }

    pub(crate) fn history(with: &Recipient, page: &Messages) -> Self {
        let messages = page.messages.iter().map(Message::from).collect();
        Self::History { with: recipient_words(with).0, messages, more: page.more }
    }

    pub(crate) fn settings(settings: Settings) -> Self {
        let Settings { seen, conversations, last_seen } = settings;
        Self::Settings(SettingsLine { seen, last_seen, conversations })
    }

    pub(crate) fn mailbox(messages: &[Delivery]) -> Self {
        Self::Mailbox { messages: messages.iter().map(Message::from).collect() }
    }

    /// A message that another of our devices has sent.
    pub(crate) fn own(delivery: &Delivery) -> Self {
        Self::Message(Message { own: true, ..delivery.into() })
    }

    pub(crate) fn files(with: &str, files: &[FileInfo]) -> Self {
        let files = files.iter().map(|file| Shared {
            path: file.path.clone(),
            size: file.size,
            modified: file.modified.map(|at| at.0),
            audio: file.audio.clone(),
        });
        Self::Files { with: with.to_owned(), files: files.collect() }
    }

    pub(crate) fn rules(rules: &FileRules) -> Self {
        let users = rules.users.iter().map(|(who, rule)| (who.to_string(), rule.to_string()));
        Self::AcceptFiles {
            rule: rules.default.to_string(),
            users: users.collect(),
            file_max: rules.file_max,
            total_max: rules.total_max,
        }
    }

    pub(crate) fn transfers(transfers: &[FileUpdate]) -> Self {
        Self::Transfers { files: transfers.iter().map(File::from).collect() }
    }

    pub(crate) fn help() -> Self {
        let commands = super::slash::TABLE.iter().map(|row| Help {
            usage: format!("/{} {}", row.word, row.arguments).trim_end().to_owned(),
            help: row.help,
        });
        Self::Help { commands: commands.collect() }
    }

    /// As JSON, without the end of the line.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("our own lines are JSON")
    }
}

impl From<&Event> for Line {
    fn from(event: &Event) -> Self {
        match event {
            Event::Message(delivery) => Self::Message(delivery.into()),
            Event::Receipt(receipt) => receipt.into(),
            Event::Conversation(news) => Self::Conversation(news.into()),
            Event::Presence(presence) => presence.into(),
            Event::Group(news) => Self::Group(news.into()),
            Event::Settings(settings) => Self::settings(*settings),
            Event::Announcement(words) => words.into(),
            Event::File(update) => Self::File(update.into()),
            Event::Call(update) => Self::Call(update.into()),
            Event::Tree(update) => Self::Tree(Box::new(update.into())),
            Event::Audio(update) => (&**update).into(),
            Event::Path(path) => Self::Path(path.into()),
            Event::Warning(warning) => Self::Error {
                code: warning.code.as_str().to_owned(),
                message: warning.message.clone(),
            },
            Event::Closing(closing) => closing.into(),
            Event::Reconnecting(attempt) => Self::Reconnecting {
                attempt: attempt.attempt,
                after_ms: u64::try_from(attempt.after.as_millis()).unwrap_or(u64::MAX),
                why: attempt.why.clone(),
            },
            Event::Reconnected(way) => {
                Self::Reconnected { transport: way.transport, server: way.server.to_string() }
            }
            Event::Closed(end) => end.into(),
        }
    }
}

impl From<&Failure> for Line {
    fn from(failure: &Failure) -> Self {
        Self::Error { code: failure.code.to_owned(), message: failure.message.clone() }
    }
}

impl From<&UserInfo> for User {
    fn from(user: &UserInfo) -> Self {
        Self {
            name: user.name.to_string(),
            id: user.id.to_string(),
            transport: user.transport.clone(),
            state: match user.state {
                Availability::Free => "free",
                Availability::Busy => "busy",
                Availability::Offline => "offline",
            },
            since: user.since.0,
            online_since: user.online_since.0,
            with: user.with.as_ref().map(ToString::to_string),
            away: user.away.clone(),
            also: user.also.clone(),
            known: None,
        }
    }
}

impl From<&Delivery> for Message {
    fn from(delivery: &Delivery) -> Self {
        let (to, group) = recipient_words(&delivery.to);
        Self {
            id: delivery.id.0,
            from: delivery.from.to_string(),
            to,
            group,
            text: delivery.text.clone(),
            at: delivery.at.0,
            own: false,
        }
    }
}

/// The recipient in words, and the group if it is one.
fn recipient_words(to: &Recipient) -> (String, Option<String>) {
    match to {
        Recipient::User(name) => (name.to_string(), None),
        Recipient::Group(group) => (group.clone(), Some(group.clone())),
        Recipient::All => ("all".to_owned(), None),
        Recipient::Others => ("others".to_owned(), None),
    }
}

impl From<&GroupNews> for GroupLine {
    fn from(news: &GroupNews) -> Self {
        let change = match news.change {
            GroupChange::Invited => "invited",
            GroupChange::Joined => "joined",
            GroupChange::Left => "left",
            GroupChange::Removed => "removed",
            GroupChange::Role => "role",
            GroupChange::Renamed => "renamed",
        };
        Self {
            group: news.group.clone(),
            change,
            by: news.by.to_string(),
            user: news.user.as_ref().map(ToString::to_string),
            role: news.role.map(role_word),
            to: news.to.clone(),
        }
    }
}

impl From<&Receipt> for Line {
    fn from(receipt: &Receipt) -> Self {
        let state = match receipt.state {
            ReceiptState::Stored => "stored",
            ReceiptState::Delivered => "delivered",
            ReceiptState::Seen => "seen",
        };
        Self::Receipt { id: receipt.id.0, state, by: receipt.by.to_string() }
    }
}

impl From<&Conversation> for ConversationLine {
    fn from(news: &Conversation) -> Self {
        let state = match news.state {
            ConversationState::Asked => "asked",
            ConversationState::Requested => "requested",
            ConversationState::Accepted => "accepted",
            ConversationState::Denied => "denied",
            ConversationState::Busy => "busy",
            ConversationState::TimedOut => "timed_out",
            ConversationState::Ended => "ended",
            ConversationState::Vanished => "vanished",
        };
        Self {
            with: news.with.to_string(),
            state,
            reason: news.reason.clone(),
            elsewhere: news.elsewhere,
        }
    }
}

impl From<&Presence> for Line {
    fn from(presence: &Presence) -> Self {
        let change = match presence.change {
            PresenceChange::Online => "online",
            PresenceChange::LoggedOut => "logged_out",
            PresenceChange::Vanished => "vanished",
            PresenceChange::Kicked => "kicked",
            PresenceChange::Changed => "changed",
        };
        Self::Presence { change, user: (&presence.user).into() }
    }
}

impl From<&Announcement> for Line {
    fn from(words: &Announcement) -> Self {
        Self::Announcement { text: words.text.clone(), at: words.at.0 }
    }
}

impl From<&FileUpdate> for File {
    fn from(update: &FileUpdate) -> Self {
        let (mut hash, mut path, mut code, mut reason) = (None, None, None, None);
        match &update.phase {
            FilePhase::Done { hash: whole, path: written } => {
                hash = Some(whole.to_string());
                path = written.as_ref().map(|path| path.display().to_string());
            }
            FilePhase::Interrupted { reason: words }
            | FilePhase::Paused { reason: words }
            | FilePhase::Cancelled { reason: words }
            | FilePhase::Denied { reason: words } => reason = Some(words.clone()),
            FilePhase::Failed { code: word, reason: words } => {
                code = Some(word.as_str());
                reason = Some(words.clone());
            }
            FilePhase::Offered
            | FilePhase::Queued
            | FilePhase::Waiting
            | FilePhase::Started
            | FilePhase::Progress => {}
        }
        Self {
            id: update.id.0,
            phase: update.phase.as_str(),
            name: update.name.clone(),
            bytes: update.bytes,
            total: update.total,
            resumed: (update.resumed > 0).then_some(update.resumed),
            hash,
            with: update.with.to_string(),
            direction: update.direction.as_str(),
            via: update.via.map(|via| kind_word(Some(via.kind))),
            transport: update.via.map(|via| via.transport),
            rate: update.rate,
            eta_ms: update.eta.map(|eta| u64::try_from(eta.as_millis()).unwrap_or(u64::MAX)),
            path,
            code,
            reason,
        }
    }
}

impl From<&CallUpdate> for CallLine {
    fn from(update: &CallUpdate) -> Self {
        let (mut on, mut by_us, mut code, mut reason) = (None, None, None, None);
        match &update.phase {
            CallPhase::Muted { by_us: ours, on: switch }
            | CallPhase::Held { by_us: ours, on: switch } => {
                (on, by_us) = (Some(switch.is_on()), Some(*ours));
            }
            CallPhase::Interrupted { reason: words } | CallPhase::Denied { reason: words } => {
                reason = Some(words.clone()).filter(|words| !words.is_empty());
            }
            CallPhase::Ended { reason: words } => reason.clone_from(words),
            CallPhase::Failed { code: word, reason: words } => {
                code = Some(word.as_str());
                reason = Some(words.clone());
            }
            CallPhase::Calling
            | CallPhase::Ringing
            | CallPhase::Accepted
            | CallPhase::Resumed
            | CallPhase::Busy
            | CallPhase::TimedOut => {}
        }
        Self {
            id: update.id.0,
            with: update.with.to_string(),
            direction: update.direction.as_str(),
            title: update.title.clone(),
            phase: update.phase.as_str(),
            on,
            by_us,
            code,
            reason,
        }
    }
}

impl From<&Closing> for Line {
    fn from(closing: &Closing) -> Self {
        let why = serde_json::to_value(closing.why).ok();
        Self::Closing {
            why: why.and_then(|why| why.as_str().map(str::to_owned)).unwrap_or_default(),
            text: closing.text.clone(),
            reconnect_after_ms: closing.reconnect_after_ms,
        }
    }
}

impl From<&SessionEnd> for Line {
    fn from(end: &SessionEnd) -> Self {
        Self::Closed { reason: end.to_string() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
