//! What all sessions with other peers share of the network.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use portolan_transport::{BindConfig, Carrier, Transport};
use tokio::sync::OnceCell;

use super::{mapped::Mapped, port::Port};
use crate::{Addresses, Config, PathRule, RouterRule};

/// Our port for other peers, bound when it is needed first.
#[derive(Debug)]
pub(crate) struct Ports {
    config: BindConfig,
    addresses: Arc<dyn Addresses>,
    rule: PathRule,
    router: RouterRule,
    port: OnceCell<Arc<Port>>,
}

impl Ports {
    pub(crate) fn new(config: &Config) -> Self {
        // Each session binds an address of its own.
        let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut bind = BindConfig::new(anywhere, config.identity.clone());
        bind.shared = config.shared.clone();
        bind.connection.limits.streams =
            u32::try_from(config.limits.streams).unwrap_or(u32::MAX).max(1);
        bind.connection.limits.connections =
            u32::try_from(config.limits.sessions * 4).unwrap_or(u32::MAX);
        let addresses = Arc::clone(&config.addresses);
        let (rule, router) = (config.paths, config.router);
        Self { config: bind, addresses, rule, router, port: OnceCell::new() }
    }

    pub(crate) fn rule(&self) -> PathRule {
        self.rule
    }

    /// Our address from which packets to `remote` leave.
    pub(crate) fn towards(&self, remote: SocketAddr) -> Option<IpAddr> {
        self.addresses.towards(remote)
    }

    /// Gives back what others hold for us: the router's port.
    pub(crate) async fn give_back(&self) {
        if let Some(mapped) = self.port.get().and_then(|port| port.mapped.get()) {
            mapped.give_back().await;
        }
    }

    /// Begins to have the router forward the port, for peers who are not on the server's machine.
    pub(crate) fn map(&self, port: &Port, server: SocketAddr) {
        if let Some(router) = which(self.router, self.rule, server) {
            port.mapped.get_or_init(|| Mapped::begin(port, router));
        }
    }

    /// Begins to find out how this network maps the port.
    pub(crate) fn survey(&self, port: &Arc<Port>, server: SocketAddr) {
        let is_useful = match self.rule {
            PathRule::Any | PathRule::DirectOnly => true,
            PathRule::RelayOnly | PathRule::LanOnly => false,
        };
        if is_useful && port.stun.is_some() && !server.ip().to_canonical().is_loopback() {
            port.surveyed.begin(port, server, self.towards(server));
        }
    }

    /// The port; it speaks `transport` if it is not bound yet. An error says why there is none.
    pub(crate) async fn port(
        &self,
        transport: &'static dyn Transport,
    ) -> Result<Arc<Port>, String> {
        if transport.capabilities().carrier == Carrier::Memory {
            return Err("both are in one process".to_owned());
        }
        let bind = async || Port::bind(transport, self.config.clone()).await.map(Arc::new);
        let port = self.port.get_or_try_init(bind).await;
        port.cloned().map_err(|error| format!("no port for other peers: {error}"))
    }
}

/// Which router is asked, if one is.
fn which(router: RouterRule, rule: PathRule, server: SocketAddr) -> Option<RouterRule> {
    let is_useful = match rule {
        PathRule::Any | PathRule::DirectOnly => true,
        PathRule::RelayOnly | PathRule::LanOnly => false,
    };
    let is_near = server.ip().to_canonical().is_loopback();
    match router {
        RouterRule::Never => None,
        RouterRule::Default => Some(router).filter(|_| is_useful && !is_near),
        RouterRule::This(_) => Some(router).filter(|_| is_useful),
    }
}
