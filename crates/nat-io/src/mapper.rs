//! Ports that a router forwards because we ask: PCP (RFC 6887), NAT-PMP (RFC 6886), UPnP-IGD.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    time::Duration,
};

use crab_nat::{
    GatewayAddress, InternetProtocol, PortMapping, PortMappingOptions, PortMappingType,
    TimeoutConfig, natpmp, pcp,
};
use igd_next::{
    PortMappingProtocol, SearchOptions,
    aio::{
        Gateway,
        tokio::{Tokio, search_gateway},
    },
};
use thiserror::Error;
use tokio::time::timeout;

/// What a router shows of a mapping to its owner.
const DESCRIPTION: &str = "portolan";
/// A router on the same network that does not answer by then does not speak the protocol.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same, for one question of PCP or NAT-PMP.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const RETRIES: usize = 2;

/// A way to ask a router for a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MappingProtocol {
    /// RFC 6887.
    Pcp,
    /// RFC 6886.
    NatPmp,
    /// UPnP, Internet Gateway Device.
    Upnp,
}

impl MappingProtocol {
    /// All, in the order in which they are tried: the quickest to fail first.
    pub const ALL: [Self; 3] = [Self::Pcp, Self::NatPmp, Self::Upnp];

    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        }
    }
}

impl fmt::Display for MappingProtocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// What comes through a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carried {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Carried {
    const fn in_pcp(self) -> InternetProtocol {
        match self {
            Self::Tcp => InternetProtocol::Tcp,
            Self::Udp => InternetProtocol::Udp,
        }
    }

    const fn in_upnp(self) -> PortMappingProtocol {
        match self {
            Self::Tcp => PortMappingProtocol::TCP,
            Self::Udp => PortMappingProtocol::UDP,
        }
    }
}

/// Why a router gives no port by one protocol.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{protocol}: {why}")]
pub struct MapError {
    /// Which protocol.
    pub protocol: MappingProtocol,
    /// What it said, or that it said nothing.
    pub why: String,
}

/// Which router is asked, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Router {
    /// Its address on our network.
    pub gateway: IpAddr,
    /// Ours.
    pub own: IpAddr,
    /// Where UPnP's routers listen; others than the usual address only in tests.
    pub ssdp: SocketAddr,
}

impl Router {
    /// The router of our default route, if there is one and the system tells.
    #[must_use]
    pub fn default_route() -> Option<Self> {
        let gateway = IpAddr::V4(default_gateway()?);
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        // Chooses the way, and with it our address; no packet leaves.
        socket.connect((gateway, 9)).ok()?;
        let own = socket.local_addr().ok()?.ip();
        Some(Self { gateway, own, ssdp: SocketAddr::from(([239, 255, 255, 250], 1900)) })
    }

    /// Asks for a port by the first protocol that the router speaks. Cancel safe, but a port that
    /// was just given is then forwarded until its time is over.
    ///
    /// # Errors
    /// Why none of them gave one.
    pub async fn map(
        &self,
        port: (Carried, u16),
        lifetime: Duration,
    ) -> Result<PortLease, Vec<MapError>> {
        let mut errors = Vec::new();
        for protocol in MappingProtocol::ALL {
            match self.map_by(protocol, port, lifetime).await {
                Ok(lease) => return Ok(lease),
                Err(error) => errors.push(error),
            }
        }
        Err(errors)
    }

    /// Asks for a port by one protocol. Cancel safe as [`Self::map`] is.
    ///
    /// # Errors
    /// Why it gave none.
    pub async fn map_by(
        &self,
        protocol: MappingProtocol,
        (carried, port): (Carried, u16),
        lifetime: Duration,
    ) -> Result<PortLease, MapError> {
        let failed = |why: String| MapError { protocol, why };
        let port = NonZeroU16::new(port).ok_or_else(|| failed("port 0 is no port".to_owned()))?;
        let asked = async {
            match protocol {
                MappingProtocol::Pcp => self.by_pcp((carried, port), lifetime).await,
                MappingProtocol::NatPmp => self.by_nat_pmp((carried, port), lifetime).await,
                MappingProtocol::Upnp => self.by_upnp((carried, port), lifetime).await,
            }
        };
        let silent = |_| failed("no answer".to_owned());
        timeout(PATIENCE, asked).await.map_err(silent)?.map_err(failed)
    }

    async fn by_pcp(
        &self,
        (carried, port): (Carried, NonZeroU16),
        lifetime: Duration,
    ) -> Result<PortLease, String> {
        let (gateway, what) = (GatewayAddress::from(self.gateway), carried.in_pcp());
        let request = pcp::BaseMapRequest::new(gateway, self.own, what, port);
        let mapping = pcp::port_mapping(request, None, None, options(port, lifetime)).await;
        let mapping = mapping.map_err(|error| error.to_string())?;
        let PortMappingType::Pcp { external_ip, .. } = mapping.mapping_type() else {
            return Err("the router has answered by another protocol".to_owned());
        };
        let external = SocketAddr::new(external_ip.to_canonical(), mapping.external_port().get());
        let (protocol, lifetime) = (MappingProtocol::Pcp, granted(&mapping));
        Ok(PortLease { protocol, external, lifetime, handle: Handle::Router(mapping) })
    }

    async fn by_nat_pmp(
        &self,
        (carried, port): (Carried, NonZeroU16),
        lifetime: Duration,
    ) -> Result<PortLease, String> {
        let (gateway, what) = (GatewayAddress::from(self.gateway), carried.in_pcp());
        let ip = natpmp::external_address(gateway, Some(timeouts())).await;
        let ip = ip.map_err(|error| error.to_string())?;
        let mapping = natpmp::port_mapping(gateway, what, port, options(port, lifetime)).await;
        let mapping = mapping.map_err(|error| error.to_string())?;
        let external = SocketAddr::new(ip.into(), mapping.external_port().get());
        let (protocol, lifetime) = (MappingProtocol::NatPmp, granted(&mapping));
        Ok(PortLease { protocol, external, lifetime, handle: Handle::Router(mapping) })
    }

    async fn by_upnp(
        &self,
        (carried, port): (Carried, NonZeroU16),
        lifetime: Duration,
    ) -> Result<PortLease, String> {
        let mut search = SearchOptions::default();
        search.bind_addr = SocketAddr::new(self.own, 0);
        search.broadcast_address = self.ssdp;
        search.allowed_gateway_ips = vec![self.gateway];
        search.timeout = Some(PATIENCE);
        search.single_search_timeout = Some(PATIENCE);
        let gateway = search_gateway(search).await.map_err(|error| error.to_string())?;
        let ip = gateway.get_external_ip().await.map_err(|error| error.to_string())?;
        let local = SocketAddr::new(self.own, port.get());
        let seconds = whole_seconds(lifetime);
        let external = gateway
            .add_any_port(carried.in_upnp(), local, seconds, DESCRIPTION)
            .await
            .map_err(|error| error.to_string())?;
        let handle = Handle::Upnp { gateway: Box::new(gateway), local, carried };
        let external = SocketAddr::new(ip, external);
        Ok(PortLease { protocol: MappingProtocol::Upnp, external, lifetime, handle })
    }
}

/// A port that the router forwards to us for a while; renew it before that is over.
#[derive(Debug)]
pub struct PortLease {
    protocol: MappingProtocol,
    external: SocketAddr,
    lifetime: Duration,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Router(PortMapping),
    Upnp { gateway: Box<Gateway<Tokio>>, local: SocketAddr, carried: Carried },
}

impl PortLease {
    /// By which protocol it was given.
    #[must_use]
    pub const fn protocol(&self) -> MappingProtocol {
        self.protocol
    }

    /// Where others reach us, as the router says; behind a second translator it is not true.
    #[must_use]
    pub const fn external(&self) -> SocketAddr {
        self.external
    }

    /// For how long it was given last, which may be less than was asked for.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Asks for more time. Cancel safe.
    ///
    /// # Errors
    /// Why it was not given; the port is lost when its time is over.
    pub async fn renew(&mut self, lifetime: Duration) -> Result<(), MapError> {
        let renewing = async {
            match &mut self.handle {
                Handle::Router(mapping) => {
                    let renewed = mapping.renew().await.map_err(|error| error.to_string());
                    renewed.map(|()| granted(mapping))
                }
                Handle::Upnp { gateway, local, carried } => gateway
                    .add_port(
                        carried.in_upnp(),
                        self.external.port(),
                        *local,
                        whole_seconds(lifetime),
                        DESCRIPTION,
                    )
                    .await
                    .map(|()| lifetime)
                    .map_err(|error| error.to_string()),
            }
        };
        let protocol = self.protocol;
        let silent = |_| "no answer".to_owned();
        let renewed = timeout(PATIENCE, renewing).await.map_err(silent);
        let renewed = renewed.and_then(|renewed| renewed);
        self.lifetime = renewed.map_err(|why| MapError { protocol, why })?;
        Ok(())
    }

    /// Gives the port back; a router that does not answer forgets it by itself.
    pub async fn release(self) {
        let Self { handle, external, .. } = self;
        let releasing = async {
            match handle {
                Handle::Router(mapping) => {
                    let _forgotten_later = mapping.try_drop().await;
                }
                Handle::Upnp { gateway, carried, .. } => {
                    let _forgotten_later =
                        gateway.remove_port(carried.in_upnp(), external.port()).await;
                }
            }
        };
        let _forgotten_later = timeout(PATIENCE, releasing).await;
    }
}

fn granted(mapping: &PortMapping) -> Duration {
    Duration::from_secs(mapping.lifetime().into())
}

fn options(port: NonZeroU16, lifetime: Duration) -> PortMappingOptions {
    PortMappingOptions {
        external_port: Some(port),
        lifetime_seconds: Some(whole_seconds(lifetime)),
        timeout_config: Some(timeouts()),
    }
}

const fn timeouts() -> TimeoutConfig {
    TimeoutConfig { initial_timeout: FIRST_WAIT, max_retries: RETRIES, max_retry_timeout: None }
}

fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// The router of the default route over IPv4.
fn default_gateway() -> Option<Ipv4Addr> {
    parse_routes(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// Reads Linux's table of routes: the gateway of the one for all addresses with the least metric.
fn parse_routes(table: &str) -> Option<Ipv4Addr> {
    let rows = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, destination, gateway, _, _, _, metric, mask, ..] = words[..] else { return None };
        let is_default = destination == "00000000" && mask == "00000000";
        // In the byte order of the machine, which is that of the network read backwards.
        let gateway = u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes();
        let metric: u32 = metric.parse().ok()?;
        (is_default && gateway != [0; 4]).then_some((metric, Ipv4Addr::from(gateway)))
    });
    rows.min().map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_least_metric_counts() {
        let number = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let row = |to: [u8; 4], by: [u8; 4], metric: u32, mask: [u8; 4]| {
            let [to, by, mask] = [to, by, mask].map(number);
            format!("eth0\t{to}\t{by}\t0003\t0\t0\t{metric}\t{mask}\t0\t0\t0\n")
        };
        let (all, router) = ([0; 4], [192, 168, 1, 1]);
        let table = [
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
                .to_owned(),
            row([192, 168, 1, 0], all, 0, [255, 255, 255, 0]),
            row(all, [10, 0, 0, 1], 600, all),
            row(all, router, 100, all),
        ];
        assert_eq!(parse_routes(&table.concat()), Some(router.into()));
        assert_eq!(parse_routes(&table[..2].concat()), None);
        assert_eq!(parse_routes("nonsense\nin\nlines"), None);
    }
}
