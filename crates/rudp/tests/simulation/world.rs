//! Hosts on one simulated network in virtual time: the only place that drives rudp's machines.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use portolan_identity::{Alpn, Expect, Identity};
use portolan_netsim::{Delivery, Ecn as Mark, Network};
use portolan_rudp::{
    CloseReason, Connection, ConnectionHandle, Ecn, Endpoint, EndpointConfig, Event, Routed,
    Transmit,
};

use crate::{app::App, forge::Forger};

/// More steps than any run needs: beyond, something spins.
const STEPS_MAX: u64 = 1_000_000;
/// Steps without time passing: beyond, a machine asks to be called again and again.
const STEPS_AT_ONCE_MAX: u32 = 10_000;

/// The moment at which virtual time begins, one for the whole process.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// One end of a connection.
pub(crate) struct Session {
    pub(crate) handle: ConnectionHandle,
    pub(crate) connection: Connection,
    pub(crate) app: Option<App>,
    pub(crate) connected: Option<Instant>,
    pub(crate) closed: Option<CloseReason>,
}

/// An address with an endpoint behind it.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    endpoint: Endpoint,
    /// Bytes that one connection may hold.
    memory_max: usize,
    pub(crate) sessions: Vec<Session>,
    /// Bytes from and to each remote, for the limit on amplification.
    pub(crate) traffic: BTreeMap<SocketAddr, Traffic>,
    /// A killed process: it neither hears nor speaks.
    pub(crate) is_dead: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Something came that only an owner of the address can send: more than a first packet.
    has_proof: bool,
    /// The first word was the remote's.
    is_answer: bool,
}

impl Traffic {
    fn on_received(&mut self, datagram: &[u8]) {
        self.received += datagram.len() as u64;
        self.has_proof |= !is_only_init_without_token(datagram);
    }

    /// RFC 9000 §8.1: at most three times what came, until the address is proved.
    ///
    /// Whom we spoke to first we may send more: there the limit is the remote's.
    fn on_sent(&mut self, bytes: usize) {
        self.is_answer |= self.sent == 0 && self.received > 0;
        self.sent += bytes as u64;
        let allowed = !self.is_answer || self.has_proof || self.sent <= 3 * self.received;
        assert!(allowed, "{} bytes for {} from an unproved address", self.sent, self.received);
    }
}

/// By the wire format: the first byte's type, an empty token at byte 18, the length after it.
fn is_only_init_without_token(datagram: &[u8]) -> bool {
    let Some(head) = datagram.first_chunk::<21>() else { return false };
    let length = usize::from(u16::from_be_bytes([head[19], head[20]]));
    head[0] & 0b1111_0000 == 0b1000_0000 && head[18] == 0 && 21 + length == datagram.len()
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) network: Network,
    pub(crate) nodes: Vec<Node>,
    /// Timers go off at multiples of this only; zero: at the time.
    pub(crate) tick: Duration,
    steps: u64,
    steps_at_once: u32,
    buffer: Vec<u8>,
    pub(crate) forger: Option<Forger>,
    /// Changes with every packet that arrives: what, where and when.
    pub(crate) trace: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: start(),
            network: Network::new(seed),
            nodes: Vec::new(),
            tick: Duration::ZERO,
            steps: 0,
            steps_at_once: 0,
            buffer: Vec::new(),
            forger: None,
            trace: seed,
        }
    }

    /// Adds a host; `server` lets it accept connections.
    pub(crate) fn add(
        &mut self,
        address: SocketAddr,
        config: Arc<EndpointConfig>,
        server: Option<&Identity>,
        seed: [u8; 32],
    ) -> usize {
        let tls = server.map(|identity| identity.server_config(Alpn::Udp));
        self.nodes.push(Node {
            memory_max: config.connection.memory_max(),
            address,
            endpoint: Endpoint::new(config, tls, seed),
            sessions: Vec::new(),
            traffic: BTreeMap::new(),
            is_dead: false,
        });
        self.nodes.len() - 1
    }

    /// Lets a host begin a handshake.
    pub(crate) fn connect(
        &mut self,
        node: usize,
        remote: SocketAddr,
        as_who: &Identity,
        expect: Expect,
    ) {
        let tls = as_who.client_config(Alpn::Udp);
        let now = self.now;
        let node_ref = &mut self.nodes[node];
        let (handle, connection) = node_ref
            .endpoint
            .connect(now, remote, tls, expect.server_name())
            .expect("a first connection can always be tried");
        node_ref.sessions.push(Session::new(handle, connection));
        self.drain(node);
    }

    /// Goes to the next moment at which something happens and lets it happen; answers whether
    /// there was one.
    pub(crate) fn step(&mut self, alarm: Option<Instant>) -> bool {
        let tick = self.tick;
        let nodes = self.nodes.iter().filter_map(Node::next_time).map(|time| ticked(time, tick));
        let Some(next) = nodes.chain(self.network.poll_timeout()).chain(alarm).min() else {
            return false;
        };
        self.count_step(next);
        self.now = self.now.max(next);
        while let Some(delivery) = self.network.poll_delivery(self.now) {
            self.deliver(delivery);
        }
        for node in 0..self.nodes.len() {
            let due = self.nodes[node].next_time().map(|time| ticked(time, tick));
            if due.is_some_and(|time| time <= self.now) {
                self.nodes[node].on_time(self.now);
                self.drain(node);
            }
        }
        true
    }

    /// Gives a node's datagrams to the network until it has none left.
    pub(crate) fn drain(&mut self, node: usize) {
        let Self { now, network, buffer, nodes, .. } = self;
        let node = &mut nodes[node];
        if node.is_dead {
            return;
        }
        buffer.clear();
        while let Some(transmit) = node.endpoint.poll_transmit(buffer) {
            send(network, *now, node.address, &transmit, buffer, &mut node.traffic);
            buffer.clear();
        }
        for session in &mut node.sessions {
            session.on_events(*now, &mut node.endpoint);
            session.drive(*now);
            while let Some(transmit) = session.connection.poll_transmit(*now, buffer) {
                send(network, *now, node.address, &transmit, buffer, &mut node.traffic);
                buffer.clear();
            }
            session.on_events(*now, &mut node.endpoint);
            session.check_memory(node.memory_max);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let forged = self.forger.as_mut().map(|forger| forger.packets(&delivery));
        for delivery in forged.into_iter().flatten().chain([delivery]) {
            self.hand_over(delivery);
        }
    }

    fn hand_over(&mut self, mut delivery: Delivery) {
        self.trace = (self.trace ^ delivery.bytes.len() as u64)
            .rotate_left(7)
            .wrapping_add((delivery.at - start()).as_nanos() as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let reached = |node: &Node| node.address == delivery.to && !node.is_dead;
        let Some(index) = self.nodes.iter().position(reached) else { return };
        let node = &mut self.nodes[index];
        node.traffic.entry(delivery.from).or_default().on_received(&delivery.bytes);
        node.handle_datagram(self.now, &mut delivery);
        self.drain(index);
    }

    fn count_step(&mut self, next: Instant) {
        self.steps += 1;
        self.steps_at_once = if next > self.now { 0 } else { self.steps_at_once + 1 };
        assert!(self.steps < STEPS_MAX, "no end after {} steps: {}", self.steps, self.state());
        let spins = self.steps_at_once >= STEPS_AT_ONCE_MAX;
        assert!(!spins, "time stands still at {:?}: {}", self.elapsed(), self.state());
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - start()
    }

    /// What every session waits for, for the message of a failure.
    pub(crate) fn state(&self) -> String {
        let sessions = self.nodes.iter().flat_map(|node| node.sessions.iter());
        let lines = sessions.map(|session| {
            let deadline = session.connection.poll_timeout();
            let app = session.app.as_ref().map(App::unfinished);
            format!(
                "\n  deadline {:?}, closed {:?}, {app:?}, {:?}",
                deadline
                    .map(|deadline| (deadline.at.saturating_duration_since(start()), deadline.why)),
                session.closed,
                session.connection.stats(),
            )
        });
        lines.collect()
    }
}

impl Node {
    /// When this host wants to act.
    fn next_time(&self) -> Option<Instant> {
        let sessions = self.sessions.iter().filter(|_| !self.is_dead);
        sessions.filter_map(Session::next_time).min()
    }

    fn on_time(&mut self, now: Instant) {
        for session in &mut self.sessions {
            if session.connection.poll_timeout().is_some_and(|deadline| deadline.at <= now) {
                session.connection.handle_timeout(now);
            }
        }
    }

    fn handle_datagram(&mut self, now: Instant, delivery: &mut Delivery) {
        let ecn = delivery.ecn.map(from_mark);
        let from = delivery.from;
        let handle = match self.endpoint.handle_datagram(now, from, ecn, &mut delivery.bytes) {
            Routed::Dropped | Routed::Replied => return,
            Routed::To(handle) => handle,
            Routed::New(handle, connection) => {
                self.sessions.push(Session::new(handle, *connection));
                handle
            }
        };
        let session = self.sessions.iter_mut().find(|session| session.handle == handle);
        // One that is gone may still be routed to until its endpoint has heard of it.
        if let Some(session) = session {
            let size = delivery.bytes.len();
            session.connection.handle_train(now, from, ecn, (&mut delivery.bytes, size));
        }
    }
}

impl Session {
    fn new(handle: ConnectionHandle, connection: Connection) -> Self {
        Self { handle, connection, app: None, connected: None, closed: None }
    }

    /// Whether its application may talk.
    pub(crate) fn is_up(&self) -> bool {
        self.connected.is_some() && self.closed.is_none()
    }

    /// Whether it is a handshake under way.
    pub(crate) fn is_half_open(&self) -> bool {
        self.connected.is_none() && self.closed.is_none()
    }

    fn next_time(&self) -> Option<Instant> {
        let app = self.app.as_ref().filter(|_| self.closed.is_none());
        let deadline = self.connection.poll_timeout().map(|deadline| deadline.at);
        deadline.into_iter().chain(app.and_then(App::wake)).min()
    }

    fn on_events(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Connected => self.connected = Some(now),
                Event::Closed(reason) => {
                    assert_eq!(self.closed, None, "closed twice, now by {reason:?}");
                    self.closed = Some(reason);
                }
                Event::Path(_) => {}
                Event::Endpoint(event) => endpoint.on_endpoint_event(self.handle, event),
            }
        }
    }

    fn drive(&mut self, now: Instant) {
        let is_up = self.is_up();
        if let Some(app) = self.app.as_mut().filter(|_| is_up) {
            app.drive(now, self.connection.mux());
        }
    }

    fn check_memory(&self, max: usize) {
        let held = self.connection.memory();
        assert!(held <= max, "{held} bytes are held, {max} are allowed");
    }
}

/// The first tick at or after `time`.
fn ticked(time: Instant, tick: Duration) -> Instant {
    let after = time.saturating_duration_since(start()).as_nanos();
    let Some(ticks) = after.checked_next_multiple_of(tick.as_nanos()) else { return time };
    start() + Duration::from_nanos(u64::try_from(ticks).unwrap_or(u64::MAX))
}

/// Cuts a train into its datagrams and gives them to the network.
fn send(
    network: &mut Network,
    now: Instant,
    from: SocketAddr,
    transmit: &Transmit,
    bytes: &[u8],
    traffic: &mut BTreeMap<SocketAddr, Traffic>,
) {
    assert_eq!(bytes.len(), transmit.size, "the size that was said");
    let to = transmit.destination;
    traffic.entry(to).or_default().on_sent(bytes.len());
    for datagram in bytes.chunks(transmit.segment_size.unwrap_or(bytes.len()).max(1)) {
        network.send(now, from, to, datagram, transmit.ecn.map(to_mark));
    }
}

fn to_mark(ecn: Ecn) -> Mark {
    match ecn {
        Ecn::Ect0 => Mark::Ect0,
        Ecn::Ect1 => Mark::Ect1,
        Ecn::Ce => Mark::Ce,
    }
}

fn from_mark(mark: Mark) -> Ecn {
    match mark {
        Mark::Ect0 => Ecn::Ect0,
        Mark::Ect1 => Ecn::Ect1,
        Mark::Ce => Ecn::Ce,
    }
}
