//! Connections whose ends change their addresses.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use portolan_mux::{Priority, ReadError, Side, StreamId, WriteError};

use super::{
    pair::{Flight, Pair, client_address, server_address},
    streams::{content, transfer},
};
use crate::{
    CloseReason, Connection, ConnectionId, EndpointConfig, MigrationError, PathEvent, ResetKey,
    Route, SocketId,
};

const MS: Duration = Duration::from_millis(1);

/// The same host behind another port.
fn other_port() -> SocketAddr {
    ([10, 0, 0, 1], 2000).into()
}

/// Another network.
fn elsewhere() -> SocketAddr {
    ([192, 168, 7, 7], 3000).into()
}

fn of(pair: &mut Pair, side: Side) -> &mut Connection {
    match side {
        Side::Client => pair.alice(),
        Side::Server => pair.bob(),
    }
}

/// A transfer under way, and when its bytes came.
struct Flow {
    id: StreamId,
    writer: Side,
    bytes: Vec<u8>,
    written: usize,
    received: Vec<u8>,
    came: Vec<(Instant, usize)>,
    is_over: bool,
}

impl Flow {
    fn begin(pair: &mut Pair, writer: Side, len: usize) -> Self {
        let id = of(pair, writer).mux().open(Priority::Bulk).expect("a stream is free");
        let (bytes, received, came) = (content(len), Vec::new(), Vec::new());
        Self { id, writer, bytes, written: 0, received, came, is_over: false }
    }

    /// Writes and reads what it can.
    fn go(&mut self, pair: &mut Pair) {
        let mux = of(pair, self.writer).mux();
        while mux.poll_event().is_some() {}
        while self.written < self.bytes.len() {
            match mux.write(self.id, &self.bytes[self.written..]) {
                Ok(len) => self.written += len,
                Err(WriteError::Blocked) => break,
                Err(error) => panic!("{error}"),
            }
            if self.written == self.bytes.len() {
                mux.finish(self.id).expect("it is not over");
            }
        }
        pair.drain();
        self.read(pair);
        pair.drain();
    }

    fn read(&mut self, pair: &mut Pair) {
        let now = pair.now;
        let mux = of(pair, self.writer.other()).mux();
        while mux.poll_event().is_some() {}
        while mux.accept().is_some() {}
        let mut buffer = [0; 4096];
        loop {
            match mux.read(self.id, &mut buffer) {
                Ok(0) => self.is_over = true,
                Ok(len) => {
                    self.received.extend_from_slice(&buffer[..len]);
                    self.came.push((now, len));
                    continue;
                }
                Err(ReadError::Blocked | ReadError::UnknownStream) => {}
                Err(error) => panic!("{error}"),
            }
            return;
        }
    }

    fn run_to(&mut self, pair: &mut Pair, len: usize) {
        pair.run_until(|pair| {
            self.go(pair);
            self.received.len() >= len
        });
    }

    fn finish(&mut self, pair: &mut Pair) {
        pair.run_until(|pair| {
            self.go(pair);
            self.is_over
        });
        assert!(self.received == self.bytes, "{} bytes came", self.received.len());
    }

    /// How long nothing came after `since`.
    fn gap_after(&self, since: Instant) -> Duration {
        let next = self.came.iter().find(|(at, _)| *at > since).expect("something came");
        next.0 - since
    }
}

fn names_on(flights: &[Flight], from: SocketAddr, to: SocketAddr) -> Vec<ConnectionId> {
    let on_path = flights.iter().filter(|flight| (flight.from, flight.to) == (from, to));
    let data = on_path.filter(|flight| flight.bytes[0] & 0b1111_0000 == 0b1010_0000);
    let mut names: Vec<_> = data
        .map(|flight| ConnectionId(*flight.bytes[1..].first_chunk().expect("a name")))
        .collect();
    names.sort_unstable_by_key(|name| name.0);
    names.dedup();
    names
}

fn paths(pair: &Pair, side: Side) -> &[PathEvent] {
    match side {
        Side::Client => &pair.client.connections[0].paths,
        Side::Server => &pair.server.connections[0].paths,
    }
}

#[test]
fn an_upload_goes_on_when_a_translator_gives_another_port() {
    for to in [other_port(), elsewhere()] {
        let mut pair = Pair::connected();
        let mut flow = Flow::begin(&mut pair, Side::Client, 2 << 20);
        flow.run_to(&mut pair, 1 << 20);
        pair.rebind_client(to);
        let moved = pair.now;
        flow.finish(&mut pair);
        assert!(flow.gap_after(moved) <= 2 * 2 * pair.delay + 50 * MS);
        assert_eq!(pair.bob().remote_addr(), to);
        assert_eq!(pair.bob().stats().path_changes, 1);
    }
}

#[test]
fn a_download_goes_on_when_a_translator_gives_another_port() {
    for to in [other_port(), elsewhere()] {
        for delay in [5, 20, 60, 150] {
            let mut pair = Pair::connected_after(delay * MS);
            let mut flow = Flow::begin(&mut pair, Side::Server, 6 << 20);
            flow.run_to(&mut pair, 3 << 20);
            pair.rebind_client(to);
            let (moved, rtt) = (pair.now, 2 * pair.delay);
            flow.finish(&mut pair);
            let gap = flow.gap_after(moved);
            assert!(gap <= 2 * rtt + 50 * MS, "{gap:?} at {rtt:?}");
            assert_eq!(pair.bob().remote_addr(), to);
        }
    }
}

#[test]
fn an_address_that_has_not_proved_itself_gets_three_times_what_it_sent() {
    let mut pair = Pair::connected();
    let mut flow = Flow::begin(&mut pair, Side::Server, 2 << 20);
    flow.run_to(&mut pair, 1 << 20);
    pair.rebind_client(elsewhere());
    // The new address hears nothing, as if it were not the client's.
    pair.passes = Box::new(|flight| flight.to != elsewhere());
    pair.alice().ping();
    for _ in 0..2_000 {
        flow.go(&mut pair);
        pair.step();
        let sent = pair.bytes_sent(server_address(), elsewhere());
        let came = pair.bytes_sent(elsewhere(), server_address());
        assert!(sent <= 3 * came, "{sent} bytes for {came}");
    }
    assert!(pair.bytes_sent(server_address(), elsewhere()) > 0);
}

#[test]
fn who_does_not_answer_at_the_new_address_is_taken_to_be_at_the_old_one() {
    let mut pair = Pair::connected();
    transfer(&mut pair, &content(100_000));
    // Somebody repeats one of alice's packets from elsewhere, faster than she.
    pair.alice().ping();
    pair.passes = Box::new(|_| false);
    let before = pair.log.len();
    pair.drain();
    let stolen = pair.log[before].bytes.clone();
    pair.passes = Box::new(|flight| flight.to != elsewhere());
    pair.inject(elsewhere(), server_address(), &stolen);
    assert_eq!(pair.bob().remote_addr(), elsewhere());
    let now = pair.now;
    pair.run_until(|pair| pair.bob().remote_addr() == client_address());
    // She is asked where she is, and answers.
    assert!(pair.now - now <= 3 * pair.delay);
    transfer(&mut pair, &content(100_000));
    assert!(pair.bytes_sent(server_address(), elsewhere()) <= 3 * stolen.len());
}

#[test]
fn a_spoofed_move_of_a_silent_client_ends_when_its_time_is_over() {
    let mut pair = Pair::connected();
    transfer(&mut pair, &content(100_000));
    pair.alice().ping();
    pair.passes = Box::new(|_| false);
    let before = pair.log.len();
    pair.drain();
    let stolen = pair.log[before].bytes.clone();
    // Neither hears anything.
    pair.inject(elsewhere(), server_address(), &stolen);
    assert_eq!(pair.bob().remote_addr(), elsewhere());
    let now = pair.now;
    pair.run_until(|pair| pair.bob().remote_addr() == client_address());
    assert!(pair.now - now <= Duration::from_secs(4), "{:?}", pair.now - now);
    pair.passes = Box::new(|_| true);
    transfer(&mut pair, &content(100_000));
    assert_eq!(pair.closed(), [None, None]);
}

#[test]
fn a_late_packet_of_the_old_path_does_not_lead_back() {
    let mut pair = Pair::connected();
    pair.alice().ping();
    pair.passes = Box::new(|_| false);
    let before = pair.log.len();
    pair.drain();
    let late = pair.log[before].bytes.clone();
    pair.passes = Box::new(|_| true);
    pair.rebind_client(other_port());
    transfer(&mut pair, &content(50_000));
    pair.inject(client_address(), server_address(), &late);
    pair.run_for(200 * MS);
    assert_eq!(pair.bob().remote_addr(), other_port());
    assert_eq!(pair.bob().stats().path_changes, 1);
}

#[test]
fn a_client_that_moves_to_another_network_is_called_by_other_names() {
    let mut pair = Pair::connected();
    transfer(&mut pair, &content(10_000));
    let before = pair.log.len();
    pair.rebind_client(elsewhere());
    let now = pair.now;
    pair.alice().local_address_changed(now);
    pair.drain();
    transfer(&mut pair, &content(300_000));
    let (old, new) = pair.log.split_at(before);
    for (from, to) in [(true, false), (false, true)] {
        let end = |client, address| if client { address } else { server_address() };
        let on = |flights, address| names_on(flights, end(from, address), end(to, address));
        let (old, new) = (on(old, client_address()), on(new, elsewhere()));
        assert!(!old.is_empty() && !new.is_empty());
        assert!(old.iter().all(|name| !new.contains(name)), "{old:?} and {new:?}");
    }
}

#[test]
fn a_second_move_before_the_first_is_proved_ends_no_name_in_use() {
    let mut pair = Pair::connected();
    transfer(&mut pair, &content(10_000));
    pair.rebind_client(elsewhere());
    let now = pair.now;
    pair.alice().local_address_changed(now);
    pair.drain();
    pair.run_for(pair.delay / 2);
    pair.rebind_client(other_port());
    transfer(&mut pair, &content(500_000));
    assert_eq!(pair.bob().remote_addr(), other_port());
    assert_eq!(pair.closed(), [None, None]);
}

#[test]
fn names_do_not_run_out() {
    let mut pair = Pair::connected();
    for port in 2_000..2_020 {
        transfer(&mut pair, &content(5_000));
        let before = pair.log.len();
        let address = ([10, 0, 0, 1], port).into();
        pair.rebind_client(address);
        let now = pair.now;
        pair.alice().local_address_changed(now);
        pair.drain();
        transfer(&mut pair, &content(5_000));
        let (old, new) = pair.log.split_at(before);
        let earlier = old.iter().map(|flight| flight.from).collect::<Vec<_>>();
        let known: Vec<_> =
            earlier.iter().flat_map(|from| names_on(old, *from, server_address())).collect();
        let now = names_on(new, address, server_address());
        assert!(!now.is_empty() && now.iter().all(|name| !known.contains(name)));
    }
    assert_eq!(pair.bob().stats().path_changes, 20);
}

#[test]
fn a_client_tries_a_second_path_and_moves_without_a_gap() {
    for writer in [Side::Client, Side::Server] {
        let mut pair = Pair::connected();
        pair.client.further.push(elsewhere());
        let mut flow = Flow::begin(&mut pair, writer, 2 << 20);
        flow.run_to(&mut pair, 200_000);
        let route = Route { socket: SocketId(1), remote: server_address() };
        let now = pair.now;
        assert_eq!(pair.alice().migrate_to(now, route), Err(MigrationError::NotProbed));
        pair.alice().probe_path(now, route).expect("there are names");
        pair.run_until(|pair| {
            flow.go(pair);
            paths(pair, Side::Client).contains(&PathEvent::Works(route))
        });
        assert_eq!(pair.now - now, 2 * pair.delay, "one round trip");
        assert_eq!(pair.bob().remote_addr(), client_address(), "it was only tried");
        flow.run_to(&mut pair, 1 << 20);
        let now = pair.now;
        pair.alice().migrate_to(now, route).expect("it works");
        pair.drain();
        flow.finish(&mut pair);
        assert!(flow.gap_after(now) <= 2 * pair.delay, "{:?}", flow.gap_after(now));
        assert_eq!(pair.bob().remote_addr(), elsewhere());
        assert_eq!(pair.alice().route(), route);
    }
}

#[test]
fn a_path_that_does_not_answer_is_given_up_and_the_old_one_stays() {
    let mut pair = Pair::connected();
    pair.client.further.push(elsewhere());
    pair.passes = Box::new(|flight| flight.from != elsewhere());
    let route = Route { socket: SocketId(1), remote: server_address() };
    transfer(&mut pair, &content(10_000));
    let now = pair.now;
    pair.alice().probe_path(now, route).expect("there are names");
    pair.drain();
    pair.run_until(|pair| !paths(pair, Side::Client).is_empty());
    assert_eq!(paths(&pair, Side::Client), [PathEvent::Fails(route)]);
    assert!(pair.now - now <= Duration::from_secs(4));
    transfer(&mut pair, &content(10_000));
    assert_eq!(pair.bob().stats().path_changes, 0);
    let again = pair.now;
    assert_eq!(pair.alice().probe_path(again, route), Ok(()));
}

#[test]
fn servers_do_not_move_and_nobody_does_before_the_handshake_is_confirmed() {
    let mut pair = Pair::new();
    pair.connect();
    let route = Route::from(server_address());
    let now = pair.now;
    assert_eq!(pair.alice().probe_path(now, route), Err(MigrationError::NotEstablished));
    pair.run_until(|pair| pair.is_connected());
    let now = pair.now;
    assert_eq!(pair.bob().probe_path(now, route), Err(MigrationError::Server));
    assert_eq!(pair.bob().migrate_to(now, route), Err(MigrationError::Server));
}

#[test]
fn a_client_that_moves_in_mid_handshake_is_another_client() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run_for(pair.delay + MS);
    pair.rebind_client(other_port());
    pair.run_until(|pair| pair.is_connected());
    assert_eq!(pair.server.connections.len(), 2);
    transfer(&mut pair, &content(10_000));
    assert_eq!(pair.bob().stats().path_changes, 0);
}

#[test]
fn another_port_keeps_what_was_learnt_of_the_path_and_another_host_does_not() {
    for (to, keeps) in [(other_port(), true), (elsewhere(), false)] {
        let mut pair = Pair::connected();
        let mut flow = Flow::begin(&mut pair, Side::Server, 4 << 20);
        flow.run_to(&mut pair, 3 << 20);
        let before = pair.bob().stats();
        pair.rebind_client(to);
        pair.alice().ping();
        pair.run_until(|pair| pair.bob().remote_addr() == to);
        let after = pair.bob().stats();
        assert_eq!(after.rtt.is_some(), keeps);
        assert_eq!(after.packet_size == before.packet_size, keeps);
        assert_eq!(after.congestion_window >= before.congestion_window / 2, keeps);
        flow.finish(&mut pair);
    }
}

#[test]
fn a_server_that_has_forgotten_says_so_under_a_later_name_too() {
    let reset_key = Some(ResetKey([5; 32]));
    let server = EndpointConfig { reset_key, ..EndpointConfig::default() };
    let mut pair = Pair::with(EndpointConfig::default(), server.clone());
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    transfer(&mut pair, &content(10_000));
    pair.rebind_client(elsewhere());
    let now = pair.now;
    pair.alice().local_address_changed(now);
    pair.drain();
    transfer(&mut pair, &content(10_000));
    pair.restart_server(server);
    pair.alice().ping();
    pair.drain();
    pair.run_until(|pair| pair.closed()[0].is_some());
    assert_eq!(pair.closed()[0], Some(CloseReason::Reset));
}
