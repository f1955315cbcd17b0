//! QUIC by s2n-quic.

use std::{io, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_identity::{Alpn, Expect, Identity, PeerId};
use portolan_subject::{Client, Link, Listener, Messages, Stream, Subject, Traits, no_messages};
use s2n_quic::{
    Connection, Server,
    client::Connect,
    connection::{Handle, StreamAcceptor},
    provider::tls::rustls,
    stream::BidirectionalStream,
};
use tokio::sync::Mutex;

/// s2n-quic as it comes, but for our keys.
#[derive(Debug)]
pub struct S2n;

#[async_trait]
impl Subject for S2n {
    fn name(&self) -> &'static str {
        "s2n-quic"
    }

    fn traits(&self) -> Traits {
        Traits {
            summary: "s2n-quic 1.91 as it comes, rustls, raw public keys, AES-128-GCM",
            encrypted: true,
            repairs: true,
            multiplexes: true,
            messages: Messages::None,
        }
    }

    fn congestion_control(&self) -> String {
        "cubic (s2n-quic)".into()
    }

    async fn listen(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Listener>> {
        let tls = rustls::Server::from(identity.server_config(Alpn::Quic));
        let builder = Server::builder().with_tls(tls).map_err(io::Error::other)?;
        let server = builder.with_io(local)?.start().map_err(io::Error::other)?;
        let local = server.local_addr()?;
        Ok(Box::new(S2nListener { server, local }))
    }

    async fn client(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Client>> {
        let tls = rustls::Client::from(identity.client_config(Alpn::Quic));
        let builder = s2n_quic::Client::builder().with_tls(tls).map_err(io::Error::other)?;
        let client = builder.with_io(local)?.start().map_err(io::Error::other)?;
        Ok(Box::new(S2nClient(client)))
    }
}

struct S2nListener {
    server: Server,
    local: SocketAddr,
}

#[async_trait]
impl Listener for S2nListener {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        let connection = self.server.accept().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok(link(connection))
    }
}

struct S2nClient(s2n_quic::Client);

#[async_trait]
impl Client for S2nClient {
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> io::Result<Box<dyn Link>> {
        let connect = Connect::new(server).with_server_name(Expect::Id(id).dns_name());
        Ok(link(self.0.connect(connect).await?))
    }
}

struct S2nLink {
    handle: Handle,
    acceptor: Mutex<StreamAcceptor>,
}

fn link(connection: Connection) -> Box<dyn Link> {
    let (handle, acceptor) = connection.split();
    Box::new(S2nLink { handle, acceptor: Mutex::new(acceptor) })
}

impl S2nLink {
    fn stream(&self, stream: BidirectionalStream) -> Stream {
        let (read, write) = stream.split();
        let keep = Box::new(self.handle.clone());
        Stream { read: Box::new(read), write: Box::new(write), keep }
    }
}

#[async_trait]
impl Link for S2nLink {
    async fn open(&self) -> io::Result<Stream> {
        Ok(self.stream(self.handle.clone().open_bidirectional_stream().await?))
    }

    async fn accept(&self) -> io::Result<Stream> {
        let stream = self.acceptor.lock().await.accept_bidirectional_stream().await?;
        Ok(self.stream(stream.ok_or(io::ErrorKind::NotConnected)?))
    }

    fn send_message(&self, _: Bytes, _: Option<Duration>) -> io::Result<()> {
        Err(no_messages())
    }

    async fn recv_message(&self) -> io::Result<Bytes> {
        Err(no_messages())
    }
}
