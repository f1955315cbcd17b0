//! How connections begin.

use std::time::Duration;

use portolan_identity::{Expect, Identity, is_wrong_peer, remote_id};

use super::pair::{Pair, alice, bob, client_address, server_address};
use crate::{CloseReason, CookiePolicy, EndpointConfig, RateLimit, packet::DATAGRAM_MIN};

fn always() -> EndpointConfig {
    EndpointConfig { cookies: CookiePolicy::Always, ..EndpointConfig::default() }
}

#[test]
fn both_sides_prove_their_keys_in_one_round_trip() {
    let mut pair = Pair::new();
    pair.connect();
    let start = pair.now;
    pair.run_until(|pair| pair.client.connections[0].is_connected);
    assert_eq!(pair.now - start, 2 * pair.delay);
    pair.run_until(|pair| pair.is_connected());
    assert_eq!(pair.now - start, 3 * pair.delay);
    assert_eq!(remote_id(pair.alice().remote_certificates()), Ok(bob().id()));
    assert_eq!(remote_id(pair.bob().remote_certificates()), Ok(alice().id()));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.closed(), [None, None]);
}

#[test]
fn a_cookie_costs_one_round_trip_more_and_no_memory() {
    let mut pair = Pair::with(EndpointConfig::default(), always());
    pair.connect();
    let start = pair.now;
    pair.run_for(2 * pair.delay - Duration::from_millis(1));
    assert_eq!(pair.server.endpoint.connections(), 0);
    pair.run_until(|pair| pair.is_connected());
    assert_eq!(pair.now - start, 5 * pair.delay);
}

#[test]
fn an_answer_is_never_longer_than_three_times_the_question() {
    for config in [EndpointConfig::default(), always()] {
        let mut pair = Pair::with(EndpointConfig::default(), config);
        // The client is never heard again after its first datagrams.
        let mut heard = 0;
        pair.passes = Box::new(move |flight| {
            heard += usize::from(flight.from == client_address());
            flight.from == client_address() && heard <= 2
        });
        pair.connect();
        pair.run_for(Duration::from_secs(15));
        let received = 2 * usize::from(DATAGRAM_MIN);
        assert!(pair.bytes_sent(server_address(), client_address()) <= 3 * received);
    }
}

#[test]
fn a_handshake_survives_any_loss() {
    for cookies in [CookiePolicy::Always, CookiePolicy::Above(100)] {
        for seed in 0..60 {
            let config = EndpointConfig { cookies, ..EndpointConfig::default() };
            let mut pair = Pair::with(EndpointConfig::default(), config);
            pair.lose(30, seed);
            pair.connect();
            pair.run_until(|pair| pair.is_connected() || pair.closed() != [None, None]);
            assert!(pair.is_connected(), "SEED={seed}: {:?}", pair.closed());
        }
    }
}

#[test]
fn a_client_probes_until_it_is_confirmed() {
    // The server's only answer is lost, then everything is heard.
    let mut pair = Pair::new();
    let mut lost = 0;
    pair.passes = Box::new(move |flight| {
        lost += usize::from(flight.from == server_address());
        flight.from == client_address() || lost > 3
    });
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
}

#[test]
fn a_lost_finished_is_sent_again_although_nothing_else_is() {
    let mut pair = Pair::new();
    let mut sent = 0;
    pair.passes = Box::new(move |flight| {
        sent += usize::from(flight.from == client_address());
        // The two of the ClientHello pass, the next two do not.
        flight.from == server_address() || !(3..=4).contains(&sent)
    });
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
}

#[test]
fn a_server_says_again_that_it_is_done() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run_until(|pair| pair.client.connections[0].is_connected);
    let mut lost = 0;
    pair.passes = Box::new(move |flight| {
        lost += usize::from(flight.from == server_address());
        flight.from == client_address() || lost > 2
    });
    pair.run_until(|pair| pair.is_connected());
    pair.run_until(|pair| pair.alice().is_confirmed());
}

#[test]
fn another_key_than_the_expected_one_is_refused_on_both_sides() {
    let mut pair = Pair::new();
    pair.connect_expecting(&Expect::Id(Identity::from_seed([9; 32]).id()));
    pair.run_until(|pair| pair.closed().iter().all(Option::is_some));
    let [client, server] = pair.closed();
    let Some(CloseReason::Handshake(error)) = client else { panic!("{client:?}") };
    assert!(is_wrong_peer(&error));
    let Some(CloseReason::RemoteHandshake(alert)) = server else { panic!("{server:?}") };
    assert_eq!(alert, rustls::AlertDescription::AccessDenied);
}

#[test]
fn a_resumed_session_still_knows_the_remote_key() {
    use rustls::HandshakeKind;

    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    pair.connect();
    pair.run_until(|pair| pair.server.connections.len() == 2 && pair.is_connected());
    assert_eq!(pair.alice().handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(remote_id(pair.alice().remote_certificates()), Ok(bob().id()));
    assert_eq!(remote_id(pair.bob().remote_certificates()), Ok(alice().id()));
}

#[test]
fn each_flight_of_a_handshake_is_one_train() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run_until(|pair| pair.alice().is_confirmed());
    let flight = |from| {
        let mut times: Vec<_> = pair.log.iter().filter(|each| each.from == from).collect();
        times.dedup_by_key(|each| each.at);
        times.len()
    };
    // The question, the proof; the answer, that it is done. Key shares are longer than a packet.
    assert_eq!((flight(client_address()), flight(server_address())), (2, 2));
    let total = pair.log.len();
    assert_eq!(total, 6, "two packets for each side's first words");
}

#[test]
fn what_is_known_of_the_remote_outlives_the_handshake() {
    let mut pair = Pair::connected();
    let quiet = 3 * EndpointConfig::default().connection.keep_alive;
    pair.run_for(quiet);
    assert_eq!(pair.alice().handshake_kind(), Some(rustls::HandshakeKind::Full));
    assert_eq!(remote_id(pair.alice().remote_certificates()), Ok(bob().id()));
    assert_eq!(remote_id(pair.bob().remote_certificates()), Ok(alice().id()));
    assert!(pair.alice().update_keys());
    pair.alice().ping();
    pair.run_for(quiet);
    assert_eq!([pair.alice().stats().key_updates, pair.bob().stats().key_updates], [1, 1]);
    assert_eq!(pair.closed(), [None, None]);
}

#[test]
fn handshake_bytes_of_a_client_after_the_handshake_end_the_connection() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    pair.alice().speak_out_of_turn(b"one more word");
    pair.alice().ping();
    pair.run_until(|pair| pair.closed().iter().all(Option::is_some));
    let [_, server] = pair.closed();
    let Some(CloseReason::Violation(violation)) = server else { panic!("{server:?}") };
    assert_eq!(violation.code, portolan_mux::ViolationCode::ProtocolViolation);
}

#[test]
fn nobody_there_is_a_time_out() {
    let mut pair = Pair::new();
    pair.passes = Box::new(|_| false);
    pair.connect();
    let start = pair.now;
    pair.run_until(|pair| pair.closed()[0].is_some());
    assert_eq!(pair.closed()[0], Some(CloseReason::HandshakeTimedOut));
    assert_eq!(pair.now - start, EndpointConfig::default().connection.handshake);
}

#[test]
fn a_short_init_datagram_is_not_looked_at() {
    let mut pair = Pair::new();
    pair.passes = Box::new(|_| false);
    pair.connect();
    let mut hello = pair.log[0].bytes.clone();
    while hello.len() >= DATAGRAM_MIN.into() {
        hello.pop();
    }
    pair.inject(client_address(), server_address(), &hello);
    assert_eq!(pair.server.endpoint.connections(), 0);
}

#[test]
fn the_same_client_is_accepted_once() {
    let mut pair = Pair::new();
    pair.connect();
    for flight in pair.log.clone() {
        for _ in 0..3 {
            pair.inject(flight.from, flight.to, &flight.bytes);
        }
    }
    assert_eq!(pair.server.endpoint.connections(), 1);
    pair.run_until(|pair| pair.is_connected());
}

#[test]
fn a_damaged_init_packet_changes_nothing() {
    let mut pair = Pair::new();
    pair.connect();
    let hello = pair.log[0].clone();
    for at in (1..hello.bytes.len()).step_by(7) {
        let mut damaged = hello.bytes.clone();
        damaged[at] ^= 1;
        pair.inject(hello.from, hello.to, &damaged);
    }
    assert_eq!(pair.server.endpoint.connections(), 0);
    pair.run_until(|pair| pair.is_connected());
}

#[test]
fn a_full_server_refuses() {
    let config = EndpointConfig { connections: 1, ..always() };
    let mut pair = Pair::with(EndpointConfig::default(), config);
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    pair.connect();
    pair.run_until(|pair| pair.closed()[0].is_some());
    let [client, _] = pair.closed();
    assert!(matches!(client, Some(CloseReason::Refused { .. })), "{client:?}");
}

#[test]
fn a_flood_of_clients_is_asked_for_proof() {
    let config = EndpointConfig { cookies: CookiePolicy::Above(3), ..EndpointConfig::default() };
    let mut pair = Pair::with(EndpointConfig::default(), config);
    pair.passes = Box::new(|flight| flight.from == client_address());
    for _ in 0..10 {
        pair.connect();
    }
    pair.run_for(pair.delay);
    assert_eq!(pair.server.endpoint.half_open(), 3);
    pair.passes = Box::new(|_| true);
    pair.run_until(|pair| pair.client.connections.iter().all(|client| client.is_connected));
    pair.run_until(|pair| pair.server.connections.len() == 10 && pair.is_connected());
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server.endpoint.half_open(), 0);
}

#[test]
fn half_open_connections_are_forgotten_in_time() {
    let mut pair = Pair::new();
    pair.passes = Box::new(|flight| flight.from == client_address());
    pair.connect();
    pair.run_for(Duration::from_secs(25));
    assert_eq!(pair.server.endpoint.connections(), 0);
    assert_eq!(pair.client.endpoint.connections(), 0);
}

#[test]
fn a_forged_retry_costs_a_round_trip_and_no_more() {
    use crate::packet::{Header, put_retry};

    let mut pair = Pair::new();
    pair.passes = Box::new(|_| false);
    pair.connect();
    let start = pair.now;
    let Some(Header::Init(init)) = Header::parse(&pair.log[0].bytes) else { panic!("no Init") };
    let mut retry = Vec::new();
    put_retry(&mut retry, init.source, init.destination, b"not the server's token");
    super::integrity().seal(&mut retry, 0);
    pair.passes = Box::new(|_| true);
    pair.inject(server_address(), client_address(), &retry);
    pair.run_until(|pair| pair.is_connected());
    assert_eq!(pair.now - start, 3 * pair.delay);
}

#[test]
fn a_late_copy_of_a_question_that_was_answered_by_a_retry_may_be_accepted() {
    let openings = RateLimit { per_second: 100, burst: 1 };
    let mut pair =
        Pair::with(EndpointConfig::default(), EndpointConfig { openings, ..Default::default() });
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    // The only token is spent by someone else on this host just before.
    pair.connect();
    let first = pair.log.last().expect("an Init").bytes.clone();
    pair.connect();
    let question = pair.log.last().expect("an Init").bytes.clone();
    assert_ne!(first, question);
    pair.run_for(2 * pair.delay + Duration::from_millis(1));
    // The Retry has arrived and is answered; a copy of the first question comes before that.
    pair.inject(client_address(), server_address(), &question);
    pair.run_until(|pair| pair.is_connected() || pair.closed() != [None, None]);
    assert_eq!(pair.closed(), [None, None]);
}

#[test]
fn another_version_is_answered_and_named() {
    use crate::packet::{Header, put_versions};

    let mut pair = Pair::new();
    pair.passes = Box::new(|_| false);
    pair.connect();
    let Some(Header::Init(init)) = Header::parse(&pair.log[0].bytes) else { panic!("no Init") };
    let mut later = pair.log[0].bytes.clone();
    later[1] = 77;
    pair.inject(client_address(), server_address(), &later);
    assert_eq!(pair.server.endpoint.connections(), 0);
    let answer = &pair.log.last().expect("an answer").bytes;
    assert!(matches!(Header::parse(answer), Some(Header::Versions { .. })));
    let mut versions = Vec::new();
    put_versions(&mut versions, init.source, init.destination, &[77]);
    super::integrity().seal(&mut versions, 0);
    pair.inject(server_address(), client_address(), &versions);
    assert_eq!(pair.closed()[0], Some(CloseReason::Version { offered: vec![77] }));
}
