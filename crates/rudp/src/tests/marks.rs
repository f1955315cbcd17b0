//! Marks of routers: which paths carry them, and what they do.

use super::{
    pair::{Flight, Pair, client_address},
    streams::{content, transfer},
};
use crate::{Congestion, ConnectionConfig, Ecn, EndpointConfig};

/// A way on which marks become what `remark` says, from the first datagram on.
fn way(congestion: Congestion, remark: fn(&Flight) -> Option<Ecn>) -> Pair {
    let config =
        ConnectionConfig { congestion, packet_limit: 1_200, ..ConnectionConfig::default() };
    let config = EndpointConfig::new(config);
    let mut pair = Pair::with(config.clone(), config);
    pair.remark = Box::new(remark);
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    pair
}

fn marked(pair: &Pair) -> usize {
    let of_client = |flight: &&Flight| flight.from == client_address();
    pair.log.iter().filter(of_client).filter(|flight| flight.ecn == Some(Ecn::Ect0)).count()
}

#[test]
fn every_datagram_of_a_path_that_carries_marks_may_be_marked() {
    let mut pair = way(Congestion::Bbr, |flight| flight.ecn);
    transfer(&mut pair, &content(1 << 20));
    let sent = pair.log.iter().filter(|flight| flight.from == client_address()).count();
    assert_eq!(marked(&pair), sent);
    assert!(pair.alice().stats().is_ecn_capable && pair.bob().stats().is_ecn_capable);
    assert_eq!(pair.alice().stats().ecn_marked, 0);
}

#[test]
fn a_path_that_clears_or_changes_marks_is_found_out_and_carries_a_transfer() {
    let ways: [fn(&Flight) -> Option<Ecn>; 4] = [
        |_| None,
        |flight| flight.ecn.map(|_| Ecn::Ect1),
        |flight| flight.ecn.map(|_| Ecn::Ce),
        // The load is balanced over a path that clears marks and one that does not.
        |flight| flight.ecn.filter(|_| flight.bytes.last().is_some_and(|byte| byte % 2 == 0)),
    ];
    for remark in ways {
        let mut pair = way(Congestion::Cubic, remark);
        transfer(&mut pair, &content(1 << 20));
        assert!(marked(&pair) < 100, "{} of {} datagrams", marked(&pair), pair.log.len());
        assert!(!pair.alice().stats().is_ecn_capable);
        assert_eq!(pair.alice().stats().ecn_marked, 0, "nothing of it is believed");
    }
}

#[test]
fn a_path_that_begins_to_clear_marks_is_found_out() {
    let mut pair = way(Congestion::Cubic, |flight| flight.ecn);
    transfer(&mut pair, &content(100_000));
    assert!(pair.alice().stats().is_ecn_capable);
    pair.remark = Box::new(|_| None);
    transfer(&mut pair, &content(100_000));
    assert!(!pair.alice().stats().is_ecn_capable);
}

#[test]
fn a_path_that_drops_what_may_be_marked_costs_one_time_out() {
    let mut pair = Pair::new();
    pair.passes = Box::new(|flight| flight.ecn.is_none());
    pair.connect();
    let start = pair.now;
    pair.run_until(|pair| pair.is_connected());
    let first_timeout = 3 * EndpointConfig::default().connection.initial_rtt;
    assert!(pair.now - start <= 2 * first_timeout + 4 * pair.delay, "{:?}", pair.now - start);
    transfer(&mut pair, &content(100_000));
}

#[test]
fn a_mark_slows_a_sender_down_without_a_loss() {
    let stats_with = |congestion, remark| {
        let mut pair = way(congestion, remark);
        transfer(&mut pair, &content(2 << 20));
        let stats = pair.alice().stats();
        assert_eq!(stats.packets_lost, 0);
        stats
    };
    for congestion in Congestion::ALL {
        let plain = stats_with(congestion, |flight| flight.ecn);
        let marked = stats_with(congestion, |flight| {
            let is_chosen = flight.bytes.last().is_some_and(|byte| byte % 64 == 0);
            flight.ecn.map(|mark| if is_chosen { Ecn::Ce } else { mark })
        });
        assert!(marked.ecn_marked > 0);
        let windows = (marked.congestion_window, plain.congestion_window);
        assert!(windows.0 < windows.1 / 2, "{congestion:?}: {windows:?}");
    }
}
