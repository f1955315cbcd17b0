//! Servers that come and go: on a network where nobody has set one up, one of those who are there
//! hosts it in its own program, and when that ends another one does.
//!
//! ```text
//!   supervisor ── find ──▶ LanFinder ── search ── Gathering (pure: who hosts)
//!                              │  \
//!                        LanBrowser  Watch ── Announcement, RunningHost
//!                          (mDNS)      (as long as we host)
//! ```
//!
//! What a host is trusted with, and with what not, is in `docs/lan.md`; why it is so in ADR 0039.

mod finder;
mod gathering;
mod host;
mod sightings;

use std::{fmt, net::SocketAddr};

use async_trait::async_trait;
use portolan_identity::PeerId;

pub(crate) use finder::{LanError, LanFinder, LanNews, Rules, Target, Turn};

/// A server, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundServer {
    /// The key that it has to prove.
    pub id: PeerId,
    /// Where it may be, best first.
    pub addresses: Vec<SocketAddr>,
}

/// Finds the server of a session again each time the connection to it is lost, where that may be
/// another server each time.
#[async_trait]
pub trait ServerSource: fmt::Debug + Send + Sync {
    /// Looks for the server to go to now; `None`: there is none yet, and the session asks again
    /// later. Cancel safe.
    async fn find(&self) -> Option<FoundServer>;

    /// We are logged in at the one with this key.
    fn reached(&self, id: PeerId);
}

/// Starts servers inside this program, for networks that have none.
#[async_trait]
pub trait Hosting: fmt::Debug + Send + Sync {
    /// Starts one with a key of its own, at a port of every address of this machine, which keeps
    /// nothing. Not cancel safe.
    ///
    /// # Errors
    /// Why there is none, for people.
    async fn start(&self) -> Result<Box<dyn RunningHost>, String>;
}

/// A server inside this program. Dropped, it ends at once and without a farewell.
#[async_trait]
pub trait RunningHost: fmt::Debug + Send + Sync {
    /// Its key.
    fn id(&self) -> PeerId;

    /// The port of all its transports.
    fn port(&self) -> u16;

    /// Ends it in good order; everyone who is logged in is told why.
    async fn end(self: Box<Self>, why: &str);
}
