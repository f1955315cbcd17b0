//! What is particular to this transport; `conformance.rs` checks what all transports promise.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use portolan_identity::{Expect, Identity};
use portolan_transport::{
    BindConfig, BindError, CloseCode, CloseReason, ConnectError, Connection, Endpoint, Lifetime,
    Priority, ReadError, Transport,
};
use portolan_transport_quic::Quic;
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
    Quic.bind(config).await.expect("a free port")
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
async fn both_sides_know_whom_they_talk_to() {
    let (client, server) = (bind(config(alice())).await, bind(config(bob())).await);
    let (ours, theirs) = meet(&client, &server).await;
    assert_eq!(ours.remote_id(), bob().id());
    assert_eq!(theirs.remote_id(), alice().id());
    assert_eq!(ours.remote_addr(), server.local_addr());
    assert_eq!(theirs.remote_addr(), client.local_addr());
    assert_echo(&ours, &theirs).await;
}

#[tokio::test]
async fn an_ipv4_client_and_a_dual_stack_server_see_plain_addresses() {
    let mut dual = config(bob());
    dual.local = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let Ok(server) = Quic.bind(dual).await else { return };
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
async fn another_key_than_the_expected_one_is_refused() {
    let (client, server) = (bind(config(alice())).await, bind(config(bob())).await);
    let expected = alice().id();
    let error = within(client.connect(server.local_addr(), Expect::Id(expected))).await;
    match error.expect_err("bob is not alice") {
        ConnectError::WrongPeer { addr, expected: key } => {
            assert_eq!((addr, key), (server.local_addr(), expected));
        }
        other => panic!("unexpected: {other}"),
    }
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
async fn a_taken_port_is_in_use() {
    let server = bind(config(bob())).await;
    let mut again = config(alice());
    again.local = server.local_addr();
    let error = Quic.bind(again).await.expect_err("taken");
    assert!(matches!(error, BindError::InUse(addr) if addr == server.local_addr()), "{error}");
}

#[tokio::test]
async fn a_farewell_arrives_with_its_words() {
    let (client, server) = (bind(config(alice())).await, bind(config(bob())).await);
    let (ours, theirs) = meet(&client, &server).await;
    theirs.close(CloseCode(7), "too loud");
    theirs.close(CloseCode(8), "the second call does not count");
    let reason = "too loud".to_owned();
    assert_eq!(
        within(ours.closed()).await,
        CloseReason::Remote { code: CloseCode(7), reason: reason.clone() }
    );
    assert_eq!(within(theirs.closed()).await, CloseReason::Local { code: CloseCode(7), reason });
    ours.close(CloseCode(9), "too late");
    assert!(matches!(within(ours.closed()).await, CloseReason::Remote { .. }));
}

#[tokio::test]
async fn dropping_the_last_handle_is_a_farewell() {
    let (client, server) = (bind(config(alice())).await, bind(config(bob())).await);
    let (ours, theirs) = meet(&client, &server).await;
    let (mut send, recv) = within(ours.open_stream(Priority::Bulk)).await.expect("open");
    drop(ours);
    within(send.write_all(b"still here")).await.expect("a stream is a handle");
    let (_back, mut incoming) = within(theirs.accept_stream()).await.expect("stream");
    within(incoming.read_exact(&mut [0; 10])).await.expect("read");
    drop((send, recv));
    let reason = String::new();
    let expected = CloseReason::Remote { code: CloseCode::DROPPED, reason };
    assert_eq!(within(theirs.closed()).await, expected);
}

#[tokio::test]
async fn half_a_file_never_looks_like_a_whole_one() {
    let (client, server) = (bind(config(alice())).await, bind(config(bob())).await);
    let (ours, theirs) = meet(&client, &server).await;
    let (mut send, _recv) = within(ours.open_stream(Priority::Bulk)).await.expect("open");
    within(send.write_all(b"half")).await.expect("write");
    drop(send);
    let (_back, mut incoming) = within(theirs.accept_stream()).await.expect("stream");
    let error = within(incoming.read_to_end(&mut Vec::new())).await.expect_err("abandoned");
    assert!(matches!(ReadError::from_io(&error), Some(ReadError::Reset(_))), "{error}");
}

#[tokio::test]
async fn datagrams_arrive_and_have_a_limit() {
    let (client, server) = (bind(config(alice())).await, bind(config(bob())).await);
    let (ours, theirs) = meet(&client, &server).await;
    let max = ours.max_datagram_size();
    assert!(max >= 1_100, "{max}");
    assert!(ours.send_datagram(Bytes::from(vec![0; max + 5_000]), Lifetime::Once).is_err());
    for size in [0, 1, max] {
        let payload = Bytes::from(vec![7; size]);
        ours.send_datagram(payload.clone(), Lifetime::Until(PATIENCE)).expect("fits");
        assert_eq!(within(theirs.recv_datagram()).await.expect("arrives"), payload);
    }
    // More than quinn takes at once: the queue passes it on bit by bit, and nothing is lost here.
    for number in 0..50_u8 {
        ours.send_datagram(Bytes::from(vec![number; 1_000]), Lifetime::Once).expect("fits");
    }
    for _ in 0..50 {
        within(theirs.recv_datagram()).await.expect("arrives");
    }
    assert_eq!(ours.stats().datagrams_sent, 53);
    assert_eq!(theirs.stats().datagrams_received, 53);
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
async fn dropping_the_endpoint_closes_its_connections() {
    let (client, server) = (bind(config(alice())).await, bind(config(bob())).await);
    let (ours, theirs) = meet(&client, &server).await;
    drop(server);
    let reason = String::new();
    let expected = CloseReason::Remote { code: CloseCode::DROPPED, reason };
    assert_eq!(within(ours.closed()).await, expected);
    assert!(matches!(within(theirs.closed()).await, CloseReason::Local { .. }));
}

#[tokio::test]
async fn a_full_server_refuses_and_serves_on() {
    let mut full = config(bob());
    full.connection.limits.connections = 1;
    let (client, server) = (bind(config(alice())).await, bind(full).await);
    let (ours, theirs) = meet(&client, &server).await;
    let error = within(client.connect(server.local_addr(), Expect::Any)).await;
    assert!(matches!(error, Err(ConnectError::Refused { .. })), "{error:?}");
    assert_echo(&ours, &theirs).await;
}

#[tokio::test]
async fn a_full_backlog_refuses_until_someone_accepts() {
    let mut narrow = config(bob());
    narrow.connection.limits.accept_backlog = 1;
    let (client, server) = (bind(config(alice())).await, bind(narrow).await);
    let first = within(client.connect(server.local_addr(), Expect::Any)).await.expect("waits");
    let refusal = match within(client.connect(server.local_addr(), Expect::Any)).await {
        Ok(second) => match within(second.closed()).await {
            CloseReason::Remote { code, .. } => code,
            other => panic!("unexpected: {other}"),
        },
        Err(ConnectError::Refused { .. }) => CloseCode::BUSY,
        Err(other) => panic!("unexpected: {other}"),
    };
    assert_eq!(refusal, CloseCode::BUSY);
    let theirs = within(server.accept()).await.expect("the first");
    assert_echo(&first, &theirs).await;
}

#[tokio::test]
async fn a_crowd_is_let_in_or_refused_in_words() {
    let mut careful = config(bob());
    careful.connection.limits.half_open = 4;
    let (client, server) = (bind(config(alice())).await, bind(careful).await);
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (client, to) = (Arc::clone(&client), server.local_addr());
        crowd.spawn(async move { client.connect(to, Expect::Any).await });
    }
    let mut let_in = 0;
    for outcome in within(crowd.join_all()).await {
        match outcome {
            Ok(_) => let_in += 1,
            Err(ConnectError::Refused { .. }) => {}
            Err(other) => panic!("unexpected: {other}"),
        }
    }
    assert!(let_in >= 4, "{let_in}");
    for _ in 0..let_in {
        within(server.accept()).await.expect("let in");
    }
    let (ours, theirs) = meet(&client, &server).await;
    assert_echo(&ours, &theirs).await;
}

#[tokio::test]
async fn a_flood_of_garbage_disturbs_nobody() {
    let (client, server) = (bind(config(alice())).await, bind(config(bob())).await);
    let (ours, theirs) = meet(&client, &server).await;
    let hostile = UdpSocket::bind(LOOPBACK).await.expect("bind");
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..3_000_usize {
        let mut bytes = vec![0; 1 + round % 1_400];
        for byte in &mut bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[0];
        }
        if round % 3 == 0 && bytes.len() > 5 {
            // Looks like an Initial packet of QUIC v1.
            bytes[..5].copy_from_slice(&[0xC3, 0, 0, 0, 1]);
        }
        hostile.send_to(&bytes, server.local_addr()).await.expect("send");
        hostile.send_to(&bytes, client.local_addr()).await.expect("send");
        tokio::task::yield_now().await;
    }
    assert_echo(&ours, &theirs).await;
    let (ours, theirs) = meet(&client, &server).await;
    assert_echo(&ours, &theirs).await;
}
