//! Two agents in a small world, in virtual time.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use portolan_nat::{
    Agent, AgentConfig, Candidate, CandidateKind, Event, FailReason, Families, LostReason, Mapping,
    Path, Role, SocketId,
};
use portolan_netsim::{
    Arrival, Kind, Link, Loss, Packet, Protocol, World,
    topology::{
        Attachment, Duplex, Host, Nat, Node, NodeKind, PortAllocation, Prefix, Scope, Subnet,
        Topology,
    },
};

/// The start of virtual time; which real time it is does not matter.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

/// Where a peer can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Open,
    FullCone,
    AddressRestricted,
    PortRestricted,
    Symmetric,
    Counting,
    CarrierFullCone,
    CarrierPortRestricted,
    CarrierSymmetric,
    UdpBlocked,
}

impl Place {
    pub(crate) const ALL: [Self; 10] = [
        Self::Open,
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
        Self::Counting,
        Self::CarrierFullCone,
        Self::CarrierPortRestricted,
        Self::CarrierSymmetric,
        Self::UdpBlocked,
    ];

    /// Another outside port for each remote.
    pub(crate) const fn is_symmetric(self) -> bool {
        matches!(self, Self::Symmetric | Self::CarrierSymmetric | Self::Counting)
    }

    /// In comes only what was asked for, from that very port.
    const fn is_strict(self) -> bool {
        self.is_symmetric()
            || matches!(self, Self::PortRestricted | Self::CarrierPortRestricted)
            // The home's translator is strict whatever the carrier's does.
            || matches!(self, Self::CarrierFullCone)
    }

    fn rules(self) -> Nat {
        let of = |mapping, filtering, ports| Nat { mapping, filtering, ports, ..Nat::default() };
        let keep = PortAllocation::Preserving;
        match self {
            Self::Open | Self::FullCone | Self::CarrierFullCone => {
                of(Scope::EndpointIndependent, Scope::EndpointIndependent, keep)
            }
            Self::AddressRestricted => {
                of(Scope::EndpointIndependent, Scope::AddressDependent, keep)
            }
            Self::PortRestricted | Self::CarrierPortRestricted => Nat::default(),
            Self::Symmetric | Self::CarrierSymmetric => {
                let strict = Scope::AddressAndPortDependent;
                of(strict, strict, PortAllocation::Random)
            }
            Self::Counting => {
                let strict = Scope::AddressAndPortDependent;
                of(strict, strict, PortAllocation::Sequential)
            }
            Self::UdpBlocked => Nat { blocks_udp: true, ..Nat::default() },
        }
    }
}

/// Whether ordinary checks meet between these places: real kernels' answer.
pub(crate) fn meets(one: Place, other: Place) -> bool {
    let blocked = [one, other].contains(&Place::UdpBlocked);
    let hopeless = |symmetric: Place, strict: Place| symmetric.is_symmetric() && strict.is_strict();
    !blocked && !hopeless(one, other) && !hopeless(other, one)
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').expect("address/length");
    Prefix {
        address: address.parse().expect("an address"),
        length: length.parse().expect("a length"),
    }
}

fn node(name: &str, kind: NodeKind) -> Node {
    Node { name: name.to_owned(), kind }
}

fn subnet(name: &str, text: &str) -> Node {
    let prefixes = vec![prefix(text)];
    node(name, NodeKind::Subnet(Subnet { prefixes, isolated: false, multicast: true }))
}

fn plug(name: &str, text: &str) -> Attachment {
    let (network, address) = text.split_once(' ').expect("network address");
    Attachment {
        name: name.to_owned(),
        network: network.to_owned(),
        addresses: vec![address.parse().expect("an address")],
        link: Duplex::default(),
    }
}

pub(crate) fn host(name: &str, text: &str) -> Node {
    node(name, NodeKind::Host(Host { interfaces: vec![plug("eth0", text)] }))
}

pub(crate) fn nat(name: &str, inside: &str, outside: &str, rules: Nat) -> Node {
    let (inside, outside) = (plug("inside", inside), plug("outside", outside));
    node(name, NodeKind::Nat(Nat { inside, outside, ..rules }))
}

/// The internet, with someone who tells addresses and someone who wants to be left in peace.
pub(crate) fn internet() -> Vec<Node> {
    vec![
        subnet("net", "203.0.113.0/24"),
        host("stun", "net 203.0.113.200"),
        host("victim", "net 203.0.113.66"),
    ]
}

/// A host and what stands between it and the internet; returns where the host's socket is.
pub(crate) fn side(nodes: &mut Vec<Node>, peer: &str, number: u8, place: Place) -> SocketAddr {
    let home = format!("{peer}-home");
    let outside = format!("net 203.0.113.{number}");
    if place == Place::Open {
        nodes.push(host(peer, &outside));
        return SocketAddr::new(IpAddr::from([203, 0, 113, number]), 7000);
    }
    nodes.push(subnet(&home, "192.168.1.0/24"));
    nodes.push(host(peer, &format!("{home} 192.168.1.2")));
    let lan = format!("{home} 192.168.1.1");
    match place {
        Place::CarrierFullCone | Place::CarrierPortRestricted | Place::CarrierSymmetric => {
            let carrier = format!("{peer}-carrier");
            nodes.push(subnet(&carrier, "100.64.0.0/24"));
            let (near, far) = (format!("{carrier} 100.64.0.2"), format!("{carrier} 100.64.0.1"));
            nodes.push(nat(&format!("{peer}-nat"), &lan, &near, Nat::default()));
            nodes.push(nat(&format!("{peer}-cgn"), &far, &outside, place.rules()));
        }
        Place::Open
        | Place::FullCone
        | Place::AddressRestricted
        | Place::PortRestricted
        | Place::Symmetric
        | Place::Counting
        | Place::UdpBlocked => {
            nodes.push(nat(&format!("{peer}-nat"), &lan, &outside, place.rules()));
        }
    }
    at("192.168.1.2:7000")
}

/// How the world behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) seed: u64,
    pub(crate) loss: f64,
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
}

impl Weather {
    pub(crate) const fn fair(seed: u64) -> Self {
        Self { seed, loss: 0.0, delay: ms(10), jitter: Duration::ZERO }
    }

    /// Up to eight links lie between two peers: 8 % is lost on the way, and much overtaken.
    pub(crate) const fn bad(seed: u64) -> Self {
        Self { seed, loss: 0.01, delay: ms(10), jitter: ms(8) }
    }
}

pub(crate) fn topology(nodes: Vec<Node>, weather: Weather) -> Topology {
    let mut topology = Topology { seed: weather.seed, nodes, ..Topology::default() };
    let loss = if weather.loss > 0.0 { Loss::Random(weather.loss) } else { Loss::None };
    let link = Link { delay: weather.delay, jitter: weather.jitter, loss, ..Link::default() };
    for node in &mut topology.nodes {
        let attachments: Vec<&mut Attachment> = match &mut node.kind {
            NodeKind::Host(host) => host.interfaces.iter_mut().collect(),
            NodeKind::Router(router) => router.interfaces.iter_mut().collect(),
            NodeKind::Nat(nat) => vec![&mut nat.inside, &mut nat.outside],
            NodeKind::Firewall(wall) => vec![&mut wall.inside, &mut wall.outside],
            NodeKind::Subnet(_) => Vec::new(),
        };
        attachments.into_iter().for_each(|found| found.link = Duplex::symmetric(link));
    }
    topology
}

/// The first socket of a peer; those for birthdays count on from 1.
pub(crate) const FIRST: SocketId = SocketId(0);
const BIRTHDAY_PORT: u16 = 20_000;

/// One of the two who want to meet.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) socket: SocketAddr,
    /// As which the server sees it.
    pub(crate) mapped: Option<SocketAddr>,
    pub(crate) mapping: Mapping,
    pub(crate) agent: Agent,
    pub(crate) path: Option<Path>,
    pub(crate) met_at: Option<Instant>,
    pub(crate) failed: Option<FailReason>,
    pub(crate) lost: Vec<LostReason>,
}

impl Peer {
    fn address_of(&self, socket: SocketId) -> SocketAddr {
        match socket {
            FIRST => self.socket,
            SocketId(number) => SocketAddr::new(self.socket.ip(), BIRTHDAY_PORT + number),
        }
    }

    fn socket_at(&self, address: SocketAddr) -> Option<SocketId> {
        if address == self.socket {
            return Some(FIRST);
        }
        address.port().checked_sub(BIRTHDAY_PORT).map(SocketId)
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Nominated(path) => {
                self.path = Some(path);
                self.met_at.get_or_insert(now);
            }
            Event::Lost(_, reason) => {
                self.path = None;
                self.lost.push(reason);
            }
            Event::Failed(reason) => self.failed = Some(reason),
            Event::SocketsWanted(count) => {
                (1..=count).for_each(|number| self.agent.add_birthday_socket(SocketId(number)));
            }
            Event::SocketsUnneeded => {}
        }
    }
}

/// A datagram that came to somebody who has no agent.
pub(crate) struct Stray {
    pub(crate) host: &'static str,
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// The world, and alice and bob in it.
pub(crate) struct Sim {
    pub(crate) world: World<Vec<u8>>,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) peers: Vec<Peer>,
    pub(crate) strays: Vec<Stray>,
}

impl Sim {
    /// Alice asks for the introduction; neither knows an address yet.
    pub(crate) fn new(topology: &Topology, sockets: [SocketAddr; 2]) -> Self {
        Self::with(topology, sockets, |_| {})
    }

    pub(crate) fn with(
        topology: &Topology,
        sockets: [SocketAddr; 2],
        change: impl Fn(&mut AgentConfig),
    ) -> Self {
        let start = start();
        let rows = [("alice", Role::Controlling), ("bob", Role::Controlled)];
        let seed = topology.seed.to_le_bytes()[0];
        let peers = rows.into_iter().zip(sockets).map(|((name, role), socket)| {
            let number = u8::from(role == Role::Controlled);
            let mut config =
                AgentConfig::new(role, b"a ticket", [seed.wrapping_mul(2) + number; 32]);
            change(&mut config);
            Peer {
                name,
                socket,
                mapped: None,
                mapping: Mapping::Unknown,
                agent: Agent::new(config, start),
                path: None,
                met_at: None,
                failed: None,
                lost: Vec::new(),
            }
        });
        let peers = peers.collect();
        let world = World::new(topology, start).expect("a world");
        Self { world, start, now: start, peers, strays: Vec::new() }
    }

    /// Two places in the internet.
    pub(crate) fn between(pair: [Place; 2], weather: Weather) -> Self {
        let mut nodes = internet();
        let alice = side(&mut nodes, "alice", 1, pair[0]);
        let bob = side(&mut nodes, "bob", 2, pair[1]);
        Self::new(&topology(nodes, weather), [alice, bob])
    }

    pub(crate) fn send(&mut self, host: &str, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let id = self.world.host(host).expect("a host of this name");
        let packet = Packet {
            protocol: Protocol::Udp,
            source: from,
            destination: to,
            size: 28 + u32::try_from(bytes.len()).expect("a datagram"),
            ecn: None,
            hop_limit: 64,
            may_fragment: false,
            kind: Kind::Plain,
            payload: bytes.to_vec(),
        };
        self.world.send(self.now, id, packet);
    }

    /// Each asks two ports of a server as which it is seen, and tells the other; `vouch`: the
    /// server has seen them too.
    pub(crate) fn introduce(&mut self, vouch: bool) {
        for index in [0, 1] {
            let seen = [3478, 3479].map(|port| self.ask(index, port));
            self.peers[index].mapped = seen[0];
            self.peers[index].mapping = match seen {
                [Some(one), Some(other)] if one == other => Mapping::Independent,
                [Some(_), Some(_)] => Mapping::Dependent,
                [_, _] => Mapping::Unknown,
            };
        }
        // Trying begins now.
        for (index, other) in [(0, 1), (1, 0)] {
            let (mapped, mapping) = (self.peers[other].mapped, self.peers[other].mapping);
            let host = Candidate::new(CandidateKind::Host, self.peers[other].socket, 0);
            let now = self.now;
            let peer = &mut self.peers[index];
            peer.agent.add_socket(now, FIRST, Families::Both);
            peer.agent.add_remote(now, host).expect("a host's address");
            if let Some(mapped) = mapped {
                let reflexive = Candidate::new(CandidateKind::Reflexive, mapped, 0);
                peer.agent.add_remote(now, reflexive).expect("an outside address");
                if vouch {
                    peer.agent.vouch(mapped.ip());
                }
            }
            peer.agent.set_mapping(peer.mapping, mapping);
        }
        (0..2).for_each(|index| self.drain(index));
    }

    fn ask(&mut self, index: usize, port: u16) -> Option<SocketAddr> {
        let (name, from) = (self.peers[index].name, self.peers[index].socket);
        let question = format!("as whom do you see {name}, port {port}?");
        for _ in 0..20 {
            let to = SocketAddr::new([203, 0, 113, 200].into(), port);
            self.send(name, from, to, question.as_bytes());
            self.run_for(ms(500));
            let found = self.strays.iter().find(|stray| stray.bytes == question.as_bytes());
            if let Some(found) = found {
                return Some(found.from);
            }
        }
        None
    }

    /// Lets time pass until `until`.
    pub(crate) fn run_until(&mut self, until: Instant) {
        loop {
            let agents = self.peers.iter().filter_map(|peer| peer.agent.poll_timeout());
            let due = agents.map(|deadline| deadline.at).chain(self.world.poll_timeout()).min();
            let Some(due) = due.filter(|due| *due <= until) else { break };
            self.now = self.now.max(due);
            while let Some(arrival) = self.world.poll_delivery(self.now) {
                self.on_arrival(&arrival);
            }
            for index in 0..self.peers.len() {
                self.peers[index].agent.handle_timeout(self.now);
                self.drain(index);
            }
        }
        self.now = self.now.max(until);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Runs until both have a path or neither tries any more; whether both have one.
    pub(crate) fn meet(&mut self) -> bool {
        let end = self.now + Duration::from_secs(40);
        while self.now < end && !self.peers.iter().all(|peer| peer.path.is_some()) {
            self.run_for(ms(10));
        }
        self.peers.iter().all(|peer| peer.path.is_some())
    }

    fn on_arrival(&mut self, arrival: &Arrival<Vec<u8>>) {
        if arrival.packet.kind != Kind::Plain {
            return;
        }
        let Packet { source, destination, ref payload, .. } = arrival.packet;
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            if self.world.host(peer.name) == Some(arrival.interface) {
                if let Some(socket) = peer.socket_at(destination) {
                    peer.agent.handle_datagram(self.now, socket, source, payload);
                    self.drain(index);
                }
                return;
            }
        }
        let others = ["stun", "victim"];
        let found = others.iter().find(|name| self.world.host(name) == Some(arrival.interface));
        if let Some(host) = found {
            self.strays.push(Stray { host, from: source, bytes: payload.clone() });
        }
    }

    pub(crate) fn drain(&mut self, index: usize) {
        let mut buffer = Vec::new();
        while let Some(transmit) = self.peers[index].agent.poll_transmit(self.now, &mut buffer) {
            let (name, from) =
                (self.peers[index].name, self.peers[index].address_of(transmit.socket));
            self.send(name, from, transmit.to, &buffer);
        }
        let now = self.now;
        while let Some(event) = self.peers[index].agent.poll_event() {
            self.peers[index].on_event(now, event);
        }
    }

    /// How long it took both to meet.
    pub(crate) fn took(&self, since: Instant) -> Duration {
        let latest = self.peers.iter().filter_map(|peer| peer.met_at).max();
        latest.map_or(Duration::MAX, |at| at - since)
    }
}

/// `SEED` of the environment, else `default`.
pub(crate) fn seeds(default: u64) -> std::ops::RangeInclusive<u64> {
    match std::env::var("SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("SEED is a number");
            seed..=seed
        }
        Err(_) => 1..=default,
    }
}
