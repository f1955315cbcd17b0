//! What is particular to transports over UDP; `conformance.rs` checks what all transports promise.

mod rebinding;
mod relayed;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan::{
    ALL_TRANSPORTS, BindConfig, Carrier, CloseCode, CloseReason, ConnectError, Connection,
    Endpoint, Expect, Identity, Priority, Transport,
};
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

/// The transports that use UDP ports.
fn over_udp() -> impl Iterator<Item = &'static dyn Transport> {
    let table = ALL_TRANSPORTS.iter().copied();
    table.filter(|transport| transport.capabilities().carrier == Carrier::Udp)
}

async fn bind(transport: &dyn Transport, config: BindConfig) -> Arc<dyn Endpoint> {
    transport.bind(config).await.expect("a free port")
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
    for transport in over_udp() {
        let mut dual = config(bob());
        dual.local = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        let Ok(server) = transport.bind(dual).await else { continue };
        let client = bind(transport, config(alice())).await;
        let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), server.local_addr().port());
        let connect = client.connect(to, Expect::Any);
        let (ours, theirs) = within(async { tokio::join!(connect, server.accept()) }).await;
        let (ours, theirs) = (ours.expect("connected"), theirs.expect("accepted"));
        assert_eq!(theirs.remote_addr(), client.local_addr());
        assert_eq!(ours.remote_addr(), to);
        assert_echo(&ours, &theirs).await;
        assert_echo(&theirs, &ours).await;
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable_at_once() {
    for transport in over_udp() {
        let client = bind(transport, config(alice())).await;
        let socket = UdpSocket::bind(LOOPBACK).await.expect("bind");
        let closed = socket.local_addr().expect("bound");
        drop(socket);
        let error = within(client.connect(closed, Expect::Any)).await.expect_err("nobody there");
        assert!(
            matches!(error, ConnectError::Unreachable { addr, .. } if addr == closed),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_silent_port_times_out() {
    for transport in over_udp() {
        let mut config = config(alice());
        config.connection.timing.handshake = Duration::from_millis(200);
        let client = bind(transport, config).await;
        let silent = UdpSocket::bind(LOOPBACK).await.expect("bind");
        let addr = silent.local_addr().expect("bound");
        let error = within(client.connect(addr, Expect::Any)).await.expect_err("no answer");
        assert!(matches!(error, ConnectError::TimedOut(remote) if remote == addr), "{error}");
    }
}

#[tokio::test]
async fn an_address_of_the_other_family_is_unusable() {
    for transport in over_udp() {
        let client = bind(transport, config(alice())).await;
        let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 7275);
        let error = within(client.connect(v6, Expect::Any)).await.expect_err("an IPv4 socket");
        assert!(matches!(error, ConnectError::Unusable { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_port_is_free_although_connections_are_still_held() {
    for transport in over_udp() {
        let (client, server) =
            (bind(transport, config(alice())).await, bind(transport, config(bob())).await);
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
        assert_eq!(
            within(theirs.closed()).await,
            CloseReason::Local { code: CloseCode::DONE, reason }
        );
        let error = within(server.connect(client.local_addr(), Expect::Any)).await;
        assert!(matches!(error, Err(ConnectError::Unusable { .. })));
    }
}

#[tokio::test]
async fn a_given_up_attempt_leaves_nothing_behind() {
    for transport in over_udp() {
        let client = bind(transport, config(alice())).await;
        let silent = UdpSocket::bind(LOOPBACK).await.expect("bind");
        let addr = silent.local_addr().expect("bound");
        let attempt = timeout(Duration::from_millis(50), client.connect(addr, Expect::Any)).await;
        assert!(attempt.is_err(), "nobody answers");
        // Closing waits for what is left of connections, so this one has to end by itself.
        within(client.close(CloseCode::DONE, "")).await;
        drop(UdpSocket::bind(client.local_addr()).await.expect("free"));
    }
}

#[tokio::test]
async fn a_crowd_is_let_in_or_refused_in_words() {
    for transport in over_udp() {
        let mut careful = config(bob());
        careful.connection.limits.half_open = 4;
        let (client, server) =
            (bind(transport, config(alice())).await, bind(transport, careful).await);
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
}

#[tokio::test]
async fn a_flood_of_garbage_disturbs_nobody() {
    for transport in over_udp() {
        let (client, server) =
            (bind(transport, config(alice())).await, bind(transport, config(bob())).await);
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
}
