//! Two ends that dial each other at the same moment, each from the port that it listens on.

use std::{any::Any, fmt, io, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use portolan_identity::Expect;

use crate::{ConnectError, Connection};

/// Opens connections from both sides at once (RFC 9293 §3.5, figure 8; RFC 5382 §4.2): what goes
/// out opens the hole in our translator through which the other's comes in.
#[async_trait]
pub trait Simultaneous: fmt::Debug + Send + Sync {
    /// As which `server` sees what comes from the bound port. Cancel safe.
    ///
    /// # Errors
    /// What the system says, or that the server does not tell.
    async fn seen_by(&self, server: SocketAddr) -> io::Result<Seen>;

    /// Dials `remote`, which dials us, until one of the two gets through; bounded in time and
    /// tries. Both dial, so both could take themselves for the client: `speaks` settles it, and
    /// the other side has to be told the opposite. Cancel safe.
    ///
    /// # Errors
    /// [`ConnectError`] as for [`Endpoint::connect`](crate::Endpoint::connect).
    async fn open(
        &self,
        remote: SocketAddr,
        expect: Expect,
        speaks: Speaks,
    ) -> Result<Arc<dyn Connection>, ConnectError>;
}

/// Who is the client of a connection that both have opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaks {
    /// We.
    First,
    /// The other side.
    Second,
}

/// Our port as somebody outside sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The address.
    pub address: SocketAddr,
    /// While this is kept, translators on the way keep the mapping.
    pub kept: Option<Arc<dyn Any + Send + Sync>>,
}

impl Seen {
    /// An address that needs nothing to be kept.
    #[must_use]
    pub const fn at(address: SocketAddr) -> Self {
        Self { address, kept: None }
    }
}
