//! Which protocol a TLS connection speaks.

use thiserror::Error;

/// The protocol inside a TLS connection (ALPN, RFC 7301).
///
/// The same key serves several protocols, so the protocol's name is part of what the handshake
/// authenticates: a message made for one is never valid in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// Streams multiplexed over TLS over TCP.
    Tcp,
    /// Our own protocol over UDP.
    Udp,
    /// QUIC.
    Quic,
    /// A connection between two peers inside a stream that someone else carries.
    EndToEnd,
}

impl Alpn {
    /// Every protocol.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::Quic, Self::EndToEnd];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "portolan-tcp/1",
            Self::Udp => "portolan-udp/1",
            Self::Quic => "portolan-quic/1",
            Self::EndToEnd => "portolan-e2e/1",
        }
    }

    /// Checks what a client's handshake agreed on.
    ///
    /// rustls itself refuses a *different* protocol on both sides, and inside QUIC a missing one;
    /// our servers refuse clients that name none. What is left is a server on a byte stream that
    /// names none, which a client finds with this.
    ///
    /// # Errors
    /// [`WrongProtocol`] when the handshake agreed on something else or on nothing.
    pub fn confirm(self, negotiated: Option<&[u8]>) -> Result<(), WrongProtocol> {
        if negotiated == Some(self.as_str().as_bytes()) {
            Ok(())
        } else {
            Err(WrongProtocol { expected: self })
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Tcp => 0,
            Self::Udp => 1,
            Self::Quic => 2,
            Self::EndToEnd => 3,
        }
    }
}

/// The handshake agreed on no protocol or on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the other side does not speak {}", .expected.as_str())]
pub struct WrongProtocol {
    expected: Alpn,
}
