//! quinn's view of our end of the shared UDP port.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{SocketAddr, SocketAddrV4},
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use portolan_datagram_io::{LaneSocket, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// quinn sizes its receive buffers as 1,472 bytes a segment. Other protocols on the port may use
/// packets of any size, so every buffer has to hold the longest: 45 of quinn's.
const RECV_SEGMENTS_MIN: usize = 45;

/// The QUIC lane of a socket, which can be exchanged for another and taken away from under quinn.
///
/// quinn keeps its socket until the last handle of a connection is dropped; ours gives the port
/// back when the endpoint is closed. Afterwards sends vanish and nothing is received.
#[derive(Debug)]
pub(crate) struct QuicSocket {
    bound: RwLock<Bound>,
    /// quinn names IPv4 remotes by mapped addresses: it was begun on an IPv6 socket.
    maps: bool,
    // The last send found the system's buffer full.
    blocked: AtomicBool,
    sends: Arc<AtomicU64>,
}

/// What the endpoint is bound to, and was last.
#[derive(Debug)]
struct Bound {
    lane: Option<Arc<LaneSocket>>,
    local: SocketAddr,
}

impl QuicSocket {
    pub(crate) fn new(lane: Arc<LaneSocket>) -> Self {
        let local = lane.local_addr();
        Self {
            bound: RwLock::new(Bound { lane: Some(lane), local }),
            maps: local.is_ipv6(),
            blocked: AtomicBool::new(false),
            sends: Arc::default(),
        }
    }

    /// How often quinn has sent something, which tells whether its tasks have run.
    pub(crate) fn sends(&self) -> &Arc<AtomicU64> {
        &self.sends
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.bound().local
    }

    /// Gives the lane back.
    pub(crate) fn detach(&self) {
        let lane = self.bound.write().unwrap_or_else(PoisonError::into_inner).lane.take();
        drop(lane);
    }

    /// Uses `lane` from now on; false: the lane was given back already. quinn must be told.
    pub(crate) fn exchange(&self, lane: Arc<LaneSocket>) -> bool {
        let mut bound = self.bound.write().unwrap_or_else(PoisonError::into_inner);
        if bound.lane.is_none() {
            return false;
        }
        bound.local = lane.local_addr();
        let old = bound.lane.replace(lane);
        drop(bound);
        self.blocked.store(false, Ordering::Release);
        drop(old);
        true
    }

    pub(crate) fn can_send_to(&self, remote: SocketAddr) -> bool {
        self.lane().is_some_and(|lane| lane.can_send_to(remote))
    }

    fn lane(&self) -> Option<Arc<LaneSocket>> {
        self.bound().lane.clone()
    }

    fn bound(&self) -> RwLockReadGuard<'_, Bound> {
        self.bound.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// quinn compares addresses, and on an IPv6 socket names IPv4 remotes by mapped ones.
    fn address_for_quinn(&self, addr: SocketAddr) -> SocketAddr {
        match addr {
            SocketAddr::V4(v4) if self.maps => mapped(v4),
            other => other,
        }
    }
}

fn mapped(addr: SocketAddrV4) -> SocketAddr {
    SocketAddr::new(addr.ip().to_ipv6_mapped().into(), addr.port())
}

/// The address as a socket of the family of `local` takes it.
fn address_for_socket(local: SocketAddr, addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if local.is_ipv6() => mapped(v4),
        SocketAddr::V6(_) if local.is_ipv4() => {
            SocketAddr::new(addr.ip().to_canonical(), addr.port())
        }
        other => other,
    }
}

impl AsyncUdpSocket for QuicSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(lane) = self.lane() else { return Ok(()) };
        self.sends.fetch_add(1, Ordering::Relaxed);
        let destination = address_for_socket(lane.local_addr(), transmit.destination);
        let transmit = Transmit { destination, ..transmit.clone() };
        // A train that was sent in part is not offered again: quinn would repeat its beginning.
        lane.try_send(&transmit).map(drop).map_err(|_| {
            self.blocked.store(true, Ordering::Release);
            io::ErrorKind::WouldBlock.into()
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some(lane) = self.lane() else { return Poll::Pending };
        let count = ready!(lane.poll_recv(cx, buffers, metas))?;
        for meta in &mut metas[..count] {
            meta.addr = self.address_for_quinn(meta.addr);
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local())
    }

    fn max_transmit_segments(&self) -> usize {
        self.lane().map_or(1, |lane| lane.max_send_segments())
    }

    fn max_receive_segments(&self) -> usize {
        self.lane().map_or(1, |lane| lane.max_recv_segments()).max(RECV_SEGMENTS_MIN)
    }

    fn may_fragment(&self) -> bool {
        self.lane().is_some_and(|lane| lane.may_fragment())
    }
}

type Wait = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Waits for room in the system's buffer, for one connection.
struct Writable {
    socket: Arc<QuicSocket>,
    waiting: Option<Wait>,
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nearly always there is room: trying costs less than asking.
        if !self.socket.blocked.load(Ordering::Acquire) {
            self.waiting = None;
            return Poll::Ready(Ok(()));
        }
        let Some(lane) = self.socket.lane() else { return Poll::Ready(Ok(())) };
        let waiting =
            self.waiting.get_or_insert_with(|| Box::pin(async move { lane.writable().await }));
        ready!(waiting.as_mut().poll(cx))?;
        self.waiting = None;
        self.socket.blocked.store(false, Ordering::Release);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").field("waiting", &self.waiting.is_some()).finish()
    }
}
