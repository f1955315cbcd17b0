//! Random worlds, packets and events: nothing panics, nothing goes round for ever, nothing gets
//! lost without being counted, and everything can be replayed.
//!
//! `SEED=7 cargo test -p portolan-netsim --test world_random` replays one world.

mod world_common;

use std::{net::SocketAddr, time::Instant};

use portolan_netsim::{
    Arrival, Ecn, IcmpError, InterfaceId, Kind, Link, Loss, Packet, Problem, Protocol, Quoted,
    TcpFlags, Unreachable, World,
    topology::{
        Attachment, Duplex, Firewall, Happening, Host, Nat, Node, NodeKind, PortAllocation, Router,
        Scope, Subnet, Topology, Unsolicited,
    },
};
use world_common::{assert_accounted_for, at, host, ip, ms, prefix, start, subnet, topology, udp};

const SEEDS: u64 = 200;
const PACKETS: u32 = 300;
/// What one packet can cause at most, on average: many hops, copies and answers.
const STEPS_PER_PACKET: u32 = 2_000;

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.roll() % count as u64).expect("small")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }

    fn share(&mut self, most: f64) -> f64 {
        most * (self.below(1000) as f64) / 1000.0
    }
}

const SCOPES: [Scope; 3] =
    [Scope::EndpointIndependent, Scope::AddressDependent, Scope::AddressAndPortDependent];
const PORTS: [PortAllocation; 3] =
    [PortAllocation::Preserving, PortAllocation::Sequential, PortAllocation::Random];

fn link(dice: &mut Dice) -> Link {
    Link {
        delay: ms(dice.roll() % 20),
        jitter: ms(dice.roll() % 5),
        loss: Loss::Random(dice.share(0.1)),
        duplicate: dice.share(0.05),
        corrupt: dice.share(0.05),
        mtu: *dice.pick(&[576, 1280, 1500, 65_535]),
        ..Link::default()
    }
}

/// Networks, some with the same prefix, and boxes between any of them.
struct Builder {
    dice: Dice,
    networks: Vec<String>,
    next_address: u16,
}

impl Builder {
    fn attachment(&mut self, name: &str) -> Attachment {
        let network = self.dice.below(self.networks.len());
        // Networks 0 and 1, 2 and 3, … share a prefix.
        self.next_address += 1;
        let (high, low) = (self.next_address >> 8, self.next_address & 0xff);
        let mut addresses = vec![ip(&format!("10.{}.{high}.{low}", network / 2))];
        if !self.dice.one_in(3) {
            addresses.push(ip(&format!("fd00:{}::{:x}", network / 2, self.next_address)));
        }
        let link = Duplex { up: link(&mut self.dice), down: link(&mut self.dice) };
        let network = self.networks[network].clone();
        Attachment { name: name.to_owned(), network, addresses, link }
    }

    fn node(&mut self, index: usize) -> Node {
        let (inside, outside) = (self.attachment("inside"), self.attachment("outside"));
        let dice = &mut self.dice;
        let unsolicited = *dice.pick(&[Unsolicited::Drop, Unsolicited::Reject]);
        let (filtering, blocks_udp) = (*dice.pick(&SCOPES), dice.one_in(8));
        let kind = match dice.below(6) {
            0..=2 => NodeKind::Host(Host { interfaces: vec![outside] }),
            3 => NodeKind::Router(Router { interfaces: vec![inside, outside] }),
            4 => NodeKind::Firewall(Firewall {
                inside,
                outside,
                filtering,
                unsolicited,
                blocks_udp,
                ..Firewall::default()
            }),
            _ => NodeKind::Nat(Nat {
                inside,
                outside,
                mapping: *dice.pick(&SCOPES),
                filtering,
                ports: *dice.pick(&PORTS),
                hairpin: dice.one_in(2),
                unsolicited,
                udp_timeout: ms(500),
                mappings_max: 8,
                blocks_udp,
                forwards: vec![(80, at("10.0.0.1:80"))],
                ..Nat::default()
            }),
        };
        Node { name: format!("n{index}"), kind }
    }
}

fn random_topology(seed: u64) -> Topology {
    let mut dice = Dice(seed);
    let count = 2 + dice.below(6);
    let mut nodes = Vec::new();
    for index in 0..count {
        let prefixes = vec![
            prefix(&format!("10.{}.0.0/16", index / 2)),
            prefix(&format!("fd00:{}::/64", index / 2)),
        ];
        let (isolated, multicast) = (dice.one_in(6), !dice.one_in(6));
        let subnet = Subnet { prefixes, isolated, multicast };
        nodes.push(Node { name: format!("net{index}"), kind: NodeKind::Subnet(subnet) });
    }
    let networks = nodes.iter().map(|node| node.name.clone()).collect();
    let mut builder = Builder { dice, networks, next_address: 0 };
    nodes.push(host("alice", &["net0 10.0.200.1 fd00:0::ffff"]));
    nodes.extend((0..12).map(|index| builder.node(index)));
    topology(seed, nodes)
}

/// A run of one world.
struct Run {
    dice: Dice,
    topology: Topology,
    world: World<u32>,
    now: Instant,
    hosts: Vec<InterfaceId>,
    sockets: Vec<SocketAddr>,
    trace: Vec<Arrival<u32>>,
}

impl Run {
    fn new(seed: u64, start: Instant) -> Self {
        let topology = random_topology(seed);
        let world = World::new(&topology, start).expect("a world");
        let hosts: Vec<&Node> =
            topology.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Host(_))).collect();
        let hosts = hosts.into_iter().filter_map(|node| world.host(&node.name)).collect();
        let mut sockets: Vec<SocketAddr> = ["224.0.0.251:5353", "[ff02::fb]:5353", "192.0.2.1:9"]
            .into_iter()
            .chain(["10.0.255.255:9", "255.255.255.255:9", "0.0.0.0:0", "[fe80::1]:1"])
            .map(at)
            .collect();
        for (id, _, _) in world.interfaces() {
            let addresses = world.addressing(id).addresses;
            sockets.extend(addresses.into_iter().map(|(ip, _)| SocketAddr::new(ip, 80)));
        }
        Self {
            dice: Dice(seed ^ 1),
            topology,
            world,
            now: start,
            hosts,
            sockets,
            trace: Vec::new(),
        }
    }

    fn socket(&mut self) -> SocketAddr {
        let mut socket = *self.dice.pick(&self.sockets);
        socket.set_port(*self.dice.pick(&[0, 80, 1024, 5000, 65_535]));
        socket
    }

    fn packet(&mut self, number: u32) -> (InterfaceId, Packet<u32>) {
        let from = *self.dice.pick(&self.hosts);
        let (source, destination) = (self.source(from), self.socket());
        let bits = self.dice.roll();
        let flags = TcpFlags {
            syn: bits & 1 != 0,
            ack: bits & 2 != 0,
            fin: bits & 4 != 0,
            rst: bits & 8 != 0,
        };
        let about = Quoted {
            protocol: *self.dice.pick(&[Protocol::Tcp, Protocol::Udp, Protocol::Icmp]),
            source: self.socket(),
            destination: self.socket(),
        };
        let what = Problem::Unreachable(Unreachable::Port);
        let error = IcmpError { what, by: source.ip(), about };
        let (protocol, kind) = *self.dice.pick(&[
            (Protocol::Udp, Kind::Plain),
            (Protocol::Udp, Kind::Plain),
            (Protocol::Tcp, Kind::Tcp(flags)),
            (Protocol::Tcp, Kind::Plain),
            (Protocol::Icmp, Kind::Echo(portolan_netsim::Echo::Request)),
            (Protocol::Icmp, Kind::Echo(portolan_netsim::Echo::Reply)),
            (Protocol::Icmp, Kind::Error(error)),
            (Protocol::Icmp, Kind::Plain),
            (Protocol::Other(47), Kind::Plain),
        ]);
        let packet = Packet {
            protocol,
            source,
            destination,
            size: *self.dice.pick(&[0, 60, 577, 1500, 65_535]),
            ecn: *self.dice.pick(&[None, Some(Ecn::Ect0), Some(Ecn::Ce)]),
            hop_limit: *self.dice.pick(&[0, 1, 2, 64]),
            may_fragment: self.dice.one_in(3),
            kind,
            payload: number,
        };
        (from, packet)
    }

    /// Mostly the host's own address.
    fn source(&mut self, from: InterfaceId) -> SocketAddr {
        let any = self.socket();
        if self.dice.one_in(10) {
            return any;
        }
        let own = self.world.addressing(from).addresses;
        SocketAddr::new(self.dice.pick(&own).0, any.port())
    }

    /// Something that the topology did not plan; what does not fit is refused.
    fn happening(&mut self) -> Happening {
        let node = self.dice.pick(&self.topology.nodes).name.clone();
        let network = format!("net{}", self.dice.below(8));
        let addresses = vec![self.socket().ip()];
        let link = Duplex { up: link(&mut self.dice), down: link(&mut self.dice) };
        let interface = None;
        match self.dice.below(6) {
            0 => Happening::Down { node, interface },
            1 => Happening::Up { node, interface },
            2 => Happening::Link { node, interface, link },
            3 => Happening::Rebind { nat: node },
            4 => Happening::Renumber { node, interface, addresses },
            _ => Happening::Move { host: node, interface, network, addresses, link },
        }
    }

    fn run(mut self) -> Self {
        for number in 0..PACKETS {
            if self.dice.one_in(10) {
                let what = self.happening();
                let _refused = self.world.apply(self.now, &what);
                while self.world.poll_change().is_some() {}
            }
            let (from, packet) = self.packet(number);
            self.world.send(self.now, from, packet);
            self.now += ms(self.dice.roll() % 10);
            while let Some(arrival) = self.world.poll_delivery(self.now) {
                self.trace.push(arrival);
            }
        }
        self.drain();
        assert_accounted_for(&self.world);
        self
    }

    fn drain(&mut self) {
        for _ in 0..PACKETS * STEPS_PER_PACKET {
            let Some(at) = self.world.poll_timeout() else { return };
            assert!(at >= self.now || self.world.under_way() > 0, "what is due stays due");
            self.trace.extend(self.world.poll_delivery(at));
        }
        panic!("packets go round and round");
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..SEEDS).collect(),
    }
}

#[test]
fn random_worlds_lose_nothing_without_counting_it_and_can_be_replayed() {
    let start = start();
    for seed in seeds() {
        println!("SEED={seed}");
        let (first, second) = (Run::new(seed, start).run(), Run::new(seed, start).run());
        assert_eq!(first.trace, second.trace, "the same seed gives the same arrivals");
        assert_eq!(first.world.stats(), second.world.stats());
        assert!(first.trace.windows(2).all(|pair| pair[0].at <= pair[1].at), "in order of time");
    }
}

#[test]
fn another_flow_does_not_change_what_chance_does_to_this_one() {
    let arrivals = |with_other: bool| {
        let mut topology = topology(
            3,
            vec![
                subnet("lan", "10.1.0.0/24"),
                host("alice", &["lan 10.1.0.2"]),
                host("bob", &["lan 10.1.0.3"]),
            ],
        );
        let link = Link { loss: Loss::Random(0.3), jitter: ms(9), ..Link::default() };
        world_common::link_everywhere(&mut topology, link);
        let start = start();
        let mut world = World::new(&topology, start).expect("a world");
        let alice = world.host("alice").expect("alice");
        let mut numbers = Vec::new();
        for number in 0..500_u32 {
            let now = start + ms(1) * number;
            if with_other {
                world.send(now, alice, udp("10.1.0.2:5", "10.1.0.3:6"));
            }
            world.send(now, alice, Packet { payload: number, ..udp("10.1.0.2:1", "10.1.0.3:2") });
        }
        while let Some(at) = world.poll_timeout() {
            while let Some(arrival) = world.poll_delivery(at) {
                if arrival.packet.source.port() == 1 {
                    numbers.push((arrival.packet.payload, arrival.at - start));
                }
            }
        }
        numbers
    };
    assert_eq!(arrivals(false), arrivals(true));
}
