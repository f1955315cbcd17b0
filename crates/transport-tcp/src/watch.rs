//! What is logged of a connection: one span, its beginning and its end.

use std::sync::Arc;

use portolan_transport::Connection;
use tracing::{Span, debug, debug_span};

use crate::{connection::TcpConnection, host::Host};

/// The target of a connection's span and events.
const TARGET: &str = "portolan_transport_tcp::connection";

/// The span of one connection.
#[derive(Debug)]
pub(crate) struct Watch {
    span: Span,
    host: Arc<Host>,
}

impl Watch {
    /// The connection is there.
    pub(crate) fn new(connection: &TcpConnection, side: &'static str) -> Self {
        let (remote, peer) = (connection.remote_addr(), connection.remote_id());
        let span =
            debug_span!(target: TARGET, "connection", transport = "tcp", side, %remote, %peer);
        debug!(target: TARGET, parent: &span, "connected");
        Self { span, host: Arc::clone(connection.host()) }
    }

    /// The connection is over.
    pub(crate) fn closed(self) {
        if self.span.is_disabled() {
            return;
        }
        let reason = self.host.lock().waiters.reason().map(ToString::to_string);
        debug!(target: TARGET, parent: &self.span, reason, "closed");
    }
}
