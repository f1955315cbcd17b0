//! A client and a server on one link, in virtual time.

use std::{
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
    time::{Duration, Instant},
};

use portolan_netsim::{
    Arrival, InterfaceId, Kind, Packet, Protocol, World,
    topology::{Duplex, Happening, Moment, Topology},
};

use super::{
    keys::{Keys, derive},
    machine::{Event, Machine, Train},
    subject::Subject,
};

/// Steps without time passing: a window of packets that arrive at once takes some thousands;
/// beyond, nothing limits the link.
const STEPS_AT_ONCE_MAX: u32 = 50_000;

/// Steps of one simulation: some gibibytes, and some seconds of real time.
const STEPS_MAX: u32 = 6_000_000;

/// The names of [`Topology::pair`]; the client's attachment is the link.
const HOSTS: [&str; 2] = ["alice", "bob"];

const PORT: u16 = 7275;

/// IPv4 and UDP headers (RFC 791, RFC 768).
const HEADERS: usize = 20 + 8;

/// What hosts set (RFC 1700).
const HOP_LIMIT: u8 = 64;

/// What stands between client and server, and what happens to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// Up is from the client to the server.
    pub(crate) link: Duplex,
    /// Times in which nothing gets through.
    pub(crate) outages: &'a [Outage],
    /// Where all chance comes from.
    pub(crate) seed: u64,
}

/// A time in which nothing gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When it begins, from the start of each workload.
    pub from: Duration,
    /// How long it lasts.
    pub lasting: Duration,
}

/// What uses a connection.
pub(crate) trait App {
    /// Does what can be done now; called after everything that may have changed that.
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine);

    /// When it wants to be driven although nothing happens.
    fn wake(&self) -> Option<Instant> {
        None
    }

    /// Whether it has all it wanted; the simulation ends with the first that has.
    fn is_done(&self) -> bool {
        false
    }
}

/// How a simulation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An application had all it wanted.
    Done,
    /// The time was over; with it, whether the two were connected at all.
    TimeOver {
        /// Whether the client was connected.
        connected: bool,
    },
    /// The connection was lost.
    Closed(String),
    /// Far too much happens, or something in no time again and again.
    Stuck,
}

/// The two ends and the network between them.
///
/// Computing takes no time here: what a machine has to say leaves in the moment of its cause.
pub(crate) struct Simulation<'a> {
    now: Instant,
    world: World<Vec<u8>>,
    ends: [End<'a>; 2],
    buffer: Vec<u8>,
    steps: u32,
    steps_at_once: u32,
}

struct End<'a> {
    interface: InterfaceId,
    address: SocketAddr,
    machine: Box<dyn Machine>,
    app: &'a mut dyn App,
    connected: bool,
    closed: Option<String>,
    /// Bytes that it has given to the network, headers of IP and UDP included.
    wire_bytes: u64,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// The moment at which every simulation begins.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

impl<'a> Simulation<'a> {
    /// Both ends made, nothing sent.
    pub(crate) fn new(
        subject: &Subject,
        scene: &Scene<'_>,
        client: &'a mut dyn App,
        server: &'a mut dyn App,
    ) -> Self {
        let world = world(scene);
        let keys = Keys::pair(derive(scene.seed, 1));
        let [client, server] = [(CLIENT, client), (SERVER, server)].map(|(end, app)| {
            let interface = world.host(HOSTS[end]).expect("a pair has both");
            End {
                interface,
                address: SocketAddr::new(address(&world, interface), PORT),
                machine: subject.machine(&keys[end]),
                app,
                connected: false,
                closed: None,
                wire_bytes: 0,
            }
        });
        Self {
            now: start(),
            world,
            ends: [client, server],
            buffer: Vec::new(),
            steps: 0,
            steps_at_once: 0,
        }
    }

    /// Connects and lets both applications talk, for `time` at most.
    pub(crate) fn run(&mut self, time: Duration) -> Ending {
        let end = start() + time;
        let server = self.ends[SERVER].address;
        self.ends[CLIENT].machine.connect(self.now, server);
        self.settle(CLIENT);
        loop {
            if let Some(ending) = self.ending() {
                return ending;
            }
            let next = self.next_time().filter(|next| *next <= end);
            let Some(next) = next else {
                return Ending::TimeOver { connected: self.ends[CLIENT].connected };
            };
            self.step(next);
        }
    }

    /// Bytes that the client has given to the network, headers of IP and UDP included.
    pub(crate) fn client_wire_bytes(&self) -> u64 {
        self.ends[CLIENT].wire_bytes
    }

    fn ending(&self) -> Option<Ending> {
        if self.ends.iter().any(|end| end.app.is_done()) {
            return Some(Ending::Done);
        }
        if let Some(why) = self.ends.iter().find_map(|end| end.closed.as_ref()) {
            return Some(Ending::Closed(why.clone()));
        }
        let stuck = self.steps_at_once > STEPS_AT_ONCE_MAX || self.steps > STEPS_MAX;
        stuck.then_some(Ending::Stuck)
    }

    fn next_time(&mut self) -> Option<Instant> {
        let world = self.world.poll_timeout();
        self.ends.iter_mut().filter_map(End::next_time).chain(world).min()
    }

    /// Goes to `next` and lets happen what happens then.
    fn step(&mut self, next: Instant) {
        self.steps += 1;
        self.steps_at_once = if next > self.now { 0 } else { self.steps_at_once + 1 };
        self.now = self.now.max(next);
        if let Some(arrival) = self.world.poll_delivery(self.now) {
            self.deliver(arrival);
            return;
        }
        for end in [CLIENT, SERVER] {
            if self.ends[end].next_time().is_some_and(|at| at <= self.now) {
                self.ends[end].on_time(self.now);
                self.settle(end);
            }
        }
    }

    fn deliver(&mut self, arrival: Arrival<Vec<u8>>) {
        let Arrival { interface, packet, flipped_bit, .. } = arrival;
        // What routers say by ICMP is not for sockets that find the packet size out themselves.
        if packet.kind != Kind::Plain {
            return;
        }
        let mut bytes = packet.payload;
        if let Some(choice) = flipped_bit {
            flip_bit(&mut bytes, choice);
        }
        let to = if interface == self.ends[CLIENT].interface { CLIENT } else { SERVER };
        self.ends[to].machine.handle_datagram(self.now, packet.source, packet.ecn, bytes);
        self.settle(to);
    }

    /// After every input: the application has its turn, then the network gets what there is.
    fn settle(&mut self, end: usize) {
        let Self { now, world, ends, buffer, .. } = self;
        let end = &mut ends[end];
        end.listen();
        if end.connected {
            end.app.drive(*now, &mut *end.machine);
        }
        while let Some(train) = end.machine.poll_transmit(*now, buffer) {
            send(world, *now, end, &train, buffer);
        }
        end.listen();
    }
}

impl End<'_> {
    fn next_time(&mut self) -> Option<Instant> {
        let app = self.app.wake().filter(|_| self.connected);
        self.machine.poll_timeout().into_iter().chain(app).min()
    }

    fn on_time(&mut self, now: Instant) {
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.machine.handle_timeout(now);
        }
    }

    fn listen(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Connected => self.connected = true,
                Event::Closed(why) => self.closed = Some(why),
            }
        }
    }
}

fn world(scene: &Scene<'_>) -> World<Vec<u8>> {
    let mut topology = Topology::pair(&scene.link, derive(scene.seed, 0));
    let [alice, _] = HOSTS;
    for outage in scene.outages {
        let (node, interface) = (alice.to_owned(), None);
        let down = Happening::Down { node: node.clone(), interface: interface.clone() };
        let up = Happening::Up { node, interface };
        topology.timeline.push(Moment { at: outage.from, what: down });
        topology.timeline.push(Moment { at: outage.from + outage.lasting, what: up });
    }
    World::new(&topology, start()).expect("a pair is well formed")
}

fn address(world: &World<Vec<u8>>, interface: InterfaceId) -> IpAddr {
    let mut addresses = world.addressing(interface).addresses.into_iter();
    let of_v4 = addresses.find_map(|(address, _)| address.is_ipv4().then_some(address));
    of_v4.expect("both of a pair have one")
}

/// Cuts a train into its datagrams and gives them to the network.
fn send(world: &mut World<Vec<u8>>, now: Instant, from: &mut End<'_>, train: &Train, bytes: &[u8]) {
    for datagram in bytes.chunks(train.segment.unwrap_or(bytes.len()).max(1)) {
        let packet = Packet {
            protocol: Protocol::Udp,
            source: from.address,
            destination: train.destination,
            size: u32::try_from(datagram.len() + HEADERS).unwrap_or(u32::MAX),
            ecn: train.ecn,
            hop_limit: HOP_LIMIT,
            may_fragment: false,
            kind: Kind::Plain,
            payload: datagram.to_vec(),
        };
        from.wire_bytes += u64::from(packet.size);
        world.send(now, from.interface, packet);
    }
}

/// Flips the bit that `choice` names, modulo the length.
fn flip_bit(bytes: &mut [u8], choice: u64) {
    let Some(bit) = choice.checked_rem(bytes.len() as u64 * 8) else { return };
    if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|index| bytes.get_mut(index)) {
        *byte ^= 1 << (bit % 8);
    }
}
