//! Sockets with our options.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use portolan_transport::Dials;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that the kernel has finished and we have not looked at.
const KERNEL_BACKLOG: u32 = 1024;

/// Unsent bytes in the kernel above which the socket takes no more: what is urgent must not wait
/// behind a kernel's buffer of megabytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_MAX: u32 = 128 << 10;

/// A listener; `[::]` takes IPv4 too.
pub(crate) fn listen(local: SocketAddr, dials: Dials) -> io::Result<TcpListener> {
    let socket = new(local)?;
    if local.is_ipv6() && local.ip().is_unspecified() {
        SockRef::from(&socket).set_only_v6(false)?;
    }
    // Elsewhere this would let two programs listen on one port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    if cfg!(unix) && dials == Dials::BoundPort {
        share_port(&socket)?;
    }
    socket.bind(local)?;
    socket.listen(KERNEL_BACKLOG)
}

/// Connects from the address that the endpoint is bound to, if it is bound to one.
pub(crate) async fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = new(remote)?;
    if !local.ip().is_unspecified() {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    let stream = socket.connect(remote).await?;
    tune(&stream);
    Ok(stream)
}

/// Connects from the very port that a listener of [`Dials::BoundPort`] has.
pub(crate) async fn connect_from_bound(
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<TcpStream> {
    let socket = new(remote)?;
    socket.set_reuseaddr(true)?;
    share_port(&socket)?;
    let any = match remote {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let ip = if local.ip().is_unspecified() { any } else { local.ip() };
    socket.bind(SocketAddr::new(ip, local.port()))?;
    let stream = socket.connect(remote).await?;
    tune(&stream);
    Ok(stream)
}

fn new(family_of: SocketAddr) -> io::Result<TcpSocket> {
    match family_of {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

/// Lets several sockets of this user have one port. Elsewhere nobody dials from a bound one.
#[cfg(unix)]
fn share_port(socket: &TcpSocket) -> io::Result<()> {
    socket.set_reuseport(true)
}

#[cfg(not(unix))]
fn share_port(_socket: &TcpSocket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sets the options of a connection. They make it better, none is needed: errors are ignored.
pub(crate) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_MAX);
}

/// IPv4 as IPv4, whatever socket it came through.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
