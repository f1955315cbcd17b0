//! Small worlds with alice and bob in them.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use portolan_emulator::{Emulator, HostNamespace, Options, Realtime, StartError};
use portolan_netsim::{
    Link,
    topology::{Attachment, Duplex, Host, Nat, Node, NodeKind, Prefix, Router, Subnet, Topology},
};

/// Longer than anything takes that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const ALICE: &str = "10.0.0.1";
pub(crate) const BOB: &str = "10.0.0.2";

/// Starts a world; `None` with a plain line where the system has not got what it takes.
pub(crate) fn emulate(topology: &Topology) -> Option<Emulator> {
    let options = Options { realtime: Realtime::Never, ..Options::default() };
    match Emulator::start(topology, options) {
        Ok(emulator) => Some(emulator),
        Err(error @ (StartError::Missing(_) | StartError::Namespace { .. })) => {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            println!("left out: {error}: {}", reason.unwrap_or_default());
            None
        }
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

/// A link of ordinary packets.
pub(crate) fn link() -> Link {
    Link { mtu: 1500, ..Link::default() }
}

/// Alice and bob on one network, alice behind this link, bob behind a perfect one.
pub(crate) fn two(seed: u64, link: Link) -> Topology {
    let perfect = Link { mtu: link.mtu, ..Link::default() };
    Topology {
        seed,
        nodes: vec![
            subnet("net", &["10.0.0.0/24", "fd00::/64"]),
            host("alice", "net", &[ALICE, "fd00::1"], link),
            host("bob", "net", &[BOB, "fd00::2"], perfect),
        ],
        ..Topology::default()
    }
}

/// Alice behind a translator at 203.0.113.2, bob at 203.0.113.10.
pub(crate) fn behind(nat: Nat, link: Link) -> Topology {
    let nat = Nat {
        inside: attachment("inside", "home", &["192.168.1.1"], self::link()),
        outside: attachment("outside", "wan", &["203.0.113.2"], link),
        ..nat
    };
    Topology {
        seed: 1,
        nodes: vec![
            subnet("home", &["192.168.1.0/24"]),
            subnet("wan", &["203.0.113.0/24"]),
            Node { name: "nat".to_owned(), kind: NodeKind::Nat(nat) },
            host("alice", "home", &["192.168.1.10"], self::link()),
            host("bob", "wan", &["203.0.113.10"], self::link()),
        ],
        ..Topology::default()
    }
}

/// Alice and bob on two networks with a router between them; bob's network is behind this link.
pub(crate) fn routed(link: Link) -> Topology {
    let router = Router {
        interfaces: vec![
            attachment("left", "west", &["10.1.0.254", "fd01::fe"], self::link()),
            attachment("right", "east", &["10.2.0.254", "fd02::fe"], link),
        ],
    };
    Topology {
        seed: 1,
        nodes: vec![
            subnet("west", &["10.1.0.0/24", "fd01::/64"]),
            subnet("east", &["10.2.0.0/24", "fd02::/64"]),
            Node { name: "router".to_owned(), kind: NodeKind::Router(router) },
            host("alice", "west", &["10.1.0.1", "fd01::1"], self::link()),
            host("bob", "east", &["10.2.0.2", "fd02::2"], self::link()),
        ],
        ..Topology::default()
    }
}

pub(crate) fn subnet(name: &str, prefixes: &[&str]) -> Node {
    let prefix = |text: &&str| {
        let (address, length) = text.split_once('/').unwrap();
        Prefix { address: address.parse().unwrap(), length: length.parse().unwrap() }
    };
    let prefixes = prefixes.iter().map(prefix).collect();
    let subnet = Subnet { prefixes, isolated: false, multicast: true };
    Node { name: name.to_owned(), kind: NodeKind::Subnet(subnet) }
}

pub(crate) fn host(name: &str, network: &str, addresses: &[&str], link: Link) -> Node {
    let interfaces = vec![attachment("eth0", network, addresses, link)];
    Node { name: name.to_owned(), kind: NodeKind::Host(Host { interfaces }) }
}

pub(crate) fn attachment(name: &str, network: &str, addresses: &[&str], link: Link) -> Attachment {
    Attachment {
        name: name.to_owned(),
        network: network.to_owned(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        link: Duplex::symmetric(link),
    }
}

/// Does something on a host.
pub(crate) fn on<T: Send + 'static>(
    emulator: &Emulator,
    host: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let host: &HostNamespace = emulator.host(host).unwrap();
    host.spawn_thread("test", work).unwrap().join().unwrap()
}

/// A UDP socket on a host that gives up after a while.
pub(crate) fn udp(emulator: &Emulator, host: &str, address: &str) -> UdpSocket {
    let address: IpAddr = address.parse().unwrap();
    on(emulator, host, move || {
        let socket = UdpSocket::bind(SocketAddr::new(address, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    })
}
