//! A connection as programs see it, and how one is made of a carrier.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_identity::{Alpn, PeerId, remote_id};
use portolan_mux::{Mux, Side};
use portolan_mux_io::{MuxHandle, mux_config};
use portolan_transport::{
    AcceptStreamError, ByteStream, CloseCode, CloseReason, ConnectError, Connection,
    ConnectionConfig, ConnectionStats, Expect, Lifetime, OpenStreamError, Path, Priority,
    RecvDatagramError, RecvStream, SendDatagramError, SendStream,
};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::{
    counted::Counted,
    driver::Driver,
    error::{greeting_failed, handshake, tls_failed},
    greeting::{GreetError, Heard, greet},
    heartbeat::Heartbeat,
    host::Host,
};

/// Longest datagram in bytes, if the other side takes it: one record of TLS, nearly.
const DATAGRAM_MAX: u32 = 16_000;

/// One connection over TLS over a byte stream.
#[derive(Debug)]
pub(crate) struct TcpConnection {
    handle: MuxHandle<Host>,
    remote: PeerId,
    path: Path,
}

/// A TLS connection whose remote is known, before the greeting.
pub(crate) struct Secured<S> {
    pub(crate) tls: TlsStream<Counted<S>>,
    pub(crate) remote: PeerId,
    side: Side,
}

/// A connection and the task that must run for it.
pub(crate) struct Started<S> {
    pub(crate) connection: TcpConnection,
    pub(crate) driver: Box<Driver<S>>,
}

/// TLS as the side that connects.
pub(crate) async fn connect_tls<S: ByteStream>(
    carrier: S,
    config: &ConnectionConfig,
    alpn: Alpn,
    (addr, expect): (SocketAddr, &Expect),
) -> Result<Secured<S>, ConnectError> {
    let connector = TlsConnector::from(config.identity.client_config(alpn));
    let tls = connector.connect(expect.server_name(), Counted::new(carrier)).await;
    let tls = tls.map_err(|error| tls_failed(addr, expect, &error))?;
    secured(TlsStream::Client(tls), Side::Client, alpn, (addr, expect))
}

/// TLS as the side that was connected to.
pub(crate) async fn accept_tls<S: ByteStream>(
    carrier: S,
    config: &ConnectionConfig,
    alpn: Alpn,
    (addr, expect): (SocketAddr, &Expect),
) -> Result<Secured<S>, ConnectError> {
    let acceptor = TlsAcceptor::from(config.identity.server_config(alpn));
    let tls = acceptor.accept(Counted::new(carrier)).await;
    let tls = tls.map_err(|error| tls_failed(addr, expect, &error))?;
    secured(TlsStream::Server(tls), Side::Server, alpn, (addr, expect))
}

fn secured<S: ByteStream>(
    tls: TlsStream<Counted<S>>,
    side: Side,
    alpn: Alpn,
    (addr, expect): (SocketAddr, &Expect),
) -> Result<Secured<S>, ConnectError> {
    let session = tls.get_ref().1;
    alpn.confirm(session.alpn_protocol()).map_err(|error| handshake(addr, error.to_string()))?;
    let remote = remote_id(session.peer_certificates())
        .map_err(|error| handshake(addr, error.to_string()))?;
    match expect {
        Expect::Id(expected) if *expected != remote => {
            Err(ConnectError::WrongPeer { addr, expected: *expected })
        }
        Expect::Id(_) | Expect::Any => Ok(Secured { tls, remote, side }),
    }
}

impl<S: ByteStream> Secured<S> {
    /// Greets, and is then connected.
    pub(crate) async fn start(
        mut self,
        config: &ConnectionConfig,
        path: Path,
        expect: &Expect,
    ) -> Result<Started<S>, ConnectError> {
        let mut mux = Mux::new(self.side, mux_config(&config.limits, DATAGRAM_MAX));
        // The kernel holds what is under way; here waits what it will take next, and what stays
        // within the processor's cache is copied at half the price.
        mux.on_congestion_window(0);
        let failed = |error| greeting_failed(path.remote, expect, error);
        let heard = greet(&mut self.tls, &mux, config.timing.idle).await.map_err(failed)?;
        let Heard { params, idle, rest } = heard;
        mux.on_params(params).map_err(|violation| failed(GreetError::from(violation)))?;
        let counters = self.tls.get_ref().0.counters();
        let host = Arc::new(Host::new(mux, counters));
        let timing = config.timing;
        // Zero says nothing; what the other side gives up sooner, so do we.
        let idle = if idle == Duration::ZERO { timing.idle } else { timing.idle.min(idle) };
        let heartbeat = Heartbeat::new(Instant::now(), timing.keep_alive, idle);
        let driver = Box::new(Driver::new(Arc::clone(&host), self.tls, rest, heartbeat));
        let handle = MuxHandle::new(host);
        Ok(Started { connection: TcpConnection { handle, remote: self.remote, path }, driver })
    }
}

impl TcpConnection {
    pub(crate) fn host(&self) -> &Arc<Host> {
        self.handle.host()
    }
}

#[async_trait]
impl Connection for TcpConnection {
    async fn open_stream(
        &self,
        priority: Priority,
    ) -> Result<(SendStream, RecvStream), OpenStreamError> {
        self.handle.open_stream(priority).await
    }

    async fn accept_stream(&self) -> Result<(SendStream, RecvStream), AcceptStreamError> {
        self.handle.accept_stream().await
    }

    fn send_datagram(&self, payload: Bytes, lifetime: Lifetime) -> Result<(), SendDatagramError> {
        self.handle.send_datagram(payload, lifetime)
    }

    async fn recv_datagram(&self) -> Result<Bytes, RecvDatagramError> {
        self.handle.recv_datagram().await
    }

    fn max_datagram_size(&self) -> usize {
        self.handle.max_datagram_size()
    }

    fn remote_id(&self) -> PeerId {
        self.remote
    }

    fn remote_addr(&self) -> SocketAddr {
        self.path.remote
    }

    fn path(&self) -> Path {
        self.path
    }

    fn stats(&self) -> ConnectionStats {
        self.host().stats()
    }

    fn close(&self, code: CloseCode, reason: &str) {
        self.host().close(code, reason);
    }

    async fn closed(&self) -> CloseReason {
        self.handle.closed().await
    }
}
