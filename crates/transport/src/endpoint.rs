//! A bound local end.

use std::{fmt, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use portolan_identity::Expect;

use crate::{AcceptError, CloseCode, ConnectError, Connection, RebindError, Simultaneous};

/// A bound local end: it connects to remote ends and accepts from them.
///
/// Handshakes run side by side: a slow or hostile one holds up no other. Dropping the last handle
/// closes the endpoint and its connections without waiting.
#[async_trait]
pub trait Endpoint: fmt::Debug + Send + Sync {
    /// Connects and authenticates: returns once the remote has proved the key that `expect` asks
    /// for.
    ///
    /// The remote may still turn us away, for which it closes the connection with a reason: treat
    /// a connection as up when the first answer has come. Cancel safe: a dropped call abandons
    /// the attempt.
    ///
    /// # Errors
    /// [`ConnectError`] says which of address, time, key or protocol stood in the way.
    async fn connect(
        &self,
        remote: SocketAddr,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError>;

    /// Waits for the next remote that has connected and proved its key.
    ///
    /// Cancel safe. Several tasks may wait; each connection goes to one.
    ///
    /// # Errors
    /// [`AcceptError::Closed`] once the endpoint is closed. Failed handshakes are not errors here.
    async fn accept(&self) -> Result<Arc<dyn Connection>, AcceptError>;

    /// The address that is bound, with the real port.
    fn local_addr(&self) -> SocketAddr;

    /// Binds another local address in place of the present one, after a change of network: the
    /// connections that this end began go on from there, under identifiers that do not show that
    /// they are the same; those that remotes began are lost unless they can still reach it.
    /// Returns the new address, with the real port. An endpoint that is bound to all addresses of
    /// the machine follows a change of its network by itself.
    ///
    /// # Errors
    /// [`RebindError`]; the present address stays then.
    async fn rebind(&self, local: SocketAddr) -> Result<SocketAddr, RebindError> {
        let _ = local;
        Err(RebindError::Unsupported)
    }

    /// What lets two ends dial each other at the same moment, where that opens holes through
    /// translators that datagrams do not: over TCP, bound with
    /// [`Dials::BoundPort`](crate::Dials::BoundPort).
    fn simultaneous(&self) -> Option<&dyn Simultaneous> {
        None
    }

    /// Closes every connection with `code` and `reason`, stops listening, and waits until the
    /// farewells are sent (bounded by the time a peer needs to answer). The port is free afterwards.
    async fn close(&self, code: CloseCode, reason: &str);
}
