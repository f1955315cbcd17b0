//! Surveys of every kind of translator, with a responder at four doors in the same world.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{net::SocketAddr, time::Instant};

use common::{Weather, at, host, nat, start, topology};
use portolan_nat::{Door, Responder, ResponderLimits, Scope, Survey, Surveyor, stun::Message};
use portolan_netsim::{
    Kind, Packet, Protocol, World,
    topology::{
        Attachment, Duplex, Host, Nat, Node, NodeKind, PortAllocation, Prefix, Scope as Rule,
        Subnet,
    },
};

const DOORS: [&str; 4] =
    ["203.0.113.200:3478", "203.0.113.200:3479", "203.0.113.201:3478", "203.0.113.201:3479"];

fn network(name: &str, address: [u8; 4]) -> Node {
    let prefixes = vec![Prefix { address: address.into(), length: 24 }];
    let subnet = Subnet { prefixes, isolated: false, multicast: true };
    Node { name: name.to_owned(), kind: NodeKind::Subnet(subnet) }
}

/// A server with two interfaces on one network, and alice behind a translator.
fn nodes(rules: Nat) -> Vec<Node> {
    let plug = |name: &str, address: &str| Attachment {
        name: name.to_owned(),
        network: "net".to_owned(),
        addresses: vec![address.parse().unwrap()],
        link: Duplex::default(),
    };
    let interfaces = vec![plug("eth0", "203.0.113.200"), plug("eth1", "203.0.113.201")];
    vec![
        network("net", [203, 0, 113, 0]),
        Node { name: "stun".to_owned(), kind: NodeKind::Host(Host { interfaces }) },
        network("home", [192, 168, 1, 0]),
        host("alice", "home 192.168.1.2"),
        nat("box", "home 192.168.1.1", "net 203.0.113.1", rules),
    ]
}

struct Net {
    world: World<Vec<u8>>,
    responder: Responder,
    now: Instant,
}

impl Net {
    fn new(rules: Nat, doors: &[usize], seed: u64) -> Self {
        let start = start();
        let mut responder = Responder::new(ResponderLimits::default(), start);
        for index in doors {
            responder.open_door(Door::ALL[*index], at(DOORS[*index]));
        }
        let topology = topology(nodes(rules), Weather::bad(seed));
        Self { world: World::new(&topology, start).unwrap(), responder, now: start }
    }

    fn send(
        &mut self,
        (host, interface): (&str, &str),
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        let id = self.world.interface(host, interface).unwrap();
        let packet = Packet {
            protocol: Protocol::Udp,
            source: from,
            destination: to,
            size: 28 + u32::try_from(bytes.len()).unwrap(),
            ecn: None,
            hop_limit: 64,
            may_fragment: false,
            kind: Kind::Plain,
            payload: bytes.to_vec(),
        };
        self.world.send(self.now, id, packet);
    }

    fn survey(&mut self) -> Survey {
        let me = at("192.168.1.2:7000");
        let mut surveyor = Surveyor::new(self.now, at(DOORS[0]), [7; 32]);
        let (mut buffer, mut answer) = (Vec::new(), Vec::new());
        loop {
            surveyor.handle_timeout(self.now);
            while let Some(to) = surveyor.poll_transmit(self.now, &mut buffer) {
                self.send(("alice", "eth0"), me, to, &buffer);
            }
            if let Some(found) = surveyor.finished() {
                return found;
            }
            let due = [surveyor.poll_timeout(), self.world.poll_timeout()];
            self.now = due.into_iter().flatten().min().unwrap().max(self.now);
            while let Some(arrival) = self.world.poll_delivery(self.now) {
                if arrival.packet.kind != Kind::Plain {
                    continue;
                }
                let Packet { source, destination, payload, .. } = arrival.packet;
                if destination == me {
                    let message = Message::decode(&payload).unwrap();
                    surveyor.handle_message(self.now, &message);
                    continue;
                }
                let Some(index) = DOORS.iter().position(|door| at(door) == destination) else {
                    continue;
                };
                let came = (Door::ALL[index], source);
                let leaves = self.responder.handle_datagram(self.now, came, &payload, &mut answer);
                if let Some(door) = leaves {
                    let index = Door::ALL.iter().position(|known| *known == door).unwrap();
                    let interface = if door.other_ip { "eth1" } else { "eth0" };
                    let bytes = answer.clone();
                    self.send(("stun", interface), at(DOORS[index]), source, &bytes);
                }
            }
        }
    }
}

const RULES: [(Rule, Scope); 3] = [
    (Rule::EndpointIndependent, Scope::EndpointIndependent),
    (Rule::AddressDependent, Scope::AddressDependent),
    (Rule::AddressAndPortDependent, Scope::AddressAndPortDependent),
];

#[test]
fn a_survey_finds_every_behaviour() {
    for (seed, hairpin) in [(1, false), (2, true)] {
        for (mapping, found_mapping) in RULES {
            for (filtering, found_filtering) in RULES {
                let ports = PortAllocation::Random;
                let rules = Nat { mapping, filtering, hairpin, ports, ..Nat::default() };
                let found = Net::new(rules, &[0, 1, 2, 3], seed).survey();
                assert_eq!(found.mapping, Some(found_mapping), "{mapping:?} {filtering:?}");
                assert_eq!(found.filtering, Some(found_filtering), "{mapping:?} {filtering:?}");
                assert_eq!(found.other, Some(at(DOORS[3])));
                assert_eq!(found.mapped.unwrap().ip(), at("203.0.113.1:1").ip());
                // A question to oneself is a new remote: only some let it through.
                if mapping == Rule::EndpointIndependent && filtering == mapping {
                    assert_eq!(found.hairpin, Some(hairpin));
                }
            }
        }
    }
}

#[test]
fn a_server_with_one_address_tells_the_address_only() {
    let found = Net::new(Nat::default(), &[], 1).survey();
    assert!(found.mapped.is_some() && found.rtt.is_some());
    assert_eq!((found.other, found.mapping, found.filtering), (None, None, None));
    assert_eq!(found.hairpin, Some(false));
}

#[test]
fn blocked_udp_is_found_out_in_seconds() {
    let mut net = Net::new(Nat { blocks_udp: true, ..Nat::default() }, &[0, 1, 2, 3], 1);
    let start = net.now;
    assert_eq!(net.survey(), Survey::default());
    assert!(net.now - start <= std::time::Duration::from_secs(4));
}
