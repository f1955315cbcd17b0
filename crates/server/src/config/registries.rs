//! What one transport's registry may differ in from the others.

use std::{collections::BTreeMap, time::Duration};

use portolan_transport::{Limits, Timing};

use super::Config;

/// How much less often than it is given up a quiet connection is asked for a sign of life.
const KEEP_ALIVES: u32 = 4;

/// What is said about the registry of one transport; what is not said is as for all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Users logged in at once; [`Limits::users_per_registry`](crate::Limits::users_per_registry)
    /// otherwise.
    pub clients: Option<usize>,
    /// Silence after which a client has vanished; [`Timing::transport`](crate::Timing::transport)
    /// otherwise.
    pub heartbeat: Option<Duration>,
}

/// The registries about which something is said, by the schemes of their transports.
pub type RegistryConfigs = BTreeMap<String, RegistryConfig>;

impl Config {
    /// Users who may be logged in at once over the transport.
    pub(crate) fn clients(&self, scheme: &str) -> usize {
        let said = self.registries.get(scheme).and_then(|registry| registry.clients);
        said.unwrap_or(self.limits.users_per_registry)
    }

    /// The bounds of the transport's endpoint. There is room for a few more connections than users:
    /// who comes too late is told why, and admins get in.
    pub(crate) fn transport_limits(&self, scheme: &str) -> Limits {
        let clients = self.clients(scheme);
        let connections = clients.saturating_add(clients / 16).saturating_add(64);
        Limits {
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
            ..self.limits.transport
        }
    }

    /// The times of the transport's connections.
    pub(crate) fn transport_timing(&self, scheme: &str) -> Timing {
        let said = self.registries.get(scheme).and_then(|registry| registry.heartbeat);
        said.map_or(self.timing.transport, |idle| with_heartbeat(self.timing.transport, idle))
    }
}

/// The same with another silence after which a connection is given up.
pub(crate) fn with_heartbeat(timing: Timing, idle: Duration) -> Timing {
    Timing { idle, keep_alive: idle / KEEP_ALIVES, ..timing }
}
