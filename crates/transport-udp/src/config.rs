//! The transport's bounds and times in the machine's words.

use std::sync::Arc;

use portolan_datagram_io::LaneSocket;
use portolan_identity::{Alpn, Identity};
use portolan_mux_io::mux_config;
use portolan_rudp::{
    ConnectionConfig as MachineConfig, CookiePolicy, Endpoint, EndpointConfig, ResetKey,
};
use portolan_transport::ConnectionConfig;

use crate::TunedUdp;

/// Whoever wants to know the key of resets would need a signature of this.
const RESET_KEY_LABEL: &[u8] = b"portolan udp: key of stateless resets, version 1";

/// The machine of an endpoint on `lane`; everything random in it comes from `seed`.
pub(crate) fn endpoint_machine(
    config: &ConnectionConfig,
    tuned: TunedUdp,
    lane: &LaneSocket,
    seed: [u8; 32],
) -> Endpoint {
    let tls = config.identity.server_config(Alpn::Udp);
    let mut endpoint = endpoint(config);
    let connection = Arc::make_mut(&mut endpoint.connection);
    connection.congestion = tuned.congestion;
    // What the system cuts in pieces by itself always passes, and says nothing of the path.
    let is_known = !lane.may_fragment();
    connection.packet_limit = if is_known { tuned.packet_limit } else { connection.packet_size };
    Endpoint::new(Arc::new(endpoint), Some(tls), seed)
}

/// What an endpoint's machine is made with.
pub fn endpoint(config: &ConnectionConfig) -> EndpointConfig {
    let limits = &config.limits;
    let mut endpoint = EndpointConfig::new(connection(config));
    // Clients prove their address as soon as a good part of the room is taken.
    endpoint.cookies = CookiePolicy::Above(limits.half_open / 8);
    endpoint.half_open = limits.half_open;
    endpoint.connections = limits.connections;
    endpoint.reset_key = Some(reset_key(&config.identity));
    endpoint
}

fn connection(config: &ConnectionConfig) -> MachineConfig {
    let mut machine = MachineConfig::default();
    machine.mux = mux_config(&config.limits, u32::from(machine.packet_max));
    machine.handshake = config.timing.handshake;
    machine.idle = config.timing.idle;
    machine.keep_alive = config.timing.keep_alive;
    machine.keep_alive_max = config.timing.idle / 2;
    machine
}

/// The same after every start, and nobody else's: signatures of Ed25519 are deterministic.
fn reset_key(identity: &Identity) -> ResetKey {
    let signature = identity.sign(RESET_KEY_LABEL);
    let mut key = [0; 32];
    key.copy_from_slice(&signature[..32]);
    ResetKey(key)
}
