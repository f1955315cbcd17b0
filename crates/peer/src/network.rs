//! Which of our addresses leads to the server, and when that changes: another network, a cable, a
//! machine that wakes up elsewhere.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use portolan_transport::{Carrier, RebindError};
use tokio::time::{Instant, sleep_until};

use crate::{Config, PathInfo, Way, dial::Connected};

/// Knows this machine's addresses. Asked every few seconds, so it answers at once.
pub trait Addresses: fmt::Debug + Send + Sync {
    /// The address of ours from which packets to `remote` leave now; `None`: none do.
    fn towards(&self, remote: SocketAddr) -> Option<IpAddr>;

    /// Whether `addr` is still an address of ours.
    fn has(&self, addr: IpAddr) -> bool;
}

/// What the system says. Sockets are asked to which nothing is ever sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemAddresses;

impl Addresses for SystemAddresses {
    fn towards(&self, remote: SocketAddr) -> Option<IpAddr> {
        let any = match remote {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        // Chooses the way, and with it the address; no packet leaves.
        socket.connect(remote).ok()?;
        let ip = socket.local_addr().ok()?.ip().to_canonical();
        (!ip.is_unspecified()).then_some(ip)
    }

    fn has(&self, addr: IpAddr) -> bool {
        UdpSocket::bind((addr, 0)).is_ok()
    }
}

/// Another of our addresses leads to the server than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "our address has changed from {} to {}", self.from, self.to)
    }
}

/// Looks every few seconds which of our addresses leads to the server.
#[derive(Debug)]
pub(crate) struct NetworkWatch {
    addresses: Arc<dyn Addresses>,
    remote: SocketAddr,
    /// `None`: it is not looked at all.
    every: Option<Duration>,
    next: Instant,
    last: Option<IpAddr>,
}

impl NetworkWatch {
    /// Watches the way to `way.server`, which an address of ours led to, if any.
    pub(crate) fn new(config: &Config, way: Way, last: Option<IpAddr>) -> Self {
        let every = match way.transport.capabilities().carrier {
            Carrier::Memory => None,
            Carrier::Tcp | Carrier::Udp => config.timing.network,
        };
        Self {
            addresses: Arc::clone(&config.addresses),
            remote: way.server,
            every,
            next: Instant::now() + every.unwrap_or_default(),
            last,
        }
    }

    /// Waits until another address leads there. While none does nothing is said: what was there
    /// before may come back. Cancel safe.
    pub(crate) async fn moved(&mut self) -> Moved {
        let Some(every) = self.every else { return std::future::pending().await };
        loop {
            sleep_until(self.next).await;
            self.next = Instant::now() + every;
            let Some(to) = self.addresses.towards(self.remote) else { continue };
            if let Some(from) = self.last.replace(to)
                && from != to
            {
                return Moved { from, to };
            }
        }
    }

    /// Waits until another address leads there, or one does where none did. Cancel safe.
    pub(crate) async fn reachable_anew(&mut self) {
        let Some(every) = self.every else { return std::future::pending().await };
        loop {
            sleep_until(self.next).await;
            self.next = Instant::now() + every;
            let now = self.addresses.towards(self.remote);
            let before = std::mem::replace(&mut self.last, now);
            if now.is_some() && now != before {
                return;
            }
        }
    }
}

/// What a change of our address means for a connection.
#[derive(Debug)]
pub(crate) enum Consequence {
    /// It goes on from the new address.
    GoesOn,
    /// It is tied to an address that we still have.
    Stays,
    /// It is tied to an address that is gone.
    Lost,
}

/// The connection that carries the session, and the network that it goes through.
#[derive(Debug)]
pub(crate) struct Roaming {
    watch: NetworkWatch,
    connected: Connected,
}

impl Roaming {
    pub(crate) fn new(config: &Config, connected: &Connected) -> Self {
        let watch = NetworkWatch::new(config, connected.way, connected.from);
        Self { watch, connected: connected.clone() }
    }

    /// Waits until another of our addresses leads to the server. Cancel safe.
    pub(crate) async fn moved(&mut self) -> Moved {
        self.watch.moved().await
    }

    /// Takes the connection along to the new address, if it can come.
    pub(crate) async fn follow(&self, moved: Moved) -> Consequence {
        let endpoint = &self.connected.endpoint;
        let any = match endpoint.local_addr() {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        match endpoint.rebind(SocketAddr::new(any, 0)).await {
            Ok(local) => {
                tracing::info!(%moved, %local, "the connection to the server goes on");
                Consequence::GoesOn
            }
            Err(RebindError::Unsupported) if self.watch.addresses.has(moved.from) => {
                Consequence::Stays
            }
            Err(RebindError::Unsupported | RebindError::Closed) => Consequence::Lost,
            Err(error @ RebindError::Bind(_)) => {
                // The old socket is bound to all addresses too: it may do.
                tracing::warn!(%moved, %error, "the endpoint could not be bound anew");
                Consequence::Stays
            }
        }
    }

    /// How the server is reached now.
    pub(crate) fn describe(&self, moved: Moved) -> PathInfo {
        let path = self.connected.connection.path();
        PathInfo {
            with: None,
            kind: Some(path.kind),
            transport: self.connected.way.transport.scheme(),
            addr: Some(path.remote),
            why: format!("{moved}; everything goes on from there"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_the_way_to_itself_and_sends_nothing() {
        let listener = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let remote = listener.local_addr().expect("bound");
        assert_eq!(SystemAddresses.towards(remote), Some(Ipv4Addr::LOCALHOST.into()));
        let nothing = listener.recv(&mut [0; 1]).expect_err("no packet was sent");
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
        assert!(SystemAddresses.has(Ipv4Addr::LOCALHOST.into()));
        // For documentation only (RFC 5737): nobody's.
        assert!(!SystemAddresses.has(IpAddr::from([192, 0, 2, 1])));
    }
}
