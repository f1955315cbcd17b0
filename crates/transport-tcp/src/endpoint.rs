//! A listener, its handshakes and its connections.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use portolan_identity::Alpn;
use portolan_transport::{
    AcceptError, BindConfig, BindError, CloseCode, ConnectError, Connection, ConnectionConfig,
    Dials, Endpoint, Expect, Path, PathKind, Simultaneous,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{
    accept_queue::AcceptQueue,
    claims::Claims,
    connection::{Started, TcpConnection, accept_tls, connect_tls},
    error::unreachable,
    greeting::turn_away,
    half_open::HalfOpen,
    host::Host,
    socket, stun,
    watch::Watch,
};

/// How long to leave the system alone when it has no descriptor or memory for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound TCP port.
#[derive(Debug)]
pub(crate) struct TcpEndpoint {
    inner: Arc<Inner>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) local: SocketAddr,
    pub(crate) config: ConnectionConfig,
    dials: Dials,
    /// Who is dialled while it dials us.
    pub(crate) claims: Claims,
    queue: Arc<AcceptQueue>,
    half_open: Arc<HalfOpen>,
    accepted: Arc<Semaphore>,
    connections: Mutex<Connections>,
    drivers: TaskTracker,
    pub(crate) closing: CancellationToken,
}

/// The connections that are not over.
#[derive(Debug, Default)]
struct Connections {
    hosts: HashMap<u64, Weak<Host>>,
    next: u64,
    closed: bool,
}

impl TcpEndpoint {
    pub(crate) fn bind(config: BindConfig) -> Result<Self, BindError> {
        let failed = |error| BindError::from_io(config.local, error);
        let listener = socket::listen(config.local, config.dials).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let limits = config.connection.limits;
        let inner = Arc::new(Inner {
            local,
            dials: config.dials,
            claims: Claims::default(),
            queue: Arc::new(AcceptQueue::new(limits.accept_backlog)),
            half_open: Arc::new(HalfOpen::new(limits.half_open)),
            accepted: semaphore(limits.connections),
            connections: Mutex::default(),
            drivers: TaskTracker::new(),
            closing: CancellationToken::new(),
            config: config.connection,
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&inner)));
        Ok(Self { inner, listening: Mutex::new(Some(listening)) })
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Begins the end: nothing new starts, every connection closes. Answers the listening task.
    fn shut(&self, code: CloseCode, reason: &str) -> Option<JoinHandle<()>> {
        self.inner.closing.cancel();
        let hosts = {
            let mut connections = self.inner.lock();
            connections.closed = true;
            std::mem::take(&mut connections.hosts)
        };
        for host in hosts.values().filter_map(Weak::upgrade) {
            host.close(code, reason);
        }
        self.inner.queue.close();
        self.inner.drivers.close();
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = &listening {
            task.abort();
        }
        listening
    }
}

impl Drop for TcpEndpoint {
    fn drop(&mut self) {
        self.shut(CloseCode::DROPPED, "");
    }
}

#[async_trait]
impl Endpoint for TcpEndpoint {
    async fn connect(
        &self,
        remote: SocketAddr,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let inner = &self.inner;
        let unusable =
            |detail: &str| ConnectError::Unusable { addr: remote, detail: detail.into() };
        if !reaches(inner.local, remote) {
            return Err(unusable("this end is bound to an address of the other IP version"));
        }
        let attempt = timeout(inner.config.timing.handshake, inner.dial(remote, &expect));
        let closing = inner.closing.cancelled();
        let started = tokio::select! {
            biased;
            () = closing => return Err(unusable("this end is closed")),
            started = attempt => started.map_err(|_| ConnectError::TimedOut(remote))??,
        };
        let connection = inner.run(started, None);
        Ok(Arc::new(connection.ok_or_else(|| unusable("this end is closed"))?))
    }

    async fn accept(&self) -> Result<Arc<dyn Connection>, AcceptError> {
        let connection = self.inner.queue.next().await.ok_or(AcceptError::Closed)?;
        Ok(Arc::new(connection))
    }

    fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    fn simultaneous(&self) -> Option<&dyn Simultaneous> {
        match self.inner.dials {
            Dials::AnyPort => None,
            Dials::BoundPort if cfg!(unix) => Some(self),
            // What would let two sockets share a port means something else there.
            Dials::BoundPort => None,
        }
    }

    async fn close(&self, code: CloseCode, reason: &str) {
        if let Some(listening) = self.shut(code, reason) {
            // Aborted: what it answers means nothing, but with it the port is free.
            let _ = listening.await;
        }
        self.inner.drivers.wait().await;
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn dial(
        &self,
        remote: SocketAddr,
        expect: &Expect,
    ) -> Result<Started<TcpStream>, ConnectError> {
        let stream = socket::connect(self.local, remote).await;
        let stream = stream.map_err(|error| unreachable(remote, error))?;
        let path = self.path(&stream, remote);
        let secured = connect_tls(stream, &self.config, Alpn::Tcp, (remote, expect)).await?;
        secured.start(&self.config, path, expect).await
    }

    /// The handshake of one that has connected to us; bounded in time by the caller.
    async fn welcome(
        self: &Arc<Self>,
        mut stream: TcpStream,
        remote: SocketAddr,
    ) -> Result<(), ConnectError> {
        socket::tune(&stream);
        let failed = |error| unreachable(remote, error);
        let mut first = [0; 1];
        tokio::select! {
            biased;
            claim = self.claims.claimed(remote) => {
                // Who does not take it has reached the remote otherwise.
                let _unneeded = claim.try_send(stream);
                return Ok(());
            }
            peeked = stream.peek(&mut first) => { peeked.map_err(failed)?; }
        }
        if stun::is_stun(first[0]) {
            return stun::answer(&mut stream, remote).await.map_err(failed);
        }
        let path = self.path(&stream, remote);
        let mut secured =
            accept_tls(stream, &self.config, Alpn::Tcp, (remote, &Expect::Any)).await?;
        let (Some(place), Ok(permit)) =
            (self.queue.keep(), Arc::clone(&self.accepted).try_acquire_owned())
        else {
            let _ = turn_away(&mut secured.tls, CloseCode::BUSY, "no room: try later").await;
            return Ok(());
        };
        let started = secured.start(&self.config, path, &Expect::Any).await?;
        if let Some(connection) = self.run(started, Some(permit)) {
            place.take(connection);
        }
        Ok(())
    }

    /// Starts the driver, unless the endpoint is closed; `permit` is held until it ends.
    pub(crate) fn run(
        self: &Arc<Self>,
        started: Started<TcpStream>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Option<TcpConnection> {
        let Started { connection, driver } = started;
        let mut connections = self.lock();
        if connections.closed {
            return None;
        }
        let number = connections.next;
        connections.next += 1;
        connections.hosts.insert(number, Arc::downgrade(connection.host()));
        let side = if permit.is_some() { "server" } else { "client" };
        let watch = Watch::new(&connection, side);
        let inner = Arc::clone(self);
        self.drivers.spawn(async move {
            driver.run().await;
            watch.closed();
            inner.lock().hosts.remove(&number);
            drop(permit);
        });
        Some(connection)
    }

    pub(crate) fn path(&self, stream: &TcpStream, remote: SocketAddr) -> Path {
        let local = stream.local_addr().map_or(self.local, socket::canonical);
        Path { kind: PathKind::Direct, local, remote }
    }
}

/// Takes connections until aborted; handshakes run side by side and end with it.
async fn listen(listener: TcpListener, inner: Arc<Inner>) {
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let Some(place) = inner.half_open.place().await else { return };
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        let remote = socket::canonical(remote);
        let Some(admitted) = inner.half_open.admit(remote.ip(), place) else {
            debug!(%remote, "too many handshakes at once");
            continue;
        };
        let inner = Arc::clone(&inner);
        handshakes.spawn(async move {
            let work = Box::pin(inner.welcome(stream, remote));
            match timeout(inner.config.timing.handshake, work).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "a handshake failed"),
                Err(_) => debug!(%remote, "a handshake took too long"),
            }
            drop(admitted);
        });
    }
}

/// A connection that died in the queue is the kernel's business; anything else needs a pause.
async fn pause_after(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
        _ => {
            debug!(%error, "cannot take a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Whether a socket bound to `local`'s address can connect to `remote`.
pub(crate) fn reaches(local: SocketAddr, remote: SocketAddr) -> bool {
    local.is_ipv4() == remote.is_ipv4() || (local.is_ipv6() && local.ip().is_unspecified())
}

fn semaphore(permits: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((permits as usize).min(Semaphore::MAX_PERMITS)))
}
