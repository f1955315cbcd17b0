//! Our transports as subjects, through their public traits only.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use portolan::{
    BindConfig, Carrier, Connection, Endpoint, Expect, Identity, Lifetime, PeerId, Priority,
    Transport,
};
use portolan_subject::{Client, Link, Listener, Messages, Stream, Subject, Traits};

/// One of `portolan::ALL_TRANSPORTS`, as it comes.
#[derive(Debug)]
pub(crate) struct Ours(pub(crate) &'static dyn Transport);

impl Ours {
    async fn bind(&self, local: SocketAddr, identity: Identity) -> io::Result<Bound> {
        let bound = self.0.bind(BindConfig::new(local, identity)).await;
        Ok(Bound(bound.map_err(io::Error::other)?))
    }
}

#[async_trait]
impl Subject for Ours {
    fn name(&self) -> &'static str {
        self.0.scheme()
    }

    fn traits(&self) -> Traits {
        let capabilities = self.0.capabilities();
        // Where messages share a byte stream, that stream repairs them, in time or not.
        Traits {
            summary: capabilities.summary,
            encrypted: true,
            repairs: true,
            multiplexes: true,
            messages: Messages::Until,
        }
    }

    fn congestion_control(&self) -> String {
        match self.0.capabilities().carrier {
            Carrier::Tcp => kernel_congestion_control(),
            Carrier::Udp | Carrier::Memory => match self.0.scheme() {
                "quic" => "cubic (quinn)".into(),
                "udp" => "cubic (ours)".into(),
                _ => "its own".into(),
            },
        }
    }

    async fn listen(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(self.bind(local, identity).await?))
    }

    async fn client(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Client>> {
        Ok(Box::new(self.bind(local, identity).await?))
    }
}

/// What TCP uses in the calling thread's network namespace.
fn kernel_congestion_control() -> String {
    match std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control") {
        Ok(name) => format!("{} (kernel)", name.trim()),
        Err(_) => "the kernel's".into(),
    }
}

struct Bound(Arc<dyn Endpoint>);

#[async_trait]
impl Listener for Bound {
    fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        Ok(Box::new(OurLink(self.0.accept().await.map_err(io::Error::other)?)))
    }
}

#[async_trait]
impl Client for Bound {
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> io::Result<Box<dyn Link>> {
        let connection = self.0.connect(server, Expect::Id(id)).await;
        Ok(Box::new(OurLink(connection.map_err(io::Error::other)?)))
    }
}

struct OurLink(Arc<dyn Connection>);

impl OurLink {
    async fn open_with(&self, priority: Priority) -> io::Result<Stream> {
        let (write, read) = self.0.open_stream(priority).await.map_err(io::Error::other)?;
        Ok(Stream { read: Box::new(read), write: Box::new(write), keep: Box::new(()) })
    }
}

#[async_trait]
impl Link for OurLink {
    async fn open(&self) -> io::Result<Stream> {
        self.open_with(Priority::Interactive).await
    }

    async fn open_bulk(&self) -> io::Result<Stream> {
        self.open_with(Priority::Bulk).await
    }

    async fn accept(&self) -> io::Result<Stream> {
        let (write, read) = self.0.accept_stream().await.map_err(io::Error::other)?;
        Ok(Stream { read: Box::new(read), write: Box::new(write), keep: Box::new(()) })
    }

    fn send_message(&self, payload: Bytes, lifetime: Option<Duration>) -> io::Result<()> {
        let lifetime = lifetime.map_or(Lifetime::Once, Lifetime::Until);
        self.0.send_datagram(payload, lifetime).map_err(io::Error::other)
    }

    async fn recv_message(&self) -> io::Result<Bytes> {
        self.0.recv_datagram().await.map_err(io::Error::other)
    }
}
