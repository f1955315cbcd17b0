//! Streams and datagrams over connections.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use portolan_mux::{Priority, ReadError, StreamId, WriteError};

use super::pair::{Pair, client_address, server_address};
use crate::{Congestion, ConnectionConfig, EndpointConfig};

pub(super) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * at % 251).unwrap()).collect()
}

/// Sends `bytes` from alice to bob on one stream and checks that they arrive.
pub(super) fn transfer(pair: &mut Pair, bytes: &[u8]) {
    let id = pair.alice().mux().open(Priority::Bulk).expect("a stream is free");
    let (mut written, mut received) = (0, Vec::new());
    let mut is_over = false;
    pair.run_until(|pair| {
        if written < bytes.len() {
            match pair.alice().mux().write(id, &bytes[written..]) {
                Ok(len) => written += len,
                Err(WriteError::Blocked) => {}
                Err(error) => panic!("{error}"),
            }
            if written == bytes.len() {
                pair.alice().mux().finish(id).expect("it is not over");
            }
            pair.drain();
        }
        while let Some(event) = pair.alice().mux().poll_event() {
            let _ = event;
        }
        is_over |= read(pair, id, &mut received);
        is_over
    });
    assert!(received == bytes, "{} of {} bytes", received.len(), bytes.len());
}

/// Reads what bob has; answers whether it was the end.
fn read(pair: &mut Pair, id: StreamId, into: &mut Vec<u8>) -> bool {
    let mux = pair.bob().mux();
    while mux.accept().is_some() {}
    let mut buffer = [0; 4096];
    let is_over = loop {
        match mux.read(id, &mut buffer) {
            Ok(0) => break true,
            Ok(len) => into.extend_from_slice(&buffer[..len]),
            Err(ReadError::Blocked | ReadError::UnknownStream) => break false,
            Err(error) => panic!("{error}"),
        }
    };
    pair.drain();
    is_over
}

fn with(connection: ConnectionConfig) -> EndpointConfig {
    EndpointConfig { connection: Arc::new(connection), ..EndpointConfig::default() }
}

#[test]
fn a_megabyte_arrives() {
    let mut pair = Pair::connected();
    transfer(&mut pair, &content(1 << 20));
    let stats = pair.alice().stats();
    assert_eq!((stats.packets_lost, stats.probes), (0, 0));
    assert_eq!(stats.rtt_min, Some(2 * pair.delay));
}

#[test]
fn a_stream_survives_loss() {
    for seed in 0..10 {
        let mut pair = Pair::connected();
        pair.lose(10, seed);
        transfer(&mut pair, &content(200_000));
    }
}

#[test]
fn every_congestion_control_carries_a_stream_over_loss() {
    for congestion in Congestion::ALL {
        let config = ConnectionConfig { congestion, ..ConnectionConfig::default() };
        let mut pair = Pair::with(with(config.clone()), with(config));
        pair.connect();
        pair.run_until(|pair| pair.is_connected());
        pair.lose(2, 1);
        transfer(&mut pair, &content(300_000));
    }
}

#[test]
fn a_connection_rides_out_a_blackhole() {
    let mut pair = Pair::connected();
    pair.passes = Box::new(|_| false);
    let id = pair.alice().mux().open(Priority::Interactive).expect("a stream is free");
    pair.alice().mux().write(id, b"hello").expect("there is room");
    pair.drain();
    pair.run_for(Duration::from_secs(8));
    pair.passes = Box::new(|_| true);
    let start = pair.now;
    let mut received = Vec::new();
    pair.run_until(|pair| {
        read(pair, id, &mut received);
        received == b"hello"
    });
    let patience = EndpointConfig::default().connection.probe_interval_max;
    assert!(pair.now - start <= patience + pair.delay);
}

#[test]
fn a_long_silence_voids_what_was_learnt_of_the_path() {
    let mut pair = Pair::connected_with_packets_of(1_200);
    transfer(&mut pair, &content(300_000));
    let before = pair.alice().stats().congestion_window;
    let id = pair.alice().mux().open(Priority::Bulk).expect("a stream is free");
    pair.passes = Box::new(|_| false);
    // Packets are sent all through the silence, so that a row of them is lost.
    for _ in 0..40 {
        pair.alice().mux().write(id, &content(100)).expect("there is room");
        pair.drain();
        pair.run_for(Duration::from_millis(50));
    }
    pair.passes = Box::new(|_| true);
    pair.run_until(|pair| pair.alice().stats().packets_lost > 0);
    let after = pair.alice().stats().congestion_window;
    assert!(after == 2 * 1200, "{before} before, {after} after");
    transfer(&mut pair, &content(300_000));
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut pair = Pair::connected_with_packets_of(1_200);
    pair.run_for(Duration::from_secs(1));
    let before = pair.alice().stats().congestion_window;
    for _ in 0..100 {
        transfer(&mut pair, &content(2_000));
    }
    assert_eq!(pair.alice().stats().congestion_window, before);
}

#[test]
fn a_lost_ack_is_repaired_by_the_next_one() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    let mut number = 0;
    pair.passes = Box::new(move |flight| {
        number += u32::from(flight.from == server_address());
        flight.from == client_address() || number % 2 == 0
    });
    let before = pair.alice().stats();
    transfer(&mut pair, &content(100_000));
    let after = pair.alice().stats();
    assert_eq!(after.packets_lost, before.packets_lost);
}

#[test]
fn a_quiet_connection_is_kept_alive_by_heartbeats_and_nothing_else() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    let before = pair.log.len();
    pair.run_for(Duration::from_secs(120));
    assert_eq!(pair.closed(), [None, None]);
    // A PING and a PONG that acknowledges it, from every five seconds to every ten.
    let sent = pair.log.len() - before;
    assert!((2 * 12..=2 * 24).contains(&sent), "{sent} datagrams");
    assert!(pair.alice().stats().heartbeat_rtt.is_some());
}

#[test]
fn acknowledgements_are_not_acknowledged() {
    let quiet = ConnectionConfig { keep_alive: Duration::ZERO, ..ConnectionConfig::default() };
    let mut pair = Pair::with(with(quiet.clone()), with(quiet));
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    transfer(&mut pair, &content(5_000));
    pair.run_for(Duration::from_secs(1));
    let before = pair.log.len();
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.log.len(), before, "silence");
}

#[test]
fn datagrams_arrive_and_the_longest_fits_into_a_packet() {
    let mut pair = Pair::connected();
    let max = pair.alice().mux().datagram_max();
    assert!(max >= 1_100, "{max}");
    for len in [0, 1, max] {
        let (now, payload) = (pair.now, Bytes::from(content(len)));
        pair.alice().mux().send_datagram(now, payload.clone(), None).expect("it fits");
        pair.drain();
        let mut received = None;
        pair.run_until(|pair| {
            received = pair.bob().mux().recv_datagram();
            received.is_some()
        });
        assert_eq!(received, Some(payload));
    }
}

#[test]
fn a_datagram_with_a_deadline_is_repaired() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    let mut number = 0;
    pair.passes = Box::new(move |flight| {
        number += u32::from(flight.from == client_address());
        flight.from == server_address() || number != 1
    });
    let (now, expires) = (pair.now, pair.now + Duration::from_secs(1));
    let payload = Bytes::from_static(b"in time");
    pair.alice().mux().send_datagram(now, payload.clone(), Some(expires)).expect("it fits");
    pair.drain();
    let mut received = None;
    pair.run_until(|pair| {
        received = pair.bob().mux().recv_datagram();
        received.is_some()
    });
    assert_eq!(received, Some(payload));
    assert!(pair.now < expires);
}

#[test]
fn keys_change_in_a_transfer_and_late_packets_of_the_old_ones_are_read() {
    let config = ConnectionConfig {
        key_update_after: 40,
        packet_limit: 1_200,
        ..ConnectionConfig::default()
    };
    let mut pair = Pair::with(with(config.clone()), with(config));
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    // Every seventh datagram is late by three of its fellows.
    let mut number = 0;
    let held = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let keep = std::rc::Rc::clone(&held);
    pair.passes = Box::new(move |flight| {
        number += 1;
        let is_late = number % 7 == 0;
        if is_late {
            keep.borrow_mut().push(flight.clone());
        }
        !is_late
    });
    let bytes = content(2_000_000);
    let id = pair.alice().mux().open(Priority::Bulk).expect("a stream is free");
    let (mut written, mut received) = (0, Vec::new());
    pair.run_until(|pair| {
        if written < bytes.len() {
            written += pair.alice().mux().write(id, &bytes[written..]).unwrap_or(0);
            pair.drain();
        }
        if held.borrow().len() > 3 {
            for flight in held.take() {
                pair.inject(flight.from, flight.to, &flight.bytes);
            }
        }
        read(pair, id, &mut received);
        received.len() == bytes.len()
    });
    assert!(received == bytes);
    let stats = pair.alice().stats();
    assert!(stats.key_updates >= 3, "{} updates", stats.key_updates);
    assert_eq!(pair.bob().stats().packets_forged, 0);
}

#[test]
fn keys_can_be_changed_by_either_side_at_once() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    for round in 1..=4_u64 {
        assert!(pair.alice().update_keys());
        assert!(pair.bob().update_keys());
        transfer(&mut pair, &content(20_000));
        pair.bob().ping();
        pair.run_for(Duration::from_secs(6));
        assert_eq!(pair.closed(), [None, None]);
        let updates = (pair.alice().stats().key_updates, pair.bob().stats().key_updates);
        assert_eq!(updates, (round, round));
    }
}

#[test]
fn a_slow_start_fills_trains_of_equal_datagrams() {
    let mut pair = Pair::connected_with_packets_of(1_200);
    pair.run_for(Duration::from_secs(1));
    let id = pair.alice().mux().open(Priority::Bulk).expect("a stream is free");
    pair.alice().mux().write(id, &content(100_000)).expect("there is room");
    let now = pair.now;
    let mut buf = Vec::new();
    let transmit = pair.alice().poll_transmit(now, &mut buf).expect("a train");
    assert_eq!(transmit.segment_size, Some(1200));
    assert!(transmit.size >= 9 * 1200, "{}", transmit.size);
}

#[test]
fn of_a_train_all_arrives_but_what_was_changed() {
    let mut pair = Pair::connected_with_packets_of(1_200);
    transfer(&mut pair, &content(1 << 20));
    pair.run_for(4 * pair.delay);
    let id = pair.alice().mux().open(Priority::Bulk).expect("a stream is free");
    pair.alice().mux().write(id, &content(40_000)).expect("there is room");
    let (now, mut train) = (pair.now, Vec::new());
    let mut trains = std::iter::from_fn(|| pair.alice().poll_transmit(now, &mut train));
    let stride = trains.find_map(|transmit| transmit.segment_size).expect("a train");
    let count = train.len().div_ceil(stride) as u64;
    assert!(count > 3, "{count} packets");
    train[2 * stride + 100] ^= 1;
    let before = pair.bob().stats();
    pair.bob().handle_train(now, client_address(), None, (&mut train, stride));
    let after = pair.bob().stats();
    assert_eq!(after.packets_received - before.packets_received, count - 1);
    assert_eq!(after.packets_forged - before.packets_forged, 1);
}
