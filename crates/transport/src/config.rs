//! What an endpoint is bound with: address, identity, bounds and times.

use std::{net::SocketAddr, time::Duration};

use portolan_identity::Identity;

use crate::Shared;

/// Everything that [`Transport::bind`](crate::Transport::bind) needs.
#[derive(Debug, Clone)]
pub struct BindConfig {
    /// The local address; port 0 for any free port.
    pub local: SocketAddr,
    /// How connections of this endpoint behave.
    pub connection: ConnectionConfig,
    /// What the endpoints of one program share: with the same value, transports over UDP that are
    /// bound to the same address use one socket.
    pub shared: Shared,
    /// From which port connections of TCP begin.
    pub dials: Dials,
}

/// From which port an endpoint over TCP dials. Others dial from the port that they are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dials {
    /// From any: the port that is bound belongs to this endpoint alone.
    #[default]
    AnyPort,
    /// From the bound one too, which [`Simultaneous`](crate::Simultaneous) needs: programs of the
    /// same user could then share it.
    BoundPort,
}

impl BindConfig {
    /// Binds `local` as `identity`, with the default bounds and times and nothing shared.
    #[must_use]
    pub fn new(local: SocketAddr, identity: Identity) -> Self {
        Self {
            local,
            connection: ConnectionConfig::new(identity),
            shared: Shared::default(),
            dials: Dials::default(),
        }
    }
}

/// What one connection needs to know, whatever carries it.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// Who we are.
    pub identity: Identity,
    /// Upper bounds on what the remote can make us hold.
    pub limits: Limits,
    /// When to keep alive, to give up and to forget.
    pub timing: Timing,
}

impl ConnectionConfig {
    /// The default bounds and times for `identity`.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, limits: Limits::default(), timing: Timing::default() }
    }
}

/// Bounds on what the other side can make one endpoint hold.
///
/// One connection's receive side holds at most `connection_window` bytes of streams and
/// `datagram_queue` bytes of datagrams (UDP: and 128 KiB of those from which lost ones are
/// computed, where the sender protects them so); its send side at most `send_buffer` bytes a stream and
/// `datagram_queue` bytes of datagrams.
///
/// These are the most there can be. TCP and UDP begin with windows of 1 MiB a stream and 4 MiB a
/// connection, if no less is allowed, and widen them for an application that reads as fast as a
/// long way brings; they take 256 KiB from a writer (UDP: more, by what the way carries), if no less
/// is allowed. QUIC promises its windows at once, at most 8 MiB and 16 MiB; it takes from its writers
/// together what the way carries, at least 256 KiB and at most three quarters of the connection's
/// window, and a little more for urgent ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams that the remote may have open at once.
    pub streams: u32,
    /// Unread bytes that one stream may hold before its writer is stopped.
    pub stream_window: u32,
    /// Unread bytes that all streams of a connection together may hold.
    pub connection_window: u32,
    /// Bytes accepted from the application for one stream and not yet delivered.
    pub send_buffer: u32,
    /// Bytes of datagrams waiting to be sent, and waiting to be received; the oldest go first.
    pub datagram_queue: u32,
    /// Finished handshakes that wait for `accept`; more are refused.
    pub accept_backlog: u32,
    /// Handshakes under way at once; more must prove their address, wait, or are refused.
    pub half_open: u32,
    /// Established connections at once; more are refused.
    pub connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 256,
            stream_window: 32 << 20,
            connection_window: 48 << 20,
            send_buffer: 32 << 20,
            datagram_queue: 256 << 10,
            accept_backlog: 128,
            half_open: 1024,
            connections: 20_000,
        }
    }
}

/// When a connection keeps alive, gives up and forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From the first packet to an authenticated connection; then `connect` fails.
    pub handshake: Duration,
    /// Nothing heard for this long: the connection is lost. The smaller of both sides' counts.
    pub idle: Duration,
    /// A quiet connection sends a heartbeat this often to begin with; where the path keeps quiet
    /// connections longer, UDP goes on to half of `idle`.
    pub keep_alive: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
        }
    }
}
