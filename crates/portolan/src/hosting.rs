//! Servers inside the program of a peer, for networks on which nobody has set one up.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    ALL_TRANSPORTS, Identity, PeerId,
    peer::{Hosting, RunningHost},
    server::{Config, Limits, RegistryConfig, Server, StartError},
};

/// Silence after which somebody has vanished, and after which a host has.
const HEARTBEAT: Duration = Duration::from_secs(4);
/// Relays have so long to end when a host leaves: who is on the same network seldom needs one.
const DRAIN: Duration = Duration::from_secs(1);

/// What starts such servers.
pub static HOSTING: &dyn Hosting = &InThisProgram;

/// Starts a [`Server`] that keeps everything in memory, with all transports.
#[derive(Debug, Clone, Copy)]
struct InThisProgram;

#[async_trait]
impl Hosting for InThisProgram {
    async fn start(&self) -> Result<Box<dyn RunningHost>, String> {
        let any = |ip: std::net::IpAddr| config(SocketAddr::new(ip, 0));
        let server = match Server::start(any(Ipv6Addr::UNSPECIFIED.into())).await {
            // A machine without IPv6.
            Err(StartError::Bind(_)) => Server::start(any(Ipv4Addr::UNSPECIFIED.into())).await,
            result => result,
        };
        let server = server.map_err(|error| error.to_string())?;
        let port = server.addresses().first().map(|(_, address)| address.port());
        let port = port.ok_or("the server listens nowhere")?;
        Ok(Box::new(Host { server, port }))
    }
}

fn config(listen: SocketAddr) -> Config {
    let mut config = Config::new(listen, ALL_TRANSPORTS, Identity::generate());
    let registry = RegistryConfig { heartbeat: Some(HEARTBEAT), ..RegistryConfig::default() };
    let schemes = ALL_TRANSPORTS.iter().map(|transport| transport.scheme().to_owned());
    config.registries = schemes.map(|scheme| (scheme, registry)).collect();
    config.timing.drain = DRAIN;
    // A network of neighbours, in the memory of one of them.
    config.limits = Limits {
        users: 2_000,
        users_per_registry: 500,
        groups: 500,
        mailbox_bytes: 256 << 10,
        history_bytes_in_memory: 4 << 20,
        ..config.limits
    };
    // There is no restart to wait for.
    config.timing.restart = Duration::ZERO;
    config
}

#[derive(Debug)]
struct Host {
    server: Server,
    port: u16,
}

#[async_trait]
impl RunningHost for Host {
    fn id(&self) -> PeerId {
        self.server.id()
    }

    fn port(&self) -> u16 {
        self.port
    }

    async fn end(self: Box<Self>, why: &str) {
        self.server.shutdown(why).await;
    }
}
