//! What a world is made of.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::Duplex;

/// Something with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name, unique in the file.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    /// Where packets begin and end.
    Host(Host),
    /// A switch, and all that is plugged into it.
    Subnet(Subnet),
    /// Joins networks.
    Router(Router),
    /// Joins an inside network to an outside one and hides the inside behind addresses of its own.
    Nat(Nat),
    /// Joins an inside network to an outside one and lets in what was asked for.
    Firewall(Firewall),
}

/// A computer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Host {
    /// Its network interfaces, at least one.
    pub interfaces: Vec<Attachment>,
}

/// One end of a cable (or of a radio link): where a node touches a network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attachment {
    /// The interface's name: `eth0`, `wifi`.
    pub name: String,
    /// The network.
    pub network: String,
    /// Own addresses there, one of each family at most.
    pub addresses: Vec<IpAddr>,
    /// How the two directions behave.
    pub link: Duplex,
}

/// One IP subnet: a `[network.NAME]` of the file. Multicast and broadcast reach everyone on it, and nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subnet {
    /// Its prefixes, one of each family at most.
    pub prefixes: Vec<Prefix>,
    /// Client isolation: what one host sends to another on the same network is dropped.
    pub isolated: bool,
    /// Whether multicast and broadcast are carried.
    pub multicast: bool,
}

/// An address range in CIDR notation (RFC 4632, RFC 4291).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The first address.
    pub address: IpAddr,
    /// Leading bits that all addresses share.
    pub length: u8,
}

impl Prefix {
    /// Whether the address lies within.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && first(address, self.length) == first(self.address, self.length)
    }

    /// The same prefix, written with its first address.
    #[must_use]
    pub fn first(&self) -> Self {
        Self { address: first(self.address, self.length), length: self.length }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

/// The address with all but the leading bits cleared.
fn first(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !host))
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host))
        }
    }
}

/// A router that changes nothing but the hop count.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Router {
    /// Where it is plugged in, at least two networks.
    pub interfaces: Vec<Attachment>,
}

/// How far a mapping or a filter depends on the remote (RFC 4787 §4.1, §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Scope {
    /// Not at all.
    #[default]
    EndpointIndependent,
    /// On the remote's address.
    AddressDependent,
    /// On the remote's address and port.
    AddressAndPortDependent,
}

/// How a NAT maps inside to outside, one mapping for all of a scope.
pub type Mapping = Scope;

/// How a NAT chooses outside ports (RFC 4787 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PortAllocation {
    /// The inside port while it is free, else the next free one.
    #[default]
    Preserving,
    /// One after the other.
    Sequential,
    /// By chance, from the seed.
    Random,
}

/// What a box answers to a packet from outside that nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Unsolicited {
    /// Nothing.
    #[default]
    Drop,
    /// A TCP reset, or an ICMP port unreachable.
    Reject,
}

/// An address translator by its RFC 4787 (UDP) and RFC 5382 (TCP) behaviour.
#[derive(Debug, Clone, PartialEq)]
pub struct Nat {
    /// Where it serves.
    pub inside: Attachment,
    /// Where it is seen.
    pub outside: Attachment,
    /// How mappings depend on the remote.
    pub mapping: Mapping,
    /// What is let in through a mapping.
    pub filtering: Scope,
    /// How outside ports are chosen.
    pub ports: PortAllocation,
    /// Whether two inside hosts reach each other by outside addresses (RFC 4787 §6).
    pub hairpin: bool,
    /// What comes unasked.
    pub unsolicited: Unsolicited,
    /// A UDP mapping without outbound traffic lives this long (RFC 4787 §4.3).
    pub udp_timeout: Duration,
    /// An established TCP mapping without traffic lives this long (RFC 5382 §5).
    pub tcp_timeout: Duration,
    /// Mappings at once; more are refused.
    pub mappings_max: u32,
    /// No UDP passes in either direction.
    pub blocks_udp: bool,
    /// Ports that are forwarded to an inside host whatever the filter says.
    pub forwards: Vec<(u16, SocketAddr)>,
}

impl Default for Nat {
    fn default() -> Self {
        Self {
            inside: Attachment::default(),
            outside: Attachment::default(),
            mapping: Scope::EndpointIndependent,
            filtering: Scope::AddressAndPortDependent,
            ports: PortAllocation::Preserving,
            hairpin: false,
            unsolicited: Unsolicited::Drop,
            udp_timeout: Duration::from_secs(30),
            tcp_timeout: Duration::from_secs(7440),
            mappings_max: 4096,
            blocks_udp: false,
            forwards: Vec::new(),
        }
    }
}

/// A stateful firewall without translation (RFC 6092 for IPv6).
#[derive(Debug, Clone, PartialEq)]
pub struct Firewall {
    /// The protected side.
    pub inside: Attachment,
    /// The other side.
    pub outside: Attachment,
    /// What is let in.
    pub filtering: Scope,
    /// What comes unasked.
    pub unsolicited: Unsolicited,
    /// A UDP flow without outbound traffic stays open this long.
    pub udp_timeout: Duration,
    /// No UDP passes in either direction.
    pub blocks_udp: bool,
}

impl Default for Firewall {
    fn default() -> Self {
        Self {
            inside: Attachment::default(),
            outside: Attachment::default(),
            filtering: Scope::AddressAndPortDependent,
            unsolicited: Unsolicited::Drop,
            udp_timeout: Duration::from_secs(30),
            blocks_udp: false,
        }
    }
}
