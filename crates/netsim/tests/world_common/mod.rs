//! Small worlds in few words.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use portolan_netsim::{
    Arrival, Echo, InterfaceId, Kind, Link, Packet, Protocol, TcpFlags, World,
    topology::{
        Attachment, Duplex, Firewall, Host, Nat, Node, NodeKind, Prefix, Router, Subnet, Topology,
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

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

pub(crate) fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').expect("address/length");
    Prefix { address: ip(address), length: length.parse().expect("a length") }
}

fn node(name: &str, kind: NodeKind) -> Node {
    Node { name: name.to_owned(), kind }
}

/// `prefixes` separated by blanks.
pub(crate) fn subnet(name: &str, prefixes: &str) -> Node {
    let prefixes = prefixes.split_whitespace().map(prefix).collect();
    node(name, NodeKind::Subnet(Subnet { prefixes, isolated: false, multicast: true }))
}

/// An attachment written as `network address address…`, without faults.
pub(crate) fn plug(name: &str, text: &str) -> Attachment {
    let mut words = text.split_whitespace();
    let network = words.next().expect("a network").to_owned();
    let addresses = words.map(ip).collect();
    Attachment { name: name.to_owned(), network, addresses, link: Duplex::default() }
}

/// Interfaces are called `eth0`, `eth1`, and so on.
fn plugs(texts: &[&str]) -> Vec<Attachment> {
    texts.iter().enumerate().map(|(index, text)| plug(&format!("eth{index}"), text)).collect()
}

pub(crate) fn host(name: &str, interfaces: &[&str]) -> Node {
    node(name, NodeKind::Host(Host { interfaces: plugs(interfaces) }))
}

pub(crate) fn router(name: &str, interfaces: &[&str]) -> Node {
    node(name, NodeKind::Router(Router { interfaces: plugs(interfaces) }))
}

pub(crate) fn nat(name: &str, inside: &str, outside: &str, nat: Nat) -> Node {
    let (inside, outside) = (plug("inside", inside), plug("outside", outside));
    node(name, NodeKind::Nat(Nat { inside, outside, ..nat }))
}

pub(crate) fn firewall(name: &str, inside: &str, outside: &str, wall: Firewall) -> Node {
    let (inside, outside) = (plug("inside", inside), plug("outside", outside));
    node(name, NodeKind::Firewall(Firewall { inside, outside, ..wall }))
}

pub(crate) fn topology(seed: u64, nodes: Vec<Node>) -> Topology {
    Topology { seed, nodes, ..Topology::default() }
}

/// Every attachment of the topology behaves like this.
pub(crate) fn link_everywhere(topology: &mut Topology, link: Link) {
    for node in &mut topology.nodes {
        let attachments: Vec<&mut Attachment> = match &mut node.kind {
            NodeKind::Host(host) => host.interfaces.iter_mut().collect(),
            NodeKind::Router(router) => router.interfaces.iter_mut().collect(),
            NodeKind::Nat(nat) => vec![&mut nat.inside, &mut nat.outside],
            NodeKind::Firewall(wall) => vec![&mut wall.inside, &mut wall.outside],
            NodeKind::Subnet(_) => Vec::new(),
        };
        for attachment in attachments {
            attachment.link = Duplex::symmetric(link);
        }
    }
}

/// A world, its time, and packets with a number as payload.
pub(crate) struct Sim {
    pub(crate) world: World<u32>,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
}

impl Sim {
    pub(crate) fn new(topology: &Topology) -> Self {
        let start = start();
        Self { world: World::new(topology, start).expect("a world"), start, now: start }
    }

    pub(crate) fn of(nodes: Vec<Node>) -> Self {
        Self::new(&topology(1, nodes))
    }

    pub(crate) fn id(&self, host: &str) -> InterfaceId {
        self.world.host(host).expect("a host of this name")
    }

    pub(crate) fn send(&mut self, host: &str, packet: Packet<u32>) {
        let id = self.id(host);
        self.world.send(self.now, id, packet);
    }

    pub(crate) fn pass_time(&mut self, time: Duration) {
        self.now += time;
    }

    /// Everything that arrives until nothing is under way.
    pub(crate) fn drain(&mut self) -> Vec<Arrival<u32>> {
        let mut arrived = Vec::new();
        while self.world.under_way() > 0 {
            let Some(at) = self.world.poll_timeout() else { break };
            self.now = self.now.max(at);
            while let Some(arrival) = self.world.poll_delivery(self.now) {
                arrived.push(arrival);
            }
        }
        arrived
    }

    /// What arrives at the host because of this packet, nothing else being under way.
    pub(crate) fn exchange(&mut self, from: &str, packet: Packet<u32>) -> Vec<Arrival<u32>> {
        self.send(from, packet);
        self.drain()
    }

    /// The only thing that arrives.
    pub(crate) fn only(&mut self, from: &str, packet: Packet<u32>) -> Arrival<u32> {
        let mut arrived = self.exchange(from, packet);
        assert_eq!(arrived.len(), 1, "one arrival expected, not {arrived:?}");
        arrived.remove(0)
    }

    pub(crate) fn assert_accounted_for(&self) {
        assert_accounted_for(&self.world);
    }
}

/// Every packet is somewhere.
pub(crate) fn assert_accounted_for(world: &World<u32>) {
    let stats = world.stats();
    let (mut dropped, mut duplicated) = (0, 0);
    for (id, _, _) in world.interfaces() {
        let (up, down) = world.link_stats(id);
        dropped += up.dropped() + down.dropped();
        duplicated += up.duplicated + down.duplicated;
    }
    let under_way = world.under_way() as u64;
    assert_eq!(
        stats.sent + stats.made + stats.copied + duplicated,
        stats.delivered + stats.consumed + stats.dropped() + dropped + under_way,
        "{stats:?}, {dropped} dropped and {duplicated} duplicated by links, {under_way} under way",
    );
}

fn packet(protocol: Protocol, from: &str, to: &str, kind: Kind) -> Packet<u32> {
    Packet {
        protocol,
        source: at(from),
        destination: at(to),
        size: 100,
        ecn: None,
        hop_limit: 64,
        may_fragment: false,
        kind,
        payload: 7,
    }
}

pub(crate) fn udp(from: &str, to: &str) -> Packet<u32> {
    packet(Protocol::Udp, from, to, Kind::Plain)
}

/// `flags` are the letters S, A, F and R.
pub(crate) fn tcp(from: &str, to: &str, flags: &str) -> Packet<u32> {
    let flags = TcpFlags {
        syn: flags.contains('S'),
        ack: flags.contains('A'),
        fin: flags.contains('F'),
        rst: flags.contains('R'),
    };
    packet(Protocol::Tcp, from, to, Kind::Tcp(flags))
}

/// An echo request; the identifier stands as port.
pub(crate) fn ping(from: &str, to: &str) -> Packet<u32> {
    packet(Protocol::Icmp, from, to, Kind::Echo(Echo::Request))
}

/// An echo reply.
pub(crate) fn pong(from: &str, to: &str) -> Packet<u32> {
    packet(Protocol::Icmp, from, to, Kind::Echo(Echo::Reply))
}
