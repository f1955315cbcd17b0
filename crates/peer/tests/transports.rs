//! A transfer does not care what carries it: the transport changes under it and it goes on.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{fs, net::SocketAddr, time::Duration};

use portolan_identity::Expect;
use portolan_peer::{
    Config, Event, Events, Existing, FilePhase, FileRule, FileUpdate, PathRule, Peer, Way,
};
use portolan_server::Server;
use portolan_transport::Transport;
use portolan_transport_quic::Quic;
use portolan_transport_tcp::{Tcp, TcpTunnel};
use portolan_transport_udp::Udp;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

use self::support::{bytes, entries, identity, name, wait_for, within};

static TRANSPORTS: &[&dyn Transport] = &[&Tcp, &Quic, &Udp];

const SIZE: usize = 24 << 20;

/// A way to the server that can be cut.
struct Bridge {
    addr: SocketAddr,
    crossing: AbortHandle,
}

impl Bridge {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let crossing = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                open.spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { addr, crossing: crossing.abort_handle() }
    }

    fn cut(&self) {
        self.crossing.abort();
    }
}

fn address(server: &Server, transport: &dyn Transport) -> SocketAddr {
    let addresses = server.addresses();
    addresses.iter().find(|(scheme, _)| *scheme == transport.scheme()).unwrap().1
}

fn config(of: &str, server: &Server, directory: &std::path::Path) -> Config {
    let (addr, expect) = (address(server, &Tcp), Expect::Id(server.id()));
    let mut config = Config::new(name(of), identity(of), addr, expect, &Tcp, &TcpTunnel);
    config.downloads = directory.join(format!("{of}-downloads"));
    config.accept_files = FileRule::All;
    config.timing.progress = Duration::ZERO;
    config.timing.retry = Duration::from_millis(20);
    config.limits.retries = 10_000;
    // A direct path would not notice.
    config.paths = PathRule::RelayOnly;
    config
}

async fn report(events: &mut Events, what: &str, wanted: fn(&FileUpdate) -> bool) -> FileUpdate {
    let is = |event: &Event| matches!(event, Event::File(update) if wanted(update));
    match wait_for(events, what, is).await {
        Event::File(update) => update,
        other => panic!("{other:?}"),
    }
}

/// Alice begins over TCP, which is cut when half of the file has gone over.
async fn over_and_over(to: &'static dyn Transport, begin: fn(Peer, std::path::PathBuf) -> Begun) {
    let directory = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let server = portolan_server::Config::new(listen, TRANSPORTS, identity("server"));
    let server = within("starting", Server::start(server)).await.unwrap();
    let shared = directory.path().join("shared");
    fs::create_dir_all(&shared).unwrap();
    fs::write(shared.join("much"), bytes(SIZE)).unwrap();

    let bridge = Bridge::to(address(&server, &Tcp)).await;
    let mut alices = config("alice", &server, directory.path());
    alices.server = bridge.addr;
    alices.more_ways = vec![Way { server: address(&server, to), transport: to }];
    let mut bobs = config("bob", &server, directory.path());
    bobs.share = Some(shared.clone());
    let (_bob, mut bob_events) = within("connecting", Peer::connect(bobs)).await.unwrap();
    let (alice, mut events) = within("connecting", Peer::connect(alices)).await.unwrap();
    assert_eq!(alice.transport(), "tcp");
    let reads = tokio::spawn(async move { while bob_events.next().await.is_some() {} });

    let begun = begin(alice.clone(), shared.join("much"));
    let half =
        |update: &FileUpdate| update.phase == FilePhase::Progress && update.bytes > SIZE as u64 / 2;
    let before = report(&mut events, "half of it", half).await;
    bridge.cut();
    let interrupted = |update: &FileUpdate| matches!(update.phase, FilePhase::Interrupted { .. });
    report(&mut events, "the break", interrupted).await;
    let started = |update: &FileUpdate| update.phase == FilePhase::Started;
    let after = report(&mut events, "the next try", started).await;
    assert_eq!(after.id, before.id, "the same transfer");
    assert!(after.resumed > 0, "{after:?}");
    assert_eq!(alice.transport(), to.scheme());
    within("the outcome", begun).await.unwrap();
    let arrived = ["alice-downloads", "bob-downloads"].map(|place| directory.path().join(place));
    let arrived = arrived.iter().find(|place| place.exists()).unwrap();
    assert_eq!(entries(arrived), ["much"]);
    assert!(fs::read(arrived.join("much")).unwrap() == bytes(SIZE));
    reads.abort();
}

type Begun = tokio::task::JoinHandle<()>;

fn getting(alice: Peer, _path: std::path::PathBuf) -> Begun {
    tokio::spawn(async move {
        alice.get_file(&name("bob"), "much", None, Existing::Keep).await.unwrap();
    })
}

fn sending(alice: Peer, path: std::path::PathBuf) -> Begun {
    tokio::spawn(async move {
        alice.send_file(&name("bob"), &path).await.unwrap();
    })
}

#[tokio::test]
async fn a_file_that_is_fetched_goes_on_from_tcp_to_quic() {
    over_and_over(&Quic, getting).await;
}

#[tokio::test]
async fn a_file_that_is_sent_goes_on_from_tcp_to_udp() {
    over_and_over(&Udp, sending).await;
}
