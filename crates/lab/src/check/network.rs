//! Whether emulated networks are what was asked for.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use portolan_emulator::{Emulator, Options};
use portolan_netsim::{Kind, LinkSpec, Packet, Protocol, World, topology::Topology};
use socket2::{Domain, Socket, Type};

use super::{Finding, statistics};

/// Nothing takes longer than this to come, or it does not come.
const PATIENCE: Duration = Duration::from_secs(2);

/// Round trips of the check of delays.
const ROUND_TRIPS: usize = 200;

/// Packets of the check of losses, and how many are under way at once: few enough for any buffer.
const PACKETS: u32 = 100_000;
const BATCH: u32 = 100;

/// The port that both hosts use: chance is by address and port.
const PORT: u16 = 7275;

/// An IPv4 and a UDP header.
const HEADERS: u32 = 28;

const ONE_PERCENT: &str = "loss=1%";

/// A bottleneck whose queue holds 100 ms, as in most of the laboratory's profiles.
const CLEAN: &str = "rate=100Mbit,queue=100ms";
const LOSSY: &str = "delay=25ms,rate=100Mbit,queue=100ms,loss=1%";

/// Mbit in a MiB.
const MBIT_PER_MIB: f64 = 8.388_608;

/// Bob's kernel answers, so that no program has to be woken for it: what is timed is the network.
pub(super) fn delay() -> Result<Finding, String> {
    let emulator = start(&pair("delay=25ms")?)?;
    let host = |name: &str| emulator.host(name).ok_or("a host is missing");
    let (alice, bob) = (host("alice")?, host("bob")?);
    let to = SocketAddr::new(ipv4(bob.addresses())?, PORT);
    let listening = bob.spawn_thread("listen", move || listen(to)).map_err(text)?;
    let _listening = listening.join().map_err(|_| "a thread panicked")?.map_err(text)?;
    let connecting = alice.spawn_thread("connect", move || connect(to)).map_err(text)?;
    let mut round_trips = connecting.join().map_err(|_| "a thread panicked")?.map_err(text)?;
    round_trips.sort_unstable();
    let [p50, p99] = [50, 99].map(|percent| {
        round_trips.get(ROUND_TRIPS * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    });
    let seen = format!("{p50:.2} ms (p99 {p99:.2}); {}", health(&emulator));
    Ok(Finding { seen, holds: (49.5..=50.5).contains(&p50) })
}

/// A socket at which all connections of the check may wait unaccepted.
fn listen(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.bind(&at.into())?;
    socket.listen(i32::try_from(2 * ROUND_TRIPS).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// How long each handshake of TCP takes.
fn connect(to: SocketAddr) -> io::Result<Vec<Duration>> {
    let mut round_trips = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let start = now();
        let connection = TcpStream::connect_timeout(&to, PATIENCE)?;
        round_trips.push(start.elapsed());
        drop(connection);
    }
    Ok(round_trips)
}

pub(super) fn loss() -> Result<Finding, String> {
    let emulator = start(&pair(ONE_PERCENT)?)?;
    let survivors = survivors(&emulator)?;
    let lost = f64::from(PACKETS) - survivors.len() as f64;
    let percent = 100.0 * lost / f64::from(PACKETS);
    let seen = format!("{percent:.3} %; {}", health(&emulator));
    Ok(Finding { seen, holds: (0.9..=1.1).contains(&percent) })
}

pub(super) fn replay() -> Result<Finding, String> {
    let topology = pair(ONE_PERCENT)?;
    let [one, two] = [survivors(&start(&topology)?)?, survivors(&start(&topology)?)?];
    let expected = survivors_in_virtual_time(&topology)?;
    let differences = [&one, &two].map(|seen| seen.symmetric_difference(&expected).count());
    let seen = format!(
        "of {PACKETS} packets the fates of {} and {} differ from those in virtual time",
        differences[0], differences[1]
    );
    Ok(Finding { seen, holds: differences == [0, 0] })
}

pub(super) fn rate() -> Result<Finding, String> {
    let mbit = goodput("raw-tcp-bbr", CLEAN)?;
    Ok(Finding { seen: format!("{mbit:.1} Mbit/s"), holds: mbit >= 94.0 })
}

pub(super) fn bbr() -> Result<Finding, String> {
    let mbit = goodput("raw-tcp-bbr", LOSSY)?;
    Ok(Finding { seen: format!("{mbit:.1} Mbit/s"), holds: mbit >= 90.0 })
}

pub(super) fn cubic() -> Result<Finding, String> {
    let mbit = goodput("raw-tcp-cubic", LOSSY)?;
    Ok(Finding { seen: format!("{mbit:.1} Mbit/s"), holds: (2.0..=4.0).contains(&mbit) })
}

/// What a subject gets through a link, in Mbit/s: the median of a few long transfers.
fn goodput(subject: &str, link: &str) -> Result<f64, String> {
    let words = ["--subjects", subject, "--baseline", subject, "--link", link];
    let rest = ["--only", "bulk-up", "--rounds", "3", "--seconds", "30", "--driver", "real"];
    let run = statistics::take(&[&words[..], &rest[..]].concat())?;
    let mib = statistics::figure(&run, subject, "bulk-up")?;
    Ok(mib * MBIT_PER_MIB)
}

fn pair(link: &str) -> Result<Topology, String> {
    let spec: LinkSpec = link.parse().map_err(text)?;
    Ok(Topology::pair(&spec.duplex, 42))
}

fn start(topology: &Topology) -> Result<Emulator, String> {
    Emulator::start(topology, Options::default()).map_err(text)
}

fn sockets(emulator: &Emulator) -> Result<[UdpSocket; 2], String> {
    let open = |name: &str| {
        let host = emulator.host(name).ok_or("a host is missing")?;
        let address = ipv4(host.addresses())?;
        let bind = move || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((address, PORT))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = host.spawn_thread("socket", bind).map_err(text)?;
        socket.join().map_err(|_| "a thread panicked")?.map_err(text)
    };
    Ok([open("alice")?, open("bob")?])
}

fn ipv4(addresses: Vec<IpAddr>) -> Result<IpAddr, String> {
    addresses.into_iter().find(IpAddr::is_ipv4).ok_or_else(|| "a host without IPv4".into())
}

/// Sends numbered packets from alice to bob; the numbers that arrive.
fn survivors(emulator: &Emulator) -> Result<BTreeSet<u32>, String> {
    let [alice, bob] = sockets(emulator)?;
    let to = bob.local_addr().map_err(text)?;
    let before = crossed(emulator);
    let mut survivors = BTreeSet::new();
    for first in (0..PACKETS).step_by(BATCH as usize) {
        for number in first..first + BATCH {
            alice.send_to(&number.to_be_bytes(), to).map_err(text)?;
        }
        let sent = u64::from(first + BATCH);
        let carried = wait_for(emulator, before, sent)?;
        while (survivors.len() as u64) < carried {
            let mut number = [0; 4];
            bob.recv(&mut number).map_err(text)?;
            survivors.insert(u32::from_be_bytes(number));
        }
    }
    Ok(survivors)
}

/// Waits until so many packets have entered alice's link; answers how many it carried.
fn wait_for(emulator: &Emulator, before: (u64, u64), sent: u64) -> Result<u64, String> {
    let start = now();
    loop {
        let (entered, carried) = crossed(emulator);
        if entered - before.0 >= sent {
            return Ok(carried - before.1);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("only {} of {sent} packets were read", entered - before.0));
        }
    }
}

fn crossed(emulator: &Emulator) -> (u64, u64) {
    let links = emulator.stats().links;
    let alice = links.iter().find(|link| link.node == "alice");
    alice.map_or((0, 0), |link| (link.up.entered, link.up.carried))
}

/// The same packets without any waiting.
fn survivors_in_virtual_time(topology: &Topology) -> Result<BTreeSet<u32>, String> {
    let now = now();
    let mut world = World::new(topology, now).map_err(text)?;
    let interface = |name: &str| world.host(name).ok_or("a host is missing");
    let (alice, bob) = (interface("alice")?, interface("bob")?);
    let address = |id| {
        let addresses = world.addressing(id).addresses.into_iter().map(|(address, _)| address);
        ipv4(addresses.collect()).map(|ip| SocketAddr::new(ip, PORT))
    };
    let (source, destination) = (address(alice)?, address(bob)?);
    let mut survivors = BTreeSet::new();
    for number in 0..PACKETS {
        let packet = Packet {
            protocol: Protocol::Udp,
            source,
            destination,
            size: HEADERS + 4,
            ecn: None,
            hop_limit: 64,
            may_fragment: false,
            kind: Kind::Plain,
            payload: number,
        };
        world.send(now, alice, packet);
        while let Some(arrival) = world.poll_delivery(now) {
            survivors.insert(arrival.packet.payload);
        }
    }
    Ok(survivors)
}

fn health(emulator: &Emulator) -> String {
    let health = emulator.health();
    let p99 = health.lateness.p99.as_secs_f64() * 1e6;
    match health.doubt() {
        None => format!("emulator late by {p99:.0} µs at p99"),
        Some(doubt) => format!("doubtful: {doubt}"),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[expect(clippy::disallowed_methods, reason = "what is checked is real time")]
fn now() -> Instant {
    Instant::now()
}
