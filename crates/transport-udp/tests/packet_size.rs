//! How long datagrams become on this system's loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use portolan_identity::{Expect, Identity};
use portolan_transport::{BindConfig, Endpoint, Priority, Transport};
use portolan_transport_udp::{TunedUdp, Udp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TRANSFER: usize = 16 << 20;

async fn bind(transport: &dyn Transport, seed: u8) -> Arc<dyn Endpoint> {
    let local = "127.0.0.1:0".parse().unwrap();
    transport.bind(BindConfig::new(local, Identity::from_seed([seed; 32]))).await.unwrap()
}

/// The longest message that alice may send bob, before a transfer and after it.
async fn before_and_after(transport: &dyn Transport) -> (usize, usize) {
    let (alice, bob) = (bind(transport, 1).await, bind(transport, 2).await);
    let expect = Expect::Id(Identity::from_seed([2; 32]).id());
    let (dialled, accepted) = tokio::join!(alice.connect(bob.local_addr(), expect), bob.accept());
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    let before = dialled.max_datagram_size();
    let (mut send, _receive) = dialled.open_stream(Priority::Bulk).await.unwrap();
    let reader = tokio::spawn(async move {
        let (_send, mut receive) = accepted.accept_stream().await.unwrap();
        let mut bytes = Vec::new();
        receive.read_to_end(&mut bytes).await.unwrap();
        bytes.len()
    });
    send.write_all(&vec![7; TRANSFER]).await.unwrap();
    send.finish().unwrap();
    assert_eq!(reader.await.unwrap(), TRANSFER);
    (before, dialled.max_datagram_size())
}

#[tokio::test]
async fn a_transfer_over_loopback_ends_with_longer_packets_than_it_began_with() {
    let (before, after) = before_and_after(&Udp).await;
    assert!(before < 1_200, "{before}");
    assert!(after > 8_000, "{after}");
}

#[tokio::test]
async fn packets_stay_below_the_limit_that_was_chosen() {
    let tuned = TunedUdp { packet_limit: 1_452, ..TunedUdp::default() };
    let (before, after) = before_and_after(&tuned).await;
    assert!(before < after && after < 1_452, "{before} before, {after} after");
}
