//! Moves a file between two peers through a server, and the same bytes without a file, to see what
//! files cost.
//!
//! ```text
//! file_speed [MIB [ROUNDS [TRANSPORT…]]]
//! cargo run --release -p portolan --example file_speed -- 2048 3
//! ```
//!
//! Three ways to move as many bytes over each transport, one after another in each round:
//!
//! - `bare`: one stream between two endpoints of the transport, nothing above it, as the bulk of
//!   `lab bench`;
//! - `carried`: one stream of the encrypted connection between two peers, inside a stream that a
//!   server relays: the way that a relayed file takes, without the file;
//! - `file`: a file that one peer sends to the other, from disk to disk, proven; and which way it
//!   took.
//!
//! Everything is in one process, so that CPU time is that of all sides. The file is read and hashed
//! once before the clock starts, as a second sending of it finds it.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::{error::Error, fs, io::Write, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use portolan::{
    ALL_TRANSPORTS, BindConfig, Connection, ConnectionConfig, Endpoint, Expect, Identity,
    Path as ConnectionPath, PathKind, Priority, TUNNEL, Transport,
    peer::{Config, Event, Events, FilePhase, FileRule, Peer},
    protocol::{
        Command, ControlMessage, Empty, Hello, Login, Name, Opened, Opening, OpeningMessage, Relay,
        RequestId, VERSIONS,
    },
    server::Server,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

type Failure = Box<dyn Error + Send + Sync>;

/// Written at once, as files write.
const CHUNK: usize = 256 << 10;
const MIB: u64 = 1 << 20;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mib: u64 = arguments.next().map_or(Ok(512), |word| word.parse())?;
    let rounds: u32 = arguments.next().map_or(Ok(3), |word| word.parse())?;
    let wanted: Vec<String> = arguments.collect();
    let is_wanted = |transport: &&dyn Transport| {
        wanted.is_empty() || wanted.iter().any(|word| word == transport.scheme())
    };
    let transports: Vec<&'static dyn Transport> =
        ALL_TRANSPORTS.iter().copied().filter(|transport| is_wanted(transport)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(mib * MIB, rounds, &transports))
}

async fn run(
    bytes: u64,
    rounds: u32,
    transports: &[&'static dyn Transport],
) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("file");
    write_file(&file, bytes)?;
    println!("{:10} {:9} {:>10} {:>14}  way", "transport", "what", "MiB/s", "CPU s a GiB");
    for _ in 0..rounds {
        for transport in transports {
            let bare = bare(*transport, bytes).await?;
            bare.print(transport.scheme(), "bare", "direct");
            let carried = carried(*transport, bytes).await?;
            carried.print(transport.scheme(), "carried", "relayed");
            let (sent, way) = file_between(*transport, &file, directory.path()).await?;
            sent.print(transport.scheme(), "file", &way);
            let share = |of: &Measure| sent.mib_a_second() / of.mib_a_second();
            println!(
                "{:10} file/bare {:.2}  file/carried {:.2}",
                transport.scheme(),
                share(&bare),
                share(&carried)
            );
        }
    }
    Ok(())
}

fn write_file(path: &Path, bytes: u64) -> Result<(), Failure> {
    let mut file = fs::File::create(path)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = bytes;
    while left > 0 {
        let words = (0..CHUNK / 8).flat_map(|_| {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
        });
        let chunk: Vec<u8> = words.take(usize::try_from(left).unwrap_or(CHUNK)).collect();
        file.write_all(&chunk)?;
        left -= chunk.len() as u64;
    }
    Ok(file.sync_all()?)
}

/// Bytes, time and work.
struct Measure {
    bytes: u64,
    took: Duration,
    cpu: Duration,
}

impl Measure {
    fn print(&self, transport: &str, what: &str, way: &str) {
        let gib = as_f64(self.bytes) / as_f64(1 << 30);
        let cpu = self.cpu.as_secs_f64() / gib;
        println!("{transport:10} {what:9} {:10.0} {cpu:14.2}  {way}", self.mib_a_second());
    }

    fn mib_a_second(&self) -> f64 {
        as_f64(self.bytes) / as_f64(MIB) / self.took.as_secs_f64()
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// Measures what `work` takes.
async fn measured(
    bytes: u64,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<Measure, Failure> {
    let (began, cpu) = (Instant::now(), cpu_time());
    work.await?;
    Ok(Measure { bytes, took: began.elapsed(), cpu: cpu_time().saturating_sub(cpu) })
}

/// CPU time of this process so far, where the system tells.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in parentheses: fields 14 and 15 of proc(5), in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Moves bytes over the connection `from` to its other end `to`.
async fn pump(
    from: &Arc<dyn Connection>,
    to: &Arc<dyn Connection>,
    bytes: u64,
) -> Result<(), Failure> {
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
        let mut buffer = vec![0; CHUNK];
        let mut total = 0;
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
    received
}

async fn bare(transport: &'static dyn Transport, bytes: u64) -> Result<Measure, Failure> {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = transport.bind(BindConfig::new(local, Identity::from_seed([1; 32]))).await?;
    let client = transport.bind(BindConfig::new(local, Identity::from_seed([2; 32]))).await?;
    let expect = Expect::Id(Identity::from_seed([1; 32]).id());
    let (from, to) = tokio::join!(client.connect(server.local_addr(), expect), server.accept());
    let (from, to) = (from?, to?);
    let measure = measured(bytes, pump(&from, &to, bytes)).await?;
    drop((client, server));
    Ok(measure)
}

async fn harbour() -> Result<Server, Failure> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let identity = Identity::from_seed([9; 32]);
    Ok(Server::start(portolan::server::Config::new(listen, ALL_TRANSPORTS, identity)).await?)
}

fn address(server: &Server, transport: &dyn Transport) -> Result<SocketAddr, Failure> {
    let addresses = server.addresses();
    let ours = addresses.iter().find(|(scheme, _)| *scheme == transport.scheme());
    Ok(ours.ok_or("the server does not listen there")?.1)
}

async fn carried(transport: &'static dyn Transport, bytes: u64) -> Result<Measure, Failure> {
    let server = harbour().await?;
    let (alice, bob) = (
        Plain::enter(&server, transport, "alice", 3).await?,
        Plain::enter(&server, transport, "bob", 4).await?,
    );
    let (from, to) = tokio::join!(alice.call("bob", &bob.identity), bob.answer(&alice.identity));
    measured(bytes, pump(&from?, &to?, bytes)).await
}

/// A client that speaks just enough to be relayed.
struct Plain {
    identity: Identity,
    connection: Arc<dyn Connection>,
    _control: (Writer, Reader),
    _endpoint: Arc<dyn Endpoint>,
}

type Reader = FrameReader<portolan::RecvStream>;
type Writer = FrameWriter<portolan::SendStream>;

impl Plain {
    async fn enter(
        server: &Server,
        transport: &'static dyn Transport,
        name: &str,
        seed: u8,
    ) -> Result<Self, Failure> {
        let identity = Identity::from_seed([seed; 32]);
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = transport.bind(BindConfig::new(local, identity.clone())).await?;
        let address = address(server, transport)?;
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
        Ok(Self { identity, connection, _control: (writer, reader), _endpoint: endpoint })
    }

    async fn call(&self, who: &str, other: &Identity) -> Result<Arc<dyn Connection>, Failure> {
        let (mut writer, mut reader) = open(&self.connection, Priority::Bulk).await?;
        let opening = Opening::Relay(Relay { to: Name::new(who)?, elsewhere: None });
        writer.send(&OpeningMessage::Request(RequestId(1), opening)).await?;
        let _: OpeningMessage = reader.next_message().await?;
        let carrier = Box::new(tokio::io::join(reader.into_raw(), writer.into_inner()));
        let config = ConnectionConfig::new(self.identity.clone());
        Ok(TUNNEL.connect(carrier, self.path(), config, Expect::Id(other.id())).await?)
    }

    async fn answer(&self, other: &Identity) -> Result<Arc<dyn Connection>, Failure> {
        let (send, receive) = self.connection.accept_stream().await?;
        let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
        let OpeningMessage::Request(id, _) = reader.next_message().await? else {
            return Err("no request came".into());
        };
        writer.send(&OpeningMessage::Answer(id, Opened::Ready(Default::default()))).await?;
        let carrier = Box::new(tokio::io::join(reader.into_raw(), writer.into_inner()));
        let config = ConnectionConfig::new(self.identity.clone());
        Ok(TUNNEL.accept(carrier, self.path(), config, Expect::Id(other.id())).await?)
    }

    fn path(&self) -> ConnectionPath {
        ConnectionPath { kind: PathKind::Relayed, ..self.connection.path() }
    }
}

async fn open(
    connection: &Arc<dyn Connection>,
    priority: Priority,
) -> Result<(Writer, Reader), Failure> {
    let (send, receive) = connection.open_stream(priority).await?;
    Ok((FrameWriter::new(send), FrameReader::new(receive)))
}

async fn file_between(
    transport: &'static dyn Transport,
    file: &Path,
    directory: &Path,
) -> Result<(Measure, String), Failure> {
    let server = harbour().await?;
    let downloads = directory.join("downloads");
    let (alice, mut news) = enter(&server, transport, "alice", &downloads).await?;
    let (_bob, mut other) = enter(&server, transport, "bob", &downloads).await?;
    let reading = tokio::spawn(async move { while other.next().await.is_some() {} });
    let bob = Name::new("bob")?;
    // The first time it is hashed, and the way becomes as good as it gets.
    alice.send_file(&bob, file).await?;
    fs::remove_dir_all(&downloads)?;
    while news.try_next().is_some() {}
    let bytes = fs::metadata(file)?.len();
    let sending = async {
        alice.send_file(&bob, file).await?;
        Ok(())
    };
    let measure = measured(bytes, sending).await?;
    let way = way(&mut news);
    fs::remove_dir_all(&downloads)?;
    reading.abort();
    Ok((measure, way))
}

/// The way that the last file has taken.
fn way(news: &mut Events) -> String {
    let mut way = String::new();
    while let Some(event) = news.try_next() {
        if let Event::File(update) = event
            && let (Some(via), FilePhase::Progress | FilePhase::Done { .. }) =
                (update.via, &update.phase)
        {
            way = format!("{:?} over {}", via.kind, via.transport).to_lowercase();
        }
    }
    way
}

async fn enter(
    server: &Server,
    transport: &'static dyn Transport,
    name: &str,
    downloads: &Path,
) -> Result<(Peer, Events), Failure> {
    let (address, expect) = (address(server, transport)?, Expect::Id(server.id()));
    let (name, identity) = (Name::new(name)?, Identity::generate());
    let mut config = Config::new(name, identity, address, expect, transport, TUNNEL);
    config.downloads = downloads.to_owned();
    config.accept_files = FileRule::All;
    config.limits.events = 16_384;
    Ok(Peer::connect(config).await?)
}
