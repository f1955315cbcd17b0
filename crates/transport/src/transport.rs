//! A transport: the factory of endpoints.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{BindConfig, BindError, Endpoint};

/// A way to reach other peers: a factory of [`Endpoint`]s.
///
/// Programs keep transports in a table and never name one; `portolan::ALL_TRANSPORTS` is ours.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// The name in addresses and on the command line: `tcp` in `--transport tcp` and `tcp://host`.
    fn scheme(&self) -> &'static str;

    /// What a caller may rely on, beyond what every transport promises.
    fn capabilities(&self) -> Capabilities;

    /// Binds a local address and starts to serve it.
    ///
    /// Port 0 asks the system for a free port; [`Endpoint::local_addr`] says which it gave.
    /// Not cancel safe: a dropped call may leave the port bound until the runtime has cleaned up.
    ///
    /// # Errors
    /// [`BindError`] when the address is taken, not ours, or not allowed.
    async fn bind(&self, config: BindConfig) -> Result<Arc<dyn Endpoint>, BindError>;
}

/// What a transport offers beyond the common promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// One line for people who choose: what it is and when it is the right one.
    pub summary: &'static str,
    /// What carries the bytes, and so which firewalls and port numbers apply.
    pub carrier: Carrier,
    /// Whether a datagram is independent of streams: if not, a lost packet delays it too.
    pub independent_datagrams: bool,
}

/// What carries a transport's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// A TCP port.
    Tcp,
    /// A UDP port, which several transports of one program share.
    Udp,
    /// Memory of this process: addresses mean nothing outside it.
    Memory,
}
