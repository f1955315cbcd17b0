//! The task that admits handshakes and, at the end, gives the port back.

use std::{sync::Arc, time::Duration};

use portolan_transport::CloseCode;
use quinn::{Incoming, VarInt};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::endpoint::Core;

/// How long farewells may be repeated for peers that have not heard them, before the port is
/// given back.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Serves until the endpoint closes.
pub(crate) async fn run(core: Arc<Core>, release: watch::Sender<bool>) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            incoming = core.quinn.accept() => match incoming {
                Some(incoming) => admit(&core, &mut handshakes, incoming),
                None => break,
            },
            Some(_) = handshakes.join_next() => {}
        }
    }
    handshakes.shutdown().await;
    // Too long a wait is no failure: the farewells have been sent once already.
    let _ = timeout(FAREWELL_MAX, core.quinn.wait_idle()).await;
    core.socket.detach();
    release.send_replace(true);
}

/// Starts the handshake, asks the remote to prove its address first, or refuses.
///
/// Nothing but a small packet is spent on those that are not let in.
fn admit(core: &Arc<Core>, handshakes: &mut JoinSet<()>, incoming: Incoming) {
    let half_open_max = core.limits.half_open.max(1) as usize;
    let crowded = handshakes.len() * 2 >= half_open_max;
    let established_max = core.limits.connections as usize;
    if core.backlog.is_full() || core.quinn.open_connections() >= established_max {
        incoming.refuse();
    } else if crowded && !incoming.remote_address_validated() {
        // Fails only for validated addresses.
        let _ = incoming.retry();
    } else if handshakes.len() >= half_open_max {
        incoming.refuse();
    } else {
        handshakes.spawn(shake_hands(Arc::clone(core), incoming));
    }
}

async fn shake_hands(core: Arc<Core>, incoming: Incoming) {
    let remote = incoming.remote_address();
    let Ok(connecting) = core.watched.accept(incoming) else { return };
    let quinn = match timeout(core.timing.handshake, connecting).await {
        Ok(Ok(quinn)) => quinn,
        Ok(Err(error)) => return tracing::debug!(%remote, %error, "handshake failed"),
        Err(_) => return tracing::debug!(%remote, "handshake took too long"),
    };
    match core.adopt(quinn.clone()) {
        Ok(connection) => {
            if let Err(connection) = core.backlog.push(connection) {
                connection.0.close(CloseCode::BUSY, "too many connections wait to be accepted");
            }
        }
        Err(detail) => quinn.close(VarInt::from_u32(CloseCode::DROPPED.0), detail.as_bytes()),
    }
}
