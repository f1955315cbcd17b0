//! Strangers who speak nothing that we know.

use std::net::{Ipv4Addr, SocketAddr};

use portolan_transport::Carrier;
use rand::{Rng, RngCore};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket},
};

use crate::{
    Harness,
    net::{Net, alice, bob, round_trip, unchanged},
    seed::chance,
};

pub(super) async fn garbage_on_the_port_harms_nobody(harness: Harness) {
    let carrier = harness.transport.capabilities().carrier;
    let net = Net::new(harness);
    let near = net.bind(alice(), unchanged).await;
    let far = net.bind(bob(), unchanged).await;
    let (old, accepted) = net.meet(&*near, &*far).await;
    let held = match carrier {
        Carrier::Tcp => garbage_over_tcp(far.local_addr()).await,
        Carrier::Udp => {
            garbage_over_udp(far.local_addr()).await;
            Vec::new()
        }
        // Nobody outside can reach it.
        Carrier::Memory => Vec::new(),
    };
    round_trip(&*old, &*accepted).await;
    for _ in 0..3 {
        let (new, accepted) = net.meet(&*near, &*far).await;
        round_trip(&*new, &*accepted).await;
    }
    round_trip(&*old, &*accepted).await;
    drop(held);
}

/// Some strangers say nothing and stay, some begin as TLS does, some talk nonsense.
async fn garbage_over_tcp(target: SocketAddr) -> Vec<TcpStream> {
    let mut chance = chance();
    let mut held = Vec::new();
    for number in 0..30 {
        let mut stream = TcpStream::connect(target).await.expect("the port is open");
        let mut bytes = vec![0; chance.random_range(1..3000)];
        chance.fill_bytes(&mut bytes);
        if number % 3 == 0 {
            // A handshake record whose hello never fits together (RFC 8446 §5.1).
            bytes.splice(0..0, [22, 3, 1, 0x20, 0, 1, 0, 0x10, 0]);
        }
        if number % 5 != 0 {
            // It may have been thrown out already.
            let _ = stream.write_all(&bytes).await;
        }
        if number % 2 == 0 {
            held.push(stream);
        }
    }
    held
}

/// Each kind of first byte (RFC 9443 §3), from the empty datagram to the longest usual one.
async fn garbage_over_udp(target: SocketAddr) {
    let mut chance = chance();
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    for first in 0..=u8::MAX {
        for size in [0, 1, 2, 20, 100, 1200, 1400] {
            let mut bytes = vec![0; size];
            chance.fill_bytes(&mut bytes);
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            // Full queues are part of the exercise.
            let _ = stranger.send_to(&bytes, target).await;
        }
        tokio::task::yield_now().await;
    }
}
