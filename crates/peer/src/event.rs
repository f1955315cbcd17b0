//! What a peer tells its application without being asked.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use portolan_protocol::{
    Announcement, Closing, Conversation, Delivery, ErrorCode, GroupNews, Hash, MessageId, Name,
    Presence, Receipt, Settings,
};
use portolan_transport::PathKind;
use tokio::sync::mpsc;

use crate::{AudioUpdate, CallUpdate, SessionEnd, TreeUpdate};

/// News for the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message, handed out once however often the server sends it.
    Message(Delivery),
    /// What became of a message of ours.
    Receipt(Receipt),
    /// A conversation changed its state.
    Conversation(Conversation),
    /// A user came, went or changed.
    Presence(Presence),
    /// Something changed in a group that we are in or invited to.
    Group(GroupNews),
    /// Another session of our name has changed the settings.
    Settings(Settings),
    /// An admin tells everyone.
    Announcement(Announcement),
    /// A file moved on.
    File(FileUpdate),
    /// A call moved on.
    Call(CallUpdate),
    /// A directory moved on.
    Tree(TreeUpdate),
    /// How a call sounds, about once a second.
    Audio(Box<AudioUpdate>),
    /// How a peer, or the server, is reached has changed.
    Path(PathInfo),
    /// Something was refused on our behalf that a person should know of.
    Warning(Warning),
    /// The server is about to end the session.
    Closing(Closing),
    /// The connection to the server is lost, and the session is being resumed.
    Reconnecting(Reconnecting),
    /// The session goes on over a new connection.
    Reconnected(Reconnected),
    /// The session is over; always the last event.
    Closed(SessionEnd),
}

/// An attempt to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconnecting {
    /// The how manieth since the connection was lost, from 1.
    pub attempt: u32,
    /// How long it waits.
    pub after: Duration,
    /// Why the connection, or the attempt before, was lost.
    pub why: String,
}

/// The way by which a session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnected {
    /// The transport.
    pub transport: &'static str,
    /// The server's address.
    pub server: SocketAddr,
}

impl Event {
    /// Which message it is, if it is one.
    pub(crate) fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Message(delivery) => Some(delivery.id),
            Self::Receipt(_)
            | Self::Conversation(_)
            | Self::Presence(_)
            | Self::Group(_)
            | Self::Settings(_)
            | Self::Announcement(_)
            | Self::File(_)
            | Self::Call(_)
            | Self::Tree(_)
            | Self::Audio(_)
            | Self::Path(_)
            | Self::Warning(_)
            | Self::Closing(_)
            | Self::Reconnecting(_)
            | Self::Reconnected(_)
            | Self::Closed(_) => None,
        }
    }
}

/// The news of one peer, in order.
///
/// Bounded: while [`Limits::events`](crate::Limits::events) of them wait, nothing more is read
/// from the server, so an application reads them in a task of its own. Dropping it is allowed:
/// then no message is confirmed, and they wait at the server for the next login.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
    ended: bool,
}

impl Events {
    pub(crate) fn new(receiver: mpsc::Receiver<Event>) -> Self {
        Self { receiver, ended: false }
    }

    /// Waits for the next event; `None` after [`Event::Closed`]. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.receiver.recv().await;
        self.note(event)
    }

    /// Takes an event that is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.receiver.try_recv().ok()?;
        self.note(Some(event))
    }

    fn note(&mut self, event: Option<Event>) -> Option<Event> {
        self.ended = matches!(event, None | Some(Event::Closed(_)));
        if self.ended {
            // What is still under way reports to nobody.
            self.receiver.close();
        }
        event
    }
}

/// The number of a transfer: unique within one [`Peer`](crate::Peer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// Where a transfer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUpdate {
    /// Which.
    pub id: TransferId,
    /// With whom.
    pub with: Name,
    /// Which way it goes.
    pub direction: Direction,
    /// The file's name or shared path; from a peer, but checked.
    pub name: String,
    /// Where it stands.
    pub phase: FilePhase,
    /// Bytes that the receiver has.
    pub bytes: u64,
    /// Bytes of these that were there before and did not go over again.
    pub resumed: u64,
    /// Bytes in all.
    pub total: u64,
    /// How the bytes go, once they do.
    pub via: Option<Via>,
    /// Bytes a second of late.
    pub rate: Option<u64>,
    /// What is left, at that rate.
    pub eta: Option<Duration>,
}

/// The way that bytes take between two peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via {
    /// Through what.
    pub kind: PathKind,
    /// The transport on our side.
    pub transport: &'static str,
}

/// Which way a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the other.
    Send,
    /// From the other.
    Receive,
}

impl Direction {
    /// The word in `--json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "receive",
        }
    }
}

/// How a person stops a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// For now.
    Paused,
    /// For good.
    Cancelled,
}

/// Stages of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePhase {
    /// The other offers it and waits for our decision.
    Offered,
    /// It waits for its turn among those that we began.
    Queued,
    /// We offered it and wait for the other's decision.
    Waiting,
    /// Bytes begin to flow.
    Started,
    /// Bytes flow.
    Progress,
    /// It broke off and goes on by itself, under the same number.
    Interrupted {
        /// Why, for people.
        reason: String,
    },
    /// A person on either side holds it; it goes on under the same number.
    Paused {
        /// Who, for people.
        reason: String,
    },
    /// It has arrived whole.
    Done {
        /// BLAKE3, the same on both sides.
        hash: Hash,
        /// Where it was written, on the receiving side.
        path: Option<PathBuf>,
    },
    /// One side does not want it.
    Denied {
        /// Why, for people.
        reason: String,
    },
    /// A person on either side has given it up.
    Cancelled {
        /// Who, for people.
        reason: String,
    },
    /// It did not arrive.
    Failed {
        /// A code for programs.
        code: ErrorCode,
        /// Why, for people.
        reason: String,
    },
}

impl FilePhase {
    /// The word in `--json`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Started => "started",
            Self::Progress => "progress",
            Self::Interrupted { .. } => "interrupted",
            Self::Paused { .. } => "paused",
            Self::Done { .. } => "done",
            Self::Denied { .. } => "denied",
            Self::Cancelled { .. } => "cancelled",
            Self::Failed { .. } => "failed",
        }
    }
}

/// How a peer is reached, and why so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// Who; `None`: the server.
    pub with: Option<Name>,
    /// Through what; `None`: no session is open now.
    pub kind: Option<PathKind>,
    /// What carries the bytes on our side.
    pub transport: &'static str,
    /// The peer's address, or the relay's.
    pub addr: Option<SocketAddr>,
    /// Why this path and no other.
    pub why: String,
}

impl PathInfo {
    /// The word in `--json`.
    #[must_use]
    pub const fn kind_word(&self) -> &'static str {
        kind_word(self.kind)
    }
}

/// The word for a kind of path in `--json`.
pub(crate) const fn kind_word(kind: Option<PathKind>) -> &'static str {
    match kind {
        None => "none",
        Some(PathKind::Direct) => "direct",
        Some(PathKind::Relayed) => "relayed",
        Some(PathKind::Memory) => "memory",
    }
}

/// Something refused on our behalf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// A code for programs.
    pub code: ErrorCode,
    /// What happened and what to do.
    pub message: String,
}
