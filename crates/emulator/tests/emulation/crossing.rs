//! Packets of the kernel's own sockets cross emulated networks.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use portolan_emulator::Emulator;
use portolan_netsim::{Link, topology::Nat};
use quinn_udp::{Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use crate::worlds::{ALICE, BOB, PATIENCE, behind, emulate, link, on, routed, two, udp};

/// Sends an echo request from alice; whether an answer with the same bytes comes back. `None`: this
/// kernel lets nobody ping.
fn is_pinged(emulator: &Emulator, address: &str) -> Option<bool> {
    let address = SocketAddr::new(address.parse().unwrap(), 0);
    let (protocol, request, reply) = match address {
        SocketAddr::V4(_) => (Protocol::ICMPV4, 8, 0),
        SocketAddr::V6(_) => (Protocol::ICMPV6, 128, 129),
    };
    on(emulator, "alice", move || {
        let domain = Domain::for_address(address);
        let mut socket = Socket::new(domain, Type::DGRAM, Some(protocol)).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(&address.into()).unwrap();
        socket.write_all(&[request, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4]).unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).unwrap();
        Some(answer[0] == reply && answer[8..] == [1, 2, 3, 4])
    })
}

#[test]
fn a_ping_crosses_and_finds_its_way_back() {
    let through_nat = behind(Nat::default(), link());
    for (topology, addresses) in [
        (two(1, link()), [BOB, "fd00::2"]),
        (routed(link()), ["10.1.0.254", "fd02::2"]),
        (through_nat, ["203.0.113.10", "192.168.1.1"]),
    ] {
        let Some(emulator) = emulate(&topology) else { return };
        for address in addresses {
            match is_pinged(&emulator, address) {
                None => println!("left out: this system lets nobody ping"),
                Some(answered) => assert!(answered, "{address}"),
            }
        }
        assert_eq!(emulator.health().malformed, 0);
    }
}

#[test]
fn a_closed_port_is_told_through_a_translator() {
    let Some(emulator) = emulate(&behind(Nat::default(), link())) else { return };
    let alice = udp(&emulator, "alice", "192.168.1.10");
    alice.connect("203.0.113.10:9").unwrap();
    alice.send(b"anybody there?").unwrap();
    let error = alice.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_datagram_in_fragments_is_translated_whole() {
    let Some(emulator) = emulate(&behind(Nat::default(), link())) else { return };
    let alice = udp(&emulator, "alice", "192.168.1.10");
    let bob = udp(&emulator, "bob", "203.0.113.10");
    let mut datagram = vec![0; 5000];
    blake3::Hasher::new().finalize_xof().fill(&mut datagram);
    alice.send_to(&datagram, bob.local_addr().unwrap()).unwrap();
    let mut received = vec![0; 6000];
    let (length, from) = bob.recv_from(&mut received).unwrap();
    assert_eq!(received[..length], datagram);
    bob.send_to(&datagram, from).unwrap();
    let length = alice.recv(&mut received).unwrap();
    assert_eq!(received[..length], datagram);
}

/// Many datagrams in one call, as fast transports send them: a super-packet of UDP.
#[test]
fn datagrams_that_are_sent_together_arrive_as_they_were() {
    const SIZE: usize = 1200;
    let Some(emulator) = emulate(&two(1, link())) else { return };
    let (alice, bob) = (udp(&emulator, "alice", ALICE), udp(&emulator, "bob", BOB));
    let state = UdpSocketState::new((&alice).into()).unwrap();
    let count = state.max_gso_segments().min(20);
    let mut contents = vec![0; count * SIZE - 100];
    blake3::Hasher::new().finalize_xof().fill(&mut contents);
    let transmit = Transmit {
        destination: bob.local_addr().unwrap(),
        ecn: None,
        contents: &contents,
        segment_size: Some(SIZE),
        src_ip: None,
    };
    alice.set_nonblocking(false).unwrap();
    state.send((&alice).into(), &transmit).unwrap();
    for expected in contents.chunks(SIZE) {
        let mut datagram = vec![0; 2 * SIZE];
        let length = bob.recv(&mut datagram).unwrap();
        assert_eq!(&datagram[..length], expected);
    }
    let health = emulator.health();
    assert!(health.packets_written >= count as u64, "each is a packet of its own: {health:?}");
}

#[test]
fn datagrams_cross_in_both_families_and_keep_their_bytes() {
    let Some(emulator) = emulate(&two(1, link())) else { return };
    for (from, to) in [(ALICE, BOB), ("fd00::1", "fd00::2")] {
        let (alice, bob) = (udp(&emulator, "alice", from), udp(&emulator, "bob", to));
        alice.send_to(b"are you there?", bob.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 100];
        let (length, sender) = bob.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..length], sender),
            (&b"are you there?"[..], alice.local_addr().unwrap())
        );
        bob.send_to(b"yes", sender).unwrap();
        assert_eq!(alice.recv(&mut buffer).unwrap(), 3);
    }
}

#[test]
fn tcp_crosses_a_router() {
    let slow = Link { delay: Duration::from_millis(5), ..link() };
    let Some(emulator) = emulate(&routed(slow)) else { return };
    let listener = on(&emulator, "bob", || TcpListener::bind("10.2.0.2:0").unwrap());
    let address = listener.local_addr().unwrap();
    let alice = on(&emulator, "alice", move || TcpStream::connect(address).unwrap());
    let (_bob, from) = listener.accept().unwrap();
    assert_eq!(from, alice.local_addr().unwrap());
}
