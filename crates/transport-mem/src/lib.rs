//! A transport inside one process: the smallest complete example of the seam.
//!
//! ```text
//!   MemTransport          the factory; knows nothing
//!        │ bind
//!   MemEndpoint ──────▶ Ports      who listens on which port, kept in `transport::Shared`
//!        │ connect, accept
//!   MemConnection, MemSend, MemRecv      async shell: one lock, one call into the link, wake
//!        │
//!      Link               both ends of a connection in one value: streams, datagrams, the end
//! ```
//!
//! It is real where the promises are real: bounded queues stop a writer, limits are kept, halves
//! can be finished, reset, stopped and dropped, and both sides learn why a connection ended. Tests
//! of anything above the seam run on it without a socket; whoever writes a transport copies it
//! (`docs/adding-a-transport.md` walks through).
//!
//! What it does not do: there is no wire, so nothing is encrypted or lost, nothing waits for
//! anything and priorities are met trivially. Both ends are in one process that holds both keys,
//! so a key counts as proved when it is shown. A connection never times out: the peer cannot
//! vanish without its handle being dropped. Ports belong to one [`Shared`](portolan_transport::Shared)
//! and mean nothing outside it.
//!
//! That the promises are kept is shown by the suite in `portolan-conformance`, which
//! `tests/conformance.rs` here runs.

mod connection;
mod endpoint;
mod link;
mod ports;
mod stream;

use std::sync::Arc;

use async_trait::async_trait;
use portolan_transport::{BindConfig, BindError, Capabilities, Carrier, Endpoint, Transport};

use crate::endpoint::MemEndpoint;

/// The transport inside one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemTransport;

#[async_trait]
impl Transport for MemTransport {
    fn scheme(&self) -> &'static str {
        "mem"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            summary: "inside one process; for tests and for programs that embed a server",
            carrier: Carrier::Memory,
            independent_datagrams: true,
        }
    }

    async fn bind(&self, config: BindConfig) -> Result<Arc<dyn Endpoint>, BindError> {
        Ok(Arc::new(MemEndpoint::bind(config)?))
    }
}
