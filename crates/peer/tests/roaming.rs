//! Sessions on a machine whose network changes.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use portolan_identity::Expect;
use portolan_peer::{Addresses, Backoff, Config, Event, Events, FilePhase, Peer, Reconnect};
use portolan_server::Server;
use portolan_transport::Transport;
use portolan_transport_quic::Quic;
use portolan_transport_tcp::{Tcp, TcpTunnel};
use portolan_transport_udp::Udp;

use self::support::{bytes, identity, name, wait_for, within};

static TRANSPORTS: &[&dyn Transport] = &[&Tcp, &Quic, &Udp];

/// A machine whose addresses are what the test says.
#[derive(Debug, Default)]
struct Machine {
    /// The last byte of its address.
    number: AtomicU8,
    keeps: AtomicBool,
    looks: AtomicU32,
}

impl Addresses for Machine {
    fn towards(&self, _remote: SocketAddr) -> Option<IpAddr> {
        self.looks.fetch_add(1, SeqCst);
        Some(IpAddr::from([10, 0, 0, self.number.load(SeqCst)]))
    }

    fn has(&self, _addr: IpAddr) -> bool {
        self.keeps.load(SeqCst)
    }
}

impl Machine {
    fn go_elsewhere(&self) {
        self.number.fetch_add(1, SeqCst);
    }

    /// Waits until the peer has looked twice more: what it saw first it has acted upon.
    async fn is_looked_at(&self) {
        let looks = self.looks.load(SeqCst);
        while self.looks.load(SeqCst) < looks + 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn harbour() -> Server {
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = portolan_server::Config::new(listen, TRANSPORTS, identity("server"));
    within("starting", Server::start(config)).await.unwrap()
}

fn config(of: &str, server: &Server, transport: &'static dyn Transport) -> Config {
    let addresses = server.addresses();
    let (_, addr) = addresses.iter().find(|(scheme, _)| *scheme == transport.scheme()).unwrap();
    let expect = Expect::Id(server.id());
    let mut config = Config::new(name(of), identity(of), *addr, expect, transport, &TcpTunnel);
    config.timing.network = Some(Duration::from_millis(20));
    config
}

async fn connect(config: Config) -> (Arc<Machine>, Peer, Events) {
    let machine = Arc::<Machine>::default();
    let addresses: Arc<dyn Addresses> = machine.clone();
    let mut config = config;
    config.addresses = addresses;
    let (peer, events) = within("connecting", Peer::connect(config)).await.unwrap();
    (machine, peer, events)
}

fn is_lost(event: &Event) -> bool {
    matches!(event, Event::Reconnecting(_) | Event::Closed(_))
}

/// Until the server is said to be reached from elsewhere, nothing may be said of a loss.
async fn told_of_the_move(events: &mut Events) -> String {
    let is_news = |event: &Event| match event {
        Event::Path(path) => path.with.is_none(),
        event => is_lost(event),
    };
    match wait_for(events, "word of the move", is_news).await {
        Event::Path(path) => path.why,
        lost => panic!("{lost:?}"),
    }
}

#[tokio::test]
async fn sessions_over_udp_and_quic_go_on_from_another_address() {
    let server = harbour().await;
    for transport in [&Udp as &'static dyn Transport, &Quic] {
        let (machine, alice, mut events) = connect(config("alice", &server, transport)).await;
        for text in ["there", "and there again"] {
            machine.go_elsewhere();
            let why = told_of_the_move(&mut events).await;
            assert!(why.contains("from 10.0.0."), "{why}");
            assert_eq!(within("the echo", alice.echo(text)).await.unwrap(), text);
        }
        alice.logout().await;
        while let Some(event) = events.next().await {
            assert!(!matches!(event, Event::Reconnecting(_)), "{event:?}");
        }
    }
}

#[tokio::test]
async fn a_transfer_goes_on_from_another_address() {
    let server = harbour().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("much");
    std::fs::write(&file, bytes(8 << 20)).unwrap();
    let mut bobs = config("bob", &server, &Tcp);
    bobs.downloads = directory.path().join("downloads");
    std::fs::create_dir(&bobs.downloads).unwrap();
    bobs.accept_files = portolan_peer::FileRule::All;
    let arrived = bobs.downloads.join("much");
    let (_bob, _events) = within("connecting", Peer::connect(bobs)).await.unwrap();
    for transport in [&Udp as &'static dyn Transport, &Quic] {
        let mut alices = config("alice", &server, transport);
        alices.timing.progress = Duration::ZERO;
        let (machine, alice, mut events) = connect(alices).await;
        let sending = tokio::spawn({
            let (alice, file) = (alice.clone(), file.clone());
            async move { alice.send_file(&name("bob"), &file).await }
        });
        let is_under_way = |event: &Event| match event {
            Event::File(update) => update.phase == FilePhase::Progress,
            event => is_lost(event),
        };
        let event = wait_for(&mut events, "progress", is_under_way).await;
        assert!(!is_lost(&event), "{event:?}");
        machine.go_elsewhere();
        told_of_the_move(&mut events).await;
        within("the file", sending).await.unwrap().unwrap();
        assert!(std::fs::read(&arrived).unwrap() == bytes(8 << 20));
        std::fs::remove_file(&arrived).unwrap();
        alice.logout().await;
    }
}

#[tokio::test]
async fn a_session_over_tcp_comes_back_at_once_when_its_address_is_gone() {
    let server = harbour().await;
    let (machine, alice, mut events) = connect(config("alice", &server, &Tcp)).await;
    machine.go_elsewhere();
    let lost = wait_for(&mut events, "the loss", is_lost).await;
    let Event::Reconnecting(attempt) = lost else { panic!("{lost:?}") };
    assert!(attempt.why.contains("our address has changed"), "{}", attempt.why);
    let is_back = |event: &Event| matches!(event, Event::Reconnected(_));
    wait_for(&mut events, "coming back", is_back).await;
    assert_eq!(within("the echo", alice.echo("back")).await.unwrap(), "back");
}

#[tokio::test]
async fn a_session_over_tcp_stays_while_its_address_is_there() {
    let server = harbour().await;
    let (machine, alice, mut events) = connect(config("alice", &server, &Tcp)).await;
    machine.keeps.store(true, SeqCst);
    machine.go_elsewhere();
    within("looking", machine.is_looked_at()).await;
    assert_eq!(within("the echo", alice.echo("here")).await.unwrap(), "here");
    alice.logout().await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Reconnecting(_)), "{event:?}");
    }
}

#[tokio::test]
async fn another_network_ends_the_wait_before_the_next_attempt() {
    let server = harbour().await;
    let hours = Duration::from_secs(100 * 3600);
    let mut config = config("alice", &server, &Udp);
    config.reconnect = Reconnect::With(Backoff { start: hours, cap: hours, give_up_after: None });
    let (machine, _alice, mut events) = connect(config).await;
    drop(server);
    let mut attempts = 0;
    while attempts < 2 {
        let event = wait_for(&mut events, "an attempt", is_lost).await;
        let Event::Reconnecting(attempt) = event else { panic!("{event:?}") };
        attempts = attempt.attempt;
        machine.go_elsewhere();
    }
}
