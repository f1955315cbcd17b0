//! Bare UDP: how fast any protocol over UDP could be at most, and how fast an encrypted one.
//!
//! These are limits, not protocols. A stream is cut into datagrams of 1,452 bytes that leave in
//! the longest trains the system takes (GSO) and arrive in trains (GRO); a receiver grants credit,
//! so that its socket never overflows; and that is all. Nothing is acknowledged, paced or
//! repaired: a lost datagram is an error, a lost grant stalls the stream. `raw-udp-aead` seals
//! every datagram by AES-128-GCM with a key that everyone can know: the price of encryption
//! without a handshake.

mod connection;
mod port;
mod protection;
mod stream;
mod wire;

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_identity::{Identity, PeerId};
use portolan_subject::{Client, Link, Listener, Messages, Stream, Subject, Traits};
use tokio::{sync::mpsc, time::timeout};

use self::{
    connection::Connection,
    port::{ACCEPT_MAX, Answering, Endpoint},
    protection::{Protection, Side},
    stream::Handle,
};
use crate::one_stream::OneStream;

/// How long an answer is waited for before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How often it is asked for.
const ASKS_MAX: usize = 20;

/// UDP datagrams in trains, with credit and without repair.
#[derive(Debug)]
pub struct RawUdp {
    name: &'static str,
    summary: &'static str,
    seals: Seals,
}

/// What is done to datagrams.
#[derive(Debug, Clone, Copy)]
enum Seals {
    Nothing,
    Aead,
}

impl RawUdp {
    /// Bytes as they are.
    pub const BARE: Self = Self {
        name: "raw-udp",
        summary: "UDP datagrams of 1,452 bytes, GSO and GRO, credit, no repair: a limit",
        seals: Seals::Nothing,
    };

    /// Every datagram sealed.
    pub const AEAD: Self = Self {
        name: "raw-udp-aead",
        summary: "raw-udp, each datagram sealed by AES-128-GCM, no key exchange: a limit",
        seals: Seals::Aead,
    };

    fn protection(&self, server: PeerId) -> Arc<Protection> {
        Arc::new(match self.seals {
            Seals::Nothing => Protection::Bare,
            Seals::Aead => Protection::sealed_for(server),
        })
    }
}

#[async_trait]
impl Subject for RawUdp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            summary: self.summary,
            // Sealed or not, nobody has proved anything.
            encrypted: false,
            repairs: false,
            multiplexes: false,
            messages: Messages::Once,
        }
    }

    fn congestion_control(&self) -> String {
        "none (credit of the receiver)".into()
    }

    async fn listen(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Listener>> {
        let (accepted, incoming) = mpsc::channel(ACCEPT_MAX);
        let answering = Answering { protection: self.protection(identity.id()), accepted };
        let endpoint = Arc::new(Endpoint::open(local, Some(answering)).await?);
        Ok(Box::new(UdpListener { endpoint, incoming }))
    }

    async fn client(&self, local: SocketAddr, _: Identity) -> io::Result<Box<dyn Client>> {
        let endpoint = Arc::new(Endpoint::open(local, None).await?);
        Ok(Box::new(UdpClient { endpoint, subject: Self { ..*self } }))
    }
}

struct UdpListener {
    endpoint: Arc<Endpoint>,
    incoming: mpsc::Receiver<Arc<Connection>>,
}

#[async_trait]
impl Listener for UdpListener {
    fn local_addr(&self) -> SocketAddr {
        self.endpoint.local
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        let connection = self.incoming.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok(UdpLink::boxed(Handle::new(&self.endpoint, connection)))
    }
}

struct UdpClient {
    endpoint: Arc<Endpoint>,
    subject: RawUdp,
}

#[async_trait]
impl Client for UdpClient {
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> io::Result<Box<dyn Link>> {
        let port = &self.endpoint.port;
        let protection = self.subject.protection(id);
        let connection = Connection::new(server, port.next_connection(), Side::Client, protection);
        let connection = Arc::new(connection);
        port.insert(&connection)?;
        let handle = Handle::new(&self.endpoint, Arc::clone(&connection));
        for _ in 0..ASKS_MAX {
            connection.greet(port);
            let answered = poll_fn(|cx| connection.poll_answered(cx));
            if timeout(ASK_AGAIN, answered).await.is_ok() {
                return Ok(UdpLink::boxed(handle));
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("{server} does not answer")))
    }
}

struct UdpLink {
    handle: Arc<Handle>,
    stream: OneStream,
}

impl UdpLink {
    fn boxed(handle: Handle) -> Box<dyn Link> {
        let handle = Arc::new(handle);
        let stream = OneStream::new(stream::stream(&handle));
        Box::new(Self { handle, stream })
    }
}

#[async_trait]
impl Link for UdpLink {
    async fn open(&self) -> io::Result<Stream> {
        self.stream.take()
    }

    async fn accept(&self) -> io::Result<Stream> {
        self.stream.take()
    }

    fn send_message(&self, payload: Bytes, _: Option<Duration>) -> io::Result<()> {
        self.handle.connection.send_message(self.handle.port(), &payload)
    }

    async fn recv_message(&self) -> io::Result<Bytes> {
        poll_fn(|cx| self.handle.connection.poll_message(cx)).await
    }
}
