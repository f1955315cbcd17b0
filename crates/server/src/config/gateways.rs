//! Which gateways a server opens, and where.

use std::net::SocketAddr;

use portolan_gateway::{Gateway, Options};

/// A gateway for an older program's clients. What they say is not encrypted.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// What the configuration calls it: the same gateway can be opened several times.
    pub label: String,
    /// Which.
    pub gateway: &'static dyn Gateway,
    /// Where it listens.
    pub address: SocketAddr,
    /// What else is set.
    pub options: Options,
}
