//! How connections end.

use std::{sync::Arc, time::Duration};

use portolan_mux::{Priority, Violation, ViolationCode};

use super::pair::{Pair, alice, bob, client_address, server_address};
use crate::{
    CloseReason, Endpoint, EndpointConfig, ResetKey, Routed,
    packet::{Draft, InitNames, Level},
};

#[test]
fn the_other_side_sees_code_and_reason() {
    let mut pair = Pair::connected();
    let now = pair.now;
    pair.bob().close(now, 7, b"enough");
    pair.drain();
    pair.run_until(|pair| pair.closed().iter().all(Option::is_some));
    let reason = b"enough".to_vec();
    assert_eq!(
        pair.closed(),
        [
            Some(CloseReason::Remote { code: 7, reason: reason.clone() }),
            Some(CloseReason::Local { code: 7, reason }),
        ]
    );
    pair.run_for(Duration::from_secs(5));
    assert!(pair.alice().is_gone() && pair.bob().is_gone());
    assert_eq!(pair.client.endpoint.connections() + pair.server.endpoint.connections(), 0);
}

#[test]
fn a_lost_farewell_is_repeated_when_the_other_side_speaks() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    pair.passes = Box::new(|_| false);
    let now = pair.now;
    pair.bob().close(now, 1, b"");
    pair.drain();
    pair.passes = Box::new(|_| true);
    pair.alice().ping();
    pair.drain();
    pair.run_until(|pair| pair.closed()[0].is_some());
    assert_eq!(pair.closed()[0], Some(CloseReason::Remote { code: 1, reason: Vec::new() }));
}

#[test]
fn who_closes_is_done_as_soon_as_the_other_side_has_heard() {
    let mut pair = Pair::connected();
    let now = pair.now;
    pair.bob().close(now, 0, b"");
    pair.drain();
    pair.run_until(|pair| pair.bob().is_gone());
    assert_eq!(pair.now - now, 2 * pair.delay);
}

#[test]
fn a_lost_farewell_is_said_again_to_a_silent_remote() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    pair.passes = Box::new(|_| false);
    let now = pair.now;
    pair.bob().close(now, 1, b"");
    pair.drain();
    pair.passes = Box::new(|_| true);
    pair.run_until(|pair| pair.closed()[0].is_some());
    assert!(pair.now - now < Duration::from_secs(1));
}

#[test]
fn a_close_before_the_handshake_tells_nothing_of_the_application() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run_for(pair.delay);
    let now = pair.now;
    pair.alice().close(now, 99, b"secret");
    pair.drain();
    pair.run_until(|pair| pair.closed()[1].is_some());
    let code = ViolationCode::Application.number();
    assert_eq!(pair.closed()[1], Some(CloseReason::RemoteViolation { code, reason: Vec::new() }));
    assert!(!pair.log.iter().any(|flight| flight.bytes.windows(6).any(|text| text == b"secret")));
}

#[test]
fn a_silent_remote_is_noticed_by_both_sides() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    pair.passes = Box::new(|_| false);
    let start = pair.now;
    pair.run_until(|pair| pair.closed().iter().all(Option::is_some));
    assert_eq!(pair.closed(), [Some(CloseReason::TimedOut), Some(CloseReason::TimedOut)]);
    let idle = EndpointConfig::default().connection.idle;
    let keep_alive = EndpointConfig::default().connection.keep_alive;
    assert!(pair.now - start <= idle + keep_alive);
}

#[test]
fn a_restarted_server_tells_its_clients_at_once() {
    let key = Some(ResetKey([5; 32]));
    let config = || EndpointConfig { reset_key: key.clone(), ..EndpointConfig::default() };
    let mut pair = Pair::with(EndpointConfig::default(), config());
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    pair.run_for(Duration::from_secs(1));
    let tls = bob().server_config(portolan_identity::Alpn::Udp);
    pair.server.endpoint = Endpoint::new(Arc::new(config()), Some(tls), [99; 32]);
    pair.server.connections.clear();
    pair.alice().ping();
    pair.drain();
    pair.run_for(2 * pair.delay);
    assert_eq!(pair.closed()[0], Some(CloseReason::Reset));
    let answer = pair.log.last().expect("the reset");
    let question = &pair.log[pair.log.len() - 2];
    assert_eq!((answer.from, question.from), (server_address(), client_address()));
    assert!(answer.bytes.len() < question.bytes.len());
}

#[test]
fn another_server_cannot_reset_a_connection() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    let tls = bob().server_config(portolan_identity::Alpn::Udp);
    pair.server.endpoint = Endpoint::new(Arc::default(), Some(tls), [99; 32]);
    pair.server.connections.clear();
    pair.alice().ping();
    pair.drain();
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.closed()[0], None);
}

#[test]
fn two_endpoints_without_memory_fall_silent() {
    let tls = bob().server_config(portolan_identity::Alpn::Udp);
    let mut one = Endpoint::new(Arc::default(), Some(Arc::clone(&tls)), [1; 32]);
    let mut other = Endpoint::new(Arc::default(), Some(tls), [2; 32]);
    let now = super::epoch();
    let mut bytes = vec![0b1010_0000; 1200];
    for round in 0.. {
        assert!(round < 50, "they go on for ever");
        if !matches!(one.handle_datagram(now, server_address(), None, &mut bytes), Routed::Replied)
        {
            break;
        }
        let len = bytes.len();
        one.poll_transmit(&mut bytes).expect("a reply");
        assert!(bytes.len() < len);
        std::mem::swap(&mut one, &mut other);
    }
}

#[test]
fn garbage_and_replays_do_not_harm_a_connection() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    for flight in pair.log.clone() {
        pair.inject(flight.from, flight.to, &flight.bytes);
        for at in [0, 1, 12, flight.bytes.len() - 1] {
            let mut damaged = flight.bytes.clone();
            damaged[at] ^= 0x10;
            pair.inject(flight.from, flight.to, &damaged);
        }
    }
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.closed()[0], None);
    assert_eq!(pair.server.connections[0].closed, None);
    let id = pair.alice().mux().open(Priority::Control).expect("a stream is free");
    pair.alice().mux().write(id, b"still here").expect("there is room");
    pair.drain();
    pair.run_until(|pair| {
        let mut buffer = [0; 20];
        let first = &mut pair.server.connections[0].machine;
        first.mux().read(id, &mut buffer) == Ok(10)
    });
}

/// A client that says at the Handshake level what it may not.
#[test]
fn an_acknowledgement_of_what_was_never_sent_is_a_violation() {
    let mut pair = Pair::connected();
    let now = pair.now;
    let mut buf = Vec::new();
    let draft = pair.alice().draft(Level::Data, &mut buf);
    buf.extend_from_slice(&[0x02, 0x40, 0xff, 0, 0, 0]);
    pair.alice().seal(&draft, &mut buf);
    pair.inject(client_address(), server_address(), &buf);
    assert!(now == pair.now);
    let [_, server] = pair.closed();
    let Some(CloseReason::Violation(Violation { code, .. })) = server else { panic!("{server:?}") };
    assert_eq!(code, ViolationCode::ProtocolViolation);
    pair.run_until(|pair| pair.closed()[0].is_some());
    let [client, _] = pair.closed();
    let Some(CloseReason::RemoteViolation { code, .. }) = client else { panic!("{client:?}") };
    assert_eq!(code, ViolationCode::ProtocolViolation.number());
}

#[test]
fn a_remote_that_fills_the_handshake_buffers_is_bounded() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run_for(pair.delay);
    let config = EndpointConfig::default().connection;
    // Pieces with gaps, as far ahead as they are taken.
    let names = {
        let Some(crate::packet::Header::Init(init)) =
            crate::packet::Header::parse(&pair.log[0].bytes)
        else {
            panic!("no Init")
        };
        (init.destination, init.source)
    };
    for number in 100..10_000_u64 {
        let mut bytes = Vec::new();
        let (destination, source) = names;
        let names = InitNames { destination, source, token: b"" };
        let draft = Draft::init(&mut bytes, names, number, Some(number - 1));
        let offset = (number * 131) % 40_000;
        bytes.push(0x06);
        portolan_mux::put_varint(&mut bytes, offset);
        bytes.extend_from_slice(&[1, 0]);
        bytes.resize(1_100, 0);
        draft.close(&mut bytes);
        super::integrity().seal(&mut bytes, 0);
        bytes.resize(1_200, 0);
        pair.inject(client_address(), server_address(), &bytes);
        let held = pair.bob().memory();
        assert!(held <= config.memory_max(), "{held} bytes");
        assert!(held <= 128 << 10, "{held} bytes");
    }
    let _ = alice();
}
