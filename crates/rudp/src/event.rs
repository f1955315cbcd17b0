//! What a connection tells its host.

use crate::{CloseReason, ConnectionId, Route};

/// What a connection tells its host; events of streams come from
/// [`Connection::mux`](crate::Connection::mux).
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The remote has proved its key, and streams can be used.
    Connected,
    /// The connection is over. Told once, and last but for endpoint events.
    Closed(CloseReason),
    /// Something has become of a path.
    Path(PathEvent),
    /// For [`Endpoint::on_endpoint_event`](crate::Endpoint::on_endpoint_event).
    Endpoint(EndpointEvent),
}

/// What has become of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEvent {
    /// The remote is heard and answered on this path now: its address has changed, or it was
    /// thought so and has not.
    Moved(Route),
    /// The path that [`Connection::probe_path`](crate::Connection::probe_path) was asked to try
    /// works: [`Connection::migrate_to`](crate::Connection::migrate_to) takes it.
    Works(Route),
    /// It gave no answer; the connection stays where it is.
    Fails(Route),
}

/// What an endpoint must hear of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointEvent(pub(crate) Notice);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The handshake is over: the connection is no longer half-open.
    Established,
    /// By this the remote can tell that it has forgotten us; in place of the one before.
    ResetToken(Option<ResetToken>),
    /// The remote may call us so, too.
    NewId(ConnectionId),
    /// The remote calls us so no more.
    RetiredId(ConnectionId),
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
