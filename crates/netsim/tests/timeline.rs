//! Blackholes, flaps, changed links and changed addresses.

mod common;

use std::net::SocketAddr;

use common::{ALICE, BOB, CAROL, drain, ms, network, numbers, send_numbered, start};
use portolan_netsim::{Change, Link, Network, Where};

#[test]
fn a_blackhole_swallows_what_enters_while_it_lasts() {
    let start = start();
    let mut network = network(1, Link { delay: ms(5), ..Link::default() });
    network.schedule_blackhole(Where::Everywhere, start + ms(10), ms(20));
    send_numbered(&mut network, start, 50);
    // Those of the last 5 ms before it were under way and arrive.
    let expected: Vec<u32> = (0..10).chain(30..50).collect();
    assert_eq!(numbers(&drain(&mut network)), expected);
    assert_eq!(network.stats(Where::Everywhere).blackholed, 20);
}

#[test]
fn a_flapping_link_carries_only_while_it_is_up() {
    let start = start();
    let mut network = Network::new(2);
    for flap in 0..5 {
        network.schedule_blackhole(Where::Everywhere, start + ms(20) * flap, ms(10));
    }
    send_numbered(&mut network, start, 100);
    let expected: Vec<u32> = (0..100).filter(|number| number % 20 >= 10).collect();
    assert_eq!(numbers(&drain(&mut network)), expected);
}

#[test]
fn one_direction_may_be_down_alone() {
    let start = start();
    let mut network = Network::new(3);
    network.apply(Change::Down(Where::Between { from: ALICE.ip(), to: BOB.ip() }));
    network.send(start, ALICE, BOB, b"ping", None);
    network.send(start, BOB, ALICE, b"pong", None);
    let arrived = drain(&mut network);
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].to, ALICE);
}

#[test]
fn a_changed_link_takes_effect_at_its_time_and_keeps_the_order() {
    let start = start();
    let mut network = network(4, Link { delay: ms(100), ..Link::default() });
    let faster = Link { delay: ms(10), ..Link::default() };
    network.schedule(start + ms(50), Change::Link(Where::Everywhere, faster));
    send_numbered(&mut network, start, 200);
    let arrived = drain(&mut network);
    assert!(numbers(&arrived).is_sorted());
    assert_eq!(arrived[49].at, start + ms(149));
    assert_eq!(arrived[199].at, start + ms(209));
}

#[test]
fn changes_of_one_moment_happen_in_the_order_of_the_script() {
    let start = start();
    let mut network = Network::new(5);
    network.schedule(start + ms(1), Change::Down(Where::Everywhere));
    network.schedule(start + ms(1), Change::Up(Where::Everywhere));
    network.schedule(start, Change::Down(Where::Everywhere));
    network.send(start, ALICE, BOB, b"lost", None);
    network.send(start + ms(1), ALICE, BOB, b"carried", None);
    let arrived = drain(&mut network);
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].bytes, b"carried");
}

#[test]
fn a_host_with_a_new_address_is_seen_and_reached_there() {
    let start = start();
    let mut network = Network::new(6);
    let (first, second): (SocketAddr, SocketAddr) =
        (([203, 0, 113, 1], 40_000).into(), ([203, 0, 113, 1], 40_001).into());
    network.apply(Change::Readdress { host: ALICE, seen_as: first });
    network.schedule(start + ms(10), Change::Readdress { host: ALICE, seen_as: second });

    for (now, seen_as) in [(start, first), (start + ms(10), second)] {
        network.send(now, ALICE, BOB, b"ping", None);
        assert_eq!(drain(&mut network)[0].from, seen_as);
        network.send(now, BOB, seen_as, b"pong", None);
        assert_eq!(drain(&mut network)[0].to, ALICE);
    }
    for dead in [ALICE, first] {
        network.send(start + ms(10), BOB, dead, b"pong", None);
        assert_eq!(drain(&mut network), []);
    }
    network.send(start, CAROL, BOB, b"ping", None);
    assert_eq!(drain(&mut network)[0].from, CAROL);
}
