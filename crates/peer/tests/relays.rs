//! Relays that are no directories: they carry for two whom the server has introduced, and when one
//! is gone another takes its place.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use portolan_identity::Expect;
use portolan_peer::{Config, Event, Events, FilePhase, PathInfo, PathRule, Peer, Way};
use portolan_protocol::{
    ErrorBody, ErrorCode, Opened, Opening, OpeningMessage, Ready, RelayLoad, RequestId,
};
use portolan_protocol_io::{FrameReader, FrameWriter, RawReader};
use portolan_server::{RelayServer, Relaying, Server};
use portolan_transport::{
    BindConfig, Connection, Endpoint, PathKind, RecvStream, SendStream, Transport,
};
use portolan_transport_quic::Quic;
use portolan_transport_tcp::Tcp;
use portolan_transport_udp::Udp;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    sync::mpsc,
    task::JoinSet,
};

use self::support::{Harbour, bytes, identity, name, wait_for, within};

static TCP: &[&dyn Transport] = &[&Tcp];
static UDP: &[&dyn Transport] = &[&Udp];
static QUIC: &[&dyn Transport] = &[&Quic];

/// Long enough for a relay to end in the middle of it.
const SIZE: usize = 8 << 20;

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A relay for the server of every harbour; `spoil` may make it worse.
async fn relay(
    of: &str,
    transports: &'static [&'static dyn Transport],
    spoil: impl FnOnce(&mut portolan_server::Config),
) -> Server {
    let mut config = portolan_server::Config::new(any_port(), transports, identity(of));
    config.relaying = Relaying { issuers: vec![identity("server").id()], is_only: true };
    spoil(&mut config);
    within("starting a relay", Server::start(config)).await.unwrap()
}

fn place(relay: &Server) -> RelayServer {
    RelayServer { address: relay.addresses()[0].1, id: relay.id() }
}

/// A server that uses these relays.
async fn harbour(
    transports: &'static [&'static dyn Transport],
    relays: Vec<RelayServer>,
) -> Harbour {
    let mut config = portolan_server::Config::new(any_port(), transports, identity("server"));
    config.relays = relays;
    Harbour::open_as(config).await
}

/// Waits until the server has heard of so many relays that they are up.
async fn wait_up(harbour: &Harbour, count: usize) {
    within("relays that answer", async {
        while harbour.server.relays().iter().filter(|relay| relay.up).count() != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// One who talks through relays only, and does not wait long after a break.
fn relayed(harbour: &Harbour, of: &str) -> Config {
    let mut config = harbour.config(of);
    config.paths = PathRule::RelayOnly;
    config.timing.progress = Duration::ZERO;
    config.timing.retry = Duration::from_millis(20);
    config.limits.retries = 10_000;
    config
}

async fn two(harbour: &Harbour) -> ((Peer, Events), (Peer, Events)) {
    let alice = harbour.peer_with(relayed(harbour, "alice")).await;
    let bob = harbour.peer_with(relayed(harbour, "bob")).await;
    (alice, bob)
}

async fn path(events: &mut Events, what: &str, wanted: impl Fn(&PathInfo) -> bool) -> PathInfo {
    let is_it = |event: &Event| matches!(event, Event::Path(path) if wanted(path));
    match wait_for(events, what, is_it).await {
        Event::Path(path) => path,
        other => panic!("{other:?}"),
    }
}

fn assert_arrived(harbour: &Harbour, file: &str, size: usize) {
    assert!(fs::read(harbour.downloads("bob").join(file)).unwrap() == bytes(size), "{file}");
}

#[tokio::test]
async fn another_relay_carries_streams_and_datagrams_and_the_server_nothing() {
    for transports in [TCP, UDP, QUIC] {
        let scheme = transports[0].scheme();
        let relay = relay("relay", transports, |_| {}).await;
        let harbour = harbour(transports, vec![place(&relay)]).await;
        wait_up(&harbour, 1).await;
        let ((alice, mut events), (_bob, _heard)) = two(&harbour).await;
        let file = harbour.file("much", 3_000_000);
        within("sending", alice.send_file(&name("bob"), &file)).await.unwrap();
        assert_arrived(&harbour, "much", 3_000_000);
        let carrying = if scheme == "tcp" { "bytes" } else { "packets" };
        let wanted = format!("a relay carries the encrypted {carrying}");
        let found = path(&mut events, "the relay", |path| path.why.contains(&wanted)).await;
        assert_eq!((found.kind, found.transport), (Some(PathKind::Relayed), scheme));
        assert_eq!(found.addr, Some(place(&relay).address));
        let [info] = harbour.server.relays().try_into().unwrap();
        assert_eq!((info.up, info.handed), (true, 1), "{scheme}");
        assert_eq!(harbour.server.load().bytes, 0, "{scheme}: the server has introduced them");
        assert!(relay.load().bytes > 3_000_000 && relay.load().relays == 1, "{scheme}");
    }
}

#[tokio::test]
async fn a_relay_that_dies_is_replaced_by_another_and_a_file_goes_on() {
    for transports in [TCP, UDP, QUIC] {
        let mut relays = vec![
            relay("first", transports, |_| {}).await,
            relay("second", transports, |_| {}).await,
        ];
        let harbour = harbour(transports, relays.iter().map(place).collect()).await;
        wait_up(&harbour, 2).await;
        let ((alice, mut events), (_bob, _heard)) = two(&harbour).await;
        let sending = {
            let (alice, file) = (alice.clone(), harbour.file("much", SIZE));
            tokio::spawn(async move { alice.send_file(&name("bob"), &file).await })
        };
        let is_half = |event: &Event| {
            matches!(event, Event::File(update)
                if update.phase == FilePhase::Progress && update.bytes > SIZE as u64 / 4)
        };
        wait_for(&mut events, "a part of the file", is_half).await;
        let through = alice.path(&name("bob")).addr.unwrap();
        let dead = relays.iter().position(|relay| place(relay).address == through).unwrap();
        // At once, and without a word.
        drop(relays.remove(dead));
        within("the rest", sending).await.unwrap().unwrap();
        assert_arrived(&harbour, "much", SIZE);
        let now = alice.path(&name("bob")).addr.unwrap();
        assert_eq!(now, place(&relays[0]).address, "{}", transports[0].scheme());
        assert!(relays[0].load().bytes > 0);
    }
}

#[tokio::test]
async fn where_no_relay_is_of_use_the_server_carries_itself() {
    // One has gone, and one lets nobody in.
    let gone = place(&relay("gone", UDP, |_| {}).await);
    let full = relay("full", UDP, |config| config.limits.relays_per_user = 0).await;
    let harbour = harbour(UDP, vec![gone, place(&full)]).await;
    wait_up(&harbour, 1).await;
    let ((alice, mut events), (_bob, _heard)) = two(&harbour).await;
    let file = harbour.file("some", 300_000);
    within("sending", alice.send_file(&name("bob"), &file)).await.unwrap();
    assert_arrived(&harbour, "some", 300_000);
    let found = path(&mut events, "the path", |_| true).await;
    assert_eq!(found.addr, Some(harbour.addr));
    assert_eq!(full.load().bytes, 0);
    let info = harbour.server.relays();
    assert!(!info[0].up && info[1].up && info[1].handed == 0, "{info:?}");
}

#[tokio::test]
async fn a_relay_has_no_names_and_serves_its_own_server_only() {
    let relay = relay("relay", TCP, |_| {}).await;
    let mut config = portolan_server::Config::new(any_port(), TCP, identity("stranger"));
    config.relays = vec![place(&relay)];
    let stranger = within("starting", Server::start(config)).await.unwrap();
    within("the refusal", async {
        while !stranger.relays()[0].why.contains("forbidden") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let directory =
        Harbour::open_as(portolan_server::Config::new(any_port(), TCP, identity("server"))).await;
    let mut config = directory.config("alice");
    config.server = place(&relay).address;
    config.expect = Expect::Id(relay.id());
    let refused = within("logging in", Peer::connect(config)).await.unwrap_err();
    assert!(refused.to_string().contains("only relays"), "{refused}");
}

#[tokio::test]
async fn where_udp_is_blocked_peers_talk_through_the_relay_over_tcp() {
    // Nothing answers over UDP at the server's port; datagrams disappear there.
    let (harbour, _hole) = within("a port", async {
        loop {
            let harbour = Harbour::open_with(TCP).await;
            if let Ok(hole) = UdpSocket::bind(harbour.addr).await {
                return (harbour, hole);
            }
        }
    })
    .await;
    // Alice lets the program choose, bob has said which.
    let mut config = relayed(&harbour, "alice");
    (config.transport, config.more_ways) = (
        &Udp,
        [&Quic as &'static dyn Transport, &Tcp]
            .map(|transport| Way { server: harbour.addr, transport })
            .to_vec(),
    );
    let (alice, mut events) = harbour.peer_with(config).await;
    let (_bob, _heard) = harbour.peer_with(relayed(&harbour, "bob")).await;
    let file = harbour.file("some", 300_000);
    within("sending", alice.send_file(&name("bob"), &file)).await.unwrap();
    assert_arrived(&harbour, "some", 300_000);
    let found = path(&mut events, "the path", |path| path.with.is_some()).await;
    assert_eq!((found.kind, found.transport), (Some(PathKind::Relayed), "tcp"));
    assert!(harbour.server.load().bytes > 300_000);
}

/// What a relay does with what it carries.
#[derive(Debug, Clone, Copy)]
enum Malice {
    Flips,
    Drops,
    Repeats,
    Reorders,
}

/// Bytes that a hostile relay carries faithfully first: the handshake, and a part of the file.
const FAITHFUL: usize = 512 << 10;

/// A relay that carries one stream badly, and lets nobody in afterwards.
struct Hostile {
    place: RelayServer,
    _serving: JoinSet<()>,
}

impl Hostile {
    async fn new(malice: Malice) -> Self {
        let config = BindConfig::new(any_port(), identity("hostile"));
        let endpoint = Tcp.bind(config).await.unwrap();
        let place = RelayServer { address: endpoint.local_addr(), id: identity("hostile").id() };
        let mut serving = JoinSet::new();
        serving.spawn(serve_badly(endpoint, malice));
        Self { place, _serving: serving }
    }
}

type Ends = (SendStream, RawReader<RecvStream>);

async fn serve_badly(endpoint: Arc<dyn Endpoint>, malice: Malice) {
    let (enter, mut entered) = mpsc::channel::<Ends>(2);
    let mut all = JoinSet::new();
    all.spawn(async move {
        let (first, second) = (entered.recv().await, entered.recv().await);
        let (Some((to_first, from_first)), Some((to_second, from_second))) = (first, second) else {
            return;
        };
        let spoiled = spoil(from_first, to_second, malice);
        tokio::join!(spoiled, spoil(from_second, to_first, malice));
    });
    while let Ok(connection) = endpoint.accept().await {
        all.spawn(serve_streams(connection, enter.clone()));
    }
}

async fn serve_streams(connection: Arc<dyn Connection>, enter: mpsc::Sender<Ends>) {
    while let Ok((send, receive)) = connection.accept_stream().await {
        let (mut reader, mut writer) = (FrameReader::new(receive), FrameWriter::new(send));
        let answer = match reader.next_message().await {
            Ok(OpeningMessage::Request(_, Opening::Load(_))) => {
                OpeningMessage::Answer(RequestId(1), Opened::Load(RelayLoad::default()))
            }
            Ok(OpeningMessage::Request(_, Opening::Enter(_))) => match enter.try_reserve() {
                Ok(place) => {
                    let ready = Opened::Ready(Ready::default());
                    writer.send(&OpeningMessage::Answer(RequestId(1), ready)).await.unwrap();
                    place.send((writer.into_inner(), reader.into_raw()));
                    continue;
                }
                Err(_) => {
                    let body = ErrorBody::new(ErrorCode::Quota, "one was enough");
                    OpeningMessage::Error(RequestId(1), body)
                }
            },
            other => panic!("{other:?}"),
        };
        writer.send(&answer).await.unwrap();
        let _ended = writer.get_mut().finish();
    }
}

/// Carries one direction: faithfully at first, and then not.
async fn spoil(mut from: RawReader<RecvStream>, mut to: SendStream, malice: Malice) {
    let (mut carried, mut buffer) = (0, vec![0; 16 << 10]);
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        let mut bytes = buffer[..count].to_vec();
        if carried > FAITHFUL && count > 1 {
            match malice {
                Malice::Flips => bytes[count / 2] ^= 0x10,
                Malice::Drops => drop(bytes.pop()),
                Malice::Repeats => bytes.extend_from_within(..),
                Malice::Reorders => bytes.rotate_left(1),
            }
        }
        carried += count;
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
}

#[tokio::test]
async fn a_relay_that_spoils_a_stream_breaks_the_session_and_the_file_goes_another_way() {
    for malice in [Malice::Flips, Malice::Drops, Malice::Repeats, Malice::Reorders] {
        let hostile = Hostile::new(malice).await;
        let harbour = harbour(TCP, vec![hostile.place]).await;
        wait_up(&harbour, 1).await;
        let ((alice, mut events), (_bob, _heard)) = two(&harbour).await;
        let file = harbour.file("some", 2 << 20);
        within("sending", alice.send_file(&name("bob"), &file)).await.unwrap();
        assert_arrived(&harbour, "some", 2 << 20);
        let broken = wait_for(&mut events, "the break", |event| {
            matches!(event, Event::File(update)
                if matches!(&update.phase, FilePhase::Interrupted { reason } if !reason.is_empty()))
        })
        .await;
        let Event::File(update) = broken else { panic!() };
        assert!(update.bytes < 2 << 20, "{malice:?}");
        assert!(harbour.server.load().bytes > 0, "{malice:?}: the server has carried the rest");
    }
}
