//! One protocol's end of a shared socket.

use std::{
    future::poll_fn,
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use quinn_udp::{RecvMeta, Transmit};

use crate::{
    Batch, Channel, Lane, SocketStats,
    registry::Sockets,
    socket::{MAX_DATAGRAM, Socket},
};

/// One protocol's end of a UDP socket that it may share with others.
///
/// One task receives; any number may send. Dropping it closes the lane; the last lane closes the
/// socket.
#[derive(Debug)]
pub struct LaneSocket {
    // Always there until drop.
    socket: Option<Arc<Socket>>,
    lane: Lane,
    sockets: Arc<Sockets>,
}

impl LaneSocket {
    pub(crate) fn new(socket: Arc<Socket>, lane: Lane, sockets: Arc<Sockets>) -> Self {
        Self { socket: Some(socket), lane, sockets }
    }

    /// The address that is bound, with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.socket().local()
    }

    /// The protocol that this end carries.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Whether `remote` is of a family that this socket can send to.
    #[must_use]
    pub fn can_send_to(&self, remote: SocketAddr) -> bool {
        remote.port() != 0 && (self.local_addr().is_ipv6() || remote.ip().to_canonical().is_ipv4())
    }

    /// Opens a channel through the relay at `relay`, whose number it has told: what is sent to the
    /// channel's address goes there under that number, and what comes under it seems to come from
    /// that address, whatever its protocol.
    #[must_use]
    pub fn open_channel(&self, relay: SocketAddr, number: u64) -> Channel {
        Channel::open(Arc::clone(self.socket().channels()), relay, number)
    }

    /// Receives trains of datagrams into `buffers` and says in `metas` what they are; the buffers
    /// may change places among themselves. Only the task that polled last is woken.
    ///
    /// Buffers should have 64 KiB: what does not fit is lost, other lanes' datagrams too.
    ///
    /// # Errors
    /// Only when the runtime is shutting down.
    pub fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket().poll_recv(self.lane, cx, buffers, metas)
    }

    /// Waits for datagrams and fills `batch` with them, which was emptied. Cancel safe.
    ///
    /// # Errors
    /// As for [`Self::poll_recv`].
    pub async fn recv(&self, batch: &mut Batch) -> io::Result<()> {
        poll_fn(|cx| self.poll_batch(cx, batch)).await
    }

    /// [`Self::recv`] as a poll.
    ///
    /// # Errors
    /// As for [`Self::poll_recv`].
    pub fn poll_batch(&self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        batch.fill(|buffers, metas| self.poll_recv(cx, buffers, metas))
    }

    /// Sends a datagram or a train of equal segments, without waiting, and returns how many bytes
    /// are done with. Fewer than all, always whole segments: send the rest when
    /// [`Self::writable`].
    ///
    /// What the system refuses for other reasons than a full buffer is lost, as datagrams are.
    ///
    /// # Errors
    /// `WouldBlock` only.
    pub fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<usize> {
        self.socket().try_send(transmit)
    }

    /// Waits until sending may succeed again. Cancel safe; any number may wait.
    ///
    /// # Errors
    /// As for [`Self::poll_recv`].
    pub async fn writable(&self) -> io::Result<()> {
        self.socket().writable().await
    }

    /// How many segments the system sends in one call now; 1 without GSO.
    #[must_use]
    pub fn max_send_segments(&self) -> usize {
        self.socket().state().max_gso_segments()
    }

    /// How many segments the system may hand over in one buffer; 1 without GRO.
    #[must_use]
    pub fn max_recv_segments(&self) -> usize {
        self.socket().state().gro_segments()
    }

    /// Whether the system may fragment what is sent: then packet sizes cannot be discovered.
    #[must_use]
    pub fn may_fragment(&self) -> bool {
        self.socket().state().may_fragment()
    }

    /// What became of datagrams that reached no protocol, on the whole socket.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        self.socket().stats()
    }

    /// The longest datagram that [`Self::try_send`] can send.
    #[must_use]
    pub const fn max_datagram() -> usize {
        MAX_DATAGRAM
    }

    fn socket(&self) -> &Socket {
        self.socket.as_deref().unwrap_or_else(|| unreachable!("taken by drop only"))
    }
}

impl Drop for LaneSocket {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.close_lane(self.lane);
            self.sockets.release(socket);
        }
    }
}
