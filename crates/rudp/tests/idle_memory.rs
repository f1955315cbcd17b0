//! What idle connections hold, counted at the allocator.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_identity::{Alpn, Expect, Identity};
use portolan_rudp::{
    Connection, ConnectionHandle, Endpoint, EndpointConfig, Event, RateLimit, Routed,
};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Connections, so many that what is there once does not count.
const CONNECTIONS: usize = 100;

/// Bytes that an idle connection may hold at either end. What the provider's C code allocates for
/// its keys is not seen here: about another KiB.
const IDLE_MAX: usize = 7 << 10;

/// Quiet for this long, with a heartbeat every five seconds.
const QUIET: Duration = Duration::from_secs(12);

const ALICE: ([u8; 4], u16) = ([10, 0, 0, 1], 1000);
const BOB: ([u8; 4], u16) = ([10, 0, 0, 2], 7275);

/// An endpoint and its connections.
struct End {
    endpoint: Endpoint,
    connections: Vec<(ConnectionHandle, Box<Connection>)>,
}

impl End {
    fn new(server: Option<&Identity>, seed: [u8; 32]) -> Self {
        let plenty = RateLimit { per_second: 1_000_000, burst: 1_000_000 };
        let config = EndpointConfig { openings: plenty, ..EndpointConfig::default() };
        let tls = server.map(|identity| identity.server_config(Alpn::Udp));
        let endpoint = Endpoint::new(Arc::new(config), tls, seed);
        Self { endpoint, connections: Vec::with_capacity(CONNECTIONS) }
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, datagrams: Vec<Vec<u8>>) {
        for mut datagram in datagrams {
            let handle = match self.endpoint.handle_datagram(now, from, None, &mut datagram) {
                Routed::Dropped | Routed::Replied => continue,
                Routed::To(handle) => handle,
                Routed::New(handle, connection) => {
                    self.connections.push((handle, connection));
                    handle
                }
            };
            let (_, connection) = self.connections.iter_mut().find(|(h, _)| *h == handle).unwrap();
            connection.handle_datagram(now, from, None, &mut datagram);
        }
    }

    fn send(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let (mut sent, mut train) = (Vec::new(), Vec::new());
        for (handle, connection) in &mut self.connections {
            while let Some(transmit) = connection.poll_transmit(now, &mut train) {
                let segment = transmit.segment_size.unwrap_or(transmit.size);
                sent.extend(train.chunks(segment).map(<[u8]>::to_vec));
            }
            while connection.mux().poll_event().is_some() {}
            while let Some(event) = connection.poll_event() {
                match event {
                    Event::Endpoint(event) => self.endpoint.on_endpoint_event(*handle, event),
                    Event::Connected => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        sent
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.connections.iter().filter_map(|(_, each)| each.poll_timeout());
        deadlines.map(|deadline| deadline.at).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.connections.iter_mut().for_each(|(_, each)| each.handle_timeout(now));
    }

    /// Bytes that each connection gives back when it is dropped.
    fn held(self) -> usize {
        let count = self.connections.len();
        let before = dhat::HeapStats::get().curr_bytes;
        drop(self.connections);
        (before - dhat::HeapStats::get().curr_bytes) / count
    }
}

/// Delivers until nobody has more to say.
fn converse(now: Instant, alice: &mut End, bob: &mut End) {
    loop {
        let (asked, told) = (alice.send(now), bob.send(now));
        if asked.is_empty() && told.is_empty() {
            return;
        }
        bob.receive(now, ALICE.into(), asked);
        alice.receive(now, BOB.into(), told);
    }
}

#[test]
fn an_idle_connection_holds_a_few_kilobytes_at_either_end() {
    let _profiler = dhat::Profiler::builder().testing().build();
    #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
    let mut now = Instant::now();
    let identities = [Identity::from_seed([1; 32]), Identity::from_seed([2; 32])];
    let [alice_is, bob_is] = &identities;
    let (mut alice, mut bob) = (End::new(None, [3; 32]), End::new(Some(bob_is), [4; 32]));
    for _ in 0..CONNECTIONS {
        let name = Expect::Id(bob_is.id()).server_name();
        let tls = alice_is.client_config(Alpn::Udp);
        let (handle, connection) = alice.endpoint.connect(now, BOB.into(), tls, name).unwrap();
        alice.connections.push((handle, Box::new(connection)));
        converse(now, &mut alice, &mut bob);
    }
    let end = now + QUIET;
    while let Some(next) = alice.next_deadline().into_iter().chain(bob.next_deadline()).min()
        && next < end
    {
        now = now.max(next);
        alice.handle_timeout(now);
        bob.handle_timeout(now);
        converse(now, &mut alice, &mut bob);
    }
    assert!(bob.connections.len() == CONNECTIONS && bob.connections[0].1.is_confirmed());
    let (client, server) = (alice.held(), bob.held());
    println!("an idle connection holds {client} bytes (client), {server} bytes (server)");
    assert!(client <= IDLE_MAX && server <= IDLE_MAX, "{client} and {server} bytes");
}
