//! One Ed25519 key per peer, the TLS 1.3 configurations made from it, and the known-hosts file.

pub use portolan_peer_id::{ParsePeerIdError, PeerId};

/// A peer's key pair. Clones are cheap and share the key.
#[derive(Debug, Clone)]
pub struct Identity {}

/// Who the remote must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The holder of this key and nobody else.
    Id(PeerId),
    /// Anyone who can prove a key; the caller decides afterwards.
    Any,
}
