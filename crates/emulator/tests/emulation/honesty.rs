//! The emulator does what the model says, and nothing else.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use portolan_emulator::Emulator;
use portolan_netsim::{
    Kind, Link, Loss, Packet, Protocol, World,
    topology::{Host, NodeKind, Topology},
};

use crate::worlds::{ALICE, BOB, PATIENCE, emulate, link, on, two, udp};

/// Packets of the test of loss, and how many are under way at once: few enough for every buffer.
const PACKETS: u32 = 100_000;
const BATCH: u32 = 100;

/// An IPv4 and a UDP header.
const HEADERS: u32 = 28;

/// Sockets with ports that are the same in every run, for chance is by address and port.
fn known_sockets(emulator: &Emulator) -> [UdpSocket; 2] {
    [("alice", ALICE), ("bob", BOB)].map(|(host, address)| {
        on(emulator, host, move || {
            let socket = UdpSocket::bind(format!("{address}:5000")).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
    })
}

/// Packets that have entered alice's link, and how many of them it has carried.
fn of_alice(emulator: &Emulator) -> (u64, u64) {
    let links = emulator.stats().links;
    let alice = links.iter().find(|link| link.node == "alice").unwrap();
    (alice.up.entered, alice.up.carried)
}

/// Sends numbered packets from alice to bob; the numbers that arrive.
fn survivors_in_real_time(emulator: &Emulator) -> BTreeSet<u32> {
    let [alice, bob] = known_sockets(emulator);
    let to = bob.local_addr().unwrap();
    let mut survivors = BTreeSet::new();
    for batch in 0..PACKETS / BATCH {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let sent = u64::from(numbers.end);
        for number in numbers {
            alice.send_to(&number.to_be_bytes(), to).unwrap();
        }
        let carried = loop {
            let (entered, carried) = of_alice(emulator);
            if entered == sent {
                break carried;
            }
        };
        while (survivors.len() as u64) < carried {
            let mut number = [0; 4];
            bob.recv(&mut number).unwrap();
            survivors.insert(u32::from_be_bytes(number));
        }
    }
    survivors
}

/// The same packets through the same world without any waiting.
fn survivors_in_virtual_time(topology: &Topology) -> BTreeSet<u32> {
    let now = now();
    let mut world = World::new(topology, now).unwrap();
    let alice = world.host("alice").unwrap();
    let address = |address: &str| SocketAddr::new(address.parse().unwrap(), 5000);
    let mut survivors = BTreeSet::new();
    for number in 0..PACKETS {
        let packet = Packet {
            protocol: Protocol::Udp,
            source: address(ALICE),
            destination: address(BOB),
            size: HEADERS + 4,
            ecn: None,
            hop_limit: 64,
            may_fragment: false,
            kind: Kind::Plain,
            payload: number,
        };
        world.send(now, alice, packet);
        while let Some(arrival) = world.poll_delivery(now) {
            survivors.insert(arrival.packet.payload);
        }
    }
    survivors
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "real time is what is compared with")]
    Instant::now()
}

/// Without IPv6, whose chatter would be packets of alice's too.
fn lossy() -> Topology {
    let mut topology = two(42, Link { loss: Loss::Random(0.01), ..link() });
    for node in &mut topology.nodes {
        match &mut node.kind {
            NodeKind::Subnet(subnet) => subnet.prefixes.truncate(1),
            NodeKind::Host(Host { interfaces }) => interfaces[0].addresses.truncate(1),
            NodeKind::Router(_) | NodeKind::Nat(_) | NodeKind::Firewall(_) => {}
        }
    }
    topology
}

#[test]
fn the_same_packets_survive_as_in_virtual_time() {
    let topology = lossy();
    let Some(emulator) = emulate(&topology) else { return };
    let survivors = survivors_in_real_time(&emulator);
    assert_eq!(survivors, survivors_in_virtual_time(&topology));

    let lost = f64::from(PACKETS - u32::try_from(survivors.len()).unwrap());
    let share = lost / f64::from(PACKETS);
    assert!((0.009..=0.011).contains(&share), "one in a hundred was asked for: {share}");
}

#[test]
fn nothing_arrives_before_its_time() {
    const DELAY: Duration = Duration::from_millis(5);
    let Some(emulator) = emulate(&two(1, Link { delay: DELAY, ..link() })) else { return };
    let (alice, bob) = (udp(&emulator, "alice", ALICE), udp(&emulator, "bob", BOB));
    let mut round_trips = Vec::new();
    for _ in 0..100 {
        let start = now();
        alice.send_to(b"ping", bob.local_addr().unwrap()).unwrap();
        let (_, from) = bob.recv_from(&mut [0; 4]).unwrap();
        bob.send_to(b"pong", from).unwrap();
        alice.recv(&mut [0; 4]).unwrap();
        round_trips.push(start.elapsed());
    }
    round_trips.sort();
    assert!(round_trips[0] >= 2 * DELAY, "{:?}", round_trips[0]);
    println!("asked for {:?}, median {:?}; {:?}", 2 * DELAY, round_trips[50], emulator.health());
}
