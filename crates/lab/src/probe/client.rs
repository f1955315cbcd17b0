//! A connection to `serve` over any of our transports, or over a bare TCP socket.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan::{
    BindConfig, CloseCode, Connection, ConnectionStats, Endpoint, Expect, Identity, Priority,
    Transport,
};
use portolan_transport_udp::{Congestion, TunedUdp};
use socket2::SockRef;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep},
};

use super::{Problem, across::Pipe, cannot};
use crate::watch;

/// The bare TCP socket's name among the transports.
const RAW: &str = "raw-tcp";

/// A server that is being started may refuse for so long.
const STARTING: Duration = Duration::from_secs(3);

/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(100);

/// How to get there: the same words for every probe that connects.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Route {
    /// Where `lab probe serve` listens
    #[arg(value_name = "HOST[:PORT]")]
    pub(super) to: String,
    /// The transport: tcp, udp, quic, or raw-tcp for a bare TCP socket without encryption
    #[arg(long, default_value = "udp", value_parser = known)]
    pub(super) over: String,
    /// Congestion control: of udp cubic, new-reno, bbr or fixed-N (N Mbit/s), of raw-tcp whatever
    /// the system has
    #[arg(long, value_name = "NAME")]
    pub(super) congestion: Option<String>,
    /// Give up when nothing has come for this long
    #[arg(long, default_value = "20s", value_parser = super::units::duration)]
    pub(super) patience: Duration,
}

impl Route {
    /// What lines of output call it.
    pub(super) fn label(&self) -> String {
        match &self.congestion {
            Some(congestion) => format!("{} ({congestion})", self.over),
            None => self.over.clone(),
        }
    }
}

fn known(name: &str) -> Result<String, String> {
    let mut names = portolan::ALL_TRANSPORTS.iter().map(|transport| transport.scheme());
    if name == RAW || names.any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = portolan::ALL_TRANSPORTS.iter().map(|known| known.scheme()).collect();
    Err(format!("there is no transport {name:?}; there are {} and {RAW}", names.join(", ")))
}

/// A connection.
pub(super) enum Carriage {
    /// One of ours; the endpoint lives as long.
    Ours { connection: Arc<dyn Connection>, endpoint: Arc<dyn Endpoint> },
    /// A socket, until its one stream has been taken.
    Raw(Option<TcpStream>),
}

impl Carriage {
    /// Connects, also to a server that is only just starting.
    pub(super) async fn connect(route: &Route) -> Result<Self, Problem> {
        let to = super::across::with_port(&route.to, super::across::PORT);
        let remote = super::across::lookup(&to).await?;
        let begun = Instant::now();
        loop {
            match Self::try_connect(remote, route).await {
                Err(_) if begun.elapsed() < STARTING => sleep(AGAIN).await,
                outcome => return outcome,
            }
        }
    }

    async fn try_connect(remote: SocketAddr, route: &Route) -> Result<Self, Problem> {
        match portolan::transport(&route.over) {
            Some(transport) => Self::ours(transport, remote, route).await,
            None => Self::raw(SocketAddr::new(remote.ip(), raw_port(remote.port())), route).await,
        }
    }

    async fn ours(
        transport: &'static dyn Transport,
        remote: SocketAddr,
        route: &Route,
    ) -> Result<Self, Problem> {
        let config = config(any(remote), Identity::generate(), route.patience);
        let bound = match &route.congestion {
            Some(name) => tuned(&route.over, name)?.bind(config).await,
            None => transport.bind(config).await,
        };
        let endpoint = bound.map_err(cannot("open a socket"))?;
        // A probe carries nothing that is worth hiding; the server makes a new key each time.
        let connection = endpoint
            .connect(remote, Expect::Any)
            .await
            .map_err(cannot(format!("connect to {remote} over {}", route.over)))?;
        Ok(Self::Ours { connection, endpoint })
    }

    async fn raw(remote: SocketAddr, route: &Route) -> Result<Self, Problem> {
        let opened = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = opened.map_err(cannot("open a socket"))?;
        if let Some(name) = &route.congestion {
            set_congestion(SockRef::from(&socket), name)?;
        }
        let connecting = tokio::time::timeout(route.patience, socket.connect(remote)).await;
        let stream = connecting
            .map_err(|_| Problem(format!("cannot connect to {remote}: no answer")))?
            .map_err(cannot(format!("connect to {remote}")))?;
        stream.set_nodelay(true).map_err(cannot("set TCP_NODELAY"))?;
        Ok(Self::Raw(Some(stream)))
    }

    /// How many of `wanted` streams it can carry by itself.
    pub(super) const fn streams(&self, wanted: usize) -> usize {
        match self {
            Self::Ours { .. } => wanted,
            Self::Raw(_) => 1,
        }
    }

    /// What the connection has counted; a bare socket counts nothing.
    pub(super) fn stats(&self) -> Option<ConnectionStats> {
        match self {
            Self::Ours { connection, .. } => Some(connection.stats()),
            Self::Raw(_) => None,
        }
    }

    /// Opens a stream.
    pub(super) async fn open(&mut self) -> Result<Pipe, Problem> {
        match self {
            Self::Ours { connection, .. } => {
                let opened = connection.open_stream(Priority::Interactive).await;
                let (write, read) = opened.map_err(cannot("open a stream"))?;
                Ok(Pipe { read: Box::new(read), write: Box::new(write) })
            }
            Self::Raw(stream) => {
                let taken = stream.take().map(TcpStream::into_split);
                let (read, write) = taken
                    .ok_or_else(|| Problem("a bare TCP socket has one stream only".to_owned()))?;
                Ok(Pipe { read: Box::new(read), write: Box::new(write) })
            }
        }
    }

    /// Says goodbye, for at most a moment.
    pub(super) async fn close(self) {
        if let Self::Ours { endpoint, .. } = self {
            let farewell = endpoint.close(CloseCode::DONE, "the probe is done");
            let _ = tokio::time::timeout(Duration::from_secs(1), farewell).await;
        }
    }
}

/// Our UDP with another congestion control; the other transports leave no choice.
fn tuned(over: &str, name: &str) -> Result<TunedUdp, Problem> {
    let congestion = match (over, name) {
        ("udp", "cubic") => Congestion::Cubic,
        ("udp", "new-reno") => Congestion::NewReno,
        ("udp", "bbr") => Congestion::Bbr,
        ("udp", _) => {
            let problem = || {
                let known = "cubic, new-reno, bbr, or fixed-N for N Mbit/s";
                Problem(format!("udp has no congestion control {name:?}: {known}"))
            };
            Congestion::FixedRate(fixed_rate(name).ok_or_else(problem)?)
        }
        (_, _) => {
            let problem =
                format!("{over} leaves no choice of congestion control; udp and {RAW} do");
            return Err(Problem(problem));
        }
    };
    Ok(TunedUdp { congestion, ..TunedUdp::default() })
}

/// Bytes a second of `fixed-N`, N in Mbit/s.
fn fixed_rate(name: &str) -> Option<u64> {
    let mbit: u32 = name.strip_prefix("fixed-")?.parse().ok()?;
    (mbit > 0).then_some(u64::from(mbit) * 125_000)
}

/// Where the bare TCP socket of a server is whose transports are at `port`.
pub(super) const fn raw_port(port: u16) -> u16 {
    port.wrapping_add(1)
}

/// How both sides bind: a connection is given up when nothing has come for `idle`.
pub(super) fn config(local: SocketAddr, identity: Identity, idle: Duration) -> BindConfig {
    let mut config = BindConfig::new(local, identity);
    config.connection.timing.idle = idle;
    config.shared.insert(watch::qlog());
    config
}

/// Any port of the family of `remote`.
pub(super) fn any(remote: SocketAddr) -> SocketAddr {
    match remote {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
    }
}

#[cfg(target_os = "linux")]
fn set_congestion(socket: SockRef<'_>, name: &str) -> Result<(), Problem> {
    let advice = "see /proc/sys/net/ipv4/tcp_available_congestion_control";
    socket.set_tcp_congestion(name.as_bytes()).map_err(|error| {
        Problem(format!("this system has no congestion control {name:?} ({error}); {advice}"))
    })
}

#[cfg(not(target_os = "linux"))]
fn set_congestion(_: SockRef<'_>, _: &str) -> Result<(), Problem> {
    Err(Problem("choosing the congestion control of TCP needs Linux".to_owned()))
}
