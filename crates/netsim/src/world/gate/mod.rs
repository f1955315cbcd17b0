//! What stands between an inside and an outside: translators and firewalls.
//!
//! Both remember with whom the inside speaks ([`Sessions`]) and let in what belongs to it. A
//! [`Translator`] does it for IPv4 and changes addresses; a [`Guard`] leaves them alone: a
//! firewall, or what a home router does to IPv6.

mod guard;
mod ports;
mod sessions;
mod table;
mod translator;

pub(super) use guard::Guard;
use guard::GuardRules;
pub(super) use translator::Translator;

use std::net::SocketAddr;

use super::{Kind, Packet, Protocol, packet::Head};
use crate::topology::{Nat, Node, NodeKind, Unsolicited};

/// What a node does to packets between its sides.
#[derive(Debug)]
pub(super) enum Gate {
    /// Nothing.
    Open,
    /// Translates IPv4, guards IPv6.
    Translator(Box<TranslatorGate>),
    /// Guards both.
    Guard(Box<Guard>),
}

/// A home router: both families have their own gate.
#[derive(Debug)]
pub(super) struct TranslatorGate {
    pub(super) v4: Translator,
    pub(super) v6: Guard,
    hairpin: bool,
}

impl TranslatorGate {
    /// Whether a packet from inside is for somebody inside, by the outside address.
    pub(super) fn hairpins<P>(&self, packet: &Packet<P>) -> bool {
        self.hairpin && self.v4.is_outside(packet)
    }
}

/// What becomes of a packet at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on, perhaps with other addresses.
    Pass,
    /// Nobody inside has asked for it.
    Unsolicited,
    /// No UDP here.
    Blocked,
    /// There is no mapping left for it, or no way to translate its protocol.
    Refused,
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Outward,
    Inward,
}

impl Gate {
    pub(super) fn new(node: &Node, seed: u64) -> Self {
        match &node.kind {
            NodeKind::Host(_) | NodeKind::Subnet(_) | NodeKind::Router(_) => Self::Open,
            NodeKind::Nat(nat) => Self::Translator(Box::new(TranslatorGate {
                v4: Translator::new(&node.name, nat, seed),
                v6: Guard::new(GuardRules::of_nat(nat)),
                hairpin: nat.hairpin,
            })),
            NodeKind::Firewall(wall) => Self::Guard(Box::new(Guard::new(wall.into()))),
        }
    }

    /// What it answers to packets that nobody has asked for.
    pub(super) fn unsolicited(&self) -> Unsolicited {
        match self {
            Self::Open => Unsolicited::Drop,
            Self::Translator(gate) => gate.v6.unsolicited(),
            Self::Guard(guard) => guard.unsolicited(),
        }
    }
}

/// The remote that a session is with. An echo is told by its identifier, which stands on both
/// sides, so the remote's is left out.
fn remote(protocol: Protocol, address: SocketAddr) -> SocketAddr {
    match protocol {
        Protocol::Tcp | Protocol::Udp => address,
        Protocol::Icmp | Protocol::Other(_) => SocketAddr::new(address.ip(), 0),
    }
}

/// Whether this is the only packet by which nobody begins to speak.
fn is_reset(packet: &Head) -> bool {
    matches!(packet.kind, Kind::Tcp(flags) if flags.rst)
}

/// IPv6 hosts behind a translator that ports are forwarded to.
fn forwards_v6(nat: &Nat) -> Vec<SocketAddr> {
    nat.forwards.iter().map(|(_, to)| *to).filter(SocketAddr::is_ipv6).collect()
}
