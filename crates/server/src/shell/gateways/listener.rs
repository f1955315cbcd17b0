//! Accepts the clients of a gateway over TCP.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinSet};

use super::{Running, visit::Visit, wire::Wire};

/// After a failure to accept (no file descriptors left, mostly) it is tried again so much later.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the gateway closes, then waits for the visits to end.
pub(super) async fn run(running: Arc<Running>, listener: TcpListener) {
    let mut visits = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    if let Ok(wire) = Wire::tcp(stream) {
                        visits.spawn(Visit::new(Arc::clone(&running), address, wire).run());
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, gateway = running.lane.registry, "cannot accept");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = visits.join_next() => {}
            () = running.closing.cancelled() => break,
        }
    }
    drop(listener);
    while visits.join_next().await.is_some() {}
}
