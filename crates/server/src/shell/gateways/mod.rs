//! The shells of the gateways: they listen, and drive a bridge for each client.
//!
//! ```text
//!   old client ── socket ── Visit ── Bridge (crates/gateway, pure)
//!                             │
//!                            Seat      a session of the core, like every client's
//!                             │
//!                            Hub
//! ```
//!
//! | bound | what happens beyond it |
//! |---|---|
//! | clients that have not entered: `limits.gateway_strangers`, and of one address an eighth | the one that came first goes |
//! | clients that have: as many as the registry takes | refused by the core |
//! | bytes of one read: 64 KiB; requests that wait: those of one read | nothing is read |
//! | a write: 10 s | the client is gone |
//! | ports of ours for one client, and calls from or to it: 16 each | refused |

mod bind;
mod datagrams;
mod listener;
mod places;
mod seat;
mod sides;
mod strangers;
mod visit;
mod wire;

use std::{collections::HashMap, sync::Arc};

use portolan_gateway::{Lane, Service};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::{bind::Socket, places::Places, strangers::Strangers};
pub(super) use self::{
    bind::{BoundGateway, bind_gateways},
    wire::KEEP_ALIVE,
};
use super::session::Context;

/// What the visits of one lane share.
struct Running {
    context: Arc<Context>,
    service: Arc<dyn Service>,
    places: Arc<Places>,
    strangers: Strangers,
    lane: Lane,
    /// Its place among the gateway's lanes.
    lane_index: usize,
    /// Which of the server's registries.
    registry: usize,
    /// Cancelled when the gateway or the server closes.
    closing: CancellationToken,
    /// Cancelled when the server closes.
    stopping: CancellationToken,
}

/// Serves the gateways until `stopping`; `registries` are the server's, by name.
pub(super) fn run(
    gateways: Vec<BoundGateway>,
    context: &Arc<Context>,
    registries: &[&'static str],
    stopping: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    let places = Arc::new(Places::default());
    let mut services: HashMap<usize, CancellationToken> = HashMap::new();
    for gateway in gateways {
        let closing = services.entry(gateway.service_number);
        let closing = closing.or_insert_with(|| stopping.child_token()).clone();
        for (lane_index, (lane, socket)) in gateway.sockets.into_iter().enumerate() {
            let name = lane.registry;
            let registry = registries.iter().position(|known| *known == name);
            let running = Arc::new(Running {
                context: Arc::clone(context),
                service: Arc::clone(&gateway.service),
                places: Arc::clone(&places),
                strangers: Strangers::new(context.limits.gateway_strangers),
                lane,
                lane_index,
                registry: registry.unwrap_or_default(),
                closing: closing.clone(),
                stopping: stopping.clone(),
            });
            match socket {
                Socket::Tcp(listener) => drop(tasks.spawn(listener::run(running, listener))),
                Socket::Udp(socket) => drop(tasks.spawn(datagrams::run(running, socket))),
            }
        }
    }
}
