//! A bound UDP endpoint.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use portolan_datagram_io::{Lane, LaneSocket, SharedSockets, unreachable};
use portolan_qlog::Qlog;
use portolan_rudp::Endpoint as Machine;
use portolan_transport::{
    AcceptError, Backlog, BindError, CloseCode, CloseReason, ConnectError, Connection,
    ConnectionConfig, Endpoint, Expect, RebindError,
};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{
    connection::UdpConnection,
    driver::Driver,
    inbox::{Inbox, Request},
    reason::closed,
};

/// The handle; dropping it closes the endpoint.
pub(crate) struct UdpEndpoint {
    inbox: Arc<Inbox>,
    backlog: Arc<Backlog<UdpConnection>>,
    sockets: Arc<SharedSockets>,
    local: Mutex<SocketAddr>,
    handshake: Duration,
    // Loses its sender when the driver has ended and the port is free.
    running: watch::Receiver<()>,
}

impl UdpEndpoint {
    /// Starts to serve `lane`, one of `sockets`. Must be called inside a tokio runtime.
    pub(crate) fn start(
        (lane, sockets): (Arc<LaneSocket>, Arc<SharedSockets>),
        machine: Machine,
        config: &ConnectionConfig,
        qlog: Qlog,
    ) -> Self {
        let local = lane.local_addr();
        let inbox = Arc::<Inbox>::default();
        let backlog = Arc::new(Backlog::new(config.limits.accept_backlog as usize));
        let (alive, running) = watch::channel(());
        let doors = (Arc::clone(&inbox), Arc::clone(&backlog));
        let driver = Driver::new(lane, machine, (config, qlog), doors);
        // Ends by itself soon after `Inbox::close`, which dropping the handle calls too.
        tokio::spawn(async move {
            driver.run().await;
            drop(alive);
        });
        let (local, handshake) = (Mutex::new(local), config.timing.handshake);
        Self { inbox, backlog, sockets, local, handshake, running }
    }

    fn check(&self, remote: SocketAddr) -> Result<(), ConnectError> {
        if self.inbox.farewell().is_some() {
            return Err(closed(remote));
        }
        let local = self.local_addr();
        let reachable = local.is_ipv6() || remote.ip().to_canonical().is_ipv4();
        if reachable && remote.port() != 0 {
            return Ok(());
        }
        let detail = format!("{local} cannot send to it");
        Err(ConnectError::Unusable { addr: remote, detail })
    }

    /// The driver has dropped the reply.
    fn unanswered(&self, addr: SocketAddr) -> ConnectError {
        if self.inbox.farewell().is_some() {
            return closed(addr);
        }
        let detail = "too many attempts wait already".to_owned();
        ConnectError::Unusable { addr, detail }
    }

    fn begin_close(&self, code: CloseCode, reason: &str) {
        self.inbox.close(code, CloseReason::cut(reason));
    }
}

/// Tells the driver when an attempt is given up before its outcome, whatever the reason.
struct Attempt<'a> {
    inbox: &'a Inbox,
    over: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.inbox.give_up();
        }
    }
}

#[async_trait]
impl Endpoint for UdpEndpoint {
    async fn connect(
        &self,
        remote: SocketAddr,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        self.check(remote)?;
        let (reply, outcome) = oneshot::channel();
        // Dropped after the receiver of the outcome, so that the driver finds the reply closed.
        let mut attempt = Attempt { inbox: &self.inbox, over: false };
        self.inbox.request(Request { remote, expect, reply });
        let connection = tokio::select! {
            biased;
            outcome = timeout(self.handshake, outcome) => {
                let outcome = outcome.map_err(|_| ConnectError::TimedOut(remote))?;
                attempt.over = true;
                outcome.map_err(|_| self.unanswered(remote))??
            }
            source = unreachable(self.local_addr(), remote) => {
                return Err(ConnectError::Unreachable { addr: remote, source });
            }
        };
        Ok(Arc::new(connection))
    }

    async fn accept(&self) -> Result<Arc<dyn Connection>, AcceptError> {
        match self.backlog.pop().await {
            Some(connection) => Ok(Arc::new(connection)),
            None => Err(AcceptError::Closed),
        }
    }

    fn local_addr(&self) -> SocketAddr {
        *self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn rebind(&self, local: SocketAddr) -> Result<SocketAddr, RebindError> {
        let socket = self.sockets.open(local, Lane::Rudp);
        let socket = socket.map_err(|source| BindError::from_io(local, source))?;
        let bound = socket.local_addr();
        if self.inbox.farewell().is_some() || !self.inbox.rebind(socket) {
            return Err(RebindError::Closed);
        }
        *self.local.lock().unwrap_or_else(PoisonError::into_inner) = bound;
        Ok(bound)
    }

    async fn close(&self, code: CloseCode, reason: &str) {
        self.begin_close(code, reason);
        // Nothing is ever sent: this ends when the driver does.
        while self.running.clone().changed().await.is_ok() {}
    }
}

impl Drop for UdpEndpoint {
    fn drop(&mut self) {
        self.begin_close(CloseCode::DROPPED, "");
    }
}

impl fmt::Debug for UdpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpEndpoint").field("local", &self.local_addr()).finish_non_exhaustive()
    }
}
