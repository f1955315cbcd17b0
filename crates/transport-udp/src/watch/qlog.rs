//! Observations in the words of qlog (draft-ietf-quic-qlog-quic-events).

use std::{net::SocketAddr, time::Instant};

use portolan_mux::Side;
use portolan_qlog::{Log, Trace, Vantage};
use portolan_rudp::{
    CloseReason, Connection, ConnectionStats, LossSign, LostPacket, Observation, Observer, Owner,
    PacketKind, PacketView, Parameters, Stage, TimerChange,
};

use super::{
    events::{
        Closed, Dropped, Header, Keys, LossTimer, Lost, Metrics, Moved, Mtu, Packet, Phase, Raw,
        Started, State, TransportParameters, milliseconds,
    },
    frames::FrameList,
};

/// Writes what it observes into a log.
#[derive(Debug)]
pub struct QlogObserver {
    log: Log,
}

/// What the log of `connection` is about.
pub(super) fn trace(connection: &Connection, now: Instant) -> Trace {
    Trace {
        transport: "udp",
        vantage: match connection.side() {
            Side::Client => Vantage::Client,
            Side::Server => Vantage::Server,
        },
        original_id: format!("{:?}", connection.original_id()),
        started: now,
    }
}

impl QlogObserver {
    /// Writes into `log`, and first that `connection` has begun at an end with the address
    /// `local`.
    #[must_use]
    pub fn new(log: Log, connection: &Connection, (now, local): (Instant, SocketAddr)) -> Self {
        let started = Started::new(local, connection.remote_addr(), connection.original_id());
        log.record(now, "connectivity:connection_started", &started);
        Self { log }
    }

    /// A log of everything that `connection` does from `now` on, for those who drive a machine
    /// themselves.
    #[must_use]
    pub fn open(
        qlog: &portolan_qlog::Qlog,
        connection: &Connection,
        (now, local): (Instant, SocketAddr),
    ) -> Option<Self> {
        let log = qlog.open(|| trace(connection, now))?;
        Some(Self::new(log, connection, (now, local)))
    }

    fn on_packet(&self, now: Instant, name: &str, packet: &PacketView<'_>) {
        let raw = Raw { length: packet.size, payload_length: Some(packet.payload_len()) };
        let header = Header::new(packet.kind, packet.number, Some(packet.destination));
        self.log.record(now, name, &Packet { header, raw, frames: FrameList(packet.frames()) });
    }

    fn on_dropped(&self, now: Instant, size: usize, why: portolan_rudp::Dropped) {
        let trigger = match why {
            portolan_rudp::Dropped::Forged => "decryption_failure",
            portolan_rudp::Dropped::Duplicate => "duplicate",
            portolan_rudp::Dropped::KeyUnavailable => "key_unavailable",
        };
        let raw = Raw { length: size, payload_length: None };
        self.log.record(now, "transport:packet_dropped", &Dropped { raw, trigger });
    }

    fn on_lost(&self, now: Instant, packet: &LostPacket) {
        let (trigger, is_mtu_probe_packet) = match packet.why {
            LossSign::Reordering => ("reordering_threshold", None),
            LossSign::Time => ("time_threshold", None),
            LossSign::SizeProbe => ("reordering_threshold", Some(true)),
        };
        let header = Header::new(packet.kind, packet.number, None);
        let raw = Raw { length: usize::try_from(packet.size).unwrap_or(0), payload_length: None };
        let lost = Lost { header, raw, is_mtu_probe_packet, trigger };
        self.log.record(now, "recovery:packet_lost", &lost);
    }

    fn on_metrics(&self, now: Instant, stats: &ConnectionStats) {
        let metrics = Metrics {
            min_rtt: stats.rtt_min.map(milliseconds),
            smoothed_rtt: stats.rtt.map(milliseconds),
            latest_rtt: stats.rtt_latest.map(milliseconds),
            rtt_variance: stats.rtt_variation.map(milliseconds),
            pto_count: stats.probes_unanswered,
            congestion_window: stats.congestion_window,
            bytes_in_flight: stats.in_flight,
            ssthresh: stats.slow_start_threshold,
            // Bits a second, as everyone's.
            pacing_rate: stats.pacing_rate.map(|bytes| bytes.saturating_mul(8)),
        };
        self.log.record(now, "recovery:metrics_updated", &metrics);
    }

    fn on_loss_timer(&self, now: Instant, change: TimerChange) {
        let (event_type, delta) = match change {
            TimerChange::Set(at) => ("set", Some(milliseconds(at.saturating_duration_since(now)))),
            TimerChange::Stopped => ("cancelled", None),
            TimerChange::Expired => ("expired", None),
        };
        let timer = LossTimer { event_type, delta };
        self.log.record(now, "recovery:loss_timer_updated", &timer);
    }

    fn on_parameters(&self, now: Instant, parameters: &Parameters) {
        let owner = word(parameters.owner);
        let parameters = TransportParameters::new(owner, parameters);
        self.log.record(now, "transport:parameters_set", &parameters);
    }

    fn on_keys(&self, now: Instant, generation: u64, by: Owner) {
        let trigger = match by {
            Owner::Local => "local_update",
            Owner::Remote => "remote_update",
        };
        for key_type in ["client_1rtt_secret", "server_1rtt_secret"] {
            let keys = Keys { key_type, generation, trigger };
            self.log.record(now, "security:key_updated", &keys);
        }
    }

    fn on_stage(&self, now: Instant, stage: Stage) {
        let new = match stage {
            Stage::Attempted => "attempted",
            Stage::Established => "handshake_complete",
            Stage::Confirmed => "handshake_confirmed",
            Stage::Closing => "closing",
            Stage::Draining => "draining",
            Stage::Gone => "closed",
        };
        self.log.record(now, "connectivity:connection_state_updated", &State { new });
    }

    fn on_closed(&self, now: Instant, reason: &CloseReason) {
        self.log.record(now, "connectivity:connection_closed", &Closed::new(reason));
    }
}

impl Observer for QlogObserver {
    fn observe(&mut self, now: Instant, event: Observation<'_>) {
        match event {
            Observation::Sent(packet) => self.on_packet(now, "transport:packet_sent", &packet),
            Observation::Received(packet) => {
                self.on_packet(now, "transport:packet_received", &packet);
            }
            Observation::Dropped { size, why } => self.on_dropped(now, size, why),
            Observation::Lost(packet) => self.on_lost(now, &packet),
            Observation::Metrics(stats) => self.on_metrics(now, stats),
            Observation::Phase { old, new } => {
                self.log.record(now, "recovery:congestion_state_updated", &Phase { old, new });
            }
            Observation::LossTimer(change) => self.on_loss_timer(now, change),
            Observation::Parameters(parameters) => self.on_parameters(now, &parameters),
            Observation::PacketSize { old, new } => {
                self.log.record(now, "connectivity:mtu_updated", &Mtu { old, new });
            }
            Observation::KeysUpdated { generation, by } => self.on_keys(now, generation, by),
            Observation::RemoteMoved { old, new } => {
                self.log.record(now, "connectivity:path_updated", &Moved { old, new });
            }
            Observation::Stage(stage) => self.on_stage(now, stage),
            Observation::Closed(reason) => self.on_closed(now, reason),
        }
    }
}

fn word(owner: Owner) -> &'static str {
    match owner {
        Owner::Local => "local",
        Owner::Remote => "remote",
    }
}

/// The name of a packet's kind in qlog.
pub(super) fn packet_type(kind: PacketKind) -> &'static str {
    match kind {
        PacketKind::Init => "initial",
        PacketKind::Handshake => "handshake",
        PacketKind::Data => "1RTT",
    }
}
