//! Roads between two peers that a test can close, block and slow down: every connection that a peer
//! makes goes by a forwarder of the test.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_datagram_io::is_relayed;
use portolan_identity::{Expect, PeerId};
use portolan_transport::{
    AcceptError, AcceptStreamError, BindConfig, BindError, Capabilities, Carrier, CloseCode,
    CloseReason, ConnectError, Connection, ConnectionStats, Endpoint, Lifetime, MigrateError,
    OpenStreamError, Path, Priority, RebindError, RecvDatagramError, RecvStream, SendDatagramError,
    SendStream, Transport,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket, tcp},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// What a road lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Nobody sets out; who is under way waits.
    Closed,
    /// Whoever sets out is sent home at once; who is on a connection already may wait.
    Refused,
    /// Everything.
    Open,
    /// That many bytes a second.
    Slow(u64),
    /// That many bytes on one of them; then all are blocked.
    Until(u64),
    /// What goes in does not come out.
    Blocked,
}

/// A kind of roads: all of them are alike.
#[derive(Debug)]
pub(crate) struct Road(Arc<watch::Sender<Traffic>>);

impl Road {
    fn new(traffic: Traffic) -> Self {
        Self(Arc::new(watch::Sender::new(traffic)))
    }

    /// Lets that through from now on.
    pub(crate) fn let_through(&self, traffic: Traffic) {
        self.0.send_replace(traffic);
    }

    fn traffic(&self) -> watch::Receiver<Traffic> {
        self.0.subscribe()
    }

    fn toll(&self) -> Toll {
        Toll {
            road: Arc::clone(&self.0),
            traffic: self.traffic(),
            passed: 0,
            free_at: Instant::now(),
        }
    }

    /// Waits until one can set out.
    async fn opened(&self) {
        let is_closed = |traffic: &Traffic| matches!(traffic, Traffic::Closed | Traffic::Refused);
        let _ = self.traffic().wait_for(|traffic| !is_closed(traffic)).await;
    }
}

/// A transport whose connections go by roads.
#[derive(Debug)]
pub(crate) struct Rough {
    inner: &'static dyn Transport,
    pub(crate) roads: Arc<Roads>,
}

/// All roads there are.
#[derive(Debug)]
pub(crate) struct Roads {
    server: OnceLock<SocketAddr>,
    /// To the server.
    pub(crate) to_server: Road,
    /// From peer to peer.
    pub(crate) direct: Road,
    /// Connections in datagrams through the relay; these can only be closed or open.
    pub(crate) relayed: Road,
}

impl Rough {
    /// The transport that a test gives to all of its programs.
    pub(crate) fn leak(inner: &'static dyn Transport) -> &'static Self {
        let roads = Roads {
            server: OnceLock::new(),
            to_server: Road::new(Traffic::Open),
            direct: Road::new(Traffic::Open),
            relayed: Road::new(Traffic::Open),
        };
        Box::leak(Box::new(Self { inner, roads: Arc::new(roads) }))
    }

    pub(crate) fn table(&'static self) -> &'static [&'static dyn Transport] {
        Box::leak(Box::new([self as &dyn Transport]))
    }
}

#[async_trait]
impl Transport for Rough {
    fn scheme(&self) -> &'static str {
        self.inner.scheme()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn bind(&self, config: BindConfig) -> Result<Arc<dyn Endpoint>, BindError> {
        let inner = self.inner.bind(config).await?;
        // The first one is the server's.
        self.roads.server.get_or_init(|| inner.local_addr());
        let (roads, carrier) = (Arc::clone(&self.roads), self.capabilities().carrier);
        let forwarders = Forwarders { carrier, tasks: Arc::default() };
        Ok(Arc::new(RoughEndpoint { inner, roads, forwarders }))
    }
}

/// The tasks that carry; they end with the last handle.
#[derive(Debug, Clone)]
struct Forwarders {
    carrier: Carrier,
    tasks: Arc<std::sync::Mutex<JoinSet<()>>>,
}

impl Forwarders {
    /// A forwarder to `target`.
    async fn build(&self, target: SocketAddr, road: &Road) -> SocketAddr {
        let local = "127.0.0.1:0";
        let target = SocketAddr::new(target.ip().to_canonical(), target.port());
        match self.carrier {
            Carrier::Tcp => {
                let listener = TcpListener::bind(local).await.unwrap();
                let addr = listener.local_addr().unwrap();
                self.tasks.lock().unwrap().spawn(carry_stream(
                    listener,
                    target,
                    [road.toll(), road.toll()],
                ));
                addr
            }
            Carrier::Udp | Carrier::Memory => {
                let near = UdpSocket::bind(local).await.unwrap();
                let addr = near.local_addr().unwrap();
                self.tasks.lock().unwrap().spawn(carry_datagrams(near, target, road.toll()));
                addr
            }
        }
    }
}

#[derive(Debug)]
struct RoughEndpoint {
    inner: Arc<dyn Endpoint>,
    roads: Arc<Roads>,
    forwarders: Forwarders,
}

#[async_trait]
impl Endpoint for RoughEndpoint {
    async fn connect(
        &self,
        remote: SocketAddr,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        if is_relayed(remote) {
            self.roads.relayed.opened().await;
            let inner = self.inner.connect(remote, expect).await?;
            let (roads, forwarders) = (Arc::clone(&self.roads), self.forwarders.clone());
            return Ok(Arc::new(RoughConnection { inner, roads, forwarders }));
        }
        let road = match self.roads.server.get() {
            Some(server) if server.port() == remote.port() => &self.roads.to_server,
            Some(_) | None => &self.roads.direct,
        };
        if *road.traffic().borrow() == Traffic::Refused {
            return Err(ConnectError::TimedOut(remote));
        }
        road.opened().await;
        let addr = self.forwarders.build(remote, road).await;
        self.inner.connect(addr, expect).await
    }

    async fn accept(&self) -> Result<Arc<dyn Connection>, AcceptError> {
        self.inner.accept().await
    }

    fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }

    async fn rebind(&self, local: SocketAddr) -> Result<SocketAddr, RebindError> {
        self.inner.rebind(local).await
    }

    async fn close(&self, code: CloseCode, reason: &str) {
        self.inner.close(code, reason).await;
    }
}

/// A connection through the relay, which may go over to a road.
#[derive(Debug)]
struct RoughConnection {
    inner: Arc<dyn Connection>,
    roads: Arc<Roads>,
    forwarders: Forwarders,
}

#[async_trait]
impl Connection for RoughConnection {
    async fn open_stream(
        &self,
        priority: Priority,
    ) -> Result<(SendStream, RecvStream), OpenStreamError> {
        self.inner.open_stream(priority).await
    }

    async fn accept_stream(&self) -> Result<(SendStream, RecvStream), AcceptStreamError> {
        self.inner.accept_stream().await
    }

    fn send_datagram(&self, payload: Bytes, lifetime: Lifetime) -> Result<(), SendDatagramError> {
        self.inner.send_datagram(payload, lifetime)
    }

    async fn recv_datagram(&self) -> Result<Bytes, RecvDatagramError> {
        self.inner.recv_datagram().await
    }

    fn max_datagram_size(&self) -> usize {
        self.inner.max_datagram_size()
    }

    fn remote_id(&self) -> PeerId {
        self.inner.remote_id()
    }

    fn remote_addr(&self) -> SocketAddr {
        self.inner.remote_addr()
    }

    fn path(&self) -> Path {
        self.inner.path()
    }

    fn stats(&self) -> ConnectionStats {
        self.inner.stats()
    }

    async fn migrate(&self, remote: SocketAddr) -> Result<(), MigrateError> {
        if is_relayed(remote) {
            return self.inner.migrate(remote).await;
        }
        self.roads.direct.opened().await;
        let addr = self.forwarders.build(remote, &self.roads.direct).await;
        self.inner.migrate(addr).await
    }

    fn close(&self, code: CloseCode, reason: &str) {
        self.inner.close(code, reason);
    }

    async fn closed(&self) -> CloseReason {
        self.inner.closed().await
    }
}

/// Lets bytes through as the road does.
struct Toll {
    road: Arc<watch::Sender<Traffic>>,
    traffic: watch::Receiver<Traffic>,
    passed: u64,
    free_at: Instant,
}

impl Toll {
    /// Counts bytes that come out; waits where the road is slow. False: they do not come out.
    async fn pass(&mut self, bytes: u64) -> bool {
        if self.traffic.has_changed().unwrap_or(false) {
            self.traffic.mark_unchanged();
            self.passed = 0;
        }
        let traffic = *self.traffic.borrow();
        match traffic {
            Traffic::Open => true,
            Traffic::Slow(rate) => {
                let took = Duration::from_nanos(bytes * 1_000_000_000 / rate);
                self.free_at = self.free_at.max(Instant::now()) + took;
                // Of no other use than to be slow: nothing is asserted about it.
                sleep_until(self.free_at).await;
                true
            }
            Traffic::Until(max) => {
                self.passed += bytes;
                if self.passed > max {
                    self.road.send_if_modified(|now| {
                        let blows = *now == traffic;
                        *now = if blows { Traffic::Blocked } else { *now };
                        blows
                    });
                }
                self.passed <= max
            }
            Traffic::Closed | Traffic::Refused | Traffic::Blocked => false,
        }
    }

    /// Waits until the road is another.
    async fn changed(&mut self) {
        let _ = self.traffic.changed().await;
        self.passed = 0;
    }
}

async fn carry_stream(listener: TcpListener, target: SocketAddr, tolls: [Toll; 2]) {
    let Ok((near, _)) = listener.accept().await else { return };
    let Ok(far) = TcpStream::connect(target).await else { return };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let [there, back] = tolls;
    tokio::join!(pour(near_in, far_out, there), pour(far_in, near_out, back));
}

async fn pour(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut toll: Toll) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        while !toll.pass(length as u64).await {
            toll.changed().await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

async fn carry_datagrams(near: UdpSocket, target: SocketAddr, mut toll: Toll) {
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut there, mut back) = (vec![0; 65536], vec![0; 65536]);
    let mut client = None;
    loop {
        tokio::select! {
            Ok((length, from)) = near.recv_from(&mut there) => {
                client = Some(from);
                if toll.pass(length as u64).await {
                    let _ = far.send_to(&there[..length], target).await;
                }
            }
            Ok((length, _)) = far.recv_from(&mut back) => {
                if let Some(client) = client && toll.pass(length as u64).await {
                    let _ = near.send_to(&back[..length], client).await;
                }
            }
        }
    }
}
