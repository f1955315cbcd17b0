//! A bound port.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use portolan_transport::{
    AcceptError, BindConfig, BindError, CloseCode, ConnectError, Connection, ConnectionConfig,
    Endpoint, Expect,
};

use crate::{
    connection::MemConnection,
    link::{Link, Side},
    ports::Ports,
};

/// One handle on a bound port; dropping it closes the port and its connections.
pub(crate) struct MemEndpoint {
    listener: Arc<Listener>,
    ports: Arc<Ports>,
}

/// What others reach a port by.
pub(crate) struct Listener {
    addr: SocketAddr,
    config: ConnectionConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Connections of this endpoint in either direction, those that are gone pruned as new ones come.
    links: Vec<Weak<Link>>,
    backlog: VecDeque<Arc<MemConnection>>,
    acceptors: Vec<Waker>,
}

impl MemEndpoint {
    pub(crate) fn bind(config: BindConfig) -> Result<Self, BindError> {
        let ports = config.shared.get_or_default::<Ports>();
        let connection = config.connection;
        let listener = ports.bind(config.local, |addr| Listener {
            addr,
            config: connection,
            state: Mutex::default(),
        })?;
        Ok(Self { listener, ports })
    }

    fn shut(&self, code: CloseCode, reason: &str) {
        let (links, backlog, acceptors) = {
            let mut state = self.listener.lock();
            if state.closed {
                return;
            }
            state.closed = true;
            let State { links, backlog, acceptors, .. } = &mut *state;
            (std::mem::take(links), std::mem::take(backlog), std::mem::take(acceptors))
        };
        self.ports.release(self.listener.addr.port());
        for link in links.iter().filter_map(Weak::upgrade) {
            link.close(link.side_at(self.listener.addr), code, reason);
        }
        drop(backlog);
        acceptors.into_iter().for_each(Waker::wake);
    }
}

impl Drop for MemEndpoint {
    fn drop(&mut self) {
        self.shut(CloseCode::DROPPED, "");
    }
}

#[async_trait]
impl Endpoint for MemEndpoint {
    async fn connect(
        &self,
        remote: SocketAddr,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let Some(listener) = self.ports.find(remote.port()) else {
            let source = io::Error::from(io::ErrorKind::ConnectionRefused);
            return Err(ConnectError::Unreachable { addr: remote, source });
        };
        match expect {
            Expect::Id(expected) if expected != listener.config.identity.id() => {
                return Err(ConnectError::WrongPeer { addr: remote, expected });
            }
            Expect::Id(_) | Expect::Any => {}
        }
        let link = Link::new(
            [&self.listener.config, &listener.config],
            [self.listener.addr, listener.addr],
        );
        // One lock at a time: an endpoint may dial itself, and two may dial each other.
        self.listener
            .adopt(&link)
            .map_err(|detail| ConnectError::Unusable { addr: remote, detail: detail.to_owned() })?;
        listener
            .welcome(&link)
            .map_err(|reason| ConnectError::Refused { addr: remote, reason: reason.to_owned() })?;
        Ok(Arc::new(MemConnection::new(link, Side::Client)))
    }

    async fn accept(&self) -> Result<Arc<dyn Connection>, AcceptError> {
        poll_fn(|cx| self.listener.poll_accept(cx)).await
    }

    fn local_addr(&self) -> SocketAddr {
        self.listener.addr
    }

    async fn close(&self, code: CloseCode, reason: &str) {
        self.shut(code, reason);
    }
}

impl Listener {
    /// Counts a connection that this endpoint dials.
    fn adopt(&self, link: &Arc<Link>) -> Result<(), &'static str> {
        let mut state = self.lock();
        if state.closed {
            return Err("the endpoint is closed");
        }
        state.links.retain(|link| link.upgrade().is_some_and(|link| !link.is_closed()));
        state.links.push(Arc::downgrade(link));
        Ok(())
    }

    /// Takes a connection that another endpoint dials, if there is room.
    fn welcome(&self, link: &Arc<Link>) -> Result<(), &'static str> {
        self.adopt(link)?;
        let limits = &self.config.limits;
        let mut state = self.lock();
        if state.backlog.len() >= limits.accept_backlog as usize
            || state.links.len() > limits.connections as usize
        {
            return Err("no room for another connection; try again later");
        }
        state.backlog.push_back(Arc::new(MemConnection::new(Arc::clone(link), Side::Server)));
        let acceptors = std::mem::take(&mut state.acceptors);
        drop(state);
        acceptors.into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Arc<dyn Connection>, AcceptError>> {
        let mut state = self.lock();
        if state.closed {
            return Poll::Ready(Err(AcceptError::Closed));
        }
        if let Some(connection) = state.backlog.pop_front() {
            return Poll::Ready(Ok(connection));
        }
        if !state.acceptors.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.acceptors.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemEndpoint").field(&self.listener.addr).finish()
    }
}
