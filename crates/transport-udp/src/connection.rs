//! One connection, as programs see it.

use std::{fmt, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_identity::PeerId;
use portolan_mux_io::{MuxHandle, add_mux_stats, datagram_outcomes};
use portolan_rudp::MigrationError;
use portolan_transport::{
    AcceptStreamError, CloseCode, CloseReason, Connection, ConnectionStats, Lifetime, MigrateError,
    OpenStreamError, Path, PathKind, Priority, RecvDatagramError, RecvStream, SendDatagramError,
    SendStream, Waited,
};

use crate::host::Host;

/// A handle to an established connection.
pub(crate) struct UdpConnection {
    handle: MuxHandle<Host>,
    remote_id: PeerId,
}

impl UdpConnection {
    /// The first handle of `host`, whose remote has proved to be `remote_id`.
    pub(crate) fn new(host: Arc<Host>, remote_id: PeerId) -> Self {
        Self { handle: MuxHandle::new(host), remote_id }
    }

    pub(crate) fn host(&self) -> &Host {
        self.handle.host()
    }
}

#[async_trait]
impl Connection for UdpConnection {
    async fn open_stream(
        &self,
        priority: Priority,
    ) -> Result<(SendStream, RecvStream), OpenStreamError> {
        self.handle.open_stream(priority).await
    }

    async fn accept_stream(&self) -> Result<(SendStream, RecvStream), AcceptStreamError> {
        self.handle.accept_stream().await
    }

    fn send_datagram(&self, payload: Bytes, lifetime: Lifetime) -> Result<(), SendDatagramError> {
        self.handle.send_datagram(payload, lifetime)
    }

    async fn recv_datagram(&self) -> Result<Bytes, RecvDatagramError> {
        self.handle.recv_datagram().await
    }

    fn max_datagram_size(&self) -> usize {
        self.handle.max_datagram_size()
    }

    fn remote_id(&self) -> PeerId {
        self.remote_id
    }

    fn remote_addr(&self) -> SocketAddr {
        self.host().lock().connection.remote_addr()
    }

    fn path(&self) -> Path {
        Path { kind: PathKind::Direct, local: self.host().local(), remote: self.remote_addr() }
    }

    fn stats(&self) -> ConnectionStats {
        let mut state = self.host().lock();
        let wire = state.connection.stats();
        let mux = state.connection.mux().stats();
        drop(state);
        let mut stats = ConnectionStats {
            rtt: wire.rtt,
            rtt_min: wire.rtt_min,
            rtt_variation: wire.rtt_variation,
            congestion_window: Some(wire.congestion_window),
            in_flight: Some(wire.in_flight),
            pacing_rate: wire.pacing_rate,
            packet_size: Some(wire.packet_size as u64),
            bytes_sent: wire.bytes_sent,
            bytes_received: wire.bytes_received,
            packets_sent: wire.packets_sent,
            packets_received: wire.packets_received,
            packets_lost: Some(wire.packets_lost),
            packets_late: Some(wire.packets_late),
            packets_repeated: Some(wire.packets_repeated),
            packets_forged: Some(wire.packets_forged),
            packets_marked: Some(wire.ecn_marked),
            probes: Some(wire.probes),
            path_changes: Some(wire.path_changes),
            key_updates: Some(wire.key_updates),
            waited: Some(waited(wire.waited)),
            datagram_outcomes: Some(datagram_outcomes(&mux)),
            ..ConnectionStats::default()
        };
        add_mux_stats(&mut stats, &mux);
        stats
    }

    async fn migrate(&self, remote: SocketAddr) -> Result<(), MigrateError> {
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        let now = tokio::time::Instant::now().into_std();
        let outcome = self.host().try_path(now, remote).map_err(|error| match error {
            MigrationError::Server => MigrateError::NotOurs,
            MigrationError::NotEstablished | MigrationError::NoName => MigrateError::TooEarly,
            MigrationError::NotProbed => MigrateError::NoAnswer(remote),
        })?;
        match outcome.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(MigrateError::NoAnswer(remote)),
            Err(_) => Err(MigrateError::Closed),
        }
    }

    fn close(&self, code: CloseCode, reason: &str) {
        self.host().close(code, reason);
    }

    async fn closed(&self) -> CloseReason {
        self.handle.closed().await
    }
}

impl fmt::Debug for UdpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpConnection")
            .field("remote_id", &self.remote_id)
            .field("remote", &self.remote_addr())
            .finish_non_exhaustive()
    }
}

fn waited(machine: portolan_rudp::Waited) -> Waited {
    let portolan_rudp::Waited { for_application, for_remote, for_window, for_pacer } = machine;
    Waited { for_application, for_remote, for_window, for_pacer }
}
