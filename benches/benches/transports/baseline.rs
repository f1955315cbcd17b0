//! The yardsticks: tokio-rustls and quinn used directly, with our keys and cipher.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use portolan_identity::{Alpn, Expect, Identity, PeerId};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::subject::{Client, Listener, Session, Subject};

/// TLS 1.3 over TCP, one connection a stream, no multiplexing.
pub(crate) struct Tls;

struct TlsListener(TcpListener, TlsAcceptor);

struct TlsClient(Identity, TlsConnector);

/// quinn as it comes.
pub(crate) struct Quinn;

struct QuinnEnd(quinn::Endpoint);

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[async_trait]
impl Subject for Tls {
    fn name(&self) -> String {
        "bare tokio-rustls".into()
    }

    async fn listen(&self, identity: Identity) -> Box<dyn Listener> {
        let listener = TcpListener::bind(loopback()).await.expect("a free loopback port");
        Box::new(TlsListener(listener, TlsAcceptor::from(identity.server_config(Alpn::Tcp))))
    }

    async fn client(&self, identity: Identity) -> Box<dyn Client> {
        let connector = TlsConnector::from(identity.client_config(Alpn::Tcp));
        Box::new(TlsClient(identity, connector))
    }
}

#[async_trait]
impl Listener for TlsListener {
    fn local_addr(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket has an address")
    }

    async fn accept(&mut self) -> Session {
        let (stream, _) = self.0.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP option");
        let stream = self.1.accept(stream).await.expect("a handshake");
        let (read, write) = tokio::io::split(stream);
        Session { read: Box::new(read), write: Box::new(write), connection: Box::new(()) }
    }
}

#[async_trait]
impl Client for TlsClient {
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> Session {
        debug_assert_ne!(self.0.id(), id);
        let stream = TcpStream::connect(server).await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP option");
        let name = Expect::Id(id).server_name();
        let stream = self.1.connect(name, stream).await.expect("a handshake");
        let (read, write) = tokio::io::split(stream);
        Session { read: Box::new(read), write: Box::new(write), connection: Box::new(()) }
    }
}

#[async_trait]
impl Subject for Quinn {
    fn name(&self) -> String {
        "bare quinn".into()
    }

    async fn listen(&self, identity: Identity) -> Box<dyn Listener> {
        let tls = identity.server_config(Alpn::Quic);
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("TLS 1.3");
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        Box::new(QuinnEnd(quinn::Endpoint::server(config, loopback()).expect("a free port")))
    }

    async fn client(&self, identity: Identity) -> Box<dyn Client> {
        let tls = identity.client_config(Alpn::Quic);
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
        let mut endpoint = quinn::Endpoint::client(loopback()).expect("a free port");
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        Box::new(QuinnEnd(endpoint))
    }
}

#[async_trait]
impl Listener for QuinnEnd {
    fn local_addr(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket has an address")
    }

    async fn accept(&mut self) -> Session {
        let incoming = self.0.accept().await.expect("a connection");
        let connection = incoming.await.expect("a handshake");
        let (write, read) = connection.accept_bi().await.expect("a stream");
        Session { read: Box::new(read), write: Box::new(write), connection: Box::new(connection) }
    }
}

#[async_trait]
impl Client for QuinnEnd {
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> Session {
        let connecting = self.0.connect(server, &Expect::Id(id).dns_name()).expect("a name");
        let connection = connecting.await.expect("a handshake");
        let (write, read) = connection.open_bi().await.expect("a stream");
        Session { read: Box::new(read), write: Box::new(write), connection: Box::new(connection) }
    }
}
