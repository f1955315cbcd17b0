//! What is particular to this transport; `conformance.rs` checks what all transports promise.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_identity::{Expect, Identity};
use portolan_transport::{
    BindConfig, CloseCode, CloseReason, ConnectError, Connection, Endpoint, Priority, Transport,
};
use portolan_transport_udp::Udp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::timeout,
};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(30);

fn alice() -> Identity {
    Identity::from_seed([1; 32])
}

fn bob() -> Identity {
    Identity::from_seed([2; 32])
}

fn config(identity: Identity) -> BindConfig {
    BindConfig::new(LOOPBACK, identity)
}

async fn bind(config: BindConfig) -> Arc<dyn Endpoint> {
    Udp.bind(config).await.expect("a free port")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

type Pair = (Arc<dyn Connection>, Arc<dyn Connection>);

async fn meet(from: &Arc<dyn Endpoint>, to: &Arc<dyn Endpoint>) -> Pair {
    let connect = from.connect(to.local_addr(), Expect::Id(bob().id()));
    let (connected, accepted) = within(async { tokio::join!(connect, to.accept()) }).await;
    (connected.expect("connected"), accepted.expect("accepted"))
}

async fn assert_echo(from: &Arc<dyn Connection>, to: &Arc<dyn Connection>) {
    within(async {
        let (mut send, mut recv) = from.open_stream(Priority::Interactive).await.expect("open");
        send.write_all(b"hello").await.expect("write");
        send.finish().expect("finish");
        let (mut back, mut incoming) = to.accept_stream().await.expect("stream");
        let mut text = Vec::new();
        incoming.read_to_end(&mut text).await.expect("read");
        back.write_all(&text).await.expect("write");
        back.finish().expect("finish");
        text.clear();
        recv.read_to_end(&mut text).await.expect("read");
        assert_eq!(text, b"hello");
    })
    .await;
}

#[tokio::test]
async fn an_ipv4_client_and_a_dual_stack_server_see_plain_addresses() {
    let mut dual = config(bob());
    dual.local = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let Ok(server) = Udp.bind(dual).await else { return };
    let client = bind(config(alice())).await;
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), server.local_addr().port());
    let connect = client.connect(to, Expect::Any);
    let (ours, theirs) = within(async { tokio::join!(connect, server.accept()) }).await;
    let (ours, theirs) = (ours.expect("connected"), theirs.expect("accepted"));
    assert_eq!(theirs.remote_addr(), client.local_addr());
    assert_eq!(ours.remote_addr(), to);
    assert_echo(&ours, &theirs).await;
    assert_echo(&theirs, &ours).await;
}

#[tokio::test]
async fn a_closed_port_is_unreachable_at_once() {
    let client = bind(config(alice())).await;
    let socket = UdpSocket::bind(LOOPBACK).await.expect("bind");
    let closed = socket.local_addr().expect("bound");
    drop(socket);
    let error = within(client.connect(closed, Expect::Any)).await.expect_err("nobody there");
    assert!(matches!(error, ConnectError::Unreachable { addr, .. } if addr == closed), "{error}");
}

#[tokio::test]
async fn a_silent_port_times_out() {
    let mut config = config(alice());
    config.connection.timing.handshake = Duration::from_millis(200);
    let client = bind(config).await;
    let silent = UdpSocket::bind(LOOPBACK).await.expect("bind");
    let addr = silent.local_addr().expect("bound");
    let error = within(client.connect(addr, Expect::Any)).await.expect_err("no answer");
    assert!(matches!(error, ConnectError::TimedOut(remote) if remote == addr), "{error}");
}

#[tokio::test]
async fn an_address_of_the_other_family_is_unusable() {
    let client = bind(config(alice())).await;
    let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 7275);
    let error = within(client.connect(v6, Expect::Any)).await.expect_err("an IPv4 socket");
    assert!(matches!(error, ConnectError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn the_port_is_free_although_connections_are_still_held() {
    let (client, server) = (bind(config(alice())).await, bind(config(bob())).await);
    let (ours, theirs) = meet(&client, &server).await;
    let addr = server.local_addr();
    within(server.close(CloseCode::DONE, "good night")).await;
    assert!(server.accept().await.is_err());
    drop(UdpSocket::bind(addr).await.expect("free"));
    let reason = "good night".to_owned();
    assert_eq!(
        within(ours.closed()).await,
        CloseReason::Remote { code: CloseCode::DONE, reason: reason.clone() }
    );
    assert_eq!(within(theirs.closed()).await, CloseReason::Local { code: CloseCode::DONE, reason });
    let error = within(server.connect(client.local_addr(), Expect::Any)).await;
    assert!(matches!(error, Err(ConnectError::Unusable { .. })));
}

#[tokio::test]
async fn a_given_up_attempt_leaves_nothing_behind() {
    let client = bind(config(alice())).await;
    let silent = UdpSocket::bind(LOOPBACK).await.expect("bind");
    let addr = silent.local_addr().expect("bound");
    let attempt = timeout(Duration::from_millis(50), client.connect(addr, Expect::Any)).await;
    assert!(attempt.is_err(), "nobody answers");
    // Closing waits for what is left of connections, so this one has to end by itself.
    within(client.close(CloseCode::DONE, "")).await;
    drop(UdpSocket::bind(client.local_addr()).await.expect("free"));
}
