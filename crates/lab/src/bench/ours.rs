//! Our transports as subjects, through their public traits only.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use portolan::{
    BindConfig, BindError, Capabilities, Carrier, Connection, Endpoint, Expect, Identity, Lifetime,
    PeerId, Priority, Transport,
};
use portolan_rudp::Congestion;
use portolan_subject::{Client, Link, Listener, Messages, Stream, Subject, Traits};
use portolan_transport_udp::TunedUdp;

use crate::{bench::subjects::SubjectRef, virtual_time, watch};

/// One of `portolan::ALL_TRANSPORTS` as it comes, or set up in another way.
#[derive(Debug)]
pub(crate) struct Ours {
    name: &'static str,
    transport: &'static dyn Transport,
    /// What is different from what we ship.
    different: Option<&'static str>,
}

/// In bytes a second.
const HUNDRED_MBIT: u64 = 12_500_000;

/// Our UDP in settings that we do not ship, to see what each is worth.
static TUNED: &[Ours] = &[
    Ours {
        name: "udp-cubic",
        transport: &Tuned(|| TunedUdp { congestion: Congestion::Cubic, ..TunedUdp::default() }),
        different: Some("our UDP with CUBIC, whatever it ships with"),
    },
    Ours {
        name: "udp-bbr",
        transport: &Tuned(|| TunedUdp { congestion: Congestion::Bbr, ..TunedUdp::default() }),
        different: Some("our UDP with BBR, whatever it ships with"),
    },
    Ours {
        name: "udp-1452",
        transport: &Tuned(|| TunedUdp { packet_limit: 1452, ..TunedUdp::default() }),
        different: Some("our UDP with packets as long as Ethernet's, as on most paths"),
    },
    Ours {
        name: "udp-fixed-100",
        transport: &Tuned(|| TunedUdp {
            congestion: Congestion::FixedRate(HUNDRED_MBIT),
            ..TunedUdp::default()
        }),
        different: Some("our UDP at 100 Mbit/s, whatever is lost on the way"),
    },
];

/// A [`TunedUdp`] that a table can hold.
#[derive(Debug)]
struct Tuned(fn() -> TunedUdp);

#[async_trait]
impl Transport for Tuned {
    fn scheme(&self) -> &'static str {
        (self.0)().scheme()
    }

    fn capabilities(&self) -> Capabilities {
        (self.0)().capabilities()
    }

    async fn bind(&self, config: BindConfig) -> Result<Arc<dyn Endpoint>, BindError> {
        (self.0)().bind(config).await
    }
}

impl Ours {
    /// What is shipped.
    pub(crate) fn shipped() -> impl Iterator<Item = Self> {
        portolan::ALL_TRANSPORTS.iter().map(|transport| Self {
            name: transport.scheme(),
            transport: *transport,
            different: None,
        })
    }

    /// What is not.
    pub(crate) fn tuned() -> impl Iterator<Item = SubjectRef> {
        TUNED.iter().map(|ours| ours as SubjectRef)
    }

    async fn bind(&self, local: SocketAddr, identity: Identity) -> io::Result<Bound> {
        let config = BindConfig::new(local, identity);
        config.shared.insert(watch::qlog());
        let bound = self.transport.bind(config).await;
        Ok(Bound(bound.map_err(io::Error::other)?))
    }
}

#[async_trait]
impl Subject for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    fn traits(&self) -> Traits {
        // Where messages share a byte stream, that stream repairs them, in time or not.
        Traits {
            summary: self.different.unwrap_or(self.transport.capabilities().summary),
            encrypted: true,
            repairs: true,
            multiplexes: true,
            messages: Messages::Until,
        }
    }

    fn congestion_control(&self) -> String {
        if self.transport.capabilities().carrier == Carrier::Tcp {
            return kernel_congestion_control();
        }
        // Both drivers set up the same machines.
        let machine = virtual_time::Subject::find(self.name)
            .or_else(|| virtual_time::Subject::find(self.transport.scheme()));
        machine.map_or_else(|| "its own".into(), virtual_time::Subject::congestion_control)
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

    fn wire_bytes(&self) -> Option<u64> {
        let stats = self.0.stats();
        let header = if self.0.remote_addr().is_ipv4() { 28 } else { 48 };
        // Of TCP only the kernel knows what it sends again.
        let packets = stats.packets_lost.map(|_| stats.packets_sent)?;
        Some(stats.bytes_sent + header * packets)
    }

    async fn recv_message(&self) -> io::Result<Bytes> {
        self.0.recv_datagram().await.map_err(io::Error::other)
    }
}
