//! What a connection tells its host.

use crate::CloseReason;

/// What a connection tells its host; events of streams come from
/// [`Connection::mux`](crate::Connection::mux).
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The remote has proved its key, and streams can be used.
    Connected,
    /// The connection is over. Told once, and last but for endpoint events.
    Closed(CloseReason),
    /// For [`Endpoint::on_endpoint_event`](crate::Endpoint::on_endpoint_event).
    Endpoint(EndpointEvent),
}

/// What an endpoint must hear of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointEvent(pub(crate) Notice);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The handshake is over: the connection is no longer half-open.
    Established,
    /// By this the remote can tell that it has forgotten us.
    ResetToken(ResetToken),
    /// The connection will not say or hear anything more.
    Gone,
}

/// Proof that a packet comes from who once had the connection (RFC 9000 §10.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ResetToken(pub(crate) [u8; Self::LEN]);

impl ResetToken {
    pub(crate) const LEN: usize = 16;
}

impl std::fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResetToken")
    }
}
