//! Several protocols on one port, over real sockets.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_datagram_io::{
    Batch, Lane, LaneSocket, Reading, SharedSockets, Transmit, unreachable,
};
use tokio::{net::UdpSocket, time::timeout};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(20);

/// Two lanes on one port.
fn open_pair() -> (SharedSockets, Arc<LaneSocket>, Arc<LaneSocket>) {
    let shared = SharedSockets::default();
    let rudp = shared.open(LOOPBACK, Lane::Rudp).expect("bind");
    let quic = shared.open(rudp.local_addr(), Lane::Quic).expect("join");
    assert_eq!(rudp.local_addr(), quic.local_addr());
    (shared, rudp, quic)
}

fn datagram(first: u8, number: u8) -> [u8; 2] {
    [first, number]
}

async fn send(socket: &LaneSocket, to: SocketAddr, contents: &[u8], segment: Option<usize>) {
    let mut sent = 0;
    while sent < contents.len() {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: &contents[sent..],
            segment_size: segment,
            src_ip: None,
        };
        match socket.try_send(&transmit) {
            Ok(bytes) => sent += bytes,
            Err(_) => socket.writable().await.expect("runtime"),
        }
    }
}

/// Reads `count` datagrams of a lane.
async fn receive(socket: &LaneSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut batch = Batch::new();
    let mut all = Vec::new();
    while all.len() < count {
        timeout(PATIENCE, socket.recv(&mut batch)).await.expect("in time").expect("runtime");
        batch.for_each(|train| {
            let datagrams = train.bytes.chunks(train.stride);
            all.extend(datagrams.map(|bytes| (train.from, bytes.to_vec())));
        });
    }
    all
}

fn bytes_of(received: &[(SocketAddr, Vec<u8>)]) -> Vec<&[u8]> {
    received.iter().map(|(_, bytes)| bytes.as_slice()).collect()
}

#[tokio::test]
async fn each_lane_receives_its_own_datagrams_only() {
    let (_shared, rudp, quic) = open_pair();
    let sender = UdpSocket::bind(LOOPBACK).await.expect("bind");
    for number in 0..100 {
        for first in [0x80, 0x40, 0xC3] {
            let bytes = datagram(first, number);
            sender.send_to(&bytes, rudp.local_addr()).await.expect("send");
        }
    }
    let (for_rudp, for_quic) = tokio::join!(receive(&rudp, 100), receive(&quic, 200));
    let expected: Vec<_> = (0..100).map(|number| datagram(0x80, number)).collect();
    assert_eq!(bytes_of(&for_rudp), expected, "in order, nothing else");
    assert!(for_quic.iter().all(|(_, bytes)| Lane::of(bytes[0]) == Some(Lane::Quic)));
    assert!(for_quic.iter().all(|(from, _)| Some(*from) == sender.local_addr().ok()));
}

#[tokio::test]
async fn a_lane_is_fed_by_the_reads_of_another() {
    let (_shared, rudp, quic) = open_pair();
    let sender = UdpSocket::bind(LOOPBACK).await.expect("bind");
    sender.send_to(&datagram(0x40, 1), quic.local_addr()).await.expect("send");
    sender.send_to(&datagram(0x80, 2), quic.local_addr()).await.expect("send");
    // The UDP lane reads both; the QUIC lane is asked only afterwards.
    assert_eq!(bytes_of(&receive(&rudp, 1).await), [datagram(0x80, 2)]);
    assert_eq!(bytes_of(&receive(&quic, 1).await), [datagram(0x40, 1)]);
}

#[tokio::test]
async fn a_waiting_lane_is_woken_by_the_reads_of_another() {
    let (_shared, rudp, quic) = open_pair();
    let sender = UdpSocket::bind(LOOPBACK).await.expect("bind");
    let waiting = tokio::spawn(async move { receive(&quic, 1).await });
    let busy = tokio::spawn({
        let rudp = Arc::clone(&rudp);
        async move { receive(&rudp, 50).await }
    });
    for number in 0..50 {
        sender.send_to(&datagram(0x80, number), rudp.local_addr()).await.expect("send");
    }
    sender.send_to(&datagram(0x40, 7), rudp.local_addr()).await.expect("send");
    assert_eq!(bytes_of(&waiting.await.expect("done")), [datagram(0x40, 7)]);
    assert_eq!(busy.await.expect("done").len(), 50);
}

#[tokio::test]
async fn a_gso_train_arrives_as_separate_datagrams() {
    let (_shared, rudp, quic) = open_pair();
    let (_other_shared, other_rudp, other_quic) = open_pair();
    let mut train = Vec::new();
    for number in 0..200_u8 {
        // One flow carries both protocols, so that GRO may join them into one train.
        train.extend_from_slice(&[if number % 3 == 0 { 0x40 } else { 0x80 }, number]);
        train.resize(usize::from(number + 1) * 1_000, number);
    }
    send(&rudp, other_rudp.local_addr(), &train, Some(1_000)).await;
    let (for_rudp, for_quic) = tokio::join!(receive(&other_rudp, 133), receive(&other_quic, 67));
    assert!(for_rudp.iter().all(|(from, _)| *from == quic.local_addr()));
    let mut numbers: Vec<_> = for_rudp.iter().chain(&for_quic).map(|(_, bytes)| bytes[1]).collect();
    assert!(for_rudp.iter().chain(&for_quic).all(|(_, bytes)| bytes.len() == 1_000));
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_train_longer_than_the_system_takes_is_sent_in_parts() {
    let shared = SharedSockets::default();
    let alice = shared.open(LOOPBACK, Lane::Rudp).expect("bind");
    let bob = shared.open(LOOPBACK, Lane::Rudp).expect("bind");
    // Ten segments of 9,000 bytes: within GSO's count, beyond its 65,507 bytes.
    send(&alice, bob.local_addr(), &[0x80; 90_000], Some(9_000)).await;
    assert_eq!(receive(&bob, 10).await.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), 90_000);
    assert_eq!(alice.stats().refused, 0);
}

#[tokio::test]
async fn foreign_datagrams_are_counted_and_dropped() {
    let shared = SharedSockets::default();
    let rudp = shared.open(LOOPBACK, Lane::Rudp).expect("bind");
    let sender = UdpSocket::bind(LOOPBACK).await.expect("bind");
    let to = rudp.local_addr();
    for first in 0..=0xFF {
        sender.send_to(&datagram(first, 0), to).await.expect("send");
    }
    sender.send_to(&[], to).await.expect("send");
    sender.send_to(&datagram(0x80, 1), to).await.expect("send");
    assert_eq!(receive(&rudp, 65).await.len(), 65);
    assert_eq!(rudp.stats().unknown, 0x34 + 1, "0x04 to 0x07, 0x10 to 0x3F, and the empty one");
    assert_eq!(rudp.stats().unclaimed, 4 + 8 + 128, "STUN, relays and QUIC");
}

#[tokio::test]
async fn a_lane_taken_twice_is_in_use() {
    let (shared, rudp, _quic) = open_pair();
    let error = shared.open(rudp.local_addr(), Lane::Rudp).expect_err("taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let stun = shared.open(rudp.local_addr(), Lane::Stun).expect("still free");
    assert_eq!(stun.lane(), Lane::Stun);
    drop(rudp);
    shared.open(stun.local_addr(), Lane::Rudp).expect("free again");
}

#[tokio::test]
async fn the_port_is_free_after_the_last_lane() {
    let (shared, rudp, quic) = open_pair();
    let addr = rudp.local_addr();
    drop(rudp);
    assert_eq!(
        UdpSocket::bind(addr).await.expect_err("one lane is left").kind(),
        io::ErrorKind::AddrInUse
    );
    drop(quic);
    drop(UdpSocket::bind(addr).await.expect("free"));
    shared.open(addr, Lane::Quic).expect("bound anew");
}

#[tokio::test]
async fn nothing_is_shared_between_programs() {
    let (_shared, rudp, _quic) = open_pair();
    let stranger = SharedSockets::default();
    let error = stranger.open(rudp.local_addr(), Lane::Stun).expect_err("another program's");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn an_ipv4_remote_is_seen_as_ipv4_on_a_dual_stack_socket() {
    let shared = SharedSockets::default();
    let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let Ok(dual) = shared.open(any, Lane::Rudp) else { return };
    let v4 = shared.open(LOOPBACK, Lane::Rudp).expect("bind");
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), dual.local_addr().port());
    assert!(dual.can_send_to(v4.local_addr()));
    assert!(!v4.can_send_to(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 1)));
    send(&v4, to, &datagram(0x80, 1), None).await;
    assert_eq!(receive(&dual, 1).await, [(v4.local_addr(), datagram(0x80, 1).to_vec())]);
    send(&dual, v4.local_addr(), &datagram(0x80, 2), None).await;
    assert_eq!(receive(&v4, 1).await, [(to, datagram(0x80, 2).to_vec())]);
}

#[tokio::test]
async fn what_the_system_refuses_counts_as_lost() {
    let shared = SharedSockets::default();
    let socket = shared.open(LOOPBACK, Lane::Rudp).expect("bind");
    let too_long = vec![0x80; LaneSocket::max_datagram() + 1];
    send(&socket, socket.local_addr(), &too_long, None).await;
    let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 9);
    send(&socket, v6, &datagram(0x80, 1), None).await;
    assert_eq!(socket.stats().refused, 2);
}

#[tokio::test]
async fn a_closed_port_is_reported_unreachable() {
    let closed = {
        let socket = UdpSocket::bind(LOOPBACK).await.expect("bind");
        socket.local_addr().expect("bound")
    };
    let error = timeout(PATIENCE, unreachable(LOOPBACK, closed)).await.expect("in time");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_lane_that_reads_rarely_is_read_for_and_reads_when_it_is_alone() {
    let (shared, rudp, quic) = open_pair();
    let stun = shared.open_as(rudp.local_addr(), Lane::Stun, Reading::Rare).expect("join");
    let sender = UdpSocket::bind(LOOPBACK).await.expect("bind");
    let send = async |first| {
        sender.send_to(&datagram(first, 1), stun.local_addr()).await.expect("send");
    };
    // While nobody else reads nothing comes, though it is there.
    send(0x00).await;
    send(0x80).await;
    let mut batch = Batch::new();
    tokio::select! {
        biased;
        _ = stun.recv(&mut batch) => panic!("it has read"),
        () = std::future::ready(()) => {}
    }
    let (for_rudp, for_stun) = tokio::join!(receive(&rudp, 1), receive(&stun, 1));
    assert_eq!(
        (bytes_of(&for_rudp), bytes_of(&for_stun)),
        (vec![&[0x80, 1][..]], vec![&[0, 1][..]])
    );
    // The others close while it waits: it reads for itself.
    let close_then_send = async {
        tokio::task::yield_now().await;
        drop((rudp, quic));
        send(0x01).await;
    };
    let (alone, ()) = tokio::join!(receive(&stun, 1), close_then_send);
    assert_eq!(bytes_of(&alone), [[0x01, 1]]);
}
