//! A client and a server on a wire with a delay, in virtual time.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_identity::{Alpn, Expect, Identity};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::epoch;
use crate::{
    CloseReason, Congestion, Connection, ConnectionConfig, ConnectionHandle, Ecn, Endpoint,
    EndpointConfig, Event, PathEvent, Route, Routed, SocketId,
};

/// Steps after which a test that does not end is stuck.
const STEPS_MAX: u32 = 200_000;

/// A datagram on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) at: Instant,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    /// What routers may mark it with.
    pub(crate) ecn: Option<Ecn>,
}

/// From where to where.
type Way = (SocketAddr, SocketAddr);

/// What happens to a datagram that is sent: nothing, or it is lost.
pub(crate) type Filter = Box<dyn FnMut(&Flight) -> bool>;

/// What becomes of a datagram's mark on the way.
pub(crate) type Remark = Box<dyn FnMut(&Flight) -> Option<Ecn>>;

/// Looks at a connection that begins.
pub(crate) type OnNew = Box<dyn FnMut(Instant, &mut Connection)>;

/// A client and a server.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) delay: Duration,
    pub(crate) wire: VecDeque<Flight>,
    /// Everything that was sent, lost or not.
    pub(crate) log: Vec<Flight>,
    /// Answers which datagrams arrive.
    pub(crate) passes: Filter,
    /// Answers with which mark a datagram arrives.
    pub(crate) remark: Remark,
    /// Who connects: one identity, so that sessions can be resumed.
    alice: Identity,
}

/// One endpoint and its connections.
pub(crate) struct End {
    pub(crate) address: SocketAddr,
    /// Further sockets: [`SocketId`] 1 and up.
    pub(crate) further: Vec<SocketAddr>,
    pub(crate) endpoint: Endpoint,
    pub(crate) connections: Vec<Session>,
    /// Looks at each connection when it begins.
    pub(crate) on_new: Option<OnNew>,
}

/// A connection and what it has told.
pub(crate) struct Session {
    pub(crate) handle: ConnectionHandle,
    pub(crate) machine: Connection,
    pub(crate) is_connected: bool,
    pub(crate) closed: Option<CloseReason>,
    pub(crate) paths: Vec<PathEvent>,
}

pub(crate) fn client_address() -> SocketAddr {
    ([10, 0, 0, 1], 1000).into()
}

pub(crate) fn server_address() -> SocketAddr {
    ([10, 0, 0, 2], 7275).into()
}

pub(crate) fn alice() -> Identity {
    Identity::from_seed([1; 32])
}

pub(crate) fn bob() -> Identity {
    Identity::from_seed([2; 32])
}

impl Pair {
    /// Both with the default configuration, bob serving; alice has not begun.
    pub(crate) fn new() -> Self {
        Self::with(EndpointConfig::default(), EndpointConfig::default())
    }

    pub(crate) fn with(client: EndpointConfig, server: EndpointConfig) -> Self {
        let tls = bob().server_config(Alpn::Udp);
        Self {
            now: epoch(),
            client: End::new(client_address(), Endpoint::new(Arc::new(client), None, [3; 32])),
            server: End::new(server_address(), Endpoint::new(Arc::new(server), Some(tls), [4; 32])),
            delay: Duration::from_millis(20),
            wire: VecDeque::new(),
            log: Vec::new(),
            passes: Box::new(|_| true),
            remark: Box::new(|flight| flight.ecn),
            alice: alice(),
        }
    }

    /// Both connected.
    pub(crate) fn connected() -> Self {
        let mut pair = Self::new();
        pair.connect();
        pair.run_until(|pair| pair.is_connected());
        pair
    }

    /// Both connected over a wire with this delay.
    pub(crate) fn connected_after(delay: Duration) -> Self {
        let mut pair = Self { delay, ..Self::new() };
        pair.connect();
        pair.run_until(|pair| pair.is_connected());
        pair
    }

    /// Both connected, with datagrams of this size and no other, and CUBIC.
    pub(crate) fn connected_with_packets_of(size: u16) -> Self {
        let config = EndpointConfig::new(ConnectionConfig {
            congestion: Congestion::Cubic,
            packet_size: size,
            packet_limit: size,
            ..ConnectionConfig::default()
        });
        let mut pair = Self::with(config.clone(), config);
        pair.connect();
        pair.run_until(|pair| pair.is_connected());
        pair
    }

    pub(crate) fn connect(&mut self) {
        self.connect_expecting(&Expect::Id(bob().id()));
    }

    pub(crate) fn connect_expecting(&mut self, expect: &Expect) {
        let tls = self.alice.client_config(Alpn::Udp);
        let name = expect.server_name();
        let (handle, machine) = self
            .client
            .endpoint
            .connect(self.now, server_address(), tls, name)
            .expect("nothing is in the way");
        self.client.admit(self.now, handle, machine);
        self.drain();
    }

    pub(crate) fn alice(&mut self) -> &mut Connection {
        &mut self.client.connections.last_mut().expect("connect was called").machine
    }

    pub(crate) fn bob(&mut self) -> &mut Connection {
        &mut self.server.connections.last_mut().expect("a client was accepted").machine
    }

    pub(crate) fn is_connected(&self) -> bool {
        [&self.client, &self.server]
            .iter()
            .all(|end| end.connections.last().is_some_and(|session| session.is_connected))
    }

    /// Why the newest connection of each side ended.
    pub(crate) fn closed(&self) -> [Option<CloseReason>; 2] {
        [&self.client, &self.server].map(|end| end.connections.last()?.closed.clone())
    }

    /// Loses each datagram with this chance (in percent), by a seed.
    pub(crate) fn lose(&mut self, percent: u64, seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        self.passes = Box::new(move |_| random.next_u64() % 100 >= percent);
    }

    /// Lets time pass to the next thing that happens; answers whether there is one.
    pub(crate) fn step(&mut self) -> bool {
        let wire = self.wire.front().map(|flight| flight.at);
        let ends = [&self.client, &self.server].into_iter();
        let timers = ends.flat_map(|end| &end.connections);
        let timers = timers.filter_map(|session| session.machine.poll_timeout());
        let Some(next) = timers.map(|deadline| deadline.at).chain(wire).min() else {
            return false;
        };
        self.now = self.now.max(next);
        while self.wire.front().is_some_and(|flight| flight.at <= self.now)
            && let Some(flight) = self.wire.pop_front()
        {
            self.deliver(flight);
        }
        for end in [&mut self.client, &mut self.server] {
            for session in &mut end.connections {
                session.machine.handle_timeout(self.now);
            }
        }
        self.drain();
        true
    }

    /// Runs until `done`, which must come.
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..STEPS_MAX {
            if done(self) {
                return;
            }
            assert!(self.step(), "everything is still, but it is not done: {:?}", self.closed());
        }
        panic!("it never comes: {:?}", self.closed());
    }

    /// Runs for `time`.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let next = |pair: &Self| {
            let ends = [&pair.client, &pair.server].into_iter();
            let timers = ends.flat_map(|end| &end.connections);
            let timers = timers.filter_map(|session| session.machine.poll_timeout());
            let wire = pair.wire.front().map(|flight| flight.at);
            timers.map(|deadline| deadline.at).chain(wire).min()
        };
        while next(self).is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Puts on the wire what everyone has to say.
    pub(crate) fn drain(&mut self) {
        let Self { now, client, server, delay, wire, log, passes, remark, .. } = self;
        for end in [client, server] {
            for ((from, to), ecn, bytes) in end.drain(*now) {
                let mut flight = Flight { at: *now + *delay, from, to, bytes, ecn };
                log.push(flight.clone());
                if passes(&flight) {
                    flight.ecn = remark(&flight);
                    let place = wire.partition_point(|other| other.at <= flight.at);
                    wire.insert(place, flight);
                }
            }
        }
    }

    /// To whoever is at the address; nobody may be any more.
    fn deliver(&mut self, flight: Flight) {
        let mut ends = [&mut self.client, &mut self.server].into_iter();
        if let Some(end) = ends.find(|end| end.socket_at(flight.to).is_some()) {
            end.deliver(flight);
        }
    }

    /// Bob's process dies and starts again with the same key.
    pub(crate) fn restart_server(&mut self, config: EndpointConfig) {
        let tls = bob().server_config(Alpn::Udp);
        self.server.endpoint = Endpoint::new(Arc::new(config), Some(tls), [99; 32]);
        self.server.connections.clear();
    }

    /// From now on the client is seen at another address, as behind a translator that has lost
    /// its mapping: it does not know.
    pub(crate) fn rebind_client(&mut self, address: SocketAddr) {
        self.client.address = address;
    }

    /// Gives an end a datagram, as if it came from the wire now.
    pub(crate) fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let flight = Flight { at: self.now, from, to, bytes: bytes.to_vec(), ecn: None };
        self.deliver(flight);
        self.drain();
    }

    /// Bytes that were sent from one address to the other.
    pub(crate) fn bytes_sent(&self, from: SocketAddr, to: SocketAddr) -> usize {
        let flights = self.log.iter().filter(|flight| (flight.from, flight.to) == (from, to));
        flights.map(|flight| flight.bytes.len()).sum()
    }
}

impl End {
    fn new(address: SocketAddr, endpoint: Endpoint) -> Self {
        Self { address, further: Vec::new(), endpoint, connections: Vec::new(), on_new: None }
    }

    fn admit(&mut self, now: Instant, handle: ConnectionHandle, mut machine: Connection) {
        if let Some(on_new) = &mut self.on_new {
            on_new(now, &mut machine);
        }
        self.connections.push(Session::new(handle, machine));
    }

    fn socket_at(&self, address: SocketAddr) -> Option<SocketId> {
        let mut sockets = (0..).zip([&self.address].into_iter().chain(&self.further));
        sockets.find(|(_, at)| **at == address).map(|(number, _)| SocketId(number))
    }

    fn deliver(&mut self, mut flight: Flight) {
        let Flight { at, from, to, ecn, .. } = flight;
        let socket = self.socket_at(to).expect("somebody is there");
        let handle = match self.endpoint.handle_datagram(at, from, ecn, &mut flight.bytes) {
            Routed::Dropped | Routed::Replied => return,
            Routed::To(handle) => handle,
            Routed::New(handle, machine) => {
                self.admit(at, handle, *machine);
                handle
            }
        };
        let session = self.connections.iter_mut().find(|session| session.handle == handle);
        if let Some(session) = session {
            let route = Route { socket, remote: from };
            session.machine.handle_datagram(at, route, ecn, &mut flight.bytes);
        }
    }

    fn drain(&mut self, now: Instant) -> Vec<(Way, Option<Ecn>, Vec<u8>)> {
        let sockets: Vec<_> = [self.address].iter().chain(&self.further).copied().collect();
        let mut out = Vec::new();
        let mut buf = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit(&mut buf) {
            out.push(((self.address, transmit.destination), transmit.ecn, buf.clone()));
        }
        for session in &mut self.connections {
            session.on_events(&mut self.endpoint);
            while let Some(transmit) = session.machine.poll_transmit(now, &mut buf) {
                assert_eq!(transmit.size, buf.len());
                for datagram in buf.chunks(transmit.segment_size.unwrap_or(buf.len())) {
                    let from = sockets[transmit.socket.0 as usize];
                    out.push(((from, transmit.destination), transmit.ecn, datagram.to_vec()));
                }
            }
            session.on_events(&mut self.endpoint);
        }
        out
    }
}

impl Session {
    fn new(handle: ConnectionHandle, machine: Connection) -> Self {
        Self { handle, machine, is_connected: false, closed: None, paths: Vec::new() }
    }

    fn on_events(&mut self, endpoint: &mut Endpoint) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Connected => self.is_connected = true,
                Event::Closed(reason) => {
                    assert_eq!(self.closed, None, "closed twice, now by {reason}");
                    self.closed = Some(reason);
                }
                Event::Path(event) => self.paths.push(event),
                Event::Endpoint(event) => endpoint.on_endpoint_event(self.handle, event),
            }
        }
    }
}
