//! The kernel's TCP through networks that treat it badly.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use portolan_emulator::Emulator;
use portolan_netsim::{
    Link, Loss, Reorder,
    topology::{Nat, Scope, Topology, Unsolicited},
};

use crate::worlds::{BOB, PATIENCE, behind, emulate, link, on, routed, two};

const LENGTH: usize = 16 << 20;

/// Bytes that differ everywhere.
fn bytes() -> Vec<u8> {
    let mut bytes = vec![0; LENGTH];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// Alice sends to bob, who answers with the hash of what he got.
fn arrives_intact(topology: &Topology, bob: &str) -> Option<Emulator> {
    let emulator = emulate(topology)?;
    let bob = SocketAddr::new(bob.parse().unwrap(), 0);
    let listener = on(&emulator, "bob", move || TcpListener::bind(bob).unwrap());
    let address = listener.local_addr().unwrap();
    let receiver = std::thread::spawn(move || receive(&listener));
    assert!(on(&emulator, "alice", move || send(address)), "what arrived is what was sent");
    receiver.join().unwrap();
    let health = emulator.health();
    assert_eq!((health.malformed, health.write_errors), (0, 0), "{health:?}");
    Some(emulator)
}

fn receive(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            length => hasher.update(&buffer[..length]),
        };
    }
    stream.write_all(hasher.finalize().as_bytes()).unwrap();
}

fn send(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let bytes = bytes();
    stream.write_all(&bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut hash = [0; 32];
    stream.read_exact(&mut hash).unwrap();
    blake3::hash(&bytes) == hash
}

#[test]
fn a_perfect_network_carries_super_packets_whole() {
    let Some(emulator) = arrives_intact(&two(1, link()), BOB) else { return };
    let health = emulator.health();
    let sent = LENGTH as u64 / 1448;
    assert!(health.packets_written >= sent, "each segment counts as a packet: {health:?}");
}

#[test]
fn what_is_lost_late_doubled_and_damaged_arrives_intact_in_the_end() {
    let harsh = Link {
        delay: Duration::from_millis(1),
        jitter: Duration::from_micros(200),
        loss: Loss::Random(0.005),
        reorder: Some(Reorder { probability: 0.01, hold: Duration::from_millis(1) }),
        duplicate: 0.01,
        corrupt: 0.002,
        ..link()
    };
    for bob in [BOB, "fd00::2"] {
        let Some(emulator) = arrives_intact(&two(7, harsh), bob) else { return };
        let alice = emulator.stats().links.into_iter().find(|link| link.node == "alice").unwrap();
        let up = alice.up;
        let met = [up.lost, up.duplicated, up.corrupted, up.reordered];
        assert!(met.iter().all(|count| *count > 0), "it met everything: {up:?}");
    }
}

#[test]
fn a_translator_passes_what_comes_back() {
    let lossy = Link { delay: Duration::from_millis(1), loss: Loss::Random(0.002), ..link() };
    for mapping in [Scope::EndpointIndependent, Scope::AddressAndPortDependent] {
        arrives_intact(&behind(Nat { mapping, ..Nat::default() }, lossy), "203.0.113.10");
    }
}

#[test]
fn a_narrower_link_makes_the_kernel_send_less_at_once() {
    let narrow = Link { mtu: 1300, ..link() };
    for bob in ["10.2.0.2", "fd02::2"] {
        let Some(emulator) = arrives_intact(&routed(narrow), bob) else { return };
        assert!(emulator.stats().world.made > 0, "the router said that it was too big");
    }
}

#[test]
fn a_box_that_rejects_refuses_connections() {
    let nat = Nat { unsolicited: Unsolicited::Reject, ..Nat::default() };
    let Some(emulator) = emulate(&behind(nat, link())) else { return };
    let outcome = on(&emulator, "bob", || TcpStream::connect("203.0.113.2:80").map(drop));
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
