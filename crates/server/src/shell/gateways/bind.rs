//! The sockets of the gateways.

use std::{io, net::SocketAddr, sync::Arc};

use portolan_gateway::{Carrier, Lane, Service};
use tokio::net::{TcpListener, UdpSocket};

use super::super::server::StartError;
use crate::config::GatewayConfig;

/// A gateway that has its addresses.
///
/// The same gateway opened twice is one for its users: they share a registry, and with the same
/// options all that clients share.
pub(in super::super) struct BoundGateway {
    pub(super) service: Arc<dyn Service>,
    /// Those with the same number share their service.
    pub(super) service_number: usize,
    pub(super) sockets: Vec<(Lane, Socket)>,
}

pub(super) enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl BoundGateway {
    /// The registry and the address of each lane.
    pub(in super::super) fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let address = |(lane, socket): &(Lane, Socket)| {
            let address = match socket {
                Socket::Tcp(listener) => listener.local_addr(),
                Socket::Udp(socket) => socket.local_addr(),
            };
            address.ok().map(|address| (lane.registry, address))
        };
        self.sockets.iter().filter_map(address).collect()
    }
}

/// Opens every gateway. Not cancel safe in that what is bound is let go again.
pub(in super::super) async fn bind_gateways(
    configs: &[GatewayConfig],
) -> Result<Vec<BoundGateway>, StartError> {
    let mut all: Vec<BoundGateway> = Vec::new();
    for (number, config) in configs.iter().enumerate() {
        let is_same = |other: &GatewayConfig| {
            other.gateway.name() == config.gateway.name() && other.options == config.options
        };
        let first = configs.iter().position(is_same).unwrap_or(number);
        let service = match all.get(first) {
            Some(bound) => Arc::clone(&bound.service),
            None => open_service(config)?,
        };
        let sockets = bind(config).await?;
        all.push(BoundGateway { service, service_number: first, sockets });
    }
    Ok(all)
}

fn open_service(config: &GatewayConfig) -> Result<Arc<dyn Service>, StartError> {
    let gateway = config.gateway;
    config
        .options
        .check(gateway.options())
        .and_then(|()| gateway.open(&config.options))
        .map_err(|source| StartError::GatewayOption { name: gateway.name(), source })
}

async fn bind(config: &GatewayConfig) -> Result<Vec<(Lane, Socket)>, StartError> {
    let gateway = config.gateway;
    let mut address = config.address;
    let mut sockets = Vec::new();
    for &lane in gateway.lanes() {
        let wrong =
            |source| StartError::Gateway { name: gateway.name(), address: config.address, source };
        let socket = open(lane.carrier, address).await.map_err(wrong)?;
        // The lanes of a gateway have one port.
        address.set_port(socket_port(&socket).map_err(wrong)?);
        sockets.push((lane, socket));
    }
    Ok(sockets)
}

async fn open(carrier: Carrier, address: SocketAddr) -> io::Result<Socket> {
    match carrier {
        Carrier::Tcp => TcpListener::bind(address).await.map(Socket::Tcp),
        Carrier::Udp => UdpSocket::bind(address).await.map(Socket::Udp),
    }
}

fn socket_port(socket: &Socket) -> io::Result<u16> {
    let address = match socket {
        Socket::Tcp(listener) => listener.local_addr(),
        Socket::Udp(socket) => socket.local_addr(),
    };
    address.map(|address| address.port())
}
