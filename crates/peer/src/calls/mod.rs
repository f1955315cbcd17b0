//! Calls: two peers talk, or one plays and others listen.
//!
//! ```text
//!   application ── Order ──►  Driver (a task a call)  ── Event ──►  application
//!                              │     │       │
//!                        Machine   Link   datagrams
//!                        (pure)   signals    sound
//! ```
//!
//! A call has a stream of its own between the two peers, on which they say what becomes of it; it
//! stays open for as long as the call. When it breaks, the caller opens another one with the same
//! number, and the call goes on. Sound goes beside it, in datagrams that carry the number which the
//! receiving side has given out.

mod clock;
mod driver;
mod link;
mod machine;
mod news;
mod registry;
mod sound;
mod stage;
mod watch;

use portolan_protocol::Name;
use thiserror::Error;

pub(crate) use link::Link;
pub use news::{CallDirection, CallId, CallPhase, CallUpdate, Switch};
pub(crate) use registry::Calls;
pub(crate) use sound::Part;
pub use sound::{AudioUpdate, CallMedia, CallQuality, Listening, ReceivedAudio, SentAudio};
pub use stage::Stage;
pub use watch::CallWatch;

use self::machine::Signal;

/// What the application wants of a call.
pub(crate) enum Order {
    Accept(CallMedia),
    Deny(String),
    HangUp(Option<String>),
    Mute(Switch),
    Hold(Switch),
    /// Another stream for a call that was there.
    Link(Link),
    /// The other's call takes the place of ours.
    Yield {
        link: Link,
        stream: u32,
    },
}

/// What happens to calls of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallRule {
    /// None is taken, and nobody is asked.
    #[default]
    None,
    /// An event tells that it rings; [`Peer::accept_call`](crate::Peer::accept_call) or
    /// [`Peer::deny_call`](crate::Peer::deny_call) answers.
    Ask,
}

/// Why a call could not be made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// It is over, or never was.
    #[error("there is no call with the number {0}")]
    NoSuchCall(u64),
    /// There is a call in the way.
    #[error("you are in a call with {with}; hang up first")]
    InCall {
        /// With whom.
        with: Name,
    },
    /// Too many calls.
    #[error("{max} calls are going on, which is the limit; wait for one to end")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// We are that user.
    #[error("{who} is yourself; name another user")]
    Ourselves {
        /// The name.
        who: Name,
    },
}
