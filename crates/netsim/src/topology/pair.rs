//! The smallest world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Attachment, Duplex, Host, Node, NodeKind, Prefix, Subnet, Topology};

/// The network between the two.
const WIRE: &str = "wire";
const V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 0);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0);

impl Topology {
    /// `alice` (10.77.0.1, fd77::1) and `bob` (10.77.0.2, fd77::2) on one network named `wire`.
    ///
    /// The whole link is at alice's attachment, up from alice to bob; bob's is perfect. A packet
    /// passes both attachments, so a link at each would be met twice. The queue is thus the one
    /// that alice sends through, or that sends to her.
    #[must_use]
    pub fn pair(link: &Duplex, seed: u64) -> Self {
        let perfect = Duplex::PERFECT;
        // The wider side must not be the narrower one in disguise.
        let widest = link.up.mtu.max(link.down.mtu);
        let mut other = perfect;
        (other.up.mtu, other.down.mtu) = (widest, widest);
        let prefixes = vec![
            Prefix { address: V4.into(), length: 24 },
            Prefix { address: V6.into(), length: 64 },
        ];
        let wire = Subnet { prefixes, isolated: false, multicast: true };
        let nodes = vec![
            Node { name: WIRE.to_owned(), kind: NodeKind::Subnet(wire) },
            host("alice", 1, *link),
            host("bob", 2, other),
        ];
        Self { seed, nodes, ..Self::default() }
    }
}

fn host(name: &str, number: u8, link: Duplex) -> Node {
    let addresses = vec![
        IpAddr::V4(Ipv4Addr::from_bits(V4.to_bits() + u32::from(number))),
        IpAddr::V6(Ipv6Addr::from_bits(V6.to_bits() + u128::from(number))),
    ];
    let interface =
        Attachment { name: "eth0".to_owned(), network: WIRE.to_owned(), addresses, link };
    Node { name: name.to_owned(), kind: NodeKind::Host(Host { interfaces: vec![interface] }) }
}
