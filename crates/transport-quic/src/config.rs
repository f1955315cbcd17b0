//! Our bounds and times in quinn's words.

use std::sync::Arc;

use portolan_identity::Alpn;
use portolan_transport::{ConnectionConfig, Limits, Priority};
use quinn::{
    ClientConfig, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};

use crate::reset::{RandomIds, ResetKey};

/// Bytes of datagrams that quinn may hold, where they cannot expire: two full packets.
pub(crate) const ENGINE_DATAGRAMS: usize = 4096;

/// A peer must be able to send us one datagram of any packet size that quinn uses.
const RECEIVED_DATAGRAMS_MIN: usize = 4096;

/// quinn's windows do not grow with their use, so that every stuck reader can hold what is
/// promised: less than what our own streams may grow to, and 1.3 Gbit/s over 50 ms.
const STREAM_WINDOW_MAX: u32 = 8 << 20;

/// As above, of all streams together.
const CONNECTION_WINDOW_MAX: u32 = 16 << 20;

/// First packets that may wait for the accepting task to decide. It decides at once, so that this
/// bounds what one read of the socket brings; quinn ignores what is above it, and those clients
/// would come back a second later.
const UNDECIDED_MAX: usize = 1024;

/// Bytes of packets that came early for such connections.
const UNDECIDED_BYTES_MAX: u64 = 8 << 20;

/// The endpoint's, the server's and the client's configuration of one identity.
#[derive(Debug)]
pub struct Configs {
    /// Of the endpoint.
    pub endpoint: EndpointConfig,
    /// Of the connections that it accepts.
    pub server: ServerConfig,
    /// Of the connections that it begins.
    pub client: ClientConfig,
}

impl Configs {
    /// Those of one identity.
    #[must_use]
    pub fn new(config: &ConnectionConfig) -> Self {
        let transport = Arc::new(transport(config));
        let identity = &config.identity;
        let tls = QuicServerConfig::try_from(identity.server_config(Alpn::Quic));
        let mut server = ServerConfig::with_crypto(Arc::new(tls.expect(INITIAL_SUITE)));
        server
            .transport_config(Arc::clone(&transport))
            .max_incoming(UNDECIDED_MAX.max(config.limits.half_open as usize))
            .incoming_buffer_size(UNDECIDED_BYTES_MAX / 128)
            .incoming_buffer_size_total(UNDECIDED_BYTES_MAX);
        let tls = QuicClientConfig::try_from(identity.client_config(Alpn::Quic));
        let mut client = ClientConfig::new(Arc::new(tls.expect(INITIAL_SUITE)));
        client.transport_config(transport);
        let mut endpoint = EndpointConfig::default();
        // The fixed bit tells QUIC from our own UDP on the shared port (RFC 9443).
        endpoint.grease_quic_bit(false).supported_versions(vec![QUIC_V1]);
        endpoint.reset_key(Arc::new(ResetKey::of(identity)));
        endpoint.cid_generator(|| Box::new(RandomIds));
        Self { endpoint, server, client }
    }
}

/// RFC 9000 §15.
const QUIC_V1: u32 = 1;

/// RFC 9001 §5.2 protects Initial packets with this suite.
const INITIAL_SUITE: &str = "the provider has TLS13_AES_128_GCM_SHA256";

/// Packet sizes are left at quinn's own: 1,200 bytes at first, 1,452 when the path allows. Between
/// 6,551 and 65,527 its trains of ten segments would exceed what the system takes at once.
pub(crate) fn transport(config: &ConnectionConfig) -> TransportConfig {
    let ConnectionConfig { limits, timing, .. } = config;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(limits.stream_window.min(STREAM_WINDOW_MAX)))
        .receive_window(VarInt::from_u32(connection_window(limits)))
        // The first only: `Ahead` follows the congestion window with it.
        .send_window(u64::from(connection_window(limits)))
        .max_idle_timeout(IdleTimeout::try_from(timing.idle).ok())
        .keep_alive_interval(Some(timing.keep_alive))
        .datagram_receive_buffer_size(Some(
            RECEIVED_DATAGRAMS_MIN.max(limits.datagram_queue as usize),
        ))
        .datagram_send_buffer_size(ENGINE_DATAGRAMS);
    transport
}

/// What all streams of a connection together may hold unread.
pub(crate) fn connection_window(limits: &Limits) -> u32 {
    limits.connection_window.min(CONNECTION_WINDOW_MAX)
}

/// quinn sends higher numbers first; 0 is its default, and so that of accepted streams.
pub(crate) fn quinn_priority(priority: Priority) -> i32 {
    match priority {
        Priority::Control => 2,
        Priority::Live => 1,
        Priority::Interactive => 0,
        Priority::Bulk => -1,
    }
}
