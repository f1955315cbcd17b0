//! How often packets are acknowledged.

use std::time::Duration;

use portolan_mux::Priority;

use super::{
    pair::{Pair, client_address, server_address},
    streams::{content, transfer},
};
use crate::{Congestion, ConnectionConfig, EndpointConfig};

/// Both connected, on a way of 40 ms there and back, with datagrams of one size.
fn connected(congestion: Congestion) -> Pair {
    let config = EndpointConfig::new(ConnectionConfig {
        congestion,
        packet_limit: 1_200,
        ..ConnectionConfig::default()
    });
    let mut pair = Pair::with(config.clone(), config);
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    pair
}

fn answers(pair: &Pair) -> usize {
    let to_client = (server_address(), client_address());
    pair.log.iter().filter(|flight| (flight.from, flight.to) == to_client).count()
}

#[test]
fn a_transfer_with_a_large_window_is_acknowledged_seldom() {
    let mut pair = connected(Congestion::Cubic);
    // One loss ends the start.
    transfer(&mut pair, &content(1 << 20));
    pair.passes = Box::new({
        let mut is_lost = false;
        move |flight| flight.bytes.len() < 1_200 || std::mem::replace(&mut is_lost, true)
    });
    transfer(&mut pair, &content(1 << 20));
    let before = answers(&pair);
    let start = pair.now;
    transfer(&mut pair, &content(4 << 20));
    let answers = answers(&pair) - before;
    let packets = (4 << 20) / 1_200;
    assert!(packets > 20 * answers, "{answers} for {packets} packets");
    let rounds = (pair.now - start).as_nanos() / (2 * pair.delay).as_nanos();
    assert!(answers as u128 >= 4 * rounds, "{answers} in {rounds} round trips");
}

#[test]
fn a_thin_flow_is_acknowledged_as_ever() {
    let mut pair = connected(Congestion::Bbr);
    transfer(&mut pair, &content(4 << 20));
    let id = pair.alice().mux().open(Priority::Interactive).expect("a stream is free");
    let before = answers(&pair);
    for _ in 0..10 {
        pair.alice().mux().write(id, b"hello").expect("there is room");
        pair.drain();
        pair.run_for(4 * pair.delay);
    }
    assert!(answers(&pair) - before >= 10, "each within the delay that was promised");
}

#[test]
fn a_probe_is_answered_at_once_however_seldom_the_rest_is() {
    let mut pair = connected(Congestion::Bbr);
    transfer(&mut pair, &content(4 << 20));
    let id = pair.alice().mux().open(Priority::Interactive).expect("a stream is free");
    pair.run_for(Duration::from_secs(1));
    pair.passes = Box::new(|_| false);
    pair.alice().mux().write(id, b"hello").expect("there is room");
    pair.drain();
    pair.passes = Box::new(|_| true);
    let probes = pair.alice().stats().probes;
    pair.run_until(|pair| pair.alice().stats().probes > probes);
    let asked = pair.now;
    pair.run_until(|pair| pair.alice().stats().in_flight == 0);
    assert_eq!(pair.now - asked, 2 * pair.delay);
}

/// The window has room for hundreds of packets, of which a thin flow uses a few.
#[test]
fn a_thin_flow_with_a_large_window_is_repaired_as_soon_as_the_next_packet_shows_the_gap() {
    for congestion in [Congestion::Cubic, Congestion::Bbr] {
        let mut pair = connected(congestion);
        transfer(&mut pair, &content(4 << 20));
        let id = pair.alice().mux().open(Priority::Interactive).expect("a stream is free");
        let every = pair.delay / 2;
        let (mut lost, mut repaired, mut read) = (None, None, 0);
        for number in 0..200 {
            pair.alice().mux().write(id, b"hello").expect("there is room");
            if number == 150 {
                pair.passes = Box::new(|flight| flight.from != client_address());
                pair.drain();
                pair.passes = Box::new(|_| true);
                lost = Some(pair.now);
            }
            pair.drain();
            pair.run_for(every);
            let mut buffer = [0; 1_000];
            read += pair.bob().mux().read(id, &mut buffer).unwrap_or(0);
            if read > 5 * 150 && repaired.is_none() {
                repaired = Some(pair.now);
            }
        }
        let took = repaired.expect("it arrives") - lost.expect("the loop came that far");
        // The next message shows the gap, the answer to it the loss, and the repair goes at once.
        assert!(took <= every + 3 * pair.delay, "{congestion:?}: {took:?}");
    }
}
