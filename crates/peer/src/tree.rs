//! What a peer tells its application about directories that go over.

use std::{path::PathBuf, time::Duration};

use portolan_protocol::{ErrorCode, LeftOut, Miss, Name};

use crate::{Direction, Event, FilePhase, FileUpdate, TransferId, Via};

/// Where the transfer of a directory stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeUpdate {
    /// Which; counted together with the transfers of single files.
    pub id: TransferId,
    /// With whom.
    pub with: Name,
    /// Which way it goes.
    pub direction: Direction,
    /// The directory's name; from a peer, but checked.
    pub name: String,
    /// Where it stands.
    pub phase: TreePhase,
    /// Files that the receiver has.
    pub files: u64,
    /// Files in all.
    pub files_total: u64,
    /// Bytes that the receiver has.
    pub bytes: u64,
    /// Bytes in all.
    pub total: u64,
    /// Files of these that were there before and did not go over again.
    pub same: u64,
    /// Files that did not arrive.
    pub failed: u64,
    /// What is passed over.
    pub left_out: LeftOut,
    /// How the bytes go, as far as is known.
    pub via: Option<Via>,
    /// Bytes a second of late.
    pub rate: Option<u64>,
    /// What is left, at that rate.
    pub eta: Option<Duration>,
}

/// Stages of the transfer of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreePhase {
    /// The other offers it and waits for our decision.
    Offered,
    /// It waits for its turn among the transfers that we began.
    Queued,
    /// We offered it and wait for the other's decision.
    Waiting,
    /// Files begin to flow.
    Started,
    /// Files flow.
    Progress,
    /// One file did not arrive; the others go on.
    Missed {
        /// Its path below the directory.
        file: String,
        /// A code for programs.
        code: ErrorCode,
        /// Why, for people.
        reason: String,
    },
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
    /// Every file is there.
    Done {
        /// Where the directory was written, on the receiving side.
        path: Option<PathBuf>,
    },
    /// It is over, and some files are not there.
    Partial {
        /// Where the directory was written, on the receiving side.
        path: Option<PathBuf>,
    },
    /// One side does not want it.
    Denied {
        /// Why, for people.
        reason: String,
    },
    /// A person on either side has given it up; files that have arrived stay.
    Cancelled {
        /// Who, for people.
        reason: String,
    },
    /// It ended early; files that have arrived stay.
    Failed {
        /// A code for programs.
        code: ErrorCode,
        /// Why, for people.
        reason: String,
    },
}

impl TreePhase {
    /// The word in `--json`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Started => "started",
            Self::Progress => "progress",
            Self::Missed { .. } => "missed",
            Self::Interrupted { .. } => "interrupted",
            Self::Paused { .. } => "paused",
            Self::Done { .. } => "done",
            Self::Partial { .. } => "partial",
            Self::Denied { .. } => "denied",
            Self::Cancelled { .. } => "cancelled",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What became of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeSummary {
    /// Files that the receiver has now.
    pub files: u64,
    /// Files of these that were there before.
    pub same: u64,
    /// Files that did not arrive.
    pub failed: u64,
    /// Bytes that the receiver has.
    pub bytes: u64,
    /// What was passed over.
    pub left_out: LeftOut,
    /// The first files that did not arrive, and why.
    pub misses: Vec<Miss>,
    /// Where the directory was written, on the receiving side.
    pub path: Option<PathBuf>,
}

impl TreePhase {
    /// As the list of transfers shows it.
    pub(crate) fn listed(&self) -> FilePhase {
        match self {
            Self::Offered => FilePhase::Offered,
            Self::Queued => FilePhase::Queued,
            Self::Waiting => FilePhase::Waiting,
            Self::Started => FilePhase::Started,
            Self::Progress | Self::Missed { .. } | Self::Done { .. } | Self::Partial { .. } => {
                FilePhase::Progress
            }
            Self::Interrupted { reason } => FilePhase::Interrupted { reason: reason.clone() },
            Self::Paused { reason } => FilePhase::Paused { reason: reason.clone() },
            Self::Denied { reason } => FilePhase::Denied { reason: reason.clone() },
            Self::Cancelled { reason } => FilePhase::Cancelled { reason: reason.clone() },
            Self::Failed { code, reason } => {
                FilePhase::Failed { code: *code, reason: reason.clone() }
            }
        }
    }
}

/// What is told of a transfer on the list that waits for the side that began it.
pub(crate) fn event_of_parked(update: FileUpdate) -> Event {
    let Some(name) = update.name.strip_suffix('/') else { return Event::File(update) };
    let phase = match &update.phase {
        FilePhase::Cancelled { reason } => TreePhase::Cancelled { reason: reason.clone() },
        _ => TreePhase::Queued,
    };
    Event::Tree(TreeUpdate {
        id: update.id,
        with: update.with,
        direction: update.direction,
        name: name.to_owned(),
        phase,
        files: 0,
        files_total: 0,
        bytes: update.bytes,
        total: update.total,
        same: 0,
        failed: 0,
        left_out: LeftOut::default(),
        via: update.via,
        rate: None,
        eta: None,
    })
}

impl TreeUpdate {
    /// As the list of transfers shows it.
    pub(crate) fn listed(&self) -> FileUpdate {
        FileUpdate {
            id: self.id,
            with: self.with.clone(),
            direction: self.direction,
            name: format!("{}/", self.name),
            phase: self.phase.listed(),
            bytes: self.bytes,
            resumed: 0,
            total: self.total,
            via: self.via,
            rate: self.rate,
            eta: self.eta,
        }
    }
}
