//! QUIC by quinn.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_identity::{Alpn, Expect, Identity, PeerId};
use portolan_subject::{Client, Link, Listener, Messages, Stream, Subject, Traits};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime,
    TransportConfig,
    congestion::BbrConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use tokio::select;

use crate::handshakes::Handshakes;

/// Bytes of the larger windows: more than 50 ms hold at 2 Gbit/s.
const WINDOW: u32 = 16 << 20;

/// quinn with our keys; nothing else of it is set but, in some rows, its congestion control and its
/// windows.
#[derive(Debug)]
pub struct Quinn {
    name: &'static str,
    summary: &'static str,
    congestion: Congestion,
    windows: Windows,
}

/// How much may be under way on a stream.
#[derive(Debug, Clone, Copy)]
enum Windows {
    /// As much as quinn thinks right.
    Usual,
    /// [`WINDOW`].
    Large,
}

/// One of quinn's own.
#[derive(Debug, Clone, Copy)]
enum Congestion {
    Cubic,
    Bbr,
}

impl Quinn {
    /// As it comes.
    pub const CUBIC: Self = Self {
        name: "quinn",
        summary: "quinn 0.11 as it comes, raw public keys, AES-128-GCM",
        congestion: Congestion::Cubic,
        windows: Windows::Usual,
    };

    /// With its BBR, which its authors call experimental.
    pub const BBR: Self = Self {
        name: "quinn-bbr",
        summary: "quinn 0.11 with its BBR (experimental), raw public keys, AES-128-GCM",
        congestion: Congestion::Bbr,
        windows: Windows::Usual,
    };

    /// The same with windows for fast long ways, which it does not find by itself.
    pub const BBR_LARGE: Self = Self {
        name: "quinn-bbr-16m",
        summary: "quinn 0.11 with its BBR (experimental) and windows of 16 MiB",
        congestion: Congestion::Bbr,
        windows: Windows::Large,
    };

    fn transport(&self) -> Arc<TransportConfig> {
        let mut transport = TransportConfig::default();
        match self.congestion {
            Congestion::Cubic => &mut transport,
            Congestion::Bbr => {
                transport.congestion_controller_factory(Arc::new(BbrConfig::default()))
            }
        };
        match self.windows {
            Windows::Usual => &mut transport,
            Windows::Large => transport
                .stream_receive_window(WINDOW.into())
                .receive_window(WINDOW.into())
                .send_window(WINDOW.into()),
        };
        Arc::new(transport)
    }
}

#[async_trait]
impl Subject for Quinn {
    fn name(&self) -> &'static str {
        self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            summary: self.summary,
            encrypted: true,
            repairs: true,
            multiplexes: true,
            messages: Messages::Once,
        }
    }

    fn congestion_control(&self) -> String {
        match self.congestion {
            Congestion::Cubic => "cubic (quinn)".into(),
            Congestion::Bbr => "bbr (quinn)".into(),
        }
    }

    async fn listen(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Listener>> {
        let tls = QuicServerConfig::try_from(identity.server_config(Alpn::Quic));
        let tls = tls.map_err(io::Error::other)?;
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(self.transport());
        let endpoint = open(local, Some(config))?;
        let local = endpoint.local_addr()?;
        Ok(Box::new(QuinnListener { endpoint, local, handshakes: Handshakes::default() }))
    }

    async fn client(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Client>> {
        let tls = QuicClientConfig::try_from(identity.client_config(Alpn::Quic));
        let mut config = ClientConfig::new(Arc::new(tls.map_err(io::Error::other)?));
        config.transport_config(self.transport());
        let mut endpoint = open(local, None)?;
        endpoint.set_default_client_config(config);
        Ok(Box::new(QuinnClient(endpoint)))
    }
}

fn open(local: SocketAddr, server: Option<ServerConfig>) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind(local)?;
    Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))
}

struct QuinnListener {
    endpoint: Endpoint,
    local: SocketAddr,
    handshakes: Handshakes,
}

#[async_trait]
impl Listener for QuinnListener {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        loop {
            select! {
                link = self.handshakes.next() => return Ok(link),
                incoming = self.endpoint.accept(), if !self.handshakes.is_full() => {
                    let incoming = incoming.ok_or(io::ErrorKind::NotConnected)?;
                    self.handshakes.start(async { Ok(link(incoming.await?)) });
                }
            }
        }
    }
}

struct QuinnClient(Endpoint);

#[async_trait]
impl Client for QuinnClient {
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> io::Result<Box<dyn Link>> {
        let connecting = self.0.connect(server, &Expect::Id(id).dns_name());
        Ok(link(connecting.map_err(io::Error::other)?.await?))
    }
}

struct QuinnLink(Connection);

fn link(connection: Connection) -> Box<dyn Link> {
    Box::new(QuinnLink(connection))
}

impl QuinnLink {
    fn stream(&self, (write, read): (quinn::SendStream, quinn::RecvStream)) -> Stream {
        Stream { read: Box::new(read), write: Box::new(write), keep: Box::new(self.0.clone()) }
    }
}

#[async_trait]
impl Link for QuinnLink {
    async fn open(&self) -> io::Result<Stream> {
        Ok(self.stream(self.0.open_bi().await?))
    }

    async fn accept(&self) -> io::Result<Stream> {
        Ok(self.stream(self.0.accept_bi().await?))
    }

    fn send_message(&self, payload: Bytes, _: Option<Duration>) -> io::Result<()> {
        self.0.send_datagram(payload).map_err(io::Error::other)
    }

    async fn recv_message(&self) -> io::Result<Bytes> {
        Ok(self.0.read_datagram().await?)
    }
}
