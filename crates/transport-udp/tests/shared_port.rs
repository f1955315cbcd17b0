//! Our UDP and QUIC on one port of one program.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_identity::{Expect, Identity};
use portolan_transport::{
    BindConfig, BindError, CloseCode, Connection, Endpoint, Priority, Shared, Transport,
};
use portolan_transport_quic::Quic;
use portolan_transport_udp::Udp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::timeout,
};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(30);

/// One program: both transports on one port.
struct Program {
    udp: Arc<dyn Endpoint>,
    quic: Arc<dyn Endpoint>,
    identity: Identity,
    shared: Shared,
}

impl Program {
    async fn start(seed: u8) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        let mut config = BindConfig::new(LOOPBACK, identity.clone());
        let shared = config.shared.clone();
        let udp = Udp.bind(config.clone()).await.expect("a free port");
        config.local = udp.local_addr();
        let quic = Quic.bind(config).await.expect("the same port");
        assert_eq!(udp.local_addr(), quic.local_addr());
        Self { udp, quic, identity, shared }
    }

    fn addr(&self) -> SocketAddr {
        self.udp.local_addr()
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Connects, sends `size` bytes there and back, and says goodbye.
async fn talk(from: &dyn Endpoint, to: &dyn Endpoint, expect: Expect, size: usize) {
    let (ours, theirs) = within(async {
        let (ours, theirs) = tokio::join!(from.connect(to.local_addr(), expect), to.accept());
        (ours.expect("connected"), theirs.expect("accepted"))
    })
    .await;
    let echo = tokio::spawn(echo(theirs));
    let (mut send, mut recv) = within(ours.open_stream(Priority::Bulk)).await.expect("open");
    let sent: Vec<u8> = (0..size).map(|place| place.to_le_bytes()[0]).collect();
    let mut received = Vec::new();
    let write = async {
        send.write_all(&sent).await.expect("write");
        send.finish().expect("finish");
    };
    within(async { tokio::join!(write, recv.read_to_end(&mut received)) }).await.1.expect("read");
    assert!(received == sent, "{} bytes back of {size}", received.len());
    ours.close(CloseCode::DONE, "");
    echo.await.expect("no panic");
}

async fn echo(connection: Arc<dyn Connection>) {
    let (mut send, mut recv) = within(connection.accept_stream()).await.expect("stream");
    within(tokio::io::copy(&mut recv, &mut send)).await.expect("copy");
    send.finish().expect("finish");
    within(connection.closed()).await;
}

#[tokio::test]
async fn each_transport_finds_its_own_kind_on_a_shared_port() {
    let (alice, bob) = (Program::start(1).await, Program::start(2).await);
    let expect = Expect::Id(bob.identity.id());
    // At the same time, so that trains of both cross on one flow.
    tokio::join!(
        talk(&*alice.udp, &*bob.udp, expect, 2 << 20),
        talk(&*alice.quic, &*bob.quic, expect, 2 << 20),
    );
}

#[tokio::test]
async fn the_port_outlives_the_first_of_its_users() {
    let (alice, bob) = (Program::start(1).await, Program::start(2).await);
    within(bob.udp.close(CloseCode::DONE, "")).await;
    assert!(UdpSocket::bind(bob.addr()).await.is_err(), "QUIC is still there");
    talk(&*alice.quic, &*bob.quic, Expect::Any, 1000).await;
    let mut again = BindConfig::new(bob.addr(), bob.identity.clone());
    again.shared = bob.shared.clone();
    let udp = Udp.bind(again).await.expect("the lane is free again");
    talk(&*alice.udp, &*udp, Expect::Any, 1000).await;
    within(bob.quic.close(CloseCode::DONE, "")).await;
    within(udp.close(CloseCode::DONE, "")).await;
    drop(UdpSocket::bind(bob.addr()).await.expect("free"));
}

#[tokio::test]
async fn the_same_transport_twice_on_one_port_is_refused() {
    let bob = Program::start(2).await;
    let mut again = BindConfig::new(bob.addr(), bob.identity.clone());
    again.shared = bob.shared.clone();
    for transport in [&Udp as &dyn Transport, &Quic] {
        let error = transport.bind(again.clone()).await.expect_err("taken");
        assert!(matches!(error, BindError::InUse(addr) if addr == bob.addr()), "{error}");
    }
}

#[tokio::test]
async fn a_flood_of_garbage_leaves_both_serving() {
    let (alice, bob) = (Program::start(1).await, Program::start(2).await);
    let hostile = UdpSocket::bind(LOOPBACK).await.expect("bind");
    let to = bob.addr();
    let flood = tokio::spawn(async move {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        for round in 0..10_000_usize {
            let mut bytes = vec![0; 1 + round * 7 % 1_400];
            for byte in &mut bytes {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *byte = state.to_le_bytes()[0];
            }
            hostile.send_to(&bytes, to).await.expect("send");
            tokio::task::yield_now().await;
        }
    });
    let expect = Expect::Id(bob.identity.id());
    tokio::join!(
        talk(&*alice.udp, &*bob.udp, expect, 1 << 18),
        talk(&*alice.quic, &*bob.quic, expect, 1 << 18),
    );
    flood.await.expect("no panic");
    talk(&*alice.udp, &*bob.udp, expect, 1000).await;
    talk(&*alice.quic, &*bob.quic, expect, 1000).await;
}
