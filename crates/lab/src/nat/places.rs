//! Where a peer can be, and the world that two of them make.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use portolan_netsim::{
    Link, Loss,
    topology::{
        Attachment, Duplex, Host, Nat, Node, NodeKind, PortAllocation, Prefix, Scope, Subnet,
        Topology,
    },
};

/// The port of peers.
const PORT: u16 = 7275;
/// Where both are told as which they are seen; its second port tells how they are mapped.
pub(super) const STUN: [SocketAddr; 2] = {
    let ip = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 200));
    [SocketAddr::new(ip, 3478), SocketAddr::new(ip, 3479)]
};

/// The second address of the same host, which tells whether the mapping depends on it.
pub(super) const STUN_ALTERNATE: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 201)), 3479);

/// What stands between a peer and the internet.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its name in tables.
    pub name: &'static str,
    /// Its name on the command line.
    pub word: &'static str,
    /// The translator that faces the internet; `None`: none does.
    rules: Option<fn() -> Nat>,
    /// Whether the home's own translator stands before a carrier's.
    is_carrier: bool,
}

/// Every place, as the tables show them.
pub const PLACES: [Place; 7] = [
    Place { name: "open", word: "open", rules: None, is_carrier: false },
    Place { name: "full cone", word: "full-cone", rules: Some(full_cone), is_carrier: false },
    Place {
        name: "address-restricted",
        word: "address-restricted",
        rules: Some(address_restricted),
        is_carrier: false,
    },
    Place {
        name: "port-restricted",
        word: "port-restricted",
        rules: Some(Nat::default),
        is_carrier: false,
    },
    Place { name: "symmetric", word: "symmetric", rules: Some(symmetric), is_carrier: false },
    Place { name: "carrier (double)", word: "carrier", rules: Some(full_cone), is_carrier: true },
    Place { name: "UDP blocked", word: "udp-blocked", rules: Some(blocked), is_carrier: false },
];

impl Place {
    /// The place that the command line means.
    pub(super) fn known(word: &str) -> Result<&'static Self, String> {
        let words: Vec<_> = PLACES.iter().map(|place| place.word).collect();
        let found = PLACES.iter().find(|place| place.word == word || place.name == word);
        found.ok_or_else(|| format!("no place is called {word:?}; there are {}", words.join(", ")))
    }

    /// Whether no UDP gets through.
    pub(super) fn blocks_udp(&self) -> bool {
        self.rules.is_some_and(|rules| rules().blocks_udp)
    }
}

fn full_cone() -> Nat {
    Nat { filtering: Scope::EndpointIndependent, ..Nat::default() }
}

fn address_restricted() -> Nat {
    Nat { filtering: Scope::AddressDependent, ..Nat::default() }
}

fn symmetric() -> Nat {
    let mapping = Scope::AddressAndPortDependent;
    Nat { mapping, ports: PortAllocation::Random, ..Nat::default() }
}

fn blocked() -> Nat {
    Nat { blocks_udp: true, ..Nat::default() }
}

/// Two peers, what stands between them, and where their sockets are.
pub(super) struct Pair {
    pub(super) topology: Topology,
    pub(super) sockets: [SocketAddr; 2],
}

/// The peers' hosts.
pub(super) const NAMES: [&str; 2] = ["alice", "bob"];

/// The world of two places: 25 ms from each to the other, 1 % lost.
pub(super) fn pair(places: [&Place; 2], seed: u64) -> Pair {
    let mut nodes = vec![network("net", [203, 0, 113, 0]), host("stun", "net", STUN[0].ip())];
    if let Some(Node { kind: NodeKind::Host(host), .. }) = nodes.last_mut() {
        for interface in &mut host.interfaces {
            interface.addresses.push(STUN_ALTERNATE.ip());
        }
    }
    let mut sockets = [STUN[0]; 2];
    for (index, place) in places.into_iter().enumerate() {
        let number = if index == 0 { 1 } else { 2 };
        sockets[index] = side(&mut nodes, NAMES[index], number, place);
    }
    let link = Link {
        delay: Duration::from_micros(12_500),
        jitter: Duration::from_millis(2),
        loss: Loss::Random(0.005),
        ..Link::default()
    };
    // The host's own cable stands for the whole way to the middle of the internet.
    for node in &mut nodes {
        if let NodeKind::Host(host) = &mut node.kind
            && NAMES.contains(&node.name.as_str())
        {
            for interface in &mut host.interfaces {
                interface.link = Duplex::symmetric(link);
            }
        }
    }
    Pair { topology: Topology { seed, nodes, ..Topology::default() }, sockets }
}

fn side(nodes: &mut Vec<Node>, peer: &str, number: u8, place: &Place) -> SocketAddr {
    let outside = IpAddr::from([203, 0, 113, number]);
    let Some(rules) = place.rules else {
        nodes.push(host(peer, "net", outside));
        return SocketAddr::new(outside, PORT);
    };
    let (home, carrier) = (format!("{peer}-home"), format!("{peer}-carrier"));
    let inside = IpAddr::from([192, 168, number, 2]);
    let lan = plug("inside", &home, [192, 168, number, 1].into());
    let internet = plug("outside", "net", outside);
    nodes.push(network(&home, [192, 168, number, 0]));
    nodes.push(host(peer, &home, inside));
    if place.is_carrier {
        nodes.push(network(&carrier, [100, 64, number, 0]));
        let near = plug("outside", &carrier, [100, 64, number, 2].into());
        let far = plug("inside", &carrier, [100, 64, number, 1].into());
        nodes.push(nat(&format!("{peer}-nat"), (lan, near), Nat::default()));
        nodes.push(nat(&format!("{peer}-cgn"), (far, internet), rules()));
    } else {
        nodes.push(nat(&format!("{peer}-nat"), (lan, internet), rules()));
    }
    SocketAddr::new(inside, PORT)
}

fn network(name: &str, first: [u8; 4]) -> Node {
    let prefixes = vec![Prefix { address: first.into(), length: 24 }];
    let subnet = Subnet { prefixes, isolated: false, multicast: true };
    Node { name: name.to_owned(), kind: NodeKind::Subnet(subnet) }
}

fn host(name: &str, network: &str, address: IpAddr) -> Node {
    let interfaces = vec![plug("eth0", network, address)];
    Node { name: name.to_owned(), kind: NodeKind::Host(Host { interfaces }) }
}

fn nat(name: &str, (inside, outside): (Attachment, Attachment), rules: Nat) -> Node {
    Node { name: name.to_owned(), kind: NodeKind::Nat(Nat { inside, outside, ..rules }) }
}

fn plug(name: &str, network: &str, address: IpAddr) -> Attachment {
    Attachment {
        name: name.to_owned(),
        network: network.to_owned(),
        addresses: vec![address],
        link: Duplex::default(),
    }
}
