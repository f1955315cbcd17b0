//! Delay, jitter, rate, queue, MTU and marks.

mod common;

use std::net::SocketAddr;

use common::{ALICE, BOB, drain, ms, network, numbers, send_numbered, start};
use portolan_netsim::{Ecn, Link, LinkSpec, Network, Order, Queue, Rate, Where};

/// IPv4 and UDP headers.
const HEADERS: usize = 28;

#[test]
fn a_packet_takes_the_delay_of_its_direction() {
    let start = start();
    let mut network = Network::new(1);
    let way = |from: SocketAddr, to: SocketAddr| Where::Between { from: from.ip(), to: to.ip() };
    network.set_link(way(ALICE, BOB), Link { delay: ms(30), ..Link::default() });
    network.set_link(way(BOB, ALICE), Link { delay: ms(10), ..Link::default() });
    network.send(start, ALICE, BOB, b"ping", None);
    network.send(start, BOB, ALICE, b"pong", None);

    assert_eq!(network.poll_timeout(), Some(start + ms(10)));
    assert_eq!(network.poll_delivery(start + ms(9)), None);
    let pong = network.poll_delivery(start + ms(10)).expect("the shorter way is over");
    assert_eq!((pong.from, pong.to, pong.bytes.as_slice()), (BOB, ALICE, &b"pong"[..]));
    assert_eq!(drain(&mut network)[0].at, start + ms(30));
    assert_eq!(network.stats(way(ALICE, BOB)).carried, 1);
}

#[test]
fn fifty_milliseconds_are_fifty_milliseconds() {
    let link = "delay=50ms".parse::<LinkSpec>().expect("a link").duplex.up;
    let mut network = network(1, link);
    let start = start();
    send_numbered(&mut network, start, 1_000);
    for (delivery, number) in drain(&mut network).iter().zip(0..) {
        assert_eq!(delivery.at, start + ms(number) + ms(50));
    }
}

#[test]
fn packets_of_one_moment_arrive_in_the_order_they_were_sent() {
    let mut network = network(2, Link { delay: ms(5), ..Link::default() });
    let start = start();
    for number in 0..100_u32 {
        network.send(start, ALICE, BOB, &number.to_be_bytes(), None);
    }
    assert_eq!(numbers(&drain(&mut network)), (0..100).collect::<Vec<_>>());
}

#[test]
fn jitter_spreads_evenly_and_keeps_the_order() {
    let mut network = network(3, Link { delay: ms(50), jitter: ms(10), ..Link::default() });
    let start = start();
    // Far enough apart for none to wait for the one before.
    for number in 0..10_000_u32 {
        network.send(start + ms(20) * number, ALICE, BOB, &number.to_be_bytes(), None);
    }
    let arrived = drain(&mut network);
    let mean = arrived.iter().zip(0..).map(|(delivery, number)| {
        let took = delivery.at - (start + ms(20) * number);
        assert!((ms(50)..ms(60)).contains(&took));
        took.as_secs_f64() / 10_000.0
    });
    assert!((mean.sum::<f64>() - 0.055).abs() < 0.000_2);

    send_numbered(&mut network, start, 10_000);
    let numbers = numbers(&drain(&mut network));
    assert!(numbers.is_sorted());
}

#[test]
fn jitter_without_order_lets_packets_overtake() {
    let jitter = Link { delay: ms(5), jitter: ms(10), order: Order::Free, ..Link::default() };
    let mut network = network(3, jitter);
    let start = start();
    send_numbered(&mut network, start, 10_000);
    let arrived = drain(&mut network);
    for delivery in &arrived {
        let [number] = numbers(std::slice::from_ref(delivery))[..] else { panic!("one packet") };
        assert!((ms(5)..ms(15)).contains(&(delivery.at - (start + ms(1) * number))));
    }
    let mut numbers = numbers(&arrived);
    assert!(!numbers.is_sorted());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10_000).collect::<Vec<_>>());
}

#[test]
fn a_rate_is_kept_and_never_exceeded() {
    // 1,250 bytes on the wire at 10 Mbit/s: one each millisecond.
    let rate = Some(Rate { bits_per_second: 10_000_000, queue: Queue::drop_tail(u32::MAX) });
    let mut network = network(4, Link { rate, ..Link::default() });
    let start = start();
    for _ in 0..1_000 {
        network.send(start, ALICE, BOB, &[0; 1_250 - HEADERS], None);
    }
    let arrived = drain(&mut network);
    assert_eq!(arrived.len(), 1_000);
    for (delivery, number) in arrived.iter().zip(1..) {
        assert_eq!(delivery.at, start + ms(1) * number);
    }
}

#[test]
fn a_full_queue_drops_the_newest() {
    let rate = Some(Rate { bits_per_second: 8_000, queue: Queue::drop_tail(10 * 32) });
    let mut network = network(5, Link { rate, ..Link::default() });
    let start = start();
    for number in 0..100_u32 {
        network.send(start, ALICE, BOB, &number.to_be_bytes(), None);
    }
    assert_eq!(numbers(&drain(&mut network)), (0..10).collect::<Vec<_>>());
    assert_eq!(network.stats(Where::Everywhere).overflowed, 90);

    // Each packet takes 32 ms at 1 byte a millisecond; after one there is room for one.
    let later = start + ms(10 * 32);
    for number in 0..20_u32 {
        network.send(later + ms(32) * number, ALICE, BOB, &number.to_be_bytes(), None);
    }
    assert_eq!(drain(&mut network).len(), 20);
}

#[test]
fn what_is_longer_than_the_mtu_is_dropped() {
    let mut network = network(6, Link { mtu: 1_280, ..Link::default() });
    let v6: SocketAddr = "[fd00::2]:7275".parse().expect("an address");
    for (to, headers) in [(BOB, HEADERS), (v6, 48)] {
        network.send(start(), ALICE, to, &vec![0; 1_280 - headers], None);
        network.send(start(), ALICE, to, &vec![0; 1_280 - headers + 1], None);
        assert_eq!(drain(&mut network).len(), 1);
    }
    assert_eq!(network.stats(Where::Everywhere).oversized, 2);
}

#[test]
fn marks_are_carried() {
    let mut network = Network::new(7);
    for mark in [None, Some(Ecn::Ect0), Some(Ecn::Ect1), Some(Ecn::Ce)] {
        network.send(start(), ALICE, BOB, b"", mark);
        assert_eq!(drain(&mut network)[0].ecn, mark);
    }
}
