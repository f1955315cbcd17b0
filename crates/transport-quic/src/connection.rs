//! One QUIC connection.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_identity::{PeerId, RemoteKeyError, remote_id};
use portolan_transport::{
    AcceptStreamError, CloseCode, CloseReason, Connection, ConnectionStats, Lifetime, Limits,
    OpenStreamError, Path, PathKind, Priority, RecvDatagramError, RecvStream, SendDatagramError,
    SendStream,
};
use quinn::{ConnectionError, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::{runtime::Handle, task::AbortHandle};
use tracing::{Span, debug, debug_span};

use crate::{
    ahead::Ahead,
    config::quinn_priority,
    datagrams::DatagramQueue,
    outbox::Courier,
    reason::close_reason,
    socket::QuicSocket,
    stream::{QuicRecv, QuicSend},
};

/// The target of a connection's span and events.
const TARGET: &str = "portolan_transport_quic::connection";

/// The class of streams that the remote opened: quinn's default.
const ACCEPTED: Priority = Priority::Interactive;

/// What connection handles and streams share; its end is the end of the connection.
pub(crate) struct Inner {
    quinn: quinn::Connection,
    socket: Arc<QuicSocket>,
    remote_id: PeerId,
    datagrams: Arc<DatagramQueue>,
    span: Span,
    limits: Limits,
    runtime: Handle,
    // From the first stream on.
    courier: OnceLock<(Arc<Courier>, AbortHandle)>,
    // What this side said when it closed the connection.
    farewell: OnceLock<(CloseCode, String)>,
}

impl Inner {
    /// Wraps an established connection. Must be called inside a tokio runtime.
    pub(crate) fn new(
        quinn: quinn::Connection,
        socket: Arc<QuicSocket>,
        limits: Limits,
    ) -> Result<Self, RemoteKeyError> {
        let peer = proved_key(&quinn)?;
        let remote = quinn.remote_address();
        let side = if quinn.side().is_client() { "client" } else { "server" };
        let span =
            debug_span!(target: TARGET, "connection", transport = "quic", side, %remote, %peer);
        debug!(target: TARGET, parent: &span, "connected");
        Ok(Self {
            remote_id: peer,
            span,
            quinn,
            socket,
            datagrams: Arc::new(DatagramQueue::new(limits.datagram_queue as usize)),
            limits,
            runtime: Handle::current(),
            courier: OnceLock::new(),
            farewell: OnceLock::new(),
        })
    }

    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        // quinn would let a late close of ours hide the reason why the connection has ended.
        if self.quinn.close_reason().is_some() {
            return;
        }
        let reason = CloseReason::cut(reason);
        if self.farewell.set((code, reason.to_owned())).is_ok() {
            self.quinn.close(VarInt::from_u32(code.0), reason.as_bytes());
            self.datagrams.stop();
        }
    }

    pub(crate) fn close_reason(&self, error: &ConnectionError) -> CloseReason {
        close_reason(error, self.farewell.get())
    }

    /// Why the connection is gone, if it is.
    pub(crate) fn gone(&self) -> Option<CloseReason> {
        self.quinn.close_reason().map(|error| self.close_reason(&error))
    }

    /// Who hands over what the streams gather.
    pub(crate) fn courier(&self) -> &Arc<Courier> {
        let (courier, _) = self.courier.get_or_init(|| {
            let ahead = Ahead::new(self.quinn.clone(), &self.limits);
            let sends = Arc::clone(self.socket.sends());
            let courier = Courier::new(ahead, sends, self.limits.send_buffer);
            let task = self.runtime.spawn(Arc::clone(&courier).run());
            (courier, task.abort_handle())
        });
        courier
    }

    fn remote_addr(&self) -> SocketAddr {
        let addr = self.quinn.remote_address();
        SocketAddr::new(addr.ip().to_canonical(), addr.port())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.datagrams.stop();
        self.close(CloseCode::DROPPED, "");
        if !self.span.is_disabled() {
            let reason = self.gone().map(|reason| reason.to_string());
            debug!(target: TARGET, parent: &self.span, reason, "closed");
        }
        if let Some((courier, task)) = self.courier.take() {
            task.abort();
            courier.clear();
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicConnection")
            .field("remote_id", &self.remote_id)
            .field("remote", &self.remote_addr())
            .finish_non_exhaustive()
    }
}

fn proved_key(quinn: &quinn::Connection) -> Result<PeerId, RemoteKeyError> {
    let shown = quinn.peer_identity().ok_or(RemoteKeyError::Missing)?;
    let certificates =
        shown.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| RemoteKeyError::NotEd25519)?;
    remote_id(Some(&certificates))
}

/// A handle to a QUIC connection.
#[derive(Debug)]
pub(crate) struct QuicConnection(pub(crate) Arc<Inner>);

impl QuicConnection {
    fn wrap(
        &self,
        priority: Priority,
        (send, recv): (quinn::SendStream, quinn::RecvStream),
    ) -> (SendStream, RecvStream) {
        (
            SendStream::new(QuicSend::new(send, priority, Arc::clone(&self.0))),
            RecvStream::new(QuicRecv::new(recv, Arc::clone(&self.0))),
        )
    }
}

#[async_trait]
impl Connection for QuicConnection {
    async fn open_stream(
        &self,
        priority: Priority,
    ) -> Result<(SendStream, RecvStream), OpenStreamError> {
        let opened = self.0.quinn.open_bi().await;
        let (send, recv) =
            opened.map_err(|error| OpenStreamError::Closed(self.0.close_reason(&error)))?;
        // Fails only when the stream has ended, which it cannot have.
        let _ = send.set_priority(quinn_priority(priority));
        Ok(self.wrap(priority, (send, recv)))
    }

    async fn accept_stream(&self) -> Result<(SendStream, RecvStream), AcceptStreamError> {
        let accepted = self.0.quinn.accept_bi().await;
        accepted
            .map(|halves| self.wrap(ACCEPTED, halves))
            .map_err(|error| AcceptStreamError::Closed(self.0.close_reason(&error)))
    }

    fn send_datagram(&self, payload: Bytes, lifetime: Lifetime) -> Result<(), SendDatagramError> {
        if let Some(reason) = self.0.gone() {
            return Err(SendDatagramError::Closed(reason));
        }
        let (size, max) = (payload.len(), self.max_datagram_size());
        if size > max {
            return Err(SendDatagramError::TooLarge { size, max });
        }
        match self.0.datagrams.send(&self.0.quinn, payload, lifetime) {
            Ok(()) => Ok(()),
            Err(quinn::SendDatagramError::ConnectionLost(error)) => {
                Err(SendDatagramError::Closed(self.0.close_reason(&error)))
            }
            Err(
                quinn::SendDatagramError::TooLarge
                | quinn::SendDatagramError::UnsupportedByPeer
                | quinn::SendDatagramError::Disabled,
            ) => Err(SendDatagramError::TooLarge { size, max: self.max_datagram_size() }),
        }
    }

    async fn recv_datagram(&self) -> Result<Bytes, RecvDatagramError> {
        let received = self.0.quinn.read_datagram().await;
        received.map_err(|error| RecvDatagramError::Closed(self.0.close_reason(&error)))
    }

    fn max_datagram_size(&self) -> usize {
        self.0.quinn.max_datagram_size().unwrap_or(0)
    }

    fn remote_id(&self) -> PeerId {
        self.0.remote_id
    }

    fn remote_addr(&self) -> SocketAddr {
        self.0.remote_addr()
    }

    fn path(&self) -> Path {
        let ip = self.0.quinn.local_ip().unwrap_or_else(|| self.0.socket.local().ip());
        Path {
            kind: PathKind::Direct,
            local: SocketAddr::new(ip.to_canonical(), self.0.socket.local().port()),
            remote: self.0.remote_addr(),
        }
    }

    fn stats(&self) -> ConnectionStats {
        let quinn = self.0.quinn.stats();
        let datagrams = self.0.datagrams.counts();
        ConnectionStats {
            rtt: Some(quinn.path.rtt),
            congestion_window: Some(quinn.path.cwnd),
            packet_size: Some(quinn.path.current_mtu.into()),
            bytes_sent: quinn.udp_tx.bytes,
            bytes_received: quinn.udp_rx.bytes,
            packets_sent: quinn.path.sent_packets,
            packets_received: quinn.udp_rx.datagrams,
            packets_lost: Some(quinn.path.lost_packets),
            datagrams_sent: quinn.frame_tx.datagram,
            datagrams_received: quinn.frame_rx.datagram,
            // quinn does not say what became of them, and sends none again.
            datagram_outcomes: None,
            datagrams_repaired: 0,
            datagrams_repeated: 0,
            datagram_bytes_repeated: 0,
            datagrams_expired: datagrams.expired,
            datagrams_dropped: datagrams.dropped,
            send_queue: datagrams.waiting_bytes as u64,
            // Not told by quinn.
            ..ConnectionStats::default()
        }
    }

    fn close(&self, code: CloseCode, reason: &str) {
        self.0.close(code, reason);
    }

    async fn closed(&self) -> CloseReason {
        let error = self.0.quinn.closed().await;
        self.0.close_reason(&error)
    }
}
