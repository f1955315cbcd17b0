//! Bounds and times.

use std::{fmt, sync::Arc, time::Duration};

use crate::packet::DATAGRAM_MIN;

/// How an endpoint accepts connections, and how its connections behave.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// How each connection behaves.
    pub connection: Arc<ConnectionConfig>,
    /// When a client must prove its address before anything is remembered about it.
    pub cookies: CookiePolicy,
    /// Handshakes under way at once that remotes began; more are refused.
    pub half_open: u32,
    /// Connections at once, half-open ones included; more are refused.
    pub connections: u32,
    /// How fast one remote host (one /64 of IPv6) may begin handshakes. Above it, a client must
    /// prove its address; if it has, it is not heard until there is room.
    pub openings: RateLimit,
    /// How fast packets of unknown connections are answered, all remotes together.
    pub resets: RateLimit,
    /// Answers without a connection that wait to be sent; more are dropped.
    pub replies: usize,
    /// What the tokens are made from by which a restarted endpoint can tell its former remotes
    /// that it has forgotten them (RFC 9000 §10.3.2). The same after every start: derive it from
    /// the identity. `None`: made from the seed, so that only this run's remotes can be told.
    pub reset_key: Option<ResetKey>,
}

impl EndpointConfig {
    /// The default bounds, with connections that behave as `connection` says.
    #[must_use]
    pub fn new(connection: ConnectionConfig) -> Self {
        Self {
            connection: Arc::new(connection),
            cookies: CookiePolicy::Above(128),
            half_open: 1024,
            connections: 20_000,
            openings: RateLimit { per_second: 1_000, burst: 2_000 },
            resets: RateLimit { per_second: 200, burst: 50 },
            replies: 256,
            reset_key: None,
        }
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self::new(ConnectionConfig::default())
    }
}

/// When a client must prove its address by a round trip before the handshake begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookiePolicy {
    /// Always.
    Always,
    /// While more than this many handshakes of remotes are under way.
    Above(u32),
}

/// A token bucket's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Tokens that come back in a second.
    pub per_second: u32,
    /// Tokens that can be saved up.
    pub burst: u32,
}

/// The secret behind stateless resets. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct ResetKey(pub [u8; 32]);

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey")
    }
}

/// How one connection behaves.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// Bounds of the streams and datagrams.
    pub mux: portolan_mux::Config,
    /// From the first packet to a finished handshake; then the connection is given up.
    pub handshake: Duration,
    /// Nothing heard for this long: the connection is lost. The smaller of both sides' counts.
    pub idle: Duration,
    /// A quiet connection sends a heartbeat this often to begin with; zero: never.
    pub keep_alive: Duration,
    /// So often when the path has shown that it forgets nothing in between; at most half of the
    /// idle time. What translators do not remember for so long, they are reminded of sooner.
    pub keep_alive_max: Duration,
    /// Longest time for which an acknowledgement is held back.
    pub ack_delay: Duration,
    /// What the round-trip time is taken to be before it was measured.
    pub initial_rtt: Duration,
    /// Longest time between two probes of a silent remote: how fast a path that comes back is
    /// noticed.
    pub probe_interval_max: Duration,
    /// Bytes of the datagrams that we send to begin with, at least 1,200. The path must be known
    /// to carry more.
    pub packet_size: u16,
    /// Bytes of the longest datagram that we send: up to it, what the path carries is found out
    /// (RFC 8899). At or below `packet_size`: nothing is tried.
    pub packet_limit: u16,
    /// Bytes of the longest datagram that we take.
    pub packet_max: u16,
    /// Datagrams in one train.
    pub train_max: usize,
    /// Which algorithm decides how much may be in flight.
    pub congestion: Congestion,
    /// Packets that are sealed with one key, at most 2^22: AES-GCM allows 2^23 (RFC 9001 §6.6).
    pub key_update_after: u64,
    /// Handshake bytes of one level that are held out of order, at most.
    pub crypto_buffer: usize,
    /// Packets that are kept because they came before the end of the handshake.
    pub early_packets: usize,
    /// Ranges of received packet numbers that are remembered and acknowledged.
    pub ack_ranges: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            mux: portolan_mux::Config::default(),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(20),
            keep_alive: Duration::from_secs(5),
            keep_alive_max: Duration::from_secs(25),
            ack_delay: Duration::from_millis(25),
            initial_rtt: Duration::from_millis(100),
            probe_interval_max: Duration::from_secs(2),
            packet_size: DATAGRAM_MIN,
            packet_limit: 65_507,
            packet_max: 65_507,
            train_max: 64,
            congestion: Congestion::Bbr,
            key_update_after: 1 << 22,
            crypto_buffer: 16 << 10,
            early_packets: 8,
            ack_ranges: 64,
        }
    }
}

/// The algorithms of congestion control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Congestion {
    /// RFC 9438.
    Cubic,
    /// RFC 9002 §7.
    NewReno,
    /// BBR, version 3, which does not take a path's own losses for congestion.
    Bbr,
    /// So many bytes a second, whatever the path says: for the laboratory. Unfair to all others.
    FixedRate(u64),
}

impl Congestion {
    /// Every algorithm that goes by the path.
    pub const ALL: [Self; 3] = [Self::Cubic, Self::NewReno, Self::Bbr];
}
