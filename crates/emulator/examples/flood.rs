//! How much the emulator carries: one TCP connection as fast as it goes, or datagrams one by one.
//!
//! `flood [LINK] [tcp | udp | CONGESTION-CONTROL] [SECONDS]`, for one: `flood lossy-1 bbr 10`.

#![expect(clippy::print_stdout, reason = "figures are its result")]

use std::{
    env,
    error::Error,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    process::ExitCode,
    time::{Duration, Instant},
};

use portolan_emulator::{Emulator, Launch, Options, launch};
use portolan_netsim::{
    LinkSpec,
    topology::{Attachment, Host, Node, NodeKind, Prefix, Subnet, Topology},
};
use socket2::{Domain, Socket, Type};

const BOB: &str = "10.0.0.2:5000";
const DATAGRAM: usize = 1200;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match launch().map_err(Into::into).and_then(|launched| match launched {
        Launch::Inside => flood().map(|()| ExitCode::SUCCESS),
        Launch::Finished(code) => Ok(code),
    }) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn flood() -> Outcome<()> {
    let mut arguments = env::args().skip(1);
    let link = arguments.next().unwrap_or_else(|| "lan".to_owned());
    let how = arguments.next().unwrap_or_else(|| "tcp".to_owned());
    let seconds = arguments.next().map_or(Ok(5), |seconds| seconds.parse())?;
    let emulator = Emulator::start(&topology(&link)?, Options::default())?;
    let (received, time) = match how.as_str() {
        "udp" => datagrams(&emulator, Duration::from_secs(seconds))?,
        congestion => stream(&emulator, congestion.to_owned(), Duration::from_secs(seconds))?,
    };
    let health = emulator.health();
    let bits = received as f64 * 8.0 / time.as_secs_f64();
    println!("{link} {how}: {:.1} Mbit/s received", bits / 1e6);
    println!("{:.0} packets/s", health.packets_read as f64 / time.as_secs_f64());
    println!("{health:?}");
    Ok(())
}

fn topology(link: &str) -> Outcome<Topology> {
    let link: LinkSpec = link.parse()?;
    let host = |name: &str, address: &str, link| -> Outcome<Node> {
        let (network, addresses) = ("net".to_owned(), vec![address.parse()?]);
        let interface = Attachment { name: "eth0".to_owned(), network, addresses, link };
        let kind = NodeKind::Host(Host { interfaces: vec![interface] });
        Ok(Node { name: name.to_owned(), kind })
    };
    let prefixes = vec![Prefix { address: "10.0.0.0".parse()?, length: 24 }];
    let subnet = Subnet { prefixes, isolated: false, multicast: true };
    let nodes = vec![
        Node { name: "net".to_owned(), kind: NodeKind::Subnet(subnet) },
        host("alice", "10.0.0.1", link.duplex)?,
        host("bob", "10.0.0.2", "delay=0,mtu=1500".parse::<LinkSpec>()?.duplex)?,
    ];
    Ok(Topology { seed: 1, nodes, ..Topology::default() })
}

/// Does something on a host.
fn on<T: Send + 'static>(
    emulator: &Emulator,
    host: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Outcome<T> {
    let host = emulator.host(host).ok_or("no such host")?;
    Ok(host.spawn_thread("flood", work)?.join().map_err(|_| "the thread panicked")??)
}

/// Bytes that bob receives of one connection, and the time that it takes.
fn stream(emulator: &Emulator, congestion: String, length: Duration) -> Outcome<(u64, Duration)> {
    let listener = on(emulator, "bob", || TcpListener::bind(BOB))?;
    let start = now();
    let receiver = std::thread::spawn(move || -> io::Result<u64> {
        let (mut stream, _) = listener.accept()?;
        let (mut total, mut buffer) = (0, vec![0; 1 << 18]);
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(total),
                length => total += length as u64,
            }
        }
    });
    on(emulator, "alice", move || {
        let mut socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if congestion != "tcp" {
            set_congestion(&socket, &congestion)?;
        }
        socket.connect(&BOB.parse::<SocketAddr>().map_err(io::Error::other)?.into())?;
        let chunk = vec![7; 1 << 18];
        while start.elapsed() < length {
            socket.write_all(&chunk)?;
        }
        Ok(())
    })?;
    Ok((receiver.join().map_err(|_| "the receiver panicked")??, start.elapsed()))
}

#[cfg(target_os = "linux")]
fn set_congestion(socket: &Socket, name: &str) -> io::Result<()> {
    socket.set_tcp_congestion(name.as_bytes())
}

#[cfg(not(target_os = "linux"))]
fn set_congestion(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Bytes that bob receives of datagrams that alice sends as fast as she can.
fn datagrams(emulator: &Emulator, length: Duration) -> Outcome<(u64, Duration)> {
    let bob = on(emulator, "bob", || UdpSocket::bind(BOB))?;
    bob.set_read_timeout(Some(Duration::from_secs(1)))?;
    let start = now();
    let receiver = std::thread::spawn(move || {
        let (mut total, mut buffer) = (0, [0; 2 * DATAGRAM]);
        while let Ok(length) = bob.recv(&mut buffer) {
            total += length as u64;
        }
        total
    });
    on(emulator, "alice", move || {
        let alice = UdpSocket::bind("10.0.0.1:0")?;
        alice.connect(BOB)?;
        while start.elapsed() < length {
            alice.send(&[7; DATAGRAM])?;
        }
        Ok(())
    })?;
    let time = start.elapsed();
    Ok((receiver.join().map_err(|_| "the receiver panicked")?, time))
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "throughput is by real time")]
    Instant::now()
}
