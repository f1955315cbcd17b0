//! The sockets of the gateways.

use std::{io, net::SocketAddr, sync::Arc};

use portolan_gateway::{Carrier, Lane, Service};
use tokio::net::{TcpListener, UdpSocket};

use super::super::server::StartError;
use crate::config::GatewayConfig;

/// A gateway that has its addresses.
pub(in super::super) struct BoundGateway {
    pub(super) service: Arc<dyn Service>,
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
    let mut all = Vec::new();
    for config in configs {
        all.push(bind(config).await?);
    }
    Ok(all)
}

async fn bind(config: &GatewayConfig) -> Result<BoundGateway, StartError> {
    let gateway = config.gateway;
    let service = config
        .options
        .check(gateway.options())
        .and_then(|()| gateway.open(&config.options))
        .map_err(|source| StartError::GatewayOption { name: gateway.name(), source })?;
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
    Ok(BoundGateway { service, sockets })
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
