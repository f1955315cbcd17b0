//! Sockets with our options.

use std::{io, net::SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that the kernel has finished and we have not looked at.
const KERNEL_BACKLOG: u32 = 1024;

/// Unsent bytes in the kernel above which the socket takes no more: what is urgent must not wait
/// behind a kernel's buffer of megabytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_MAX: u32 = 128 << 10;

/// A listener; `[::]` takes IPv4 too.
pub(crate) fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = match local {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if local.is_ipv6() && local.ip().is_unspecified() {
        SockRef::from(&socket).set_only_v6(false)?;
    }
    // Elsewhere this would let two programs listen on one port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(local)?;
    socket.listen(KERNEL_BACKLOG)
}

/// Connects from the address that the endpoint is bound to, if it is bound to one.
pub(crate) async fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = match remote {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if !local.ip().is_unspecified() {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    let stream = socket.connect(remote).await?;
    tune(&stream);
    Ok(stream)
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
