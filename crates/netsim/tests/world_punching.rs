//! Which pairs of translators two peers can meet through, as found with real kernels and sockets.
//!
//! Both learn their outside address from a server, exchange them by other means, and then send to
//! each other at once: UDP probes, or TCP SYNs from the port on which they also listen. Replies go
//! to the address that is seen.

mod world_common;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use portolan_netsim::{
    Arrival, Kind, Link, Packet, Protocol, TcpFlags,
    topology::{Firewall, Nat, Node, PortAllocation, Scope, Unsolicited},
};
use world_common::{Sim, at, firewall, host, link_everywhere, ms, nat, subnet, tcp, topology, udp};

/// Where a peer can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Open,
    FullCone,
    AddressRestricted,
    PortRestricted,
    Symmetric,
    CarrierFullCone,
    CarrierPortRestricted,
    CarrierSymmetric,
    UdpBlocked,
}

use Place::{
    AddressRestricted, CarrierFullCone, CarrierPortRestricted, CarrierSymmetric, FullCone, Open,
    PortRestricted, Symmetric, UdpBlocked,
};

/// The table: `y` or `n` for UDP, then for TCP; `-` where no UDP passes at all.
const ROWS: &[(Place, &[(Place, &str)])] = &[
    (
        Open,
        &[
            (Open, "yy"),
            (FullCone, "yy"),
            (AddressRestricted, "yy"),
            (PortRestricted, "yy"),
            (Symmetric, "yy"),
            (CarrierFullCone, "yy"),
            (CarrierPortRestricted, "yy"),
            (CarrierSymmetric, "yy"),
            (UdpBlocked, "-y"),
        ],
    ),
    (
        FullCone,
        &[
            (FullCone, "yy"),
            (AddressRestricted, "yy"),
            (PortRestricted, "yy"),
            (Symmetric, "yy"),
            (CarrierFullCone, "yy"),
            (CarrierPortRestricted, "yy"),
            (CarrierSymmetric, "yy"),
            (UdpBlocked, "-y"),
        ],
    ),
    (
        AddressRestricted,
        &[
            (AddressRestricted, "yy"),
            (PortRestricted, "yy"),
            (Symmetric, "yy"),
            (CarrierFullCone, "yy"),
            (CarrierPortRestricted, "yy"),
            (CarrierSymmetric, "yy"),
            (UdpBlocked, "-y"),
        ],
    ),
    (
        PortRestricted,
        &[
            (PortRestricted, "yy"),
            (Symmetric, "nn"),
            (CarrierFullCone, "yy"),
            (CarrierPortRestricted, "yy"),
            (CarrierSymmetric, "nn"),
            (UdpBlocked, "-y"),
        ],
    ),
    (
        Symmetric,
        &[
            (Symmetric, "nn"),
            (CarrierFullCone, "nn"),
            (CarrierPortRestricted, "nn"),
            (CarrierSymmetric, "nn"),
            (UdpBlocked, "-n"),
        ],
    ),
    (
        UdpBlocked,
        &[
            (CarrierFullCone, "-y"),
            (CarrierPortRestricted, "-y"),
            (CarrierSymmetric, "-n"),
            (UdpBlocked, "-y"),
        ],
    ),
];

fn kind(place: Place) -> Nat {
    let scopes = |mapping, filtering, ports| Nat { mapping, filtering, ports, ..Nat::default() };
    let keep = PortAllocation::Preserving;
    match place {
        Open | FullCone | CarrierFullCone => {
            scopes(Scope::EndpointIndependent, Scope::EndpointIndependent, keep)
        }
        AddressRestricted => scopes(Scope::EndpointIndependent, Scope::AddressDependent, keep),
        PortRestricted | CarrierPortRestricted => Nat::default(),
        Symmetric | CarrierSymmetric => scopes(
            Scope::AddressAndPortDependent,
            Scope::AddressAndPortDependent,
            PortAllocation::Random,
        ),
        UdpBlocked => Nat { blocks_udp: true, ..Nat::default() },
    }
}

/// A host, and what stands between it and the internet; returns the host's socket.
fn side(nodes: &mut Vec<Node>, peer: &str, number: u8, place: Place) -> SocketAddr {
    let home = format!("{peer}-home");
    let outside = format!("net 203.0.113.{number}");
    let (lan, carrier) = (format!("{home} 192.168.1.1"), format!("{peer}-carrier"));
    if place == Open {
        nodes.push(host(peer, &[&outside]));
        return SocketAddr::new(format!("203.0.113.{number}").parse().expect("an address"), 7000);
    }
    nodes.push(subnet(&home, "192.168.1.0/24"));
    nodes.push(host(peer, &[&format!("{home} 192.168.1.2")]));
    if matches!(place, CarrierFullCone | CarrierPortRestricted | CarrierSymmetric) {
        nodes.push(subnet(&carrier, "100.64.0.0/24"));
        let (near, far) = (format!("{carrier} 100.64.0.2"), format!("{carrier} 100.64.0.1"));
        nodes.push(nat(&format!("{peer}-nat"), &lan, &near, Nat::default()));
        nodes.push(nat(&format!("{peer}-cgn"), &far, &outside, kind(place)));
    } else {
        nodes.push(nat(&format!("{peer}-nat"), &lan, &outside, kind(place)));
    }
    at("192.168.1.2:7000")
}

fn internet() -> Vec<Node> {
    vec![subnet("net", "203.0.113.0/24"), host("stun", &["net 203.0.113.200"])]
}

/// One of the two who want to meet.
struct Peer {
    name: &'static str,
    socket: SocketAddr,
    /// As which the other one knows it.
    mapped: SocketAddr,
    /// What it has of each remote address.
    remotes: BTreeMap<SocketAddr, State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// TCP: a SYN was sent. UDP: nothing was heard yet.
    Asked,
    /// TCP: a SYN came and was answered. UDP: the other's probe came.
    Heard,
    /// TCP: established. UDP: the other has heard us too.
    Meets,
}

/// How the world behaves while the two try.
#[derive(Clone, Copy)]
struct Weather {
    seed: u64,
    loss: f64,
}

const STUN: &str = "203.0.113.200:3478";
/// A try of each peer.
const TURN: Duration = ms(50);
/// By so much the second peer begins later: longer than the way to the other's router.
const LATER: Duration = ms(20);
const TURNS_MAX: u32 = 100;

fn world(nodes: Vec<Node>, weather: Weather) -> Sim {
    let mut topology = topology(weather.seed, nodes);
    let loss = if weather.loss > 0.0 {
        portolan_netsim::Loss::Random(weather.loss)
    } else {
        portolan_netsim::Loss::None
    };
    let link = Link { delay: ms(1), jitter: Duration::from_micros(500), loss, ..Link::default() };
    link_everywhere(&mut topology, link);
    Sim::new(&topology)
}

/// As which the peer is seen by a server; `None`: it cannot be reached.
fn ask_stun(
    sim: &mut Sim,
    peer: &str,
    socket: SocketAddr,
    protocol: Protocol,
) -> Option<SocketAddr> {
    for _ in 0..20 {
        let arrived = sim.exchange(peer, first_packet(protocol, socket, at(STUN)));
        let stun = sim.id("stun");
        if let Some(arrival) = arrived.iter().find(|arrival| arrival.interface == stun) {
            return Some(arrival.packet.source);
        }
        sim.pass_time(TURN);
    }
    None
}

fn first_packet(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> Packet<u32> {
    let (from, to) = (from.to_string(), to.to_string());
    match protocol {
        Protocol::Udp => Packet { payload: 0, ..udp(&from, &to) },
        Protocol::Tcp => tcp(&from, &to, "S"),
        Protocol::Icmp | Protocol::Other(_) => panic!("only UDP and TCP punch holes"),
    }
}

/// Whether alice and bob, at these sockets, meet.
fn punch(mut sim: Sim, sockets: [SocketAddr; 2], protocol: Protocol) -> bool {
    let mut peers = Vec::new();
    for (name, socket) in ["alice", "bob"].into_iter().zip(sockets) {
        let Some(mapped) = ask_stun(&mut sim, name, socket, protocol) else { return false };
        peers.push(Peer { name, socket, mapped, remotes: BTreeMap::new() });
    }
    let met = meet(&mut sim, &mut peers, protocol);
    sim.assert_accounted_for();
    met
}

/// Whether the peers, who know each other's addresses, meet.
fn meet(sim: &mut Sim, peers: &mut [Peer], protocol: Protocol) -> bool {
    let start = sim.now;
    for turn in 0..TURNS_MAX {
        for index in [0, 1] {
            let later = if index == 1 { LATER } else { Duration::ZERO };
            run_until(sim, peers, start + TURN * turn + later);
            let other = peers[1 - index].mapped;
            peers[index].turn(sim, protocol, other);
        }
        if peers.iter().all(Peer::meets) {
            return true;
        }
    }
    false
}

fn run_until(sim: &mut Sim, peers: &mut [Peer], until: std::time::Instant) {
    while let Some(at) = sim.world.poll_timeout().filter(|at| *at <= until) {
        sim.now = at;
        while let Some(arrival) = sim.world.poll_delivery(at) {
            for peer in &mut *peers {
                if arrival.interface == sim.id(peer.name) {
                    peer.receive(sim, &arrival);
                }
            }
        }
    }
    sim.now = until;
}

impl Peer {
    fn meets(&self) -> bool {
        self.remotes.values().any(|state| *state == State::Meets)
    }

    /// Tries again with the address that the other one has announced, and with all that were seen.
    fn turn(&mut self, sim: &mut Sim, protocol: Protocol, other: SocketAddr) {
        self.remotes.entry(other).or_insert(State::Asked);
        for (to, state) in self.remotes.clone() {
            self.send_again(sim, protocol, to, state);
        }
    }

    fn send_again(&self, sim: &mut Sim, protocol: Protocol, to: SocketAddr, state: State) {
        match (protocol, state) {
            (Protocol::Udp, State::Asked) => self.send_probe(sim, to, 0),
            (Protocol::Udp, State::Heard | State::Meets) => self.send_probe(sim, to, 1),
            (_, State::Asked) => self.send_segment(sim, to, "S"),
            (_, State::Heard) => self.send_segment(sim, to, "SA"),
            (_, State::Meets) => self.send_segment(sim, to, "A"),
        }
    }

    fn receive(&mut self, sim: &mut Sim, arrival: &Arrival<u32>) {
        let from = arrival.packet.source;
        match arrival.packet.kind {
            Kind::Plain => self.on_probe(sim, from, arrival.packet.payload),
            Kind::Tcp(flags) => self.on_segment(sim, from, flags),
            // An ICMP error does not stop anybody from trying.
            Kind::Echo(_) | Kind::Error(_) => {}
        }
    }

    /// A probe says whether its sender has heard us.
    fn on_probe(&mut self, sim: &mut Sim, from: SocketAddr, heard: u32) {
        let before = self.remotes.get(&from).copied();
        let state = if heard == 1 { State::Meets } else { State::Heard };
        if before != Some(State::Meets) {
            self.remotes.insert(from, state);
        }
        if before != Some(state) {
            self.send_probe(sim, from, 1);
        }
    }

    /// What a kernel does whose port both listens and connects (RFC 9293 §3.5).
    fn on_segment(&mut self, sim: &mut Sim, from: SocketAddr, flags: TcpFlags) {
        let state = self.remotes.get(&from).copied();
        match (flags, state) {
            (TcpFlags { rst: true, .. }, Some(State::Asked | State::Heard)) => {
                self.remotes.remove(&from);
            }
            (TcpFlags { rst: true, .. }, _) => {}
            (TcpFlags { syn: true, ack: false, .. }, Some(State::Meets)) => {
                self.send_segment(sim, from, "A");
            }
            (TcpFlags { syn: true, ack: false, .. }, _) => {
                self.remotes.insert(from, State::Heard);
                self.send_segment(sim, from, "SA");
            }
            (TcpFlags { ack: true, syn, .. }, Some(_)) if syn || state != Some(State::Asked) => {
                self.remotes.insert(from, State::Meets);
                if syn {
                    self.send_segment(sim, from, "A");
                }
            }
            (_, _) => self.send_segment(sim, from, "R"),
        }
    }

    fn send_probe(&self, sim: &mut Sim, to: SocketAddr, heard: u32) {
        let packet = udp(&self.socket.to_string(), &to.to_string());
        sim.send(self.name, Packet { payload: heard, ..packet });
    }

    fn send_segment(&self, sim: &mut Sim, to: SocketAddr, flags: &str) {
        sim.send(self.name, tcp(&self.socket.to_string(), &to.to_string(), flags));
    }
}

/// Both protocols, as the table writes them.
fn result(pair: [Place; 2], weather: Weather) -> String {
    let try_with = |protocol| {
        let mut nodes = internet();
        let alice = side(&mut nodes, "alice", 1, pair[0]);
        let bob = side(&mut nodes, "bob", 2, pair[1]);
        punch(world(nodes, weather), [alice, bob], protocol)
    };
    let letter = |met| if met { 'y' } else { 'n' };
    let no_udp = pair.contains(&UdpBlocked);
    let udp = try_with(Protocol::Udp);
    assert!(!(no_udp && udp), "blocked UDP has passed");
    let udp = if no_udp { '-' } else { letter(udp) };
    format!("{udp}{}", letter(try_with(Protocol::Tcp)))
}

#[test]
fn every_pair_of_translators_is_punched_or_not_as_with_real_kernels() {
    for seed in 1..=5 {
        for (one, row) in ROWS {
            for (other, want) in *row {
                for pair in [[*one, *other], [*other, *one]] {
                    let found = result(pair, Weather { seed, loss: 0.05 });
                    assert_eq!(found, *want, "{pair:?}, seed {seed}");
                }
            }
        }
    }
}

/// Two homes behind one carrier's translator.
fn same_carrier(carrier: Nat) -> (Vec<Node>, [SocketAddr; 2]) {
    let mut nodes = internet();
    nodes.push(subnet("carrier", "100.64.0.0/24"));
    nodes.push(nat("cgn", "carrier 100.64.0.1", "net 203.0.113.1", carrier));
    for (peer, number) in [("alice", 2), ("bob", 3)] {
        let home = format!("{peer}-home");
        nodes.push(subnet(&home, "192.168.1.0/24"));
        nodes.push(host(peer, &[&format!("{home} 192.168.1.2")]));
        let outside = format!("carrier 100.64.0.{number}");
        nodes.push(nat(
            &format!("{peer}-nat"),
            &format!("{home} 192.168.1.1"),
            &outside,
            Nat::default(),
        ));
    }
    (nodes, [at("192.168.1.2:7000"), at("192.168.1.2:7000")])
}

/// Two hosts in one home, who only know their outside addresses.
fn same_home(rules: Nat) -> (Vec<Node>, [SocketAddr; 2]) {
    let mut nodes = internet();
    nodes.push(subnet("home", "192.168.1.0/24"));
    nodes.push(host("alice", &["home 192.168.1.2"]));
    nodes.push(host("bob", &["home 192.168.1.3"]));
    nodes.push(nat("box", "home 192.168.1.1", "net 203.0.113.1", rules));
    (nodes, [at("192.168.1.2:7000"), at("192.168.1.3:7000")])
}

#[test]
fn behind_the_same_translator_peers_meet_by_outside_addresses_only_through_a_hairpin() {
    for place in [FullCone, AddressRestricted, PortRestricted] {
        for hairpin in [false, true] {
            for build in [same_carrier, same_home] {
                for protocol in [Protocol::Udp, Protocol::Tcp] {
                    let (nodes, sockets) = build(Nat { hairpin, ..kind(place) });
                    let sim = world(nodes, Weather { seed: 1, loss: 0.05 });
                    let met = punch(sim, sockets, protocol);
                    assert_eq!(met, hairpin, "{place:?}, {protocol:?}");
                }
            }
        }
    }
}

#[test]
fn neighbours_meet_directly_whatever_their_translator_does() {
    for place in [PortRestricted, Symmetric, UdpBlocked] {
        let (nodes, [alice, bob]) = same_home(kind(place));
        let mut sim = world(nodes, Weather { seed: 1, loss: 0.0 });
        let arrival = sim.only("alice", udp(&alice.to_string(), &bob.to_string()));
        assert_eq!(arrival.packet.source, alice);
    }
}

#[test]
fn routers_that_reject_what_they_do_not_know_spoil_tcp_but_not_udp() {
    let rows = [(Unsolicited::Drop, true, true), (Unsolicited::Reject, true, false)];
    for (unsolicited, udp, tcp) in rows {
        for seed in 1..=5 {
            for (protocol, want) in [(Protocol::Udp, udp), (Protocol::Tcp, tcp)] {
                let rules = || Nat { unsolicited, ..Nat::default() };
                let mut nodes = internet();
                for (peer, number) in [("alice", 1), ("bob", 2)] {
                    let home = format!("{peer}-home");
                    nodes.push(subnet(&home, "192.168.1.0/24"));
                    nodes.push(host(peer, &[&format!("{home} 192.168.1.2")]));
                    let (lan, wan) =
                        (format!("{home} 192.168.1.1"), format!("net 203.0.113.{number}"));
                    nodes.push(nat(&format!("{peer}-nat"), &lan, &wan, rules()));
                }
                // Without loss: a lost SYN would be no reason for a reset.
                let sim = world(nodes, Weather { seed, loss: 0.0 });
                let sockets = [at("192.168.1.2:7000"), at("192.168.1.2:7000")];
                let met = punch(sim, sockets, protocol);
                assert_eq!(met, want, "{unsolicited:?}, {protocol:?}, seed {seed}");
            }
        }
    }
}

#[test]
fn ipv6_peers_behind_firewalls_meet() {
    for seed in 1..=5 {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let mut nodes = vec![
                subnet("net", "2001:db8:f::/64 203.0.113.0/24"),
                host("stun", &["net 203.0.113.200"]),
            ];
            for peer in ["a", "b"] {
                let prefix = format!("2001:db8:{peer}:");
                let home = format!("{peer}-home");
                nodes.push(subnet(&home, &format!("{prefix}:/64")));
                let name = if peer == "a" { "alice" } else { "bob" };
                nodes.push(host(name, &[&format!("{home} {prefix}:2")]));
                let (inside, outside) =
                    (format!("{home} {prefix}:1"), format!("net 2001:db8:f::{peer}"));
                nodes.push(firewall(
                    &format!("{peer}-wall"),
                    &inside,
                    &outside,
                    Firewall::default(),
                ));
            }
            let mut sim = world(nodes, Weather { seed, loss: 0.05 });
            let sockets = [at("[2001:db8:a::2]:7000"), at("[2001:db8:b::2]:7000")];
            let mut peers: Vec<Peer> = ["alice", "bob"]
                .into_iter()
                .zip(sockets)
                .map(|(name, socket)| Peer {
                    name,
                    socket,
                    mapped: socket,
                    remotes: BTreeMap::new(),
                })
                .collect();
            assert!(meet(&mut sim, &mut peers, protocol), "{protocol:?}, seed {seed}");
        }
    }
}
