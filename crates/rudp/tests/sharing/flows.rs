//! Several connections between two hosts through one bottleneck, in virtual time.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use portolan_identity::{Alpn, Expect, Identity};
use portolan_mux::{Mux, Priority, StreamId};
use portolan_netsim::{
    Arrival, Ecn as Mark, InterfaceId, Kind, LinkSpec, Packet, Protocol, World, topology::Topology,
};
use portolan_rudp::{
    Congestion, Connection, ConnectionConfig, ConnectionHandle, Ecn, Endpoint, EndpointConfig,
    Event, Routed, Transmit,
};

use crate::kernel::{self, KernelBbr};

/// IPv4 and UDP headers.
const HEADERS: usize = 20 + 8;

/// What Ethernet carries, less the headers of IP and UDP.
const PACKET_LIMIT: u16 = 1_472;

/// The moment at which virtual time begins.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// What a flow's client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// A stream without end.
    Bulk,
    /// The same, and a small question on another stream, again and again.
    BulkAndQuestions,
    /// A small message on one of four streams, so often.
    Thin(Duration),
}

/// One connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) load: Load,
    pub(crate) congestion: Congestion,
    /// When it begins.
    pub(crate) after: Duration,
}

impl Flow {
    pub(crate) const fn bulk(congestion: Congestion) -> Self {
        Self { load: Load::Bulk, congestion, after: Duration::ZERO }
    }
}

/// What became of a flow.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    /// Bytes that the server's application has read.
    pub(crate) bytes: u64,
    /// How long each question waited for its answer, or each message was under way.
    pub(crate) times: Vec<Duration>,
    /// When each message was sent, from the start, and the number of its stream.
    pub(crate) sent: Vec<(Duration, usize)>,
}

impl Outcome {
    fn on_message(&mut self, now: Instant, message: &[u8], stream: usize) {
        let sent = Duration::from_nanos(u64::from_be_bytes(*message.first_chunk().unwrap()));
        self.times.push(now - start() - sent);
        self.sent.push((sent, stream));
    }

    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let is_within = |rank: &usize| *rank as f64 >= share * times.len() as f64;
        let rank = (1..=times.len()).find(is_within).unwrap_or(times.len());
        times[rank - 1]
    }
}

struct End {
    address: SocketAddr,
    interface: InterfaceId,
    endpoint: Endpoint,
    session: Option<(ConnectionHandle, Connection)>,
    is_connected: bool,
}

impl End {
    fn next_time(&self) -> Option<Instant> {
        Some(self.session.as_ref()?.1.poll_timeout()?.at)
    }

    fn handle(&mut self, now: Instant, from: SocketAddr, ecn: Option<Ecn>, bytes: &mut [u8]) {
        match self.endpoint.handle_datagram(now, from, ecn, bytes) {
            Routed::Dropped | Routed::Replied => return,
            Routed::To(_) => {}
            Routed::New(handle, connection) => self.session = Some((handle, *connection)),
        }
        if let Some((_, connection)) = &mut self.session {
            connection.handle_datagram(now, from, ecn, bytes);
        }
    }

    fn listen(&mut self) {
        let Some((handle, connection)) = &mut self.session else { return };
        while connection.mux().poll_event().is_some() {}
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Connected => self.is_connected = true,
                Event::Path(_) => {}
                Event::Closed(reason) => panic!("{reason}"),
                Event::Endpoint(event) => self.endpoint.on_endpoint_event(*handle, event),
            }
        }
    }

    fn transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        if let Some(transmit) = self.endpoint.poll_transmit(buf) {
            return Some(transmit);
        }
        self.session.as_mut()?.1.poll_transmit(now, buf)
    }
}

struct Pair {
    flow: Flow,
    ends: [End; 2],
    identity: Identity,
    server: Identity,
    has_begun: bool,
    bulk: Option<StreamId>,
    talk: Vec<StreamId>,
    accepted: Vec<(StreamId, Option<u8>)>,
    asked: Option<Instant>,
    said: u32,
    outcome: Outcome,
}

/// Bytes of a question, an answer, a message.
const SMALL: usize = 64;

/// Streams with messages.
const TELLERS: usize = 4;

/// First byte of a bulk stream; of one with questions; of one with messages.
const BULK: u8 = 0;
const ASK: u8 = 1;
const TELL: u8 = 2;

impl Pair {
    fn wake(&self) -> Option<Instant> {
        if !self.has_begun {
            return Some(start() + self.flow.after);
        }
        match self.flow.load {
            Load::Thin(every) if self.ends[0].is_connected => {
                Some(start() + self.flow.after + every * (self.said + 1))
            }
            Load::Bulk | Load::BulkAndQuestions | Load::Thin(_) => None,
        }
    }

    fn begin(&mut self, now: Instant) {
        self.has_begun = true;
        let server = self.ends[1].address;
        let tls = self.identity.client_config(Alpn::Udp);
        let name = Expect::Id(self.server.id()).server_name();
        let begun = self.ends[0].endpoint.connect(now, server, tls, name);
        self.ends[0].session = Some(begun.expect("a first connection can always be tried"));
    }

    fn drive_client(&mut self, now: Instant) {
        if !self.ends[0].is_connected {
            return;
        }
        match self.flow.load {
            Load::Bulk => self.pour(),
            Load::BulkAndQuestions => {
                self.ask(now);
                self.pour();
            }
            Load::Thin(every) => self.tell(now, every),
        }
    }

    /// The client's streams.
    fn mux(&mut self) -> &mut Mux {
        let (_, connection) = self.ends[0].session.as_mut().expect("it is connected");
        connection.mux()
    }

    fn open(&mut self, priority: Priority, duty: u8) -> StreamId {
        let id = self.mux().open(priority).unwrap();
        self.mux().write(id, &[duty]).unwrap();
        id
    }

    fn pour(&mut self) {
        let id = match self.bulk {
            Some(id) => id,
            None => self.open(Priority::Bulk, BULK),
        };
        self.bulk = Some(id);
        while self.mux().write(id, &[0; 16 << 10]).unwrap_or(0) > 0 {}
    }

    fn ask(&mut self, now: Instant) {
        if self.talk.is_empty() {
            let id = self.open(Priority::Interactive, ASK);
            self.talk.push(id);
        }
        let id = self.talk[0];
        let mut answer = [0; SMALL];
        if self.mux().read(id, &mut answer).unwrap_or(0) > 0
            && let Some(asked) = self.asked.take()
        {
            self.outcome.times.push(now - asked);
        }
        let begins = start() + self.flow.after + Duration::from_secs(1);
        if self.asked.is_none() && now > begins {
            self.mux().write(id, &[0; SMALL]).unwrap();
            self.asked = Some(now);
        }
    }

    fn tell(&mut self, now: Instant, every: Duration) {
        while self.talk.len() < TELLERS {
            let id = self.open(Priority::Live, TELL);
            self.talk.push(id);
        }
        while now >= start() + self.flow.after + every * (self.said + 1) {
            let at = u64::try_from((now - start()).as_nanos()).unwrap();
            let mut message = [0; SMALL];
            message[..8].copy_from_slice(&at.to_be_bytes());
            let id = self.talk[self.said as usize % TELLERS];
            assert_eq!(self.mux().write(id, &message).unwrap(), SMALL);
            self.said += 1;
        }
    }

    fn drive_server(&mut self, now: Instant) {
        if !self.ends[1].is_connected {
            return;
        }
        let Some((_, connection)) = &mut self.ends[1].session else { return };
        let mux = connection.mux();
        while let Some(id) = mux.accept() {
            self.accepted.push((id, None));
        }
        let mut buf = [0; 16 << 10];
        for (number, (id, duty)) in self.accepted.iter_mut().enumerate() {
            if duty.is_none() && mux.read(*id, &mut buf[..1]).unwrap_or(0) == 1 {
                *duty = Some(buf[0]);
            }
            let unit = match *duty {
                None => continue,
                Some(BULK) => buf.len(),
                Some(_) => SMALL,
            };
            loop {
                let count = mux.read(*id, &mut buf[..unit]).unwrap_or(0);
                if count == 0 {
                    break;
                }
                self.outcome.bytes += count as u64;
                if *duty == Some(ASK) {
                    mux.write(*id, &buf[..count]).unwrap();
                }
                if *duty == Some(TELL) {
                    self.outcome.on_message(now, &buf, number);
                }
            }
        }
    }
}

/// A flow of the kernel's, from alice to bob.
struct Rival {
    machine: KernelBbr,
    begins: Instant,
    ends: [(SocketAddr, InterfaceId); 2],
}

/// Ports of rivals; those of connections are below.
const RIVALS: u16 = 1_000;

impl Rival {
    fn next_time(&self) -> Instant {
        self.machine.next_time().max(self.begins)
    }

    /// A packet from one end to the other: a segment, or from bob the acknowledgement of it.
    fn packet(&self, from: usize, number: u64) -> Packet<Vec<u8>> {
        Packet {
            protocol: Protocol::Tcp,
            source: self.ends[from].0,
            destination: self.ends[1 - from].0,
            size: if from == 0 { kernel::PACKET } else { kernel::ACKNOWLEDGEMENT },
            ecn: None,
            hop_limit: 64,
            may_fragment: false,
            kind: Kind::Plain,
            payload: number.to_be_bytes().to_vec(),
        }
    }
}

/// A bottleneck and the connections through it.
pub(crate) struct Bottleneck {
    pub(crate) now: Instant,
    world: World<Vec<u8>>,
    pairs: Vec<Pair>,
    rivals: Vec<Rival>,
    buffer: Vec<u8>,
}

impl Bottleneck {
    pub(crate) fn new(link: &str, flows: &[Flow], seed: u64) -> Self {
        let link = link.parse::<LinkSpec>().unwrap().duplex;
        let topology = Topology::pair(&link, seed);
        let world = World::new(&topology, start()).expect("a pair is well formed");
        let pairs = (0..).zip(flows).map(|(number, flow)| pair(&world, *flow, number, seed));
        let pairs = pairs.collect();
        Self { now: start(), world, pairs, rivals: Vec::new(), buffer: Vec::new() }
    }

    /// Adds a flow of the kernel's BBR that begins after a time.
    pub(crate) fn add_kernel_bbr(&mut self, after: Duration, seed: u64) {
        let port = RIVALS + u16::try_from(self.rivals.len()).unwrap();
        let ends = ["alice", "bob"].map(|name| {
            let (interface, address) = place(&self.world, name);
            (SocketAddr::new(address, port), interface)
        });
        let begins = start() + after;
        self.rivals.push(Rival { machine: KernelBbr::new(begins, seed), begins, ends });
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let world = self.world.poll_timeout();
            let pairs = self
                .pairs
                .iter()
                .flat_map(|pair| pair.ends.iter().filter_map(End::next_time).chain(pair.wake()));
            let rivals = self.rivals.iter().map(Rival::next_time);
            let next = pairs.chain(rivals).chain(world).min().expect("something always happens");
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        if let Some(arrival) = self.world.poll_delivery(now) {
            self.deliver(arrival);
            return;
        }
        for rival in &mut self.rivals {
            if rival.next_time() <= now {
                for number in rival.machine.poll(now) {
                    self.world.send(now, rival.ends[0].1, rival.packet(0, number));
                }
            }
        }
        for number in 0..self.pairs.len() {
            let pair = &mut self.pairs[number];
            if pair.wake().is_some_and(|at| at <= now) {
                if !pair.has_begun {
                    pair.begin(now);
                }
                self.settle(number, 0);
            }
            for end in 0..2 {
                let machine = &mut self.pairs[number].ends[end];
                if machine.next_time().is_some_and(|at| at <= now) {
                    if let Some((_, connection)) = &mut machine.session {
                        connection.handle_timeout(now);
                    }
                    self.settle(number, end);
                }
            }
        }
    }

    fn deliver(&mut self, arrival: Arrival<Vec<u8>>) {
        let Packet { source, destination, kind, ecn, mut payload, .. } = arrival.packet;
        if kind != Kind::Plain {
            return;
        }
        if let Some(rival) = destination.port().checked_sub(RIVALS) {
            self.on_rivals_packet(usize::from(rival), destination, &payload);
            return;
        }
        let number = usize::from(destination.port() - 1);
        let end = usize::from(self.pairs[number].ends[1].address == destination);
        let ecn = ecn.map(|mark| match mark {
            Mark::Ect0 => Ecn::Ect0,
            Mark::Ect1 => Ecn::Ect1,
            Mark::Ce => Ecn::Ce,
        });
        self.pairs[number].ends[end].handle(self.now, source, ecn, &mut payload);
        self.settle(number, end);
    }

    fn on_rivals_packet(&mut self, rival: usize, destination: SocketAddr, payload: &[u8]) {
        let rival = &mut self.rivals[rival];
        let number = u64::from_be_bytes(*payload.first_chunk().unwrap());
        if rival.ends[1].0 == destination {
            self.world.send(self.now, rival.ends[1].1, rival.packet(1, number));
        } else {
            rival.machine.on_ack(self.now, number);
        }
    }

    fn settle(&mut self, number: usize, end: usize) {
        let Self { now, world, pairs, buffer, .. } = self;
        let pair = &mut pairs[number];
        pair.ends[end].listen();
        match end {
            0 => pair.drive_client(*now),
            _ => pair.drive_server(*now),
        }
        let end = &mut pair.ends[end];
        while let Some(transmit) = end.transmit(*now, buffer) {
            let segment = transmit.segment_size.unwrap_or(buffer.len()).max(1);
            for datagram in buffer.chunks(segment) {
                let packet = Packet {
                    protocol: Protocol::Udp,
                    source: end.address,
                    destination: transmit.destination,
                    size: u32::try_from(datagram.len() + HEADERS).unwrap(),
                    ecn: transmit.ecn.map(|mark| match mark {
                        Ecn::Ect0 => Mark::Ect0,
                        Ecn::Ect1 => Mark::Ect1,
                        Ecn::Ce => Mark::Ce,
                    }),
                    hop_limit: 64,
                    may_fragment: false,
                    kind: Kind::Plain,
                    payload: datagram.to_vec(),
                };
                world.send(*now, end.interface, packet);
            }
        }
        end.listen();
    }

    pub(crate) fn outcome(&self, number: usize) -> &Outcome {
        &self.pairs[number].outcome
    }

    /// Bytes that each connection, and then each rival, has brought over.
    fn bytes(&self) -> Vec<u64> {
        let rivals = self.rivals.iter().map(|rival| rival.machine.delivered());
        self.pairs.iter().map(|pair| pair.outcome.bytes).chain(rivals).collect()
    }

    /// Megabits a second that each flow gets in the next `time`, the rivals' last.
    pub(crate) fn rates(&mut self, time: Duration) -> Vec<f64> {
        let before = self.bytes();
        self.run(time);
        self.bytes()
            .into_iter()
            .zip(before)
            .map(|(after, before)| (after - before) as f64 * 8e-6 / time.as_secs_f64())
            .collect()
    }
}

fn place(world: &World<Vec<u8>>, name: &str) -> (InterfaceId, IpAddr) {
    let interface = world.host(name).expect("a pair has both");
    let mut addresses = world.addressing(interface).addresses.into_iter();
    let address = addresses.find_map(|(ip, _)| ip.is_ipv4().then_some(ip));
    (interface, address.expect("both have one"))
}

fn pair(world: &World<Vec<u8>>, flow: Flow, number: u16, seed: u64) -> Pair {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..10].copy_from_slice(&number.to_be_bytes());
    let [identity, server] = [1, 2].map(|side| {
        bytes[31] = side;
        Identity::from_seed(bytes)
    });
    let ends = ["alice", "bob"].map(|name| {
        let (interface, address) = place(world, name);
        let connection = ConnectionConfig {
            congestion: flow.congestion,
            packet_limit: PACKET_LIMIT,
            ..ConnectionConfig::default()
        };
        bytes[31] = if name == "alice" { 3 } else { 4 };
        let tls = server.server_config(Alpn::Udp);
        End {
            address: SocketAddr::new(address, number + 1),
            interface,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::new(connection)), Some(tls), bytes),
            session: None,
            is_connected: false,
        }
    });
    Pair {
        flow,
        ends,
        identity,
        server,
        has_begun: false,
        bulk: None,
        talk: Vec::new(),
        accepted: Vec::new(),
        asked: None,
        said: 0,
        outcome: Outcome::default(),
    }
}
