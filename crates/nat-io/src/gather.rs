//! Our own addresses.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

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
}
