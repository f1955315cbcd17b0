//! A bound QUIC endpoint.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use async_trait::async_trait;
use portolan_datagram_io::{Lane, LaneSocket, SharedSockets, unreachable};
use portolan_qlog::{Qlog, Vantage};
use portolan_transport::{
    AcceptError, Backlog, BindError, CloseCode, CloseReason, ConnectError, Connection,
    ConnectionConfig, Endpoint, Expect, Limits, RebindError, Timing,
};
use quinn::{Connecting, ConnectionError, Incoming, ServerConfig, TokioRuntime, VarInt};
use tokio::{sync::watch, time::timeout};

use crate::{
    accept,
    config::{Configs, transport},
    connection::{Inner, QuicConnection},
    reason::{self, connect_error, start_error},
    socket::QuicSocket,
    watch::qlog_stream,
};

/// What the endpoint's handle, its accepting task and its handshakes share.
pub(crate) struct Core {
    pub(crate) quinn: quinn::Endpoint,
    pub(crate) socket: Arc<QuicSocket>,
    pub(crate) watched: Watched,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
    pub(crate) backlog: Backlog<Arc<QuicConnection>>,
    farewell: OnceLock<(CloseCode, String)>,
    // May hold dead ones; swept when it has doubled.
    connections: Mutex<Vec<Weak<Inner>>>,
}

impl Core {
    /// Takes an established connection in.
    pub(crate) fn adopt(&self, quinn: quinn::Connection) -> Result<Arc<QuicConnection>, String> {
        let inner = Inner::new(quinn, Arc::clone(&self.socket), self.limits);
        let inner = inner.map_err(|no| no.to_string())?;
        let inner = Arc::new(inner);
        self.remember(&inner);
        // Closed meanwhile: the closing task may have looked before we were remembered.
        if let Some((code, reason)) = self.farewell.get() {
            inner.close(*code, reason);
        }
        Ok(Arc::new(QuicConnection(inner)))
    }

    fn remember(&self, inner: &Arc<Inner>) {
        let mut connections = self.connections();
        if connections.len() == connections.capacity() {
            connections.retain(|connection| connection.strong_count() > 0);
            let room = connections.len();
            connections.reserve(room + 1);
        }
        connections.push(Arc::downgrade(inner));
    }

    /// Says farewell everywhere; the accepting task does the rest. The first call counts.
    fn begin_close(&self, code: CloseCode, reason: &str) {
        let reason = CloseReason::cut(reason);
        if self.farewell.set((code, reason.to_owned())).is_err() {
            return;
        }
        let connections = std::mem::take(&mut *self.connections());
        for connection in connections.iter().filter_map(Weak::upgrade) {
            connection.close(code, reason);
        }
        self.backlog.close();
        self.quinn.close(VarInt::from_u32(code.0), reason.as_bytes());
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Weak<Inner>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes configurations of connections that somebody watches.
pub(crate) struct Watched {
    qlog: Qlog,
    server: ServerConfig,
    config: ConnectionConfig,
}

impl Watched {
    /// `client`, with a log of its own if there is to be one.
    fn client(&self, client: &quinn::ClientConfig) -> quinn::ClientConfig {
        let mut client = client.clone();
        if let Some(stream) = qlog_stream(&self.qlog, Vantage::Client, None) {
            let mut transport = transport(&self.config);
            transport.qlog_stream(Some(stream));
            client.transport_config(Arc::new(transport));
        }
        client
    }

    /// Accepts `incoming`, with a log of its own if there is to be one.
    pub(crate) fn accept(&self, incoming: Incoming) -> Result<Connecting, ConnectionError> {
        let id = incoming.orig_dst_cid().to_string();
        let Some(stream) = qlog_stream(&self.qlog, Vantage::Server, Some(id)) else {
            return incoming.accept();
        };
        let mut transport = transport(&self.config);
        transport.qlog_stream(Some(stream));
        let mut server = self.server.clone();
        server.transport_config(Arc::new(transport));
        incoming.accept_with(Arc::new(server))
    }
}

/// The handle; dropping it closes the endpoint.
pub(crate) struct QuicEndpoint {
    core: Arc<Core>,
    sockets: Arc<SharedSockets>,
    client: quinn::ClientConfig,
    // Changes, or loses its sender, when the accepting task has given the port back.
    released: watch::Receiver<bool>,
}

impl QuicEndpoint {
    /// Starts to serve `lane`, one of `sockets`. Must be called inside a tokio runtime.
    pub(crate) fn start(
        (lane, sockets): (Arc<LaneSocket>, Arc<SharedSockets>),
        config: &ConnectionConfig,
        qlog: Qlog,
    ) -> io::Result<Self> {
        let Configs { endpoint, server, client } = Configs::new(config);
        let watched = Watched { qlog, server: server.clone(), config: config.clone() };
        let socket = Arc::new(QuicSocket::new(lane));
        let quinn = quinn::Endpoint::new_with_abstract_socket(
            endpoint,
            Some(server),
            Arc::<QuicSocket>::clone(&socket),
            Arc::new(TokioRuntime),
        )?;
        let core = Arc::new(Core {
            quinn,
            socket,
            watched,
            limits: config.limits,
            timing: config.timing,
            backlog: Backlog::new(config.limits.accept_backlog as usize),
            farewell: OnceLock::new(),
            connections: Mutex::default(),
        });
        let (release, released) = watch::channel(false);
        // Ends by itself soon after `begin_close`, which dropping the handle calls too.
        tokio::spawn(accept::run(Arc::clone(&core), release));
        Ok(Self { core, sockets, client, released })
    }
}

#[async_trait]
impl Endpoint for QuicEndpoint {
    async fn connect(
        &self,
        remote: SocketAddr,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        if self.core.farewell.get().is_none() && !self.core.socket.can_send_to(remote) {
            let detail = format!("{} cannot send to it", self.local_addr());
            return Err(ConnectError::Unusable { addr: remote, detail });
        }
        let connecting = self
            .core
            .quinn
            .connect_with(self.core.watched.client(&self.client), remote, &expect.dns_name())
            .map_err(|error| start_error(&error, remote))?;
        let handshake = timeout(self.core.timing.handshake, connecting);
        let connected = tokio::select! {
            biased;
            outcome = handshake => outcome.map_err(|_| ConnectError::TimedOut(remote))?,
            verdict = unreachable(self.local_addr(), remote) => {
                return Err(reason::unreachable(remote, verdict));
            }
        };
        let quinn = connected.map_err(|error| connect_error(&error, remote, expect))?;
        match self.core.adopt(quinn) {
            Ok(connection) => Ok(connection),
            Err(detail) => Err(ConnectError::Handshake { addr: remote, detail }),
        }
    }

    async fn accept(&self) -> Result<Arc<dyn Connection>, AcceptError> {
        match self.core.backlog.pop().await {
            Some(connection) => Ok(connection),
            None => Err(AcceptError::Closed),
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.core.socket.local()
    }

    async fn rebind(&self, local: SocketAddr) -> Result<SocketAddr, RebindError> {
        let lane = self.sockets.open(local, Lane::Quic);
        let lane = lane.map_err(|source| BindError::from_io(local, source))?;
        let bound = lane.local_addr();
        let socket = &self.core.socket;
        if self.core.farewell.get().is_some() || !socket.exchange(lane) {
            return Err(RebindError::Closed);
        }
        // The same socket as before to quinn, which tells its connections that it is another.
        let told = self.core.quinn.rebind_abstract(Arc::<QuicSocket>::clone(socket));
        told.map_err(|source| BindError::from_io(local, source))?;
        Ok(bound)
    }

    async fn close(&self, code: CloseCode, reason: &str) {
        self.core.begin_close(code, reason);
        // Without a sender the runtime is shutting down, and the port with it.
        let _ = self.released.clone().wait_for(|released| *released).await;
    }
}

impl Drop for QuicEndpoint {
    fn drop(&mut self) {
        self.core.begin_close(CloseCode::DROPPED, "");
    }
}

impl fmt::Debug for QuicEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicEndpoint").field("local", &self.local_addr()).finish_non_exhaustive()
    }
}
