//! What is measured: anything that makes authenticated byte streams.

use std::{any::Any, net::SocketAddr};

use async_trait::async_trait;
use portolan_identity::{Identity, PeerId};
use tokio::io::{AsyncRead, AsyncWrite};

/// One way to make byte streams.
#[async_trait]
pub(crate) trait Subject: Send + Sync + 'static {
    /// The name of the row.
    fn name(&self) -> String;

    /// Binds a loopback port for `identity`.
    async fn listen(&self, identity: Identity) -> Box<dyn Listener>;

    /// A client that can connect many times.
    async fn client(&self, identity: Identity) -> Box<dyn Client>;
}

/// A bound server side.
#[async_trait]
pub(crate) trait Listener: Send {
    /// Where.
    fn local_addr(&self) -> SocketAddr;

    /// The next connection's first stream.
    async fn accept(&mut self) -> Session;
}

/// A client side.
#[async_trait]
pub(crate) trait Client: Send {
    /// A new connection and its first stream.
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> Session;
}

/// One stream of one connection.
pub(crate) struct Session {
    pub(crate) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) write: Box<dyn AsyncWrite + Send + Unpin>,
    /// Keeps the connection up.
    pub(crate) connection: Box<dyn Any + Send>,
}
