//! The one UDP socket of an address.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, SocketAddrV6},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::{io::Interest, net::UdpSocket};

use crate::{
    Lane, Reading,
    channels::{ChannelTable, is_relayed},
    demux::Demux,
    wake::Readers,
};

/// The longest UDP payload over IPv4 in bytes (65,535 less 20 of IP and 8 of UDP). It bounds a
/// GSO train too: the system refuses longer ones whole.
pub const MAX_DATAGRAM: usize = 65_507;

/// Asked of the system for each direction; it may give less.
const SOCKET_BUFFER: usize = 4 << 20;

/// Reads in one poll that bring nothing for the poller before others get their turn.
const FRUITLESS_READS_MAX: usize = 16;

/// What became of datagrams that reached no protocol, since the socket was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketStats {
    /// Received, of no protocol that shares the port.
    pub unknown: u64,
    /// Received, for a lane that is not open.
    pub unclaimed: u64,
    /// Received, but pushed out of the full queue of a lane that was not read.
    pub overflowed: u64,
    /// Sends that the system refused: no route, too long for the link, a firewall.
    pub refused: u64,
}

/// A bound UDP socket and its lanes.
#[derive(Debug)]
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    demux: Mutex<Demux>,
    channels: Arc<ChannelTable>,
    readers: Arc<Readers>,
    readers_waker: Waker,
    refused: AtomicU64,
}

impl Socket {
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let raw = RawSocket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            // Where the system has no dual stack, IPv6 alone still works.
            let _ = raw.set_only_v6(false);
        }
        // The system gives what its administrator allows; less is no error.
        let _ = raw.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = raw.set_send_buffer_size(SOCKET_BUFFER);
        raw.set_nonblocking(true)?;
        raw.bind(&addr.into())?;
        let io = UdpSocket::from_std(raw.into())?;
        let readers = Arc::<Readers>::default();
        let channels = Arc::<ChannelTable>::default();
        Ok(Self {
            state: UdpSocketState::new((&io).into())?,
            local: io.local_addr()?,
            io,
            demux: Mutex::new(Demux::new(Arc::clone(&channels))),
            channels,
            readers_waker: Waker::from(Arc::clone(&readers)),
            readers,
            refused: AtomicU64::new(0),
        })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn demux(&self) -> MutexGuard<'_, Demux> {
        self.demux.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens `lane`; false when it is open already.
    pub(crate) fn open_lane(&self, lane: Lane, reading: Reading) -> bool {
        let mut demux = self.demux();
        let opened = demux.open(lane, reading);
        self.spread_the_reading(&demux);
        opened
    }

    /// Closes `lane` and throws away what waits for it.
    pub(crate) fn close_lane(&self, lane: Lane) {
        let mut demux = self.demux();
        demux.close(lane);
        self.spread_the_reading(&demux);
    }

    fn spread_the_reading(&self, demux: &Demux) {
        Lane::ALL.into_iter().for_each(|lane| self.readers.rest(lane, demux.rests(lane)));
    }

    pub(crate) fn channels(&self) -> &Arc<ChannelTable> {
        &self.channels
    }

    pub(crate) fn state(&self) -> &UdpSocketState {
        &self.state
    }

    pub(crate) fn stats(&self) -> SocketStats {
        let dropped = self.demux().dropped();
        SocketStats {
            unknown: dropped.unknown,
            unclaimed: dropped.unclaimed,
            overflowed: dropped.overflowed,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Reads for `lane`; what comes for the others goes to their queues.
    ///
    /// The lock is held over the read, so that nothing read later overtakes what was read before.
    pub(crate) fn poll_recv(
        &self,
        lane: Lane,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.readers.register(lane, cx.waker());
        let mut woken = [false; Lane::ALL.len()];
        let mut demux = self.demux();
        let waiting = demux.take(lane, buffers, metas);
        if waiting > 0 {
            return Poll::Ready(Ok(waiting));
        }
        if self.readers.is_resting(lane) {
            return Poll::Pending;
        }
        let poll = self.poll_read(&mut demux, lane, (buffers, metas), &mut woken);
        drop(demux);
        for other in Lane::ALL.into_iter().filter(|other| woken[other.index()]) {
            self.readers.wake_lane(other);
        }
        poll
    }

    fn poll_read(
        &self,
        demux: &mut Demux,
        lane: Lane,
        (buffers, metas): (&mut [IoSliceMut<'_>], &mut [RecvMeta]),
        woken: &mut [bool; Lane::ALL.len()],
    ) -> Poll<io::Result<usize>> {
        for _ in 0..FRUITLESS_READS_MAX {
            ready!(self.io.poll_recv_ready(&mut Context::from_waker(&self.readers_waker)))?;
            let read = self
                .io
                .try_io(Interest::READABLE, || self.state.recv((&self.io).into(), buffers, metas));
            // Errors here are echoes of something sent (ICMP) or `WouldBlock`; none ends a socket
            // without connections.
            let Ok(count) = read else { continue };
            let kept = demux.sort(lane, &mut buffers[..count], &mut metas[..count], woken);
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
        self.readers_waker.wake_by_ref();
        Poll::Pending
    }

    /// Sends a datagram, or a train of them, in as few calls as the system allows.
    ///
    /// Returns the bytes that are done with, whole segments; fewer than all when the socket's
    /// buffer became full on the way.
    pub(crate) fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<usize> {
        if is_relayed(transmit.destination) {
            let wrapped = self.channels.wrap(transmit, |wrapped| self.try_send_plain(wrapped));
            return wrapped.unwrap_or_else(|| {
                // The channel is closed: nobody is there any more.
                self.refused.fetch_add(1, Ordering::Relaxed);
                Ok(transmit.contents.len())
            });
        }
        self.try_send_plain(transmit)
    }

    fn try_send_plain(&self, transmit: &Transmit<'_>) -> io::Result<usize> {
        let total = transmit.contents.len();
        let per_call = self.bytes_per_call(transmit);
        let mut sent = 0;
        while sent < total {
            let end = total.min(sent + per_call);
            let part = Transmit {
                destination: self.address_for_system(transmit.destination),
                src_ip: transmit.src_ip.map(|ip| self.ip_for_system(ip)),
                contents: &transmit.contents[sent..end],
                ..transmit.clone()
            };
            match self.try_send_call(&part) {
                Ok(()) => sent = end,
                Err(_) if sent > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    fn try_send_call(&self, part: &Transmit<'_>) -> io::Result<()> {
        let result =
            self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), part));
        match result {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::trace!(destination = %part.destination, %error, "datagram refused");
                Ok(())
            }
            other => other,
        }
    }

    /// How much of a train goes into one call: whole segments, as many as the system segments by
    /// itself, and no more bytes than it takes at once.
    fn bytes_per_call(&self, transmit: &Transmit<'_>) -> usize {
        match transmit.segment_size {
            Some(segment) if segment > 0 && segment < transmit.contents.len() => {
                let count = self.state.max_gso_segments().min(MAX_DATAGRAM / segment).max(1);
                count * segment
            }
            _ => transmit.contents.len(),
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    /// An IPv6 socket names IPv4 remotes by mapped addresses.
    fn address_for_system(&self, addr: SocketAddr) -> SocketAddr {
        match addr {
            SocketAddr::V4(v4) if self.local.is_ipv6() => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            other => other,
        }
    }

    fn ip_for_system(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(v4) if self.local.is_ipv6() => v4.to_ipv6_mapped().into(),
            other => other,
        }
    }
}
