//! The QUIC transport: a thin adapter over quinn.
//!
//! ```text
//!   Arc<dyn Endpoint>            Arc<dyn Connection>, SendStream, RecvStream
//!         │                                   │
//!     endpoint ── accept (task) ── connection, stream, datagrams
//!         │                                   │ outbox (gathers), ahead (lets in)
//!       quinn::Endpoint            quinn::Connection, quinn::SendStream …
//!         │
//!       socket (AsyncUdpSocket)  ──►  datagram-io: one UDP port for QUIC and our own UDP
//! ```
//!
//! QUIC v1 (RFC 9000) with TLS 1.3 and raw public keys, native streams, and datagrams after
//! RFC 9221. Streams and datagrams are quinn's; what is ours is the mapping of identity, bounds,
//! priorities, errors and close reasons.
//!
//! **Who drives it.** quinn's own tasks, one an endpoint and one a connection; one task of ours an
//! endpoint that admits handshakes, and one a connection that hands over what its streams have
//! gathered, from the first stream on ([`Quic`] must be used inside a tokio runtime). All end by
//! themselves, within a second of the endpoint's end.
//!
//! **What it does not do**, beyond what the traits promise:
//! - datagrams with a lifetime are not repaired; what is guaranteed is that one whose time has
//!   passed leaves our queue unsent. quinn may hold up to two packets' worth that cannot be
//!   taken back;
//! - quinn tells neither how many received datagrams its full queue has dropped, nor how many
//!   stream bytes wait: `datagrams_dropped` counts the sending side only, `send_queue` datagrams
//!   only;
//! - windows do not grow with their use: what [`Limits`](portolan_transport::Limits) allow, but at
//!   most 8 MiB a stream and 16 MiB a connection, is promised from the beginning, and memory for it
//!   is used by whoever stops reading.
//!
//! **Invariants**
//! - whatever the traits promise (`tests/conformance.rs`);
//! - garbage on the port disturbs nobody (`a_flood_of_garbage_disturbs_nobody`);
//! - an error while sending never ends a connection: the socket adapter reports `WouldBlock` or
//!   success (quinn's driver would stop for ever otherwise);
//! - who wants to know what a connection does is told in the files of `portolan-qlog`
//!   (`tests/qlog.rs`);
//! - connections go on when an end that began them is bound to another address
//!   (the workspace's `tests/tests/over_udp/rebinding.rs`);
//! - the port is free when `close` returns, even while handles to connections live on
//!   (`the_port_is_free_although_connections_are_still_held`);
//! - packet sizes stay below quinn's limit of segmentation (`config.rs`);
//! - small writes leave together when their task yields, and a lone one at once
//!   (`what_is_written_before_the_task_yields_leaves_in_few_frames`,
//!   `a_lone_message_does_not_wait_for_the_courier`);
//! - quinn counts bytes against the remote's window when they are written, not when they are sent:
//!   bulk streams are let in only so far that each more urgent class finds credit of its own
//!   (`bulk_that_nobody_acknowledges_leaves_room_for_each_more_urgent_class`).

mod accept;
mod ahead;
mod calls;
mod config;
mod connection;
mod datagrams;
mod endpoint;
mod outbox;
mod reason;
mod reset;
mod socket;
mod stream;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use portolan_datagram_io::{Lane, SharedSockets};
use portolan_qlog::Qlog;
use portolan_transport::{BindConfig, BindError, Capabilities, Carrier, Endpoint, Transport};

/// For the laboratory, which drives quinn's machine in virtual time and must measure what is
/// shipped.
#[doc(hidden)]
pub use crate::config::Configs;

use crate::endpoint::QuicEndpoint;

/// QUIC by quinn: streams and datagrams that do not wait for one another, over a UDP port that it
/// shares with our own UDP protocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quic;

#[async_trait]
impl Transport for Quic {
    fn scheme(&self) -> &'static str {
        "quic"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            summary: "QUIC (RFC 9000): the standard over UDP; independent streams, datagrams sent once",
            carrier: Carrier::Udp,
            independent_datagrams: true,
        }
    }

    async fn bind(&self, config: BindConfig) -> Result<Arc<dyn Endpoint>, BindError> {
        let sockets = config.shared.get_or_default::<SharedSockets>();
        let qlog = Qlog::clone(&config.shared.get_or_default::<Qlog>());
        let endpoint = sockets
            .open(config.local, Lane::Quic)
            .and_then(|lane| QuicEndpoint::start((lane, sockets), &config.connection, qlog))
            .map_err(|source| BindError::from_io(config.local, source))?;
        Ok(Arc::new(endpoint))
    }
}
