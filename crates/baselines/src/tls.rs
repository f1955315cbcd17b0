//! TLS over TCP.

use std::{io, net::SocketAddr};

use async_trait::async_trait;
use portolan_identity::{Alpn, Expect, Identity, PeerId};
use portolan_subject::{Client, Link, Listener, Messages, Stream, Subject, Traits};
use tokio::{
    io::{AsyncRead, AsyncWrite, split},
    select,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    handshakes::Handshakes,
    one_stream::OneStream,
    tcp::{self, Incoming, kernel_congestion},
};

/// TLS 1.3 by tokio-rustls with our keys and our first cipher, one TCP connection a stream.
#[derive(Debug)]
pub struct Tls;

#[async_trait]
impl Subject for Tls {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn traits(&self) -> Traits {
        Traits {
            summary: "tokio-rustls 0.26 over TCP: TLS 1.3, raw public keys, AES-128-GCM",
            encrypted: true,
            repairs: true,
            multiplexes: false,
            messages: Messages::None,
        }
    }

    fn congestion_control(&self) -> String {
        kernel_congestion()
    }

    async fn listen(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Listener>> {
        let incoming = tcp::listen(local, None)?;
        let acceptor = TlsAcceptor::from(identity.server_config(Alpn::Tcp));
        Ok(Box::new(TlsListener { incoming, acceptor, handshakes: Handshakes::default() }))
    }

    async fn client(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Client>> {
        let connector = TlsConnector::from(identity.client_config(Alpn::Tcp));
        Ok(Box::new(TlsClient { local, connector }))
    }
}

struct TlsListener {
    incoming: Incoming,
    acceptor: TlsAcceptor,
    handshakes: Handshakes,
}

#[async_trait]
impl Listener for TlsListener {
    fn local_addr(&self) -> SocketAddr {
        self.incoming.local
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        loop {
            select! {
                link = self.handshakes.next() => return Ok(link),
                stream = self.incoming.accept(), if !self.handshakes.is_full() => {
                    let handshake = self.acceptor.accept(stream?);
                    self.handshakes.start(async { Ok(link(handshake.await?)) });
                }
            }
        }
    }
}

struct TlsClient {
    local: SocketAddr,
    connector: TlsConnector,
}

#[async_trait]
impl Client for TlsClient {
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> io::Result<Box<dyn Link>> {
        let stream = tcp::connect(self.local, server, None).await?;
        Ok(link(self.connector.connect(Expect::Id(id).server_name(), stream).await?))
    }
}

fn link(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Box<dyn Link> {
    let (read, write) = split(stream);
    OneStream::link(Stream { read: Box::new(read), write: Box::new(write), keep: Box::new(()) })
}
