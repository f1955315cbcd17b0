//! Bare TCP, and what every TCP socket here has set.

use std::{fs, io, net::SocketAddr};

use async_trait::async_trait;
use portolan_identity::{Identity, PeerId};
use portolan_subject::{Client, Link, Listener, Messages, Stream, Subject, Traits};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::one_stream::OneStream;

/// Connections that the system completes before anyone accepts them.
const BACKLOG: u32 = 4096;

/// The congestion controls that the kernel has loaded, separated by blanks.
const AVAILABLE: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";

/// A TCP connection without Nagle's delay: no encryption, no framing.
#[derive(Debug)]
pub struct RawTcp {
    name: &'static str,
    summary: &'static str,
    congestion: Option<&'static str>,
}

impl RawTcp {
    /// With the congestion control that the system would choose.
    pub const DEFAULT: Self = Self {
        name: "raw-tcp",
        summary: "a TCP socket: no delay (Nagle), the system's congestion control",
        congestion: None,
    };

    /// With CUBIC (RFC 9438).
    pub const CUBIC: Self = Self {
        name: "raw-tcp-cubic",
        summary: "a TCP socket: no delay (Nagle), CUBIC",
        congestion: Some("cubic"),
    };

    /// With BBR, the first version, as the kernel has it.
    pub const BBR: Self = Self {
        name: "raw-tcp-bbr",
        summary: "a TCP socket: no delay (Nagle), BBRv1",
        congestion: Some("bbr"),
    };
}

#[async_trait]
impl Subject for RawTcp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            summary: self.summary,
            encrypted: false,
            repairs: true,
            multiplexes: false,
            messages: Messages::None,
        }
    }

    fn congestion_control(&self) -> String {
        self.congestion.map_or_else(kernel_congestion, |name| format!("{name} (kernel)"))
    }

    fn missing(&self) -> Option<String> {
        let wanted = self.congestion?;
        let available = fs::read_to_string(AVAILABLE).unwrap_or_default();
        let missing = !available.split_whitespace().any(|name| name == wanted);
        missing.then(|| format!("the kernel has no {wanted} loaded (modprobe tcp_{wanted})"))
    }

    async fn listen(&self, local: SocketAddr, _: Identity) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(RawListener(listen(local, self.congestion)?)))
    }

    async fn client(&self, local: SocketAddr, _: Identity) -> io::Result<Box<dyn Client>> {
        Ok(Box::new(RawClient { local, congestion: self.congestion }))
    }
}

struct RawListener(Incoming);

#[async_trait]
impl Listener for RawListener {
    fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        Ok(link(self.0.accept().await?))
    }
}

struct RawClient {
    local: SocketAddr,
    congestion: Option<&'static str>,
}

#[async_trait]
impl Client for RawClient {
    async fn connect(&mut self, server: SocketAddr, _: PeerId) -> io::Result<Box<dyn Link>> {
        Ok(link(connect(self.local, server, self.congestion).await?))
    }
}

fn link(stream: TcpStream) -> Box<dyn Link> {
    let (read, write) = stream.into_split();
    OneStream::link(Stream { read: Box::new(read), write: Box::new(write), keep: Box::new(()) })
}

/// A listening socket.
pub(crate) struct Incoming {
    socket: TcpListener,
    /// Where it is bound.
    pub(crate) local: SocketAddr,
}

impl Incoming {
    /// The next connection, cancel safe. One that the other side has taken back is passed over.
    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Listens on `local`; accepted connections inherit the congestion control.
pub(crate) fn listen(local: SocketAddr, congestion: Option<&str>) -> io::Result<Incoming> {
    let socket = open(local, congestion)?.listen(BACKLOG)?;
    let local = socket.local_addr()?;
    Ok(Incoming { socket, local })
}

/// Connects from `local` to `server`.
pub(crate) async fn connect(
    local: SocketAddr,
    server: SocketAddr,
    congestion: Option<&str>,
) -> io::Result<TcpStream> {
    let stream = open(local, congestion)?.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn open(local: SocketAddr, congestion: Option<&str>) -> io::Result<TcpSocket> {
    let socket = if local.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    if let Some(name) = congestion {
        choose_congestion(&SockRef::from(&socket), name)?;
    }
    socket.bind(local)?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn choose_congestion(socket: &Socket, name: &str) -> io::Result<()> {
    socket.set_tcp_congestion(name.as_bytes())
}

#[cfg(not(target_os = "linux"))]
fn choose_congestion(_: &Socket, _: &str) -> io::Result<()> {
    let what = "this system does not let a program choose TCP's congestion control";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

/// The congestion control of a TCP socket that this thread opens now.
pub(crate) fn kernel_congestion() -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
        .or_else(|_| Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)));
    let name = socket.ok().and_then(|socket| chosen_congestion(&socket));
    name.map_or_else(|| "unknown (kernel)".into(), |name| format!("{name} (kernel)"))
}

#[cfg(target_os = "linux")]
fn chosen_congestion(socket: &Socket) -> Option<String> {
    let name = String::from_utf8(socket.tcp_congestion().ok()?).ok()?;
    // The kernel fills the whole field.
    Some(name.trim_end_matches('\0').to_owned())
}

#[cfg(not(target_os = "linux"))]
fn chosen_congestion(_: &Socket) -> Option<String> {
    None
}
