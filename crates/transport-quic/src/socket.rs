//! quinn's view of our end of the shared UDP port.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use portolan_datagram_io::{LaneSocket, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// quinn sizes its receive buffers as 1,472 bytes a segment. Other protocols on the port may use
/// packets of any size, so every buffer has to hold the longest: 45 of quinn's.
const RECV_SEGMENTS_MIN: usize = 45;

/// The QUIC lane of a socket, which can be taken away from under quinn.
///
/// quinn keeps its socket until the last handle of a connection is dropped; ours gives the port
/// back when the endpoint is closed. Afterwards sends vanish and nothing is received.
#[derive(Debug)]
pub(crate) struct QuicSocket {
    lane: RwLock<Option<Arc<LaneSocket>>>,
    local: SocketAddr,
    // The last send found the system's buffer full.
    blocked: AtomicBool,
    sends: Arc<AtomicU64>,
}

impl QuicSocket {
    pub(crate) fn new(lane: Arc<LaneSocket>) -> Self {
        let local = lane.local_addr();
        Self {
            lane: RwLock::new(Some(lane)),
            local,
            blocked: AtomicBool::new(false),
            sends: Arc::default(),
        }
    }

    /// How often quinn has sent something, which tells whether its tasks have run.
    pub(crate) fn sends(&self) -> &Arc<AtomicU64> {
        &self.sends
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Gives the lane back.
    pub(crate) fn detach(&self) {
        let lane = self.lane.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(lane);
    }

    pub(crate) fn can_send_to(&self, remote: SocketAddr) -> bool {
        self.lane().is_some_and(|lane| lane.can_send_to(remote))
    }

    fn lane(&self) -> Option<Arc<LaneSocket>> {
        self.lane.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// quinn compares addresses, and on an IPv6 socket names IPv4 remotes by mapped ones.
    fn address_for_quinn(&self, addr: SocketAddr) -> SocketAddr {
        match addr {
            SocketAddr::V4(v4) if self.local.is_ipv6() => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            other => other,
        }
    }
}

impl AsyncUdpSocket for QuicSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(lane) = self.lane() else { return Ok(()) };
        self.sends.fetch_add(1, Ordering::Relaxed);
        // A train that was sent in part is not offered again: quinn would repeat its beginning.
        lane.try_send(transmit).map(drop).map_err(|_| {
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
        Ok(self.local)
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
