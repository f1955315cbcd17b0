//! Learning early that nobody listens.

use std::{future::pending, io, net::SocketAddr};

use tokio::net::UdpSocket;

use crate::channels::is_relayed;

/// Waits until the system says that `remote` cannot be reached, and returns its word: no route, or
/// the remote host answered that nobody listens on the port. Never returns otherwise. Cancel safe.
///
/// A socket without a remote is not told of such answers, so this sends one empty datagram, which
/// every protocol ignores, from a port of its own. Meant to run beside the first seconds of a
/// connection attempt and to be dropped with it.
pub async fn unreachable(local: SocketAddr, remote: SocketAddr) -> io::Error {
    if is_relayed(remote) {
        return pending().await;
    }
    match probe(local, remote).await {
        Err(error) if is_verdict(&error) => error,
        // Anything else, a port for the probe that could not be had included, tells nothing.
        Ok(()) | Err(_) => pending().await,
    }
}

async fn probe(local: SocketAddr, remote: SocketAddr) -> io::Result<()> {
    let remote = match remote {
        SocketAddr::V4(v4) if local.is_ipv6() => {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        other => other,
    };
    let socket = UdpSocket::bind(SocketAddr::new(local.ip(), 0)).await?;
    socket.connect(remote).await?;
    socket.send(&[]).await?;
    socket.recv(&mut [0; 1]).await.map(drop)
}

fn is_verdict(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}
