//! Addresses at which a peer may be reached (RFC 8445 §5.1).

use std::{
    cmp::Reverse,
    net::{IpAddr, SocketAddr},
};

use thiserror::Error;

/// How a candidate was found; ordered from the worst to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CandidateKind {
    /// Through a relay.
    Relay,
    /// As which a STUN server or the chat server sees the peer.
    Reflexive,
    /// Mapped on the router by UPnP, NAT-PMP or PCP.
    Mapped,
    /// Unknown until a check came from it.
    PeerReflexive,
    /// Heard of on the LAN.
    Lan,
    /// An interface of the machine.
    Host,
}

impl CandidateKind {
    /// Every kind, the worst first.
    pub const ALL: [Self; 6] =
        [Self::Relay, Self::Reflexive, Self::Mapped, Self::PeerReflexive, Self::Lan, Self::Host];

    /// The type preference (RFC 8445 §5.1.2.2): 126 for hosts, 0 for relays.
    #[must_use]
    pub const fn preference(self) -> u32 {
        match self {
            Self::Relay => 0,
            Self::Reflexive => 100,
            Self::Mapped => 105,
            Self::PeerReflexive => 110,
            Self::Lan => 120,
            Self::Host => 126,
        }
    }

    /// The word for people and for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Reflexive => "reflexive",
            Self::Mapped => "mapped",
            Self::PeerReflexive => "peer reflexive",
            Self::Lan => "lan",
            Self::Host => "host",
        }
    }
}

/// One address at which a peer may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// How it was found.
    pub kind: CandidateKind,
    /// Where.
    pub address: SocketAddr,
    /// Greater is tried first.
    pub priority: u32,
}

impl Candidate {
    /// A candidate with the priority of RFC 8445 §5.1.2.1. Of two of a kind the one with the
    /// greater `local_preference` is tried first.
    #[must_use]
    pub fn new(kind: CandidateKind, address: SocketAddr, local_preference: u16) -> Self {
        // There is one component, number 1: its term is 256 - 1.
        let priority = (kind.preference() << 24) | (u32::from(local_preference) << 8) | 255;
        Self { kind, address: canonical(address), priority }
    }
}

/// The preference of an address among others of its kind: IPv6 before IPv4 (RFC 8421), then in
/// the order of `index`.
#[must_use]
pub fn local_preference(address: IpAddr, index: u8) -> u16 {
    let family = if address.to_canonical().is_ipv6() { 0x8000 } else { 0 };
    family | (0x7F00 - (u16::from(index) << 4))
}

/// Whether peers on one machine may meet over its loopback addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Loopback {
    /// No: what claims to be a peer there is an attack on what else runs on this machine.
    #[default]
    Refused,
    /// Yes: the other peer is known to be on this machine.
    Allowed,
}

/// Why an address is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unreachable {
    /// Port 0.
    #[error("port 0 is no port")]
    Port,
    /// This machine itself.
    #[error("a loopback address is this machine's own")]
    Loopback,
    /// Many or all.
    #[error("multicast and broadcast addresses are no peer's")]
    Many,
    /// Reserved, unspecified, or good for nothing without an interface's name.
    #[error("the address is not one to which packets can be sent")]
    Reserved,
}

/// Checks that an address named by somebody else can be a peer's.
///
/// # Errors
/// [`Unreachable`] for what nobody can be reached at, or nobody may be.
pub fn check_remote(address: SocketAddr, loopback: Loopback) -> Result<(), Unreachable> {
    if address.port() == 0 {
        return Err(Unreachable::Port);
    }
    let ip = address.ip().to_canonical();
    if ip.is_loopback() {
        return match loopback {
            Loopback::Allowed => Ok(()),
            Loopback::Refused => Err(Unreachable::Loopback),
        };
    }
    let (is_many, is_reserved) = match ip {
        // 0.0.0.0/8 and 240.0.0.0/4 are no host's (RFC 6890).
        IpAddr::V4(ip) => {
            (ip.is_multicast() || ip.is_broadcast(), ip.octets()[0] == 0 || ip.octets()[0] >= 240)
        }
        // Link-local addresses mean nothing without an interface.
        IpAddr::V6(ip) => (ip.is_multicast(), ip.is_unspecified() || ip.is_unicast_link_local()),
    };
    match (is_many, is_reserved) {
        (true, _) => Err(Unreachable::Many),
        (false, true) => Err(Unreachable::Reserved),
        (false, false) => Ok(()),
    }
}

/// Whether one of our own addresses is worth telling to others.
#[must_use]
pub fn is_worth_telling(ip: IpAddr, loopback: Loopback) -> bool {
    check_remote(SocketAddr::new(ip, 1), loopback).is_ok()
}

/// Leaves each address once, with its best priority (RFC 8445 §5.1.3), the best `max`, best first.
pub fn prune(candidates: &mut Vec<Candidate>, max: usize) {
    for candidate in &mut *candidates {
        candidate.address = canonical(candidate.address);
    }
    candidates.sort_by_key(|candidate| Reverse(candidate.priority));
    let mut seen = Vec::with_capacity(candidates.len());
    candidates.retain(|candidate| {
        let is_new = !seen.contains(&candidate.address);
        seen.push(candidate.address);
        is_new
    });
    candidates.truncate(max);
}

pub(crate) fn canonical(mut address: SocketAddr) -> SocketAddr {
    address.set_ip(address.ip().to_canonical());
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn priorities_follow_the_formula_of_the_standard() {
        let host = Candidate::new(CandidateKind::Host, at("192.0.2.1:1"), 65_535);
        assert_eq!(host.priority, 2_130_706_431, "as in every example");
        let mut kinds = CandidateKind::ALL.map(|kind| Candidate::new(kind, at("192.0.2.1:1"), 7));
        assert!(kinds.is_sorted_by_key(|candidate| candidate.priority));
        kinds.reverse();
        assert_eq!(kinds[0].kind, CandidateKind::Host);
        let [six, four] = ["2001:db8::1", "192.0.2.1"].map(|ip| ip.parse().unwrap());
        assert!(local_preference(six, 255) > local_preference(four, 0));
        assert!(local_preference(four, 0) > local_preference(four, 1));
    }

    #[test]
    fn nobody_can_be_sent_to_addresses_that_are_no_peers() {
        let rows = [
            ("127.0.0.1:22", Some(Unreachable::Loopback)),
            ("[::1]:22", Some(Unreachable::Loopback)),
            ("[::ffff:127.0.0.1]:22", Some(Unreachable::Loopback)),
            ("224.0.0.251:5353", Some(Unreachable::Many)),
            ("[ff02::fb]:5353", Some(Unreachable::Many)),
            ("255.255.255.255:9", Some(Unreachable::Many)),
            ("0.0.0.0:22", Some(Unreachable::Reserved)),
            ("240.0.0.1:22", Some(Unreachable::Reserved)),
            ("[::]:22", Some(Unreachable::Reserved)),
            ("[fe80::1]:22", Some(Unreachable::Reserved)),
            ("192.0.2.1:0", Some(Unreachable::Port)),
            ("192.168.1.7:7000", None),
            ("169.254.1.1:7000", None),
            ("[2001:db8::1]:7000", None),
        ];
        for (address, want) in rows {
            assert_eq!(check_remote(at(address), Loopback::Refused).err(), want, "{address}");
        }
        assert_eq!(check_remote(at("127.0.0.1:22"), Loopback::Allowed), Ok(()));
    }

    #[test]
    fn an_address_stays_once_with_its_best_priority() {
        let of = |kind, address| Candidate::new(kind, at(address), 0);
        let mut candidates = vec![
            of(CandidateKind::Reflexive, "192.0.2.1:7"),
            of(CandidateKind::Host, "[::ffff:192.0.2.1]:7"),
            of(CandidateKind::Relay, "192.0.2.9:7"),
            of(CandidateKind::Mapped, "192.0.2.1:8"),
        ];
        prune(&mut candidates, 2);
        let kinds: Vec<_> = candidates.iter().map(|candidate| candidate.kind).collect();
        assert_eq!(kinds, [CandidateKind::Host, CandidateKind::Mapped]);
    }
}
