//! Chat, files and audio over any transport.
//!
//! This is the crate that programs embed, and the one place where the concrete parts meet:
//! [`ALL_TRANSPORTS`] is the table of transports that `peer`, `server`, the conformance suite and
//! the benchmarks loop over, and [`TUNNEL`] is what peers use for encryption end to end inside a
//! relayed stream. Adding a transport is one crate and one line here; see
//! `docs/adding-a-transport.md`.
//!
//! ```no_run
//! use portolan::{BindConfig, Expect, Identity, Priority, transport};
//!
//! # async fn example(server: std::net::SocketAddr, id: portolan::PeerId) -> Result<(), Box<dyn std::error::Error>> {
//! // The transport is one word: "tcp", "udp" or "quic".
//! let udp = transport("udp").ok_or("no such transport")?;
//! let endpoint = udp.bind(BindConfig::new("0.0.0.0:0".parse()?, Identity::generate())).await?;
//! let connection = endpoint.connect(server, Expect::Id(id)).await?;
//! let (send, receive) = connection.open_stream(Priority::Interactive).await?;
//! # drop((send, receive));
//! # Ok(())
//! # }
//! ```
//!
//! Chat on top of it: [`peer::Peer`] and [`server::Server`].

#[cfg(feature = "cli")]
pub mod demo;
#[cfg(feature = "cli")]
pub mod hosting;

pub use portolan_identity::{Expect, Identity, KeyLogFile, KnownHosts, PeerId};
pub use portolan_peer as peer;
pub use portolan_protocol as protocol;
pub use portolan_qlog::{Qlog, QlogError};
pub use portolan_server as server;
pub use portolan_transport::*;

use portolan_transport_quic::Quic;
use portolan_transport_tcp::{Tcp, TcpTunnel};
use portolan_transport_udp::Udp;

/// Every transport, in the order in which tables and tests show them.
pub static ALL_TRANSPORTS: &[&dyn Transport] = &[&Tcp, &Udp, &Quic];

/// Makes connections, encrypted end to end, inside a stream that someone else carries.
pub static TUNNEL: &dyn Tunnel = &TcpTunnel;

/// The transport of that name.
#[must_use]
pub fn transport(scheme: &str) -> Option<&'static dyn Transport> {
    ALL_TRANSPORTS.iter().copied().find(|transport| transport.scheme() == scheme)
}
