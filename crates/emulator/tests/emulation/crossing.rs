//! Packets of the kernel's own sockets cross emulated networks.

use std::{
    net::{TcpListener, TcpStream},
    process::Stdio,
    time::Duration,
};

use crate::worlds::{ALICE, BOB, emulate, link, on, routed, two, udp};
use portolan_netsim::Link;

#[test]
fn a_ping_crosses_and_finds_its_way_back() {
    let Some(emulator) = emulate(&two(1, link())) else { return };
    for address in [BOB, "fd00::2"] {
        let mut ping = std::process::Command::new("ping");
        ping.args(["-c", "3", "-i", "0.01", "-W", "10", address]).stdout(Stdio::piped());
        let Ok(child) = emulator.host("alice").unwrap().spawn(&mut ping) else {
            println!("left out: there is no program ping here");
            return;
        };
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(emulator.health().malformed, 0);
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
