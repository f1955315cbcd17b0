//! `lab probe punch`: meets others and tries to reach them directly.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, interval, sleep, timeout, timeout_at},
};

use super::{
    Problem,
    across::{lookup, with_port},
    cannot,
    client::any,
    meet,
    nat::{ask, request},
    rendezvous::{Direct, Order, Over, Report, read_line, write_line},
    say,
    stun::{Change, Message},
    stun_server::read_message,
    units,
};

/// Attempts that one peer has under way at once.
const ATTEMPTS_MAX: usize = 256;

/// Reports that wait to be written.
const REPORTS_MAX: usize = 64;

/// Time between two datagrams, or two tries to connect.
const AGAIN: Duration = Duration::from_millis(40);

/// How long one try to connect may take.
const CONNECT: Duration = Duration::from_millis(900);

/// After success the socket stays, so that the other side succeeds too.
const LINGER: Duration = Duration::from_millis(600);

/// How long the meeting place may take to answer over TCP.
const MEET: Duration = Duration::from_secs(10);

/// What every datagram begins with.
const MAGIC: [u8; 8] = *b"portolan";

/// `lab probe punch`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where `lab probe meet` listens
    #[arg(value_name = "HOST[:PORT]")]
    meet: String,
    /// How others see us; the name of the host otherwise
    #[arg(long, env = "PORTOLAN_LAB_HOST", default_value = "peer")]
    name: String,
    /// What kind of network we are in; peers of one kind share a line of the table
    #[arg(long)]
    kind: Option<String>,
    /// How long to try
    #[arg(long, default_value = "3s", value_parser = units::duration)]
    wait: Duration,
    /// End with an error unless every attempt succeeded
    #[arg(long)]
    all: bool,
}

/// What every attempt needs.
#[derive(Debug, Clone, Copy)]
struct Place {
    stun: SocketAddr,
    wait: Duration,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let meet = lookup(&with_port(&options.meet, meet::PORT)).await?;
    let stream = reach(meet).await?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let kind = options.kind.clone().unwrap_or_else(|| options.name.clone());
    let hello = Report::Hello { name: options.name.clone(), kind };
    write_line(&mut write, &hello).await.map_err(cannot("greet the meeting place"))?;

    let place = Place { stun: meet::stun_of(meet.ip(), meet.port()), wait: options.wait };
    let (reports, mut outgoing) = mpsc::channel::<Report>(REPORTS_MAX);
    let (orders, mut incoming) = mpsc::channel::<Order>(REPORTS_MAX);
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        while let Ok(Some(order)) = read_line(&mut read).await {
            if orders.send(order).await.is_err() {
                return;
            }
        }
    });
    let mut peer = Peer { place, reports, remotes: HashMap::new(), tasks: JoinSet::new() };
    loop {
        tokio::select! {
            Some(report) = outgoing.recv() => {
                write_line(&mut write, &report).await.map_err(cannot("report"))?;
            }
            order = incoming.recv() => match order {
                Some(Order::Done) => break,
                Some(order) => peer.on_order(order),
                None => return Err(Problem("the meeting place went away".to_owned())),
            },
        }
    }
    let failures = peer.failures().await;
    Ok(if options.all && failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Connects to the meeting place, which may only just be starting.
async fn reach(meet: SocketAddr) -> Result<TcpStream, Problem> {
    let end = Instant::now() + MEET;
    loop {
        match timeout_at(end, TcpStream::connect(meet)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if Instant::now() >= end {
                    return Err(cannot(format!("connect to {meet}"))(error));
                }
                sleep(Duration::from_millis(100)).await;
            }
            Ok(Err(error)) => return Err(cannot(format!("connect to {meet}"))(error)),
            Err(_) => return Err(Problem(format!("cannot connect to {meet}: no answer"))),
        }
    }
}

/// Our side of all attempts.
struct Peer {
    place: Place,
    reports: mpsc::Sender<Report>,
    /// Where attempts that are ready wait for the other side's address.
    remotes: HashMap<u32, oneshot::Sender<SocketAddr>>,
    /// Each says whether its attempt was direct.
    tasks: JoinSet<Option<bool>>,
}

impl Peer {
    fn on_order(&mut self, order: Order) {
        match order {
            Order::Prepare { attempt, over, with } => self.prepare(attempt, over, with),
            Order::Punch { attempt, remote } => {
                if let Some(waiting) = self.remotes.remove(&attempt) {
                    let _ = waiting.send(remote);
                }
            }
            Order::Forget { attempt } => drop(self.remotes.remove(&attempt)),
            Order::Done => {}
        }
    }

    fn prepare(&mut self, attempt: u32, over: Over, with: String) {
        if self.remotes.len() >= ATTEMPTS_MAX {
            return;
        }
        let (remote, waiting) = oneshot::channel();
        self.remotes.insert(attempt, remote);
        let (place, reports) = (self.place, self.reports.clone());
        self.tasks.spawn(async move {
            let hole = Hole::open(over, place).await;
            let mapped = hole.as_ref().map(|hole| hole.mapped);
            reports.send(Report::Ready { attempt, mapped }).await.ok()?;
            // Forgotten: the other side has no way out.
            let remote = waiting.await.ok()?;
            let direct = hole?.punch(attempt, remote, place.wait).await;
            let kept = direct.as_ref().map(|(direct, _)| *direct);
            tell(over, &with, kept);
            reports.send(Report::Ended { attempt, direct: kept }).await.ok()?;
            if direct.is_some() {
                sleep(LINGER).await;
            }
            Some(kept.is_some())
        });
    }

    /// Waits for what is under way and counts what failed.
    async fn failures(&mut self) -> usize {
        self.remotes.clear();
        let mut failures = 0;
        while let Some(ended) = self.tasks.join_next().await {
            failures += usize::from(matches!(ended, Ok(Some(false))));
        }
        failures
    }
}

fn tell(over: Over, with: &str, direct: Option<Direct>) {
    match direct {
        Some(Direct { after_ms, remote }) => {
            say(format_args!("{over} with {with}: direct after {after_ms} ms, at {remote}"));
        }
        None => say(format_args!("{over} with {with}: not direct")),
    }
}

/// A socket whose address outside is known.
struct Hole {
    mapped: SocketAddr,
    socket: Socket,
}

enum Socket {
    Udp(UdpSocket),
    /// The connection to STUN keeps the mapping; the port is what matters.
    Tcp {
        port: u16,
        stun: TcpStream,
    },
}

/// What keeps a direct connection alive for a moment.
enum Kept {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Hole {
    async fn open(over: Over, place: Place) -> Option<Self> {
        match over {
            Over::Udp => {
                let socket = UdpSocket::bind(any(place.stun)).await.ok()?;
                let (mapped, _) = ask(&socket, place.stun, Change::default()).await?;
                Some(Self { mapped, socket: Socket::Udp(socket) })
            }
            Over::Tcp => timeout(MEET, Self::open_tcp(place.stun)).await.ok()?.ok(),
        }
    }

    async fn open_tcp(stun: SocketAddr) -> io::Result<Self> {
        let socket = shared_port(any(stun))?;
        let mut stream = socket.connect(stun).await?;
        let port = stream.local_addr()?.port();
        let (_, request) = request(Change::default());
        stream.write_all(&request).await?;
        match read_message(&mut stream).await? {
            (_, Message::Answer { mapped, .. }) => {
                Ok(Self { mapped, socket: Socket::Tcp { port, stun: stream } })
            }
            (_, Message::Request(_)) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    async fn punch(
        self,
        attempt: u32,
        remote: SocketAddr,
        wait: Duration,
    ) -> Option<(Direct, Kept)> {
        let begun = Instant::now();
        let ((remote, at), kept) = match self.socket {
            Socket::Udp(socket) => {
                let heard = timeout(wait, punch_udp(&socket, attempt, remote)).await.ok()?;
                (heard, Kept::Udp(socket))
            }
            Socket::Tcp { port, stun } => {
                let stream = timeout(wait, punch_tcp(port, attempt, remote)).await.ok()?;
                drop(stun);
                ((stream.peer_addr().ok()?, Instant::now()), Kept::Tcp(stream))
            }
        };
        let after_ms = u64::try_from((at - begun).as_millis()).unwrap_or(u64::MAX);
        kept.hold();
        Some((Direct { after_ms, remote }, kept))
    }
}

impl Kept {
    /// Reads as a use of what is only held.
    fn hold(&self) {
        match self {
            Self::Udp(socket) => drop(socket.local_addr()),
            Self::Tcp(stream) => drop(stream.local_addr()),
        }
    }
}

/// Sends until the other side has heard us and we have heard it; where from, and since when.
async fn punch_udp(socket: &UdpSocket, attempt: u32, remote: SocketAddr) -> (SocketAddr, Instant) {
    let mut tick = interval(AGAIN);
    let mut buffer = [0; 64];
    let mut heard = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {
                // Where its packets come from may differ from what it was told (RFC 5245 §7.1.2.2.1
                // calls that peer reflexive).
                for to in [Some(remote), heard].into_iter().flatten() {
                    let _ = socket.send_to(&datagram(attempt, heard.is_some()), to).await;
                }
            }
            Ok((length, from)) = socket.recv_from(&mut buffer) => {
                let Some(heard_us) = read_datagram(&buffer[..length], attempt) else { continue };
                heard = Some(from);
                let _ = socket.send_to(&datagram(attempt, true), from).await;
                if heard_us {
                    let now = Instant::now();
                    // Twice more, in case the one above gets lost: the other side waits for it.
                    for _ in 0..2 {
                        tick.tick().await;
                        let _ = socket.send_to(&datagram(attempt, true), from).await;
                    }
                    return (from, now);
                }
            }
            else => sleep(Duration::from_millis(1)).await,
        }
    }
}

fn datagram(attempt: u32, heard: bool) -> [u8; 13] {
    let mut bytes = [0; 13];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&attempt.to_be_bytes());
    bytes[12] = u8::from(heard);
    bytes
}

/// Whether the sender has heard us; `None`: not of this attempt.
fn read_datagram(bytes: &[u8], attempt: u32) -> Option<bool> {
    let bytes: &[u8; 13] = bytes.try_into().ok()?;
    let ours = datagram(attempt, bytes[12] != 0) == *bytes;
    ours.then_some(bytes[12] != 0)
}

/// Connects and listens from the same port until one connection is the other side's.
async fn punch_tcp(port: u16, attempt: u32, remote: SocketAddr) -> TcpStream {
    let local = SocketAddr::new(any(remote).ip(), port);
    tokio::select! {
        stream = connect_again(local, attempt, remote) => stream,
        stream = accept_again(local, attempt) => stream,
    }
}

async fn connect_again(local: SocketAddr, attempt: u32, remote: SocketAddr) -> TcpStream {
    loop {
        let connecting = async {
            let stream = shared_port(local)?.connect(remote).await?;
            greet(stream, attempt).await
        };
        match timeout(CONNECT, connecting).await {
            Ok(Ok(stream)) => return stream,
            Ok(Err(_)) | Err(_) => sleep(AGAIN).await,
        }
    }
}

async fn accept_again(local: SocketAddr, attempt: u32) -> TcpStream {
    loop {
        let accepting = async {
            let listener: TcpListener = shared_port(local)?.listen(8)?;
            let (stream, _) = listener.accept().await?;
            timeout(CONNECT, greet(stream, attempt)).await.map_err(io::Error::from)?
        };
        match accepting.await {
            Ok(stream) => return stream,
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// Both sides say the attempt's number: the connection carries bytes, and it is the right one.
async fn greet(mut stream: TcpStream, attempt: u32) -> io::Result<TcpStream> {
    stream.write_u32(attempt).await?;
    if stream.read_u32().await? == attempt {
        return Ok(stream);
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// A socket whose port others of this program may use at the same time.
fn shared_port(local: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match local.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.bind(local)?;
    Ok(socket)
}
