//! `lab probe nat`: how a translator or firewall on the way behaves (RFC 4787, by the tests of
//! RFC 5780 §4).

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{net::UdpSocket, time::timeout};

use super::{
    Problem,
    across::{lookup, with_port},
    cannot,
    client::any,
    say,
    stun::{self, Change, Flag, Message, TransactionId},
};

/// Questions before silence means no.
const TRIES: u32 = 4;

/// How long each question waits.
const WAIT: Duration = Duration::from_millis(400);

/// `lab probe nat`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where `lab probe stun` or another server with two addresses (RFC 5780) listens
    #[arg(value_name = "HOST[:PORT]")]
    server: String,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// How a mapping or a filter depends on the remote, as far as it could be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depends {
    Endpoint,
    Address,
    AddressAndPort,
    Unknown,
}

impl Depends {
    /// The word of RFC 4787.
    const fn word(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint-independent",
            Self::Address => "address-dependent",
            Self::AddressAndPort => "address-and-port-dependent",
            Self::Unknown => "unknown",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Copy)]
struct Findings {
    local: SocketAddr,
    mapped: SocketAddr,
    mapping: Depends,
    filtering: Depends,
    hairpin: bool,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let server = lookup(&with_port(&options.server, stun::PORT)).await?;
    let socket = open(any(server)).await?;
    let Some((mapped, other)) = ask(&socket, server, Change::default()).await else {
        if options.json {
            say(serde_json::json!({ "udp": false }));
        } else {
            say("UDP does not get through: no answer");
        }
        return Ok(ExitCode::FAILURE);
    };
    let local = SocketAddr::new(own_address(server).await?, port_of(&socket)?);
    let mapping = mapping(&socket, server, mapped, other).await;
    // A fresh socket: through this one the other addresses have been asked already.
    let filtering = filtering(&open(any(server)).await?, server, other).await;
    let findings =
        Findings { local, mapped, mapping, filtering, hairpin: hairpin(&socket, mapped).await? };
    if options.json {
        findings.print_json();
    } else {
        findings.print();
    }
    Ok(ExitCode::SUCCESS)
}

impl Findings {
    fn print(&self) {
        let Self { local, mapped, .. } = self;
        let behind = if local.ip() == mapped.ip() {
            "no translator on the way".to_owned()
        } else if local.port() == mapped.port() {
            "behind a translator that kept the port".to_owned()
        } else {
            "behind a translator that changed the port".to_owned()
        };
        say(format_args!("seen from outside: {mapped} (here {local}): {behind}"));
        say(format_args!("mapping:   {}", self.mapping.word()));
        say(format_args!("filtering: {}", self.filtering.word()));
        say(format_args!("hairpin:   {}", if self.hairpin { "yes" } else { "no" }));
        say(format_args!("so:        {}", self.advice()));
    }

    fn print_json(&self) {
        say(serde_json::json!({
            "udp": true,
            "local": self.local.to_string(),
            "mapped": self.mapped.to_string(),
            "mapping": self.mapping.word(),
            "filtering": self.filtering.word(),
            "hairpin": self.hairpin,
        }));
    }

    /// What that means for meeting another peer.
    const fn advice(&self) -> &'static str {
        match (self.mapping, self.filtering) {
            (Depends::Endpoint, Depends::Endpoint) => "anyone can reach an open port directly",
            (Depends::Endpoint, Depends::Address | Depends::AddressAndPort) => {
                "direct connections work when both sides send at once"
            }
            (Depends::Address | Depends::AddressAndPort, _) => {
                "direct connections need an open or address-restricted other side, else a relay"
            }
            (Depends::Unknown, _) | (_, Depends::Unknown) => {
                "the server has one address only: ask one with two to know more"
            }
        }
    }
}

async fn open(local: SocketAddr) -> Result<UdpSocket, Problem> {
    UdpSocket::bind(local).await.map_err(cannot("open a UDP socket"))
}

fn port_of(socket: &UdpSocket) -> Result<u16, Problem> {
    Ok(socket.local_addr().map_err(cannot("read a socket's address"))?.port())
}

/// Our address on the way to `server`: what the system would send from.
async fn own_address(server: SocketAddr) -> Result<IpAddr, Problem> {
    let socket = open(any(server)).await?;
    socket.connect(server).await.map_err(cannot(format!("find a way to {server}")))?;
    Ok(socket.local_addr().map_err(cannot("read a socket's address"))?.ip())
}

/// RFC 5780 §4.3.
async fn mapping(
    socket: &UdpSocket,
    server: SocketAddr,
    first: SocketAddr,
    other: Option<SocketAddr>,
) -> Depends {
    let Some(other) = other else { return Depends::Unknown };
    let same_port = SocketAddr::new(other.ip(), server.port());
    let Some((second, _)) = ask(socket, same_port, Change::default()).await else {
        return Depends::Unknown;
    };
    if second == first {
        return Depends::Endpoint;
    }
    match ask(socket, other, Change::default()).await {
        Some((third, _)) if third == second => Depends::Address,
        Some(_) => Depends::AddressAndPort,
        None => Depends::Unknown,
    }
}

/// RFC 5780 §4.4.
async fn filtering(socket: &UdpSocket, server: SocketAddr, other: Option<SocketAddr>) -> Depends {
    if other.is_none() || ask(socket, server, Change::default()).await.is_none() {
        return Depends::Unknown;
    }
    let both = Change { address: Flag::Other, port: Flag::Other };
    if ask(socket, server, both).await.is_some() {
        return Depends::Endpoint;
    }
    match ask(socket, server, Change { port: Flag::Other, ..Change::default() }).await {
        Some(_) => Depends::Address,
        None => Depends::AddressAndPort,
    }
}

/// RFC 5780 §4.5: whether what is sent to our own outside address comes back in.
async fn hairpin(socket: &UdpSocket, mapped: SocketAddr) -> Result<bool, Problem> {
    let second = open(any(mapped)).await?;
    let mut buffer = [0; stun::MESSAGE_MAX];
    for _ in 0..TRIES {
        let (id, request) = request(Change::default());
        let _ = second.send_to(&request, mapped).await;
        let arrived = timeout(WAIT, async {
            loop {
                let Ok((length, _)) = socket.recv_from(&mut buffer).await else { continue };
                if Message::decode(&buffer[..length]).is_some_and(|(got, _)| got == id) {
                    return;
                }
            }
        });
        if arrived.await.is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks how we look from `server`; the answer may come from elsewhere if `change` says so.
pub(super) async fn ask(
    socket: &UdpSocket,
    server: SocketAddr,
    change: Change,
) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let (id, request) = request(change);
    let mut buffer = [0; stun::MESSAGE_MAX];
    for _ in 0..TRIES {
        let _ = socket.send_to(&request, server).await;
        let answer = timeout(WAIT, async {
            loop {
                let Ok((length, _)) = socket.recv_from(&mut buffer).await else {
                    // An ICMP error: wait for the time-out, others may answer.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                match Message::decode(&buffer[..length]) {
                    Some((got, Message::Answer { mapped, other })) if got == id => {
                        return (mapped, other);
                    }
                    Some(_) | None => {}
                }
            }
        });
        if let Ok(answer) = answer.await {
            return Some(answer);
        }
    }
    None
}

/// A request with a new transaction id. Nothing is guarded by it: it tells answers apart.
pub(super) fn request(change: Change) -> (TransactionId, Vec<u8>) {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0; 12];
    id[..4].copy_from_slice(&std::process::id().to_be_bytes());
    id[4..].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    (id, Message::Request(change).encode(id))
}
