//! The UDP transport: our own reliability over datagrams.
//!
//! ```text
//!   Arc<dyn Endpoint>     Arc<dyn Connection>, SendStream, RecvStream      programs
//!         │ requests            │ lock one connection (mux-io)
//!       inbox ◄─────────────── host ◄──┐ events, wakers
//!         │ one Notify                 │
//!       driver (one task an endpoint) ─┘   owns socket, endpoint machine, table of connections
//!         │ rudp: handle_datagram, handle_timeout, poll_transmit, poll_event, poll_timeout
//!       datagram-io: one UDP port for QUIC and our own UDP, GSO, GRO, ECN
//! ```
//!
//! The protocol itself is the pure crate `portolan-rudp`; this crate moves datagrams, time and
//! work between it, the socket and programs.
//!
//! **Who drives it.** One task an endpoint, started by [`Udp`]'s `bind` inside a tokio runtime. It
//! sleeps until datagrams, work or a deadline come; handles all that has come; then gives every
//! connection with something to do a bounded turn (`driver.rs`). Programs lock only the one
//! connection that they use, and list it in the inbox for the driver. The task ends by itself
//! within a second of the endpoint's end, and the port is free then, even while handles to
//! connections live on.
//!
//! **What it does not do.** It knows no packet, keeps no key and decides nothing about loss or
//! congestion. It does not look for changes of the network by itself: an endpoint that is bound to
//! all addresses follows them because the system does, any other, or one whose program has seen the
//! change (`portolan-peer` looks), is bound anew by `rebind`.
//!
//! **Invariants**
//! - whatever the traits promise, on a perfect network and through a bad one
//!   (`tests/conformance.rs`);
//! - a connection that always has something to send delays another by a bounded number of trains
//!   (`TRAINS_PER_TURN`, `TURNS_PER_ROUND` in `driver.rs`);
//! - who accepts has a turn after each round that has brought it connections, however busy the
//!   endpoint is (`tests/accepting.rs`);
//! - everything that waits is bounded: a connection is listed once in the inbox and once in the
//!   ready queue, one train at most waits for the socket (`table.rs`, `inbox.rs`, `outbox.rs`);
//! - who wants to know what a connection does is told (`watch.rs`), never what is said on it, and
//!   nobody else pays for it (`tests/qlog.rs`);
//! - connections go on when an end that began them is bound to another address
//!   (the workspace's `tests/tests/over_udp/rebinding.rs`);
//! - a connection goes to another address of its remote without a break when its maker says so, and
//!   stays where it is if the remote does not answer there (`tests/migration.rs`);
//! - garbage on the port disturbs nobody, and QUIC on the same port works on
//!   (`tests/shared_port.rs`).

mod config;
mod connection;
mod driver;
mod endpoint;
mod host;
mod inbox;
mod outbox;
mod reason;
mod table;
mod watch;

use std::{io, sync::Arc};

use async_trait::async_trait;
use portolan_datagram_io::{Lane, SharedSockets};
use portolan_qlog::Qlog;
use portolan_transport::{BindConfig, BindError, Capabilities, Carrier, Endpoint, Transport};

/// For the laboratory, which drives the machine in virtual time and must measure what is shipped.
#[doc(hidden)]
pub use crate::config::endpoint as machine_config;

/// Logs of a machine that somebody else drives, as the laboratory does.
#[doc(hidden)]
pub use crate::watch::QlogObserver;

pub use portolan_rudp::Congestion;

use crate::{config::endpoint_machine, endpoint::UdpEndpoint};

/// Our own protocol over UDP: streams and datagrams that do not wait for one another, and
/// datagrams that are repaired while they are worth it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Udp;

/// [`Udp`] with other choices than the usual ones: for those who measure, and for paths that are
/// known beforehand. Both ends understand each other whatever each has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunedUdp {
    /// Bytes of the longest datagram that is sent, at least 1,200; up to it, what the path carries
    /// is found out.
    pub packet_limit: u16,
    /// The algorithm of congestion control.
    pub congestion: Congestion,
}

impl Default for TunedUdp {
    fn default() -> Self {
        let usual = portolan_rudp::ConnectionConfig::default();
        Self { packet_limit: usual.packet_limit, congestion: usual.congestion }
    }
}

#[async_trait]
impl Transport for Udp {
    fn scheme(&self) -> &'static str {
        "udp"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            summary: "our own UDP: independent streams, datagrams repaired while worth it",
            carrier: Carrier::Udp,
            independent_datagrams: true,
        }
    }

    async fn bind(&self, config: BindConfig) -> Result<Arc<dyn Endpoint>, BindError> {
        TunedUdp::default().bind(config).await
    }
}

#[async_trait]
impl Transport for TunedUdp {
    fn scheme(&self) -> &'static str {
        Udp.scheme()
    }

    fn capabilities(&self) -> Capabilities {
        Udp.capabilities()
    }

    async fn bind(&self, config: BindConfig) -> Result<Arc<dyn Endpoint>, BindError> {
        let sockets = config.shared.get_or_default::<SharedSockets>();
        let lane = sockets
            .open(config.local, Lane::Rudp)
            .map_err(|source| BindError::from_io(config.local, source))?;
        let seed = random_seed().map_err(|source| BindError::Io { addr: config.local, source })?;
        let machine = endpoint_machine(&config.connection, *self, &lane, seed);
        let qlog = Qlog::clone(&config.shared.get_or_default::<Qlog>());
        Ok(Arc::new(UdpEndpoint::start((lane, sockets), machine, &config.connection, qlog)))
    }
}

/// Where everything random of one endpoint comes from: the provider's generator.
fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    portolan_identity::provider()
        .secure_random
        .fill(&mut seed)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(seed)
}
