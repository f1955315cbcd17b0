//! `lab probe stun`: answers STUN Binding requests from up to two addresses and two ports.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};

use super::{
    Problem, cannot, say,
    stun::{self, Change, Flag, Message},
};

/// TCP connections that are open at once; further ones are closed.
const CONNECTIONS_MAX: usize = 512;

/// A TCP connection is closed when nothing was asked for this long.
const IDLE: Duration = Duration::from_secs(60);

/// `lab probe stun`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The address to serve
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    address: IpAddr,
    /// A second address of this host: with it clients can find out how filters and mappings depend
    /// on the remote
    #[arg(long)]
    other: Option<IpAddr>,
    /// The port, UDP and TCP
    #[arg(long, default_value_t = stun::PORT)]
    port: u16,
    /// The second port
    #[arg(long, default_value_t = stun::PORT + 1)]
    other_port: u16,
}

/// The UDP sockets, by address and port, first and other.
#[derive(Debug)]
struct Sockets {
    addresses: Vec<IpAddr>,
    ports: [u16; 2],
    /// First address first port, first address other port, other address first port, and so on.
    sockets: Vec<Arc<UdpSocket>>,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let mut tasks = JoinSet::new();
    let addresses = std::iter::once(options.address).chain(options.other).collect();
    serve(&mut tasks, addresses, [options.port, options.other_port]).await?;
    tasks.join_next().await;
    Err(Problem("a socket was closed by the system".to_owned()))
}

/// Binds everything and serves it from `tasks`.
pub(super) async fn serve(
    tasks: &mut JoinSet<()>,
    addresses: Vec<IpAddr>,
    ports: [u16; 2],
) -> Result<(), Problem> {
    let mut sockets = Vec::new();
    for address in &addresses {
        for port in ports {
            let local = SocketAddr::new(*address, port);
            let bind = || cannot(format!("listen on {local}"));
            sockets.push(Arc::new(UdpSocket::bind(local).await.map_err(bind())?));
            let listener = TcpListener::bind(local).await.map_err(bind())?;
            say(format_args!("STUN on {local}, UDP and TCP"));
            tasks.spawn(connections(listener));
        }
    }
    let sockets = Arc::new(Sockets { addresses, ports, sockets });
    for place in 0..sockets.sockets.len() {
        tasks.spawn(datagrams(Arc::clone(&sockets), place));
    }
    Ok(())
}

impl Sockets {
    /// The socket that should answer what arrived at the one at `place`.
    fn answering(&self, place: usize, change: Change) -> Option<&UdpSocket> {
        let address = usize::from(change.address == Flag::Other);
        let port = usize::from(change.port == Flag::Other);
        self.sockets.get(place ^ (address * 2) ^ port).map(Arc::as_ref)
    }

    /// The other address and the other port, seen from `place` (RFC 5780 §7.4).
    fn other(&self, place: usize) -> Option<SocketAddr> {
        let address = self.addresses.get(1 - (place / 2).min(1))?;
        (self.addresses.len() > 1).then(|| SocketAddr::new(*address, self.ports[1 - place % 2]))
    }
}

async fn datagrams(sockets: Arc<Sockets>, place: usize) {
    let Some(socket) = sockets.sockets.get(place) else { return };
    let mut buffer = [0; stun::MESSAGE_MAX];
    loop {
        // An ICMP error about an earlier answer is not about us.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Some((id, Message::Request(change))) = Message::decode(&buffer[..length]) else {
            continue;
        };
        if let Some(answering) = sockets.answering(place, change) {
            let answer = Message::Answer { mapped: from, other: sockets.other(place) };
            let _ = answering.send_to(&answer.encode(id), from).await;
        }
    }
}

async fn connections(listener: TcpListener) {
    let mut tasks = JoinSet::new();
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while tasks.try_join_next().is_some() {}
        if tasks.len() < CONNECTIONS_MAX {
            tasks.spawn(requests(stream, from));
        }
    }
}

/// Answers on one connection until it goes quiet.
async fn requests(mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
    while let Ok(read) = timeout(IDLE, read_message(&mut stream)).await {
        let (id, message) = read?;
        if matches!(message, Message::Request(_)) {
            let answer = Message::Answer { mapped: from, other: None };
            stream.write_all(&answer.encode(id)).await?;
        }
    }
    Ok(())
}

/// Reads one message from a stream (RFC 8489 §6.2.2: it carries its own length). Not cancel safe.
pub(super) async fn read_message(
    stream: &mut TcpStream,
) -> io::Result<(stun::TransactionId, Message)> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not a STUN message");
    let mut bytes = [0; stun::MESSAGE_MAX];
    let (header, rest) = bytes.split_first_chunk_mut::<{ stun::HEADER }>().ok_or_else(invalid)?;
    stream.read_exact(header).await?;
    let length = stun::body_length(header).ok_or_else(invalid)?;
    stream.read_exact(rest.get_mut(..length).ok_or_else(invalid)?).await?;
    Message::decode(&bytes[..stun::HEADER + length]).ok_or_else(invalid)
}
