//! The TCP transport: our stream machine over TLS 1.3.
//!
//! ```text
//!   Tcp ── bind ──▶ TcpEndpoint        listener, half-open handshakes, queue of the accepted
//!                        │ connect, accept
//!   TcpTunnel ─────▶ TcpConnection     handles of `portolan-mux-io`
//!                        │ lock: Mux + Waiters
//!                      Driver          one task a connection: frames ⇄ TLS ⇄ byte stream
//! ```
//!
//! [`Tcp`] is the transport; [`TcpTunnel`] makes the same connection inside any byte stream, with
//! its own protocol name, so that a tunnel is never mistaken for a connection.
//!
//! After the TLS handshake each side sends one greeting with its version and limits; a connection
//! is handed out once the remote's has come, which is also when a client knows that its key was
//! not turned away. Then the driver moves frames: everything that has arrived is handled before
//! anything is sent, and what is sent is taken from the machine in batches of what the carrier
//! takes in a few milliseconds, so that an urgent frame waits for one batch at most. Where the
//! system allows it the socket holds little unsent data, so that the batch is what an urgent frame
//! waits for, and not the kernel's buffer.
//!
//! Frames are cut so that a record of TLS holds whole ones: the other side takes them from where
//! they were decrypted, and only what comes cut is copied together. While much arrives, the socket
//! is read four records at a time, in front of TLS, which would ask for a quarter of one.
//!
//! An endpoint that is bound with `Dials::BoundPort` can also dial who dials it at the same moment,
//! from the port that it listens on, which passes translators; and every listener tells who asks by
//! STUN as which it sees it.
//!
//! What it does not do: no retransmission, no congestion control (TCP's), no certificates.
//!
//! # Invariants
//! - Handshakes (all together and from one address), the accept queue and connections are
//!   bounded, and a slow handshake holds up no other: `tests/hostile.rs`.
//! - What is not a frame ends the connection with a violation, and nothing else:
//!   `tests/hostile.rs`.
//! - Frames do not reach from one record of TLS into the next, and may do so in what the other side
//!   sends: `tests/records.rs`.
//! - Of two who dial each other at once one is TLS's client, whoever came first:
//!   `tests/simultaneous.rs`.
//! - The promises of `portolan-transport`: `tests/conformance.rs`.

mod accept_queue;
mod batch;
mod claims;
mod connection;
mod counted;
mod driver;
mod endpoint;
mod error;
mod greeting;
mod half_open;
mod heartbeat;
mod host;
mod read_ahead;
mod simultaneous;
mod socket;
mod stun;
mod tunnel;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use portolan_transport::{BindConfig, BindError, Capabilities, Carrier, Endpoint, Transport};

pub use tunnel::TcpTunnel;

/// Streams and datagrams over one TLS connection over TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

#[async_trait]
impl Transport for Tcp {
    fn scheme(&self) -> &'static str {
        "tcp"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            summary: "TLS over TCP: passes nearly every firewall; a lost packet delays everything behind it",
            carrier: Carrier::Tcp,
            independent_datagrams: false,
        }
    }

    async fn bind(&self, config: BindConfig) -> Result<Arc<dyn Endpoint>, BindError> {
        Ok(Arc::new(endpoint::TcpEndpoint::bind(config)?))
    }
}
