//! Configurations of endpoints.

use portolan_mux::Config;
use portolan_rudp::{Congestion, ConnectionConfig, CookiePolicy, EndpointConfig};

/// What differs between the endpoints of different runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) bounds: Config,
    pub(crate) cookies: CookiePolicy,
    pub(crate) congestion: Congestion,
    /// Packets after which keys are changed.
    pub(crate) key_update_after: u64,
}

impl Default for Setup {
    fn default() -> Self {
        let config = EndpointConfig::default();
        Self {
            bounds: Config::default(),
            cookies: config.cookies,
            congestion: config.connection.congestion,
            key_update_after: config.connection.key_update_after,
        }
    }
}

impl Setup {
    pub(crate) fn config(&self) -> EndpointConfig {
        let connection = ConnectionConfig {
            mux: self.bounds,
            congestion: self.congestion,
            key_update_after: self.key_update_after,
            ..ConnectionConfig::default()
        };
        EndpointConfig { cookies: self.cookies, ..EndpointConfig::new(connection) }
    }
}
