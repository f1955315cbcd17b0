//! One port for all transports.

use std::{net::SocketAddr, sync::Arc};

use portolan_transport::{
    BindConfig, BindError, Carrier, CloseCode, ConnectionConfig, Endpoint, Transport,
};
use thiserror::Error;

use crate::config::Config;

/// How many free ports are tried until one is free for every transport.
const ATTEMPTS: usize = 32;

/// Why not every transport could be bound.
#[derive(Debug, Error)]
pub enum BindAllError {
    /// One of them could not have the address.
    #[error("{scheme} cannot listen")]
    Bind {
        /// Which.
        scheme: &'static str,
        /// Why not.
        source: BindError,
    },
    /// There is no transport.
    #[error("there is no transport to listen with")]
    NoTransport,
}

/// An endpoint and the transport that made it.
pub(super) struct Bound {
    pub(super) scheme: &'static str,
    pub(super) carrier: Carrier,
    pub(super) endpoint: Arc<dyn Endpoint>,
}

/// Binds every transport to one address. If any port will do, others are tried while the one that
/// the first transport got is taken for another.
pub(super) async fn bind_all(config: &Config) -> Result<Vec<Bound>, BindAllError> {
    let mut attempts = if config.listen.port() == 0 { ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match try_bind_all(config).await {
            Err(BindAllError::Bind { source: BindError::InUse(_), .. }) if attempts > 0 => {}
            result => return result,
        }
    }
}

async fn try_bind_all(config: &Config) -> Result<Vec<Bound>, BindAllError> {
    let mut local = config.listen;
    let mut bound: Vec<Bound> = Vec::new();
    for transport in config.transports {
        match bind_one(config, *transport, local).await {
            Ok(endpoint) => {
                local.set_port(endpoint.local_addr().port());
                let carrier = transport.capabilities().carrier;
                bound.push(Bound { scheme: transport.scheme(), carrier, endpoint });
            }
            Err(source) => {
                for bound in bound {
                    bound.endpoint.close(CloseCode::DONE, "").await;
                }
                return Err(BindAllError::Bind { scheme: transport.scheme(), source });
            }
        }
    }
    if bound.is_empty() { Err(BindAllError::NoTransport) } else { Ok(bound) }
}

async fn bind_one(
    config: &Config,
    transport: &dyn Transport,
    local: SocketAddr,
) -> Result<Arc<dyn Endpoint>, BindError> {
    let connection = ConnectionConfig {
        identity: config.identity.clone(),
        limits: config.transport_limits(transport.scheme()),
        timing: config.transport_timing(transport.scheme()),
    };
    let bare = BindConfig::new(local, config.identity.clone());
    transport.bind(BindConfig { connection, shared: config.shared.clone(), ..bare }).await
}
