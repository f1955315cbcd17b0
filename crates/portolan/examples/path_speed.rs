//! What each way between two peers costs: as many bytes over a plain connection, over a direct one
//! between peers, and through a relay, as a stream and as datagrams.
//!
//! ```text
//! path_speed [MIB [ROUNDS [TRANSPORT…]]]
//! cargo run --release -p portolan --example path_speed -- 512 5
//! ```
//!
//! - `plain`: one stream between two endpoints of the transport, which have their ports for
//!   themselves;
//! - `direct`: the same between endpoints that are set up as peers' are: STUN and the relay's
//!   datagrams share the UDP port;
//! - `stream`: one stream of the encrypted connection between two peers, inside a stream that a
//!   server relays;
//! - `datagrams`: a connection of the transport between two peers, whose packets a server relays.
//!
//! The ways take turns in each round. The medians of all rounds are printed at the end, and the
//! medians of each round's ratios: relayed ways to `direct`, and `direct` to `plain`. Everything
//! is in one process, so that CPU time is that of all sides.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::{collections::BTreeMap, error::Error, fs, net::SocketAddr, sync::Arc, time::Duration};

use portolan::{
    ALL_TRANSPORTS, BindConfig, Carrier, Connection, ConnectionConfig, Endpoint, Expect, Identity,
    Path as ConnectionPath, PathKind, Priority, TUNNEL, Transport,
    protocol::{
        Command, ControlMessage, Empty, Hello, Login, Name, Opened, Opening, OpeningMessage, Ready,
        Relay, RelayChannel, RequestId, VERSIONS,
    },
    server::Server,
};
use portolan_datagram_io::{
    Batch, Channel, Lane, LaneSocket, Reading, RelayFrame, RelayKey, SharedSockets, Transmit,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

type Failure = Box<dyn Error + Send + Sync>;
type Pair = (Arc<dyn Connection>, Arc<dyn Connection>);
type Reader = FrameReader<portolan::RecvStream>;
type Writer = FrameWriter<portolan::SendStream>;

/// Written at once.
const CHUNK: usize = 256 << 10;
const MIB: u64 = 1 << 20;
const WAYS: [&str; 4] = ["plain", "direct", "stream", "datagrams"];
/// Which way is compared with which.
const RATIOS: [(&str, &str); 3] =
    [("direct", "plain"), ("stream", "direct"), ("datagrams", "direct")];

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mib: u64 = arguments.next().map_or(Ok(512), |word| word.parse())?;
    let rounds: u32 = arguments.next().map_or(Ok(5), |word| word.parse())?;
    let wanted: Vec<String> = arguments.collect();
    let is_wanted = |transport: &&dyn Transport| {
        wanted.is_empty() || wanted.iter().any(|word| word == transport.scheme())
    };
    let transports = ALL_TRANSPORTS.iter().copied().filter(is_wanted);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for transport in transports {
        runtime.block_on(run(mib * MIB, rounds, transport))?;
    }
    Ok(())
}

/// All rounds of one transport.
async fn run(bytes: u64, rounds: u32, transport: &'static dyn Transport) -> Result<(), Failure> {
    let has_datagrams = transport.capabilities().carrier == Carrier::Udp;
    let mut all: BTreeMap<&str, Vec<Measure>> = BTreeMap::new();
    println!("{:10} {:10} {:>10} {:>14}", "transport", "way", "MiB/s", "CPU s a GiB");
    for _ in 0..rounds {
        for way in WAYS.into_iter().filter(|way| has_datagrams || *way != "datagrams") {
            let measure = match way {
                "plain" => plain(transport, bytes).await?,
                "direct" => direct(transport, bytes).await?,
                "stream" => stream(transport, bytes).await?,
                _ => datagrams(transport, bytes).await?,
            };
            measure.print(transport.scheme(), way);
            all.entry(way).or_default().push(measure);
        }
    }
    println!("\nmedians of {rounds} rounds:");
    for (way, measures) in &all {
        let speed = median(measures.iter().map(Measure::mib_a_second).collect());
        let cpu = median(measures.iter().map(Measure::cpu_a_gib).collect());
        println!("{:10} {way:10} {speed:10.0} {cpu:14.2}", transport.scheme());
    }
    for (of, to) in RATIOS {
        let (Some(of_all), Some(to_all)) = (all.get(of), all.get(to)) else { continue };
        let pairs = of_all.iter().zip(to_all);
        let speeds = pairs.clone().map(|(of, to)| of.mib_a_second() / to.mib_a_second());
        let works = pairs.map(|(of, to)| of.cpu_a_gib() / to.cpu_a_gib());
        let (speed, work) = (median(speeds.collect()), median(works.collect()));
        println!("{:10} {of}/{to}: speed {speed:.2}, CPU {work:.2}", transport.scheme());
    }
    println!();
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or(f64::NAN);
    match values.len() % 2 {
        0 => f64::midpoint(upper, values.get(middle.wrapping_sub(1)).copied().unwrap_or(upper)),
        _ => upper,
    }
}

/// Bytes, time and work.
struct Measure {
    bytes: u64,
    took: Duration,
    cpu: Duration,
}

impl Measure {
    fn print(&self, transport: &str, way: &str) {
        let (speed, cpu) = (self.mib_a_second(), self.cpu_a_gib());
        println!("{transport:10} {way:10} {speed:10.0} {cpu:14.2}");
    }

    fn mib_a_second(&self) -> f64 {
        as_f64(self.bytes) / as_f64(MIB) / self.took.as_secs_f64()
    }

    fn cpu_a_gib(&self) -> f64 {
        self.cpu.as_secs_f64() * as_f64(1 << 30) / as_f64(self.bytes)
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// CPU time of this process so far, where the system tells.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in parentheses: fields 14 and 15 of proc(5), in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Moves bytes over a connection from one end to the other.
async fn pump((from, to): &Pair, bytes: u64) -> Result<Measure, Failure> {
    let (began, cpu) = (Instant::now(), cpu_time());
    let (mut send, _) = from.open_stream(Priority::Bulk).await?;
    let sending = async move {
        let chunk = vec![7; CHUNK];
        let mut left = bytes;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            send.write_all(&chunk[..count]).await?;
            left -= count as u64;
        }
        send.finish()?;
        Ok::<_, Failure>(send)
    };
    let receiving = async {
        let (_, mut receive) = to.accept_stream().await?;
        let (mut buffer, mut total) = (vec![0; CHUNK], 0);
        loop {
            match receive.read(&mut buffer).await? {
                0 => break,
                count => total += count as u64,
            }
        }
        if total == bytes { Ok(()) } else { Err(format!("{total} of {bytes} bytes came").into()) }
    };
    let (sent, received) = tokio::join!(sending, receiving);
    drop(sent?);
    received.map(|()| Measure { bytes, took: began.elapsed(), cpu: cpu_time().saturating_sub(cpu) })
}

/// An endpoint, and what shares its port.
struct Port {
    endpoint: Arc<dyn Endpoint>,
    relay: Option<Arc<LaneSocket>>,
    _stun: Option<Arc<LaneSocket>>,
}

impl Port {
    /// One that is alone at its port.
    async fn plain(transport: &dyn Transport, seed: u8) -> Result<Self, Failure> {
        let endpoint = transport.bind(config(seed)).await?;
        Ok(Self { endpoint, relay: None, _stun: None })
    }

    /// One as peers have it.
    async fn of_peer(transport: &dyn Transport, seed: u8) -> Result<Self, Failure> {
        let config = config(seed);
        let sockets = config.shared.get_or_default::<SharedSockets>();
        let endpoint = transport.bind(config).await?;
        if transport.capabilities().carrier != Carrier::Udp {
            return Ok(Self { endpoint, relay: None, _stun: None });
        }
        let open = |lane| sockets.open_as(endpoint.local_addr(), lane, Reading::Rare);
        let (relay, stun) = (open(Lane::Relay)?, open(Lane::Stun)?);
        Ok(Self { endpoint, relay: Some(relay), _stun: Some(stun) })
    }

    async fn meet(&self, other: &Self, at: SocketAddr, seed: u8) -> Result<Pair, Failure> {
        let expect = Expect::Id(Identity::from_seed([seed; 32]).id());
        let connecting = self.endpoint.connect(at, expect);
        let (from, to) = tokio::join!(connecting, other.endpoint.accept());
        Ok((from?, to?))
    }
}

fn config(seed: u8) -> BindConfig {
    BindConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), Identity::from_seed([seed; 32]))
}

async fn plain(transport: &dyn Transport, bytes: u64) -> Result<Measure, Failure> {
    let (alice, bob) = (Port::plain(transport, 3).await?, Port::plain(transport, 4).await?);
    let pair = alice.meet(&bob, bob.endpoint.local_addr(), 4).await?;
    pump(&pair, bytes).await
}

async fn direct(transport: &dyn Transport, bytes: u64) -> Result<Measure, Failure> {
    let (alice, bob) = (Port::of_peer(transport, 3).await?, Port::of_peer(transport, 4).await?);
    let pair = alice.meet(&bob, bob.endpoint.local_addr(), 4).await?;
    pump(&pair, bytes).await
}

async fn stream(transport: &dyn Transport, bytes: u64) -> Result<Measure, Failure> {
    let (_server, alice, bob) = harbour(transport).await?;
    let [from, to] = introduce(&alice, &bob).await?;
    let (expect_bob, expect_alice) = (bob.expect(), alice.expect());
    let (path, config) = (alice.path(), ConnectionConfig::new(alice.identity.clone()));
    let connecting = TUNNEL.connect(from.carrier(), path, config, expect_bob);
    let (path, config) = (bob.path(), ConnectionConfig::new(bob.identity.clone()));
    let accepting = TUNNEL.accept(to.carrier(), path, config, expect_alice);
    let (from, to) = tokio::join!(connecting, accepting);
    pump(&(from?, to?), bytes).await
}

async fn datagrams(transport: &dyn Transport, bytes: u64) -> Result<Measure, Failure> {
    let (_server, alice, bob) = harbour(transport).await?;
    // Open for as long as the datagrams flow.
    let ends = introduce(&alice, &bob).await?;
    let (ours, theirs) = (Port::of_peer(transport, 3).await?, Port::of_peer(transport, 4).await?);
    let [from, to] = [(&ours, &ends[0]), (&theirs, &ends[1])];
    let (here, _there) = (bind(from, alice.server).await?, bind(to, bob.server).await?);
    let pair = ours.meet(&theirs, here.addr(), 4).await?;
    pump(&pair, bytes).await
}

/// Tells the relay where we are.
async fn bind((port, end): (&Port, &End), relay: SocketAddr) -> Result<Channel, Failure> {
    let lane = port.relay.as_ref().ok_or("there is no UDP port")?;
    let RelayChannel { number, key, port } = end.channel.clone().ok_or("there is no channel")?;
    let (relay, key) = (SocketAddr::new(relay.ip(), port), RelayKey(key.0));
    let channel = lane.open_channel(relay, number);
    let mut batch = Batch::new();
    for counter in 1..=20 {
        let contents = &RelayFrame::bind(&key, number, counter);
        let (ecn, segment_size, src_ip) = (None, None, None);
        // One that the system has no room for yet is asked again.
        let transmit = Transmit { destination: relay, ecn, contents, segment_size, src_ip };
        let _sent = lane.try_send(&transmit);
        if timeout(Duration::from_millis(500), lane.recv(&mut batch)).await.is_ok() {
            return Ok(channel);
        }
    }
    Err("the relay does not answer".into())
}

async fn harbour(transport: &dyn Transport) -> Result<(Server, Client, Client), Failure> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let identity = Identity::from_seed([9; 32]);
    let mut config = portolan::server::Config::new(listen, ALL_TRANSPORTS, identity);
    // What is measured is the relay, and not its bounds.
    (config.limits.relay_rate, config.limits.relay_datagrams) = (64 << 30, 100_000_000);
    let server = Server::start(config).await?;
    let alice = Client::enter(&server, transport, ("alice", 3)).await?;
    let bob = Client::enter(&server, transport, ("bob", 4)).await?;
    Ok((server, alice, bob))
}

/// A client that speaks just enough to be relayed.
struct Client {
    identity: Identity,
    server: SocketAddr,
    connection: Arc<dyn Connection>,
    _control: (Writer, Reader),
    _endpoint: Arc<dyn Endpoint>,
}

/// One side of a relay.
struct End {
    writer: Writer,
    reader: Reader,
    channel: Option<RelayChannel>,
}

impl End {
    fn carrier(self) -> Box<dyn portolan::ByteStream> {
        Box::new(tokio::io::join(self.reader.into_raw(), self.writer.into_inner()))
    }
}

impl Client {
    async fn enter(
        server: &Server,
        transport: &dyn Transport,
        (name, seed): (&str, u8),
    ) -> Result<Self, Failure> {
        let addresses = server.addresses();
        let ours = addresses.iter().find(|(scheme, _)| *scheme == transport.scheme());
        let address = ours.ok_or("the server does not listen there")?.1;
        let config = config(seed);
        let identity = config.connection.identity.clone();
        let endpoint = transport.bind(config).await?;
        let connection = endpoint.connect(address, Expect::Id(server.id())).await?;
        let (mut writer, mut reader) = open(&connection, Priority::Control).await?;
        let opening = OpeningMessage::Request(RequestId(1), Opening::Control(Empty {}));
        writer.send(&opening).await?;
        let _: OpeningMessage = reader.next_message().await?;
        let hello =
            Hello { versions: VERSIONS.to_vec(), features: vec![], software: String::new() };
        let login = Login { name: name.to_owned(), password: None, device: None, attempt: None };
        for (id, command) in (1..).zip([Command::from(hello), Command::from(login)]) {
            writer.send(&ControlMessage::Request(RequestId(id), command)).await?;
            let _: ControlMessage = reader.next_message().await?;
        }
        let _control = (writer, reader);
        Ok(Self { identity, server: address, connection, _control, _endpoint: endpoint })
    }

    fn expect(&self) -> Expect {
        Expect::Id(self.identity.id())
    }

    fn path(&self) -> ConnectionPath {
        ConnectionPath { kind: PathKind::Relayed, ..self.connection.path() }
    }
}

/// Opens a relay between two clients: the caller's end, and the other.
async fn introduce(alice: &Client, bob: &Client) -> Result<[End; 2], Failure> {
    let (mut writer, mut reader) = open(&alice.connection, Priority::Bulk).await?;
    let opening = Opening::Relay(Relay { to: Name::new("bob")?, elsewhere: None });
    writer.send(&OpeningMessage::Request(RequestId(1), opening)).await?;
    let (send, receive) = bob.connection.accept_stream().await?;
    let (mut answers, mut questions) = (FrameWriter::new(send), FrameReader::new(receive));
    let OpeningMessage::Request(id, Opening::Relayed(relayed)) = questions.next_message().await?
    else {
        return Err("no relay came".into());
    };
    answers.send(&OpeningMessage::Answer(id, Opened::Ready(Ready::default()))).await?;
    let OpeningMessage::Answer(_, Opened::Ready(ready)) = reader.next_message().await? else {
        return Err("the relay was refused".into());
    };
    let theirs = End { writer: answers, reader: questions, channel: relayed.channel };
    Ok([End { writer, reader, channel: ready.channel }, theirs])
}

async fn open(
    connection: &Arc<dyn Connection>,
    priority: Priority,
) -> Result<(Writer, Reader), Failure> {
    let (send, receive) = connection.open_stream(priority).await?;
    Ok((FrameWriter::new(send), FrameReader::new(receive)))
}
