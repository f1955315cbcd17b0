//! The data of qlog's events.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use portolan_rudp::{CloseReason, ConnectionId, PacketKind, Parameters};
use serde::Serialize;

use super::{frames::FrameList, qlog::packet_type};

/// As qlog has times: with fractions.
pub(super) fn milliseconds(time: Duration) -> f64 {
    // Microseconds are what clocks have use for.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[derive(Serialize)]
pub(super) struct Started {
    ip_version: &'static str,
    src_ip: IpAddr,
    dst_ip: IpAddr,
    protocol: &'static str,
    src_port: u16,
    dst_port: u16,
    dst_cid: String,
}

impl Started {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr, original: ConnectionId) -> Self {
        Self {
            ip_version: if remote.is_ipv4() { "ipv4" } else { "ipv6" },
            src_ip: local.ip(),
            dst_ip: remote.ip(),
            protocol: "portolan-udp/1",
            src_port: local.port(),
            dst_port: remote.port(),
            dst_cid: format!("{original:?}"),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Packet<'a> {
    pub(super) header: Header,
    pub(super) raw: Raw,
    pub(super) frames: FrameList<'a>,
}

#[derive(Serialize)]
pub(super) struct Header {
    packet_type: &'static str,
    packet_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dcid: Option<Hex>,
}

impl Header {
    pub(super) fn new(kind: PacketKind, number: u64, destination: Option<ConnectionId>) -> Self {
        // Data packets name always the same: said once, when the connection began.
        let dcid = destination.filter(|_| kind != PacketKind::Data).map(Hex);
        Self { packet_type: packet_type(kind), packet_number: number, dcid }
    }
}

/// A connection ID, written without a string between.
struct Hex(ConnectionId);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:?}", self.0))
    }
}

#[derive(Serialize)]
pub(super) struct Raw {
    pub(super) length: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload_length: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct Dropped {
    pub(super) raw: Raw,
    pub(super) trigger: &'static str,
}

#[derive(Serialize)]
pub(super) struct Lost {
    pub(super) header: Header,
    pub(super) raw: Raw,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_mtu_probe_packet: Option<bool>,
    pub(super) trigger: &'static str,
}

#[derive(Serialize)]
pub(super) struct Metrics {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_rtt: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) smoothed_rtt: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latest_rtt: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rtt_variance: Option<f64>,
    pub(super) pto_count: u32,
    pub(super) congestion_window: u64,
    pub(super) bytes_in_flight: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ssthresh: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pacing_rate: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Phase {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) old: Option<&'static str>,
    pub(super) new: &'static str,
}

#[derive(Serialize)]
pub(super) struct LossTimer {
    pub(super) event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct TransportParameters {
    owner: &'static str,
    max_idle_timeout: u64,
    max_udp_payload_size: u16,
    max_ack_delay: f64,
    initial_max_data: u64,
    initial_max_stream_data_bidi_local: u64,
    initial_max_stream_data_bidi_remote: u64,
    initial_max_streams_bidi: u64,
    max_datagram_frame_size: u64,
}

impl TransportParameters {
    pub(super) fn new(owner: &'static str, parameters: &Parameters) -> Self {
        let mux = &parameters.mux;
        Self {
            owner,
            max_idle_timeout: parameters.idle_ms,
            max_udp_payload_size: parameters.packet_max,
            max_ack_delay: milliseconds(Duration::from_micros(parameters.ack_delay_us)),
            initial_max_data: mux.connection_window,
            initial_max_stream_data_bidi_local: mux.stream_window,
            initial_max_stream_data_bidi_remote: mux.stream_window,
            initial_max_streams_bidi: mux.streams,
            max_datagram_frame_size: mux.datagram_max,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Mtu {
    pub(super) old: usize,
    pub(super) new: usize,
}

#[derive(Serialize)]
pub(super) struct Moved {
    pub(super) old: SocketAddr,
    pub(super) new: SocketAddr,
}

/// A change of keys; the keys themselves are never said.
#[derive(Serialize)]
pub(super) struct Keys {
    pub(super) key_type: &'static str,
    pub(super) generation: u64,
    pub(super) trigger: &'static str,
}

#[derive(Serialize)]
pub(super) struct State {
    pub(super) new: &'static str,
}

#[derive(Serialize)]
pub(super) struct Closed {
    owner: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_code: Option<u64>,
    reason: String,
    trigger: &'static str,
}

impl Closed {
    pub(super) fn new(reason: &CloseReason) -> Self {
        let (owner, trigger) = match reason {
            CloseReason::Local { .. } => ("local", "clean"),
            CloseReason::Remote { .. } => ("remote", "clean"),
            CloseReason::TimedOut => ("local", "idle_timeout"),
            CloseReason::HandshakeTimedOut => ("local", "handshake_timeout"),
            CloseReason::Reset => ("remote", "stateless_reset"),
            CloseReason::Refused { .. } => ("remote", "refused"),
            CloseReason::Violation(_) | CloseReason::Handshake(_) => ("local", "error"),
            CloseReason::RemoteViolation { .. } | CloseReason::RemoteHandshake(_) => {
                ("remote", "error")
            }
            CloseReason::Version { .. } => ("local", "version_mismatch"),
        };
        let (application_code, connection_code) = match reason {
            CloseReason::Local { code, .. } | CloseReason::Remote { code, .. } => {
                (Some(*code), None)
            }
            CloseReason::Violation(violation) => (None, Some(violation.code.number())),
            CloseReason::RemoteViolation { code, .. } => (None, Some(*code)),
            CloseReason::TimedOut
            | CloseReason::HandshakeTimedOut
            | CloseReason::Reset
            | CloseReason::Refused { .. }
            | CloseReason::Handshake(_)
            | CloseReason::RemoteHandshake(_)
            | CloseReason::Version { .. } => (None, None),
        };
        let reason = reason.to_string();
        Self { owner, application_code, connection_code, reason, trigger }
    }
}
