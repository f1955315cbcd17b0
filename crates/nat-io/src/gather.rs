//! Our own addresses.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use if_addrs::IfAddr;
use portolan_nat::{Candidate, CandidateKind, Loopback, is_worth_telling, local_preference};

/// One address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The interface's name.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
}

/// Every address of this machine, loopback included.
///
/// # Errors
/// What the system says.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let found = if_addrs::get_if_addrs()?;
    Ok(found.into_iter().map(|found| Interface { ip: found.ip(), name: found.name }).collect())
}

/// The networks that this machine is on: an address of each, and how many bits its hosts share.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnNetworks(Vec<(IpAddr, u8)>);

impl OwnNetworks {
    /// Those of this moment; none if the system does not say.
    pub(crate) fn now() -> Self {
        let found = if_addrs::get_if_addrs().unwrap_or_default();
        let network = |interface: if_addrs::Interface| match interface.addr {
            IfAddr::V4(addr) => (IpAddr::V4(addr.ip), addr.prefixlen),
            IfAddr::V6(addr) => (IpAddr::V6(addr.ip), addr.prefixlen),
        };
        Self(found.into_iter().map(network).collect())
    }

    /// Whether `ip` can be an address of somebody on them: one of a private network, or of one of
    /// ours. Others nobody announces there in good faith.
    pub(crate) fn may_have(&self, ip: IpAddr) -> bool {
        let is_private = match ip {
            IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unique_local(),
        };
        is_private || self.0.iter().any(|(own, length)| share(*own, ip, *length))
    }
}

/// Whether two addresses begin with the same `length` bits; nobody shares a network without any.
fn share(one: IpAddr, other: IpAddr, length: u8) -> bool {
    let length = u32::from(length);
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            length > 0 && (one.to_bits() ^ other.to_bits()).leading_zeros() >= length
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            length > 0 && (one.to_bits() ^ other.to_bits()).leading_zeros() >= length
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Where others on our networks reach a socket that is bound to `local`: at that address, or, if
/// it is bound to all, at each of `interfaces` of its family.
#[must_use]
pub fn host_candidates(
    local: SocketAddr,
    interfaces: &[Interface],
    loopback: Loopback,
) -> Vec<Candidate> {
    let is_bound = |ip: IpAddr| match local.ip().to_canonical() {
        IpAddr::V4(bound) if bound.is_unspecified() => ip.is_ipv4(),
        // Our sockets of IPv6 are dual.
        IpAddr::V6(bound) if bound.is_unspecified() => true,
        bound => ip.to_canonical() == bound,
    };
    let ours = interfaces.iter().map(|interface| interface.ip);
    let ours = ours.filter(|ip| is_bound(*ip) && is_worth_telling(*ip, loopback));
    let of = |(ip, index): (IpAddr, u8)| {
        let address = SocketAddr::new(ip, local.port());
        Candidate::new(CandidateKind::Host, address, local_preference(ip, index))
    };
    ours.zip(0..=u8::MAX).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_bound_to_all_is_reached_at_each_address_of_its_families() {
        let interfaces: Vec<_> =
            ["127.0.0.1", "192.168.1.2", "10.0.0.2", "2001:db8::2", "fe80::2", "::1"]
                .map(|ip| Interface { name: "eth0".to_owned(), ip: ip.parse().unwrap() })
                .into();
        let told = |local: &str, loopback| {
            let found = host_candidates(local.parse().unwrap(), &interfaces, loopback);
            found.iter().map(|candidate| candidate.address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(told("0.0.0.0:7", Loopback::Refused), ["192.168.1.2:7", "10.0.0.2:7"]);
        let both = ["192.168.1.2:7", "10.0.0.2:7", "[2001:db8::2]:7"];
        assert_eq!(told("[::]:7", Loopback::Refused), both);
        assert_eq!(told("10.0.0.2:7", Loopback::Refused), ["10.0.0.2:7"]);
        assert_eq!(told("127.0.0.1:7", Loopback::Refused), [""; 0]);
        assert_eq!(told("127.0.0.1:7", Loopback::Allowed), ["127.0.0.1:7"]);
    }

    #[test]
    fn only_addresses_of_our_networks_are_those_of_neighbours() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = OwnNetworks(vec![
            (ip("203.0.113.70"), 26),
            (ip("2001:db8:0:7::1"), 64),
            (ip("198.51.100.1"), 0),
        ]);
        let near = ["10.1.2.3", "169.254.7.7", "203.0.113.100", "2001:db8:0:7:ffff::9", "fd12::1"];
        let far = ["203.0.113.130", "8.8.8.8", "198.51.100.2", "2001:db8:0:8::1", "::1"];
        near.iter().for_each(|text| assert!(own.may_have(ip(text)), "{text}"));
        far.iter().for_each(|text| assert!(!own.may_have(ip(text)), "{text}"));
    }
}
