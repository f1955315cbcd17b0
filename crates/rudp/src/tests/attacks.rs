//! Remotes that hold the keys and break the rules, and strangers who knock without end.

use std::time::Duration;

use portolan_mux::{Priority, Violation, ViolationCode};

use super::pair::{Pair, client_address, server_address};
use crate::{CloseReason, ConnectionConfig, EndpointConfig, packet::Level};

/// The client says `frames` in a packet of the Data level.
fn say(pair: &mut Pair, frames: &[u8]) {
    let packet = seal(pair, frames);
    pair.inject(client_address(), server_address(), &packet);
}

/// A packet of the client's that is not sent yet.
fn seal(pair: &mut Pair, frames: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let draft = pair.alice().draft(Level::Data, &mut packet);
    packet.extend_from_slice(frames);
    // The sample of the header's protection needs some length.
    packet.resize(packet.len().max(draft.payload_at + 4), 0);
    pair.alice().seal(&draft, &mut packet);
    packet
}

/// An ACK of everything from nought to `largest`.
fn ack_all(largest: u64) -> Vec<u8> {
    let mut frame = vec![0x02];
    for value in [largest, 0, 0, largest] {
        frame.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes());
    }
    frame
}

/// Bytes that an application that always has more to say has said so far.
fn feed_bob(pair: &mut Pair) {
    let id = pair.bob().mux().open(Priority::Bulk).expect("a stream is free");
    let megabyte = vec![7; 1 << 20];
    while pair.bob().mux().write(id, &megabyte).is_ok_and(|written| written > 0) {}
    pair.drain();
}

#[test]
fn who_acknowledges_what_it_has_not_received_is_caught_and_cannot_drive_the_sender() {
    let mut pair = Pair::connected();
    // The client receives nothing, and claims all of it at once, with perfect knowledge of what
    // was sent last.
    pair.passes = Box::new(|flight| flight.from == client_address());
    feed_bob(&mut pair);
    let mut sent = 0;
    for _ in 0..10_000 {
        if pair.closed()[1].is_some() {
            break;
        }
        let largest = pair.bob().draft(Level::Data, &mut Vec::new()).number - 1;
        sent = largest;
        say(&mut pair, &ack_all(largest));
        pair.run_for(Duration::from_millis(5));
    }
    let [_, server] = pair.closed();
    let Some(CloseReason::Violation(Violation { code, .. })) = server else { panic!("{server:?}") };
    assert_eq!(code, ViolationCode::ProtocolViolation);
    assert!(sent < 500, "it took {sent} packets");
}

#[test]
fn a_flood_of_questions_gets_no_more_answers_than_it_has_packets() {
    let mut pair = Pair::connected();
    let before = pair.bytes_sent(server_address(), client_address());
    let path_challenges = [0x1a, 1, 2, 3, 4, 5, 6, 7, 8].repeat(100);
    let pings = [0x38, 1].repeat(500);
    let probes = vec![0x01; 1_000];
    let mut said = 0;
    for frames in [path_challenges, pings, probes] {
        for _ in 0..100 {
            said += frames.len();
            say(&mut pair, &frames);
        }
    }
    pair.run_for(Duration::from_millis(100));
    let answered = pair.bytes_sent(server_address(), client_address()) - before;
    assert!(answered < said / 4, "{answered} bytes for {said}");
    let memory_max = EndpointConfig::default().connection.memory_max();
    assert!(pair.bob().memory() <= memory_max);
    assert_eq!(pair.closed(), [None, None]);
}

#[test]
fn packets_with_gaps_between_them_make_nobody_remember_more_than_the_bound() {
    let mut pair = Pair::connected();
    for _ in 0..5_000 {
        // Every second packet only: each is a range of its own.
        seal(&mut pair, &[0x01]);
        say(&mut pair, &[0x01]);
    }
    let config = ConnectionConfig::default();
    assert!(pair.bob().memory() <= config.memory_max());
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.closed()[1], None);
}

#[test]
fn a_client_that_asks_for_ever_and_never_finishes_is_forgotten_in_time() {
    let mut pair = Pair::new();
    // Nothing that the server says arrives, so that the client says its first words again and
    // again; when it has given up, another begins.
    pair.passes = Box::new(|flight| flight.from == client_address());
    let patience = ConnectionConfig::default().handshake;
    for _ in 0..5 {
        pair.connect();
        pair.run_for(patience);
        assert!(pair.server.endpoint.half_open() <= 2, "the last one and the one before");
    }
    pair.run_for(2 * patience);
    assert_eq!((pair.server.endpoint.half_open(), pair.server.endpoint.connections()), (0, 0));
}

#[test]
fn a_stranger_who_repeats_what_it_heard_makes_a_server_say_nothing_new() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    let heard: Vec<_> =
        pair.log.iter().filter(|flight| flight.from == client_address()).cloned().collect();
    let before = pair.bytes_sent(server_address(), client_address());
    let connections = pair.server.endpoint.connections();
    let mut said = 0;
    for _ in 0..100 {
        for flight in &heard {
            said += flight.bytes.len();
            pair.inject(flight.from, flight.to, &flight.bytes);
        }
    }
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server.endpoint.connections(), connections, "a replayed Init begins nothing");
    let answered = pair.bytes_sent(server_address(), client_address()) - before;
    assert!(answered < said / 10, "{answered} bytes for {said}");
    assert_eq!(pair.closed(), [None, None]);
}
