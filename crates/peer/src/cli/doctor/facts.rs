//! What there is to know about a network, asked of those who know.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use portolan_datagram_io::SharedSockets;
use portolan_nat::Survey;
use portolan_nat_io::{
    Carried, LanServer, MappingProtocol, Router, StunPort, find_servers, interfaces,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::super::{exit::Failure, lan, settings::Settings};
use crate::dial::look_up;

/// A server that is there answers sooner.
const TCP_PATIENCE: Duration = Duration::from_secs(5);
/// A port of the router is borrowed for so long.
const LEASE: Duration = Duration::from_secs(120);
/// Who announces something on this network has done so by then.
const LISTEN_TIME: Duration = Duration::from_secs(3);
/// What QUIC and our UDP need, in bytes of a datagram.
pub(super) const NEEDED: usize = 1200;
/// A whole packet of Ethernet over IPv4.
pub(super) const ETHERNET: usize = 1472;

/// Everything that was found out.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// Addresses of this machine, without loopback.
    pub(super) own: Vec<IpAddr>,
    pub(super) server: Option<ServerFacts>,
    pub(super) router: Option<RouterFacts>,
    /// Who announces servers on this network, or why nobody can be heard.
    pub(super) lan: Result<Vec<LanServer>, String>,
    pub(super) now: SystemTime,
    /// When this program was installed.
    pub(super) installed: Option<SystemTime>,
}

/// What a server says.
#[derive(Debug, Clone)]
pub(super) struct ServerFacts {
    pub(super) address: SocketAddr,
    /// Time to connect, or why not.
    pub(super) tcp: Result<Duration, String>,
    pub(super) survey: Survey,
    /// From which port the survey was made.
    pub(super) local_port: u16,
    pub(super) passes_needed: bool,
    pub(super) passes_ethernet: bool,
}

/// What the router says.
#[derive(Debug, Clone)]
pub(super) struct RouterFacts {
    pub(super) gateway: IpAddr,
    /// As which it forwarded a port, by each protocol, or why not.
    pub(super) ports: Vec<(MappingProtocol, Result<SocketAddr, String>)>,
}

impl Facts {
    pub(super) async fn gather(settings: &Settings) -> Result<Self, Failure> {
        let own =
            interfaces().map_err(|error| Failure::failed(format!("no addresses: {error}")))?;
        let own = own.into_iter().map(|interface| interface.ip).filter(|ip| !ip.is_loopback());
        let server = async {
            let Some(server) = lan::named(settings) else { return Ok(None) };
            let found = look_up(&server.host, server.port).await.map_err(|error| {
                Failure::unreachable(format!("cannot find {:?}: {error}", server.host))
            })?;
            let Some(address) = found.first() else { return Ok(None) };
            ask_server(settings, *address).await.map(Some)
        };
        let (server, router, lan) = tokio::join!(server, ask_router(), find_servers(LISTEN_TIME));
        let installed = std::env::current_exe().and_then(std::fs::metadata);
        #[expect(clippy::disallowed_methods, reason = "whether the clock is right is the question")]
        let now = SystemTime::now();
        Ok(Self {
            own: own.collect(),
            server: server?,
            router,
            lan: lan.map_err(|error| error.to_string()),
            now,
            installed: installed.and_then(|found| found.modified()).ok(),
        })
    }
}

async fn ask_server(settings: &Settings, address: SocketAddr) -> Result<ServerFacts, Failure> {
    let start = Instant::now();
    let tcp = match timeout(TCP_PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_connected)) => Ok(start.elapsed()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    };
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("no UDP port: {error}"));
    let sockets: Arc<SharedSockets> = settings.shared.get_or_default();
    let mut seed = [0; 32];
    let random = portolan_identity::provider().secure_random;
    random.fill(&mut seed).map_err(|_| failed(&"the system gives no random bytes"))?;
    let local = SocketAddr::new(any, 0);
    let port = StunPort::open(&sockets, local, seed).map_err(|error| failed(&error))?;
    let survey = port.survey(address).await.map_err(|error| failed(&error))?;
    let mut passes = [false; 2];
    if survey.mapped.is_some() {
        for (passes, len) in passes.iter_mut().zip([NEEDED, ETHERNET]) {
            *passes = port.passes(address, len).await.map_err(|error| failed(&error))?;
        }
    }
    let [passes_needed, passes_ethernet] = passes;
    let local_port = port.local_addr().port();
    Ok(ServerFacts { address, tcp, survey, local_port, passes_needed, passes_ethernet })
}

/// Borrows a port by each protocol and gives it back.
async fn ask_router() -> Option<RouterFacts> {
    let router = Router::default_route()?;
    // A port that nobody listens on, so that nothing is laid open.
    let port = std::net::UdpSocket::bind((router.own, 0)).ok()?.local_addr().ok()?.port();
    let mut ports = Vec::new();
    for protocol in MappingProtocol::ALL {
        let found = match router.map_by(protocol, (Carried::Udp, port), LEASE).await {
            Ok(lease) => {
                let external = lease.external();
                lease.release().await;
                Ok(external)
            }
            Err(error) => Err(error.why),
        };
        ports.push((protocol, found));
    }
    Some(RouterFacts { gateway: router.gateway, ports })
}
