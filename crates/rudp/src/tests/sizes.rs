//! How long datagrams become, and what happens when the path shortens.

use std::time::Duration;

use portolan_mux::Priority;

use super::{
    pair::{Pair, client_address},
    streams::{content, transfer},
};

/// Swallows datagrams above this size.
fn shorten(pair: &mut Pair, mtu: usize) {
    pair.passes = Box::new(move |flight| flight.bytes.len() <= mtu);
}

fn longest_sent(pair: &Pair) -> usize {
    let flights = pair.log.iter().filter(|flight| flight.from == client_address());
    flights.map(|flight| flight.bytes.len()).max().unwrap_or_default()
}

#[test]
fn a_transfer_finds_out_what_the_path_carries() {
    for (mtu, expected) in [(1_200, 1_200), (1_400, 1_392), (1_472, 1_472), (8_972, 8_972)] {
        let mut pair = Pair::connected();
        shorten(&mut pair, mtu);
        transfer(&mut pair, &content(3_000_000));
        assert_eq!(pair.alice().stats().packet_size, expected, "a path of {mtu}");
        assert_eq!(pair.bob().stats().packet_size, 1_200, "who sends little tries nothing");
    }
}

#[test]
fn probes_that_are_too_long_do_not_slow_a_transfer_down() {
    let mut pair = Pair::connected();
    shorten(&mut pair, 1_472);
    let before = pair.alice().stats().congestion_window;
    transfer(&mut pair, &content(1_000_000));
    let stats = pair.alice().stats();
    assert_eq!(stats.packets_lost, 0, "probes are not counted");
    assert!(stats.congestion_window > 10 * before);
}

#[test]
fn a_quiet_connection_tries_no_sizes() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(60));
    assert_eq!(longest_sent(&pair), 1_200);
    assert_eq!(pair.closed(), [None, None]);
}

#[test]
fn a_path_that_shortens_in_mid_transfer_is_noticed_and_nothing_is_lost() {
    let mut pair = Pair::connected();
    shorten(&mut pair, 8_972);
    transfer(&mut pair, &content(3_000_000));
    assert_eq!(pair.alice().stats().packet_size, 8_972);
    shorten(&mut pair, 1_472);
    let start = pair.now;
    transfer(&mut pair, &content(1_000_000));
    assert_eq!(pair.alice().stats().packet_size, 1_472);
    let rtt = 2 * pair.delay;
    assert!(pair.now - start < 100 * rtt, "it took {:?}", pair.now - start);
}

#[test]
fn nothing_longer_than_the_remote_takes_is_sent() {
    let server =
        crate::ConnectionConfig { packet_max: 1_300, ..crate::ConnectionConfig::default() };
    let mut pair = Pair::with(crate::EndpointConfig::default(), crate::EndpointConfig::new(server));
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    transfer(&mut pair, &content(1_000_000));
    assert_eq!(longest_sent(&pair), 1_300);
}

#[test]
fn datagrams_may_be_as_long_as_the_packets_allow() {
    let mut pair = Pair::connected();
    let before = pair.alice().mux().datagram_max();
    transfer(&mut pair, &content(3_000_000));
    let after = pair.alice().mux().datagram_max();
    assert!(before < 1_200 && after > 8_000, "{before} before, {after} after");
    let now = pair.now;
    let message = content(after);
    pair.alice().mux().send_datagram(now, message.clone().into(), None).expect("it fits");
    pair.drain();
    let mut received = None;
    pair.run_until(|pair| {
        received = received.take().or_else(|| pair.bob().mux().recv_datagram());
        received.is_some()
    });
    assert_eq!(received.as_deref(), Some(&message[..]));
}

#[test]
fn a_silent_path_is_asked_in_packets_that_every_path_carries() {
    let mut pair = Pair::connected();
    transfer(&mut pair, &content(1_000_000));
    assert!(pair.alice().stats().packet_size > 1_200);
    pair.passes = Box::new(|_| false);
    let id = pair.alice().mux().open(Priority::Bulk).expect("a stream is free");
    pair.alice().mux().write(id, &content(100_000)).expect("there is room");
    pair.drain();
    pair.run_for(Duration::from_secs(3));
    let last = pair.log.iter().rfind(|flight| flight.from == client_address());
    assert!(last.is_some_and(|flight| flight.bytes.len() <= 1_200));
}
