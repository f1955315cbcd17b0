//! Relays besides the server itself: which it uses, and whom it serves as one.

use std::net::SocketAddr;

use portolan_identity::PeerId;

/// A relay that carries for our users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayServer {
    /// Where users find it; one port for every transport.
    pub address: SocketAddr,
    /// The key that it must prove.
    pub id: PeerId,
}

/// For whom this server relays besides its own users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relaying {
    /// Servers whose passes count here.
    pub issuers: Vec<PeerId>,
    /// Whether it does nothing else: nobody can log in.
    pub is_only: bool,
}
