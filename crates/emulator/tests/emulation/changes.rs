//! Networks that change under the programs on their hosts.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use portolan_emulator::Emulator;
use portolan_netsim::topology::{
    Duplex, Happening, Host, Moment, Nat, Node, NodeKind, Router, Topology,
};

use crate::worlds::{
    ALICE, BOB, PATIENCE, attachment, behind, emulate, host, link, on, subnet, two, udp,
};

/// Where bob sees a datagram of alice's come from.
fn seen(alice: &UdpSocket, bob: &UdpSocket) -> SocketAddr {
    alice.send_to(b"who am I?", bob.local_addr().unwrap()).unwrap();
    bob.recv_from(&mut [0; 16]).unwrap().1
}

/// Whether bob's answer comes back.
fn is_answered(alice: &UdpSocket, bob: &UdpSocket) {
    let from = seen(alice, bob);
    bob.send_to(b"you", from).unwrap();
    assert_eq!(alice.recv(&mut [0; 16]).unwrap(), 3);
}

#[test]
fn a_translator_that_forgets_gives_another_port() {
    let Some(emulator) = emulate(&behind(Nat::default(), link())) else { return };
    let alice = udp(&emulator, "alice", "192.168.1.10");
    let bob = udp(&emulator, "bob", "203.0.113.10");
    let before = seen(&alice, &bob);
    assert_eq!(before.ip(), IpAddr::from([203, 0, 113, 2]));
    emulator.apply(&Happening::Rebind { nat: "nat".to_owned() }).unwrap();
    let after = seen(&alice, &bob);
    assert_eq!(after.ip(), before.ip());
    assert_ne!(after.port(), before.port());
    is_answered(&alice, &bob);
}

/// Alice at home; home, cafe and bob's network with one router between them.
fn roaming() -> Topology {
    let networks = [("home", 1), ("cafe", 2), ("wan", 3)];
    let gateway =
        |(name, number)| attachment(name, name, &[format!("10.{number}.0.254").as_str()], link());
    let router = Router { interfaces: networks.into_iter().map(gateway).collect() };
    let mut nodes: Vec<Node> = networks
        .into_iter()
        .map(|(name, number)| subnet(name, &[format!("10.{number}.0.0/24").as_str()]))
        .collect();
    nodes.extend([
        Node { name: "router".to_owned(), kind: NodeKind::Router(router) },
        host("alice", "home", &["10.1.0.1"], link()),
        host("bob", "wan", &["10.3.0.1"], link()),
    ]);
    Topology { seed: 1, nodes, ..Topology::default() }
}

#[test]
fn a_host_that_moves_goes_on_from_its_new_address() {
    let Some(emulator) = emulate(&roaming()) else { return };
    let (alice, bob) = (udp(&emulator, "alice", "0.0.0.0"), udp(&emulator, "bob", "10.3.0.1"));
    assert_eq!(seen(&alice, &bob).ip(), IpAddr::from([10, 1, 0, 1]));
    let address = IpAddr::from([10, 2, 0, 77]);
    let moves = Happening::Move {
        host: "alice".to_owned(),
        interface: None,
        network: "cafe".to_owned(),
        addresses: vec![address],
        link: Duplex::symmetric(link()),
    };
    emulator.apply(&moves).unwrap();
    assert_eq!(emulator.host("alice").unwrap().addresses(), [address]);
    assert_eq!(seen(&alice, &bob).ip(), address);
    is_answered(&alice, &bob);
}

/// Alice with a cable at home and a radio in the cafe.
fn with_two_ways() -> Topology {
    let mut topology = roaming();
    let ways = [("cable", "home", "10.1.0.1"), ("radio", "cafe", "10.2.0.1")];
    let interfaces =
        ways.map(|(name, network, own)| attachment(name, network, &[own], link())).to_vec();
    topology.nodes.retain(|node| node.name != "alice");
    topology
        .nodes
        .push(Node { name: "alice".to_owned(), kind: NodeKind::Host(Host { interfaces }) });
    topology
}

#[test]
fn a_host_that_loses_its_first_network_uses_the_other_one_until_the_first_is_back() {
    let Some(emulator) = emulate(&with_two_ways()) else { return };
    let (alice, bob) = (udp(&emulator, "alice", "0.0.0.0"), udp(&emulator, "bob", "10.3.0.1"));
    let (cable, radio) = (IpAddr::from([10, 1, 0, 1]), IpAddr::from([10, 2, 0, 1]));
    let (host, interface) = ("alice".to_owned(), Some("cable".to_owned()));
    assert_eq!(seen(&alice, &bob).ip(), cable);
    emulator
        .apply(&Happening::Unplug { host: host.clone(), interface: interface.clone() })
        .unwrap();
    assert_eq!(seen(&alice, &bob).ip(), radio);
    is_answered(&alice, &bob);
    emulator.apply(&Happening::Plug { host, interface }).unwrap();
    assert_eq!(seen(&alice, &bob).ip(), cable);
    is_answered(&alice, &bob);
}

#[test]
fn a_host_that_is_renumbered_loses_its_old_address() {
    let Some(emulator) = emulate(&two(1, link())) else { return };
    let addresses = ["10.0.0.9", "fd00::9"].map(|address| address.parse().unwrap()).to_vec();
    let renumber = Happening::Renumber { node: "alice".to_owned(), interface: None, addresses };
    emulator.apply(&renumber).unwrap();
    for (any, bob, own) in [("0.0.0.0", BOB, "10.0.0.9"), ("::", "fd00::2", "fd00::9")] {
        let (alice, bob) = (udp(&emulator, "alice", any), udp(&emulator, "bob", bob));
        assert_eq!(seen(&alice, &bob).ip(), own.parse::<IpAddr>().unwrap());
        is_answered(&alice, &bob);
    }
    on(&emulator, "alice", || UdpSocket::bind((ALICE, 0)).unwrap_err());
}

#[test]
fn what_is_sent_while_the_link_is_down_is_gone() {
    let Some(emulator) = emulate(&two(1, link())) else { return };
    let (alice, bob) = (udp(&emulator, "alice", ALICE), udp(&emulator, "bob", BOB));
    let (node, interface) = ("alice".to_owned(), None);
    emulator.apply(&Happening::Down { node: node.clone(), interface: interface.clone() }).unwrap();
    alice.send_to(b"lost", bob.local_addr().unwrap()).unwrap();
    wait_until(&emulator, |emulator| blackholed(emulator) == 1);
    emulator.apply(&Happening::Up { node, interface }).unwrap();
    alice.send_to(b"found", bob.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 16];
    let length = bob.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"found");
}

fn blackholed(emulator: &Emulator) -> u64 {
    let links = emulator.stats().links;
    links.iter().map(|link| link.up.blackholed + link.down.blackholed).sum()
}

fn wait_until(emulator: &Emulator, done: impl Fn(&Emulator) -> bool) {
    while !done(emulator) {}
}

#[test]
fn what_cannot_happen_is_said() {
    let Some(emulator) = emulate(&two(1, link())) else { return };
    let error = emulator.apply(&Happening::Rebind { nat: "bob".to_owned() }).unwrap_err();
    assert!(matches!(error, portolan_emulator::ApplyError::World(_)), "{error}");
}

#[test]
fn the_timeline_of_the_topology_happens_by_itself() {
    let addresses = vec!["10.0.0.9".parse().unwrap()];
    let what = Happening::Renumber { node: "alice".to_owned(), interface: None, addresses };
    let timeline = vec![Moment { at: Duration::from_millis(1), what }];
    let Some(emulator) = emulate(&Topology { timeline, ..two(1, link()) }) else { return };
    let new: IpAddr = "10.0.0.9".parse().unwrap();
    wait_until(&emulator, |emulator| emulator.host("alice").unwrap().addresses() == [new]);
}

#[test]
fn groups_and_broadcasts_reach_everybody_on_the_network() {
    let mut topology = two(1, link());
    topology.nodes.push(host("carol", "net", &["10.0.0.3"], link()));
    let Some(emulator) = emulate(&topology) else { return };
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let listeners = [("bob", BOB), ("carol", "10.0.0.3")].map(|(host, address)| {
        let interface: Ipv4Addr = address.parse().unwrap();
        on(&emulator, host, move || {
            let socket = UdpSocket::bind("0.0.0.0:5000").unwrap();
            socket.join_multicast_v4(&group, &interface).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
    });
    let alice = udp(&emulator, "alice", ALICE);
    alice.set_broadcast(true).unwrap();
    for everybody in [group, Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::BROADCAST] {
        alice.send_to(b"hello, all", (everybody, 5000)).unwrap();
        for listener in &listeners {
            let (length, from) = listener.recv_from(&mut [0; 16]).unwrap();
            assert_eq!((length, from), (10, alice.local_addr().unwrap()), "{everybody}");
        }
    }
}

#[test]
fn a_host_with_two_interfaces_is_reached_on_both() {
    let mut topology = roaming();
    for node in &mut topology.nodes {
        if let NodeKind::Host(alice) = &mut node.kind
            && node.name == "alice"
        {
            alice.interfaces.push(attachment("wifi", "cafe", &["10.2.0.1"], link()));
        }
    }
    let Some(emulator) = emulate(&topology) else { return };
    let own = emulator.host("alice").unwrap().addresses();
    assert_eq!(own, [IpAddr::from([10, 1, 0, 1]), IpAddr::from([10, 2, 0, 1])]);
    let (alice, bob) = (udp(&emulator, "alice", "0.0.0.0"), udp(&emulator, "bob", "10.3.0.1"));
    for address in own {
        bob.send_to(b"hello", (address, alice.local_addr().unwrap().port())).unwrap();
        let (_, from) = alice.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(from, bob.local_addr().unwrap());
    }
}

#[test]
fn what_is_dropped_is_gone() {
    let Some(emulator) = emulate(&two(1, link())) else { return };
    let alice = udp(&emulator, "alice", ALICE);
    drop(emulator);
    // The host is still there, because a socket is; its interface is not.
    let error = alice.send_to(b"anybody?", (BOB, 1)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable);
}
