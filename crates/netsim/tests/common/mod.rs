//! Hosts, time and a way to send many packets.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use portolan_netsim::{Delivery, Link, Network, Where};

pub(crate) const ALICE: SocketAddr = host(1);
pub(crate) const BOB: SocketAddr = host(2);
pub(crate) const CAROL: SocketAddr = host(3);

const fn host(number: u8) -> SocketAddr {
    use std::net::{IpAddr, Ipv4Addr};
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)), 7275)
}

/// The start of virtual time; which real time it is does not matter.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn network(seed: u64, link: Link) -> Network {
    let mut network = Network::new(seed);
    network.set_link(Where::Everywhere, link);
    network
}

/// Sends `count` packets from alice to bob, one each millisecond, each carrying its number.
pub(crate) fn send_numbered(network: &mut Network, start: Instant, count: u32) {
    for number in 0..count {
        let now = start + ms(1) * number;
        network.send(now, ALICE, BOB, &number.to_be_bytes(), None);
    }
}

/// Everything that arrives, in order.
pub(crate) fn drain(network: &mut Network) -> Vec<Delivery> {
    let mut arrived = Vec::new();
    while let Some(at) = network.poll_timeout() {
        arrived.extend(network.poll_delivery(at));
    }
    arrived
}

/// The numbers of the packets that arrived.
pub(crate) fn numbers(arrived: &[Delivery]) -> Vec<u32> {
    let number = |delivery: &Delivery| {
        u32::from_be_bytes(delivery.bytes.as_slice().try_into().expect("four bytes"))
    };
    arrived.iter().map(number).collect()
}

/// Asserts that `count` of `total` agrees with `probability` within five standard deviations:
/// right code fails once in two million seeds, and the seeds here are fixed.
pub(crate) fn assert_share(count: usize, total: usize, probability: f64) {
    let expected = total as f64 * probability;
    let deviation = (expected * (1.0 - probability)).sqrt();
    let off = (count as f64 - expected).abs();
    assert!(off <= 5.0 * deviation, "{count} of {total}, expected {expected:.0} ± {deviation:.0}");
}
