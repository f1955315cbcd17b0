//! What the application learns of calls.

use portolan_protocol::{ErrorCode, Name};

/// The number of a call: unique within one [`Peer`](crate::Peer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Whether something is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

impl Switch {
    /// On if it is `true`.
    #[must_use]
    pub const fn from_bool(is_on: bool) -> Self {
        if is_on { Self::On } else { Self::Off }
    }

    /// Whether it is on.
    #[must_use]
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallDirection {
    /// The other.
    Incoming,
    /// We.
    Outgoing,
}

impl CallDirection {
    /// The word in `--json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }
}

/// Where a call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallUpdate {
    /// Which.
    pub id: CallId,
    /// With whom.
    pub with: Name,
    /// Who called.
    pub direction: CallDirection,
    /// What is listened to, if sound goes from the caller to the called side only; from a peer.
    pub title: Option<String>,
    /// What has just happened.
    pub phase: CallPhase,
}

/// Stages of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallPhase {
    /// We call.
    Calling,
    /// It rings: with the other if we have called, here otherwise.
    Ringing,
    /// It was taken: sound goes over.
    Accepted,
    /// The connection broke; the call goes on if there is another one in time.
    Interrupted {
        /// Why, for people.
        reason: String,
    },
    /// It goes on over another connection.
    Resumed,
    /// A microphone was switched off or on.
    Muted {
        /// Ours, or the other's.
        by_us: bool,
        /// Whether it is off.
        on: Switch,
    },
    /// The call is held or goes on.
    Held {
        /// By us, or by the other.
        by_us: bool,
        /// Whether it is held.
        on: Switch,
    },
    /// One side has hung up.
    Ended {
        /// Why, if there is more to say; untrusted when it is the other's words.
        reason: Option<String>,
    },
    /// The called side said no.
    Denied {
        /// Why, for people; untrusted when it is the other's words.
        reason: String,
    },
    /// The called side is in another call.
    Busy,
    /// Nobody answered.
    TimedOut,
    /// There was no call.
    Failed {
        /// A code for programs.
        code: ErrorCode,
        /// Why, for people.
        reason: String,
    },
}

impl CallPhase {
    /// The word in `--json`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Calling => "calling",
            Self::Ringing => "ringing",
            Self::Accepted => "accepted",
            Self::Interrupted { .. } => "interrupted",
            Self::Resumed => "resumed",
            Self::Muted { .. } => "muted",
            Self::Held { .. } => "held",
            Self::Ended { .. } => "ended",
            Self::Denied { .. } => "denied",
            Self::Busy => "busy",
            Self::TimedOut => "timed_out",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        match self {
            Self::Ended { .. }
            | Self::Denied { .. }
            | Self::Busy
            | Self::TimedOut
            | Self::Failed { .. } => true,
            Self::Calling
            | Self::Ringing
            | Self::Accepted
            | Self::Interrupted { .. }
            | Self::Resumed
            | Self::Muted { .. }
            | Self::Held { .. } => false,
        }
    }
}
