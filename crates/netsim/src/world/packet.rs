//! Packets as the model sees them: addresses, size and kind; the bytes stay with the driver.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use super::InterfaceId;
use crate::Ecn;

/// An IP packet, with a payload that the model carries and never looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<P> {
    /// What the packet carries.
    pub protocol: Protocol,
    /// Who sends it. An ICMP echo has its identifier as port (RFC 5508 §3), other packets without
    /// ports have 0.
    pub source: SocketAddr,
    /// For whom it is; the port as in `source`.
    pub destination: SocketAddr,
    /// Bytes of the IP packet on the wire, its header included.
    pub size: u32,
    /// The mark of congestion notification.
    pub ecn: Option<Ecn>,
    /// How many more boxes may forward it (TTL, RFC 791; hop limit, RFC 8200).
    pub hop_limit: u8,
    /// Whether it could be cut in pieces: IPv4 without "don't fragment". The model never does:
    /// such a packet that is too long is dropped and counted.
    pub may_fragment: bool,
    /// What the boxes on the way have to know of it.
    pub kind: Kind,
    /// The driver's own.
    pub payload: P,
}

/// The protocol above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 792 under IPv4, RFC 4443 under IPv6.
    Icmp,
    /// Another one, by its number. Translators drop it, firewalls know it by its addresses.
    Other(u8),
}

impl Protocol {
    /// The number in the IP header; that of ICMP is the one for IPv4.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp => 1,
            Self::Other(number) => number,
        }
    }
}

/// What the boxes on the way have to know of a packet.
///
/// A box that answers makes a packet of another kind with the payload of the one that it answers,
/// so a driver whose payload says otherwise than the kind builds the bytes itself: an error that
/// quotes the payload (which is never an error), a reset for it (never a reset), or the reply to
/// an echo request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Nothing.
    #[default]
    Plain,
    /// A TCP segment with these flags.
    Tcp(TcpFlags),
    /// An ICMP echo.
    Echo(Echo),
    /// An ICMP error.
    Error(IcmpError),
}

/// The TCP flags that translators and firewalls follow (RFC 9293 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "these are the bits of the header")]
pub struct TcpFlags {
    /// Synchronize.
    pub syn: bool,
    /// Acknowledgment.
    pub ack: bool,
    /// No more data from the sender.
    pub fin: bool,
    /// Reset.
    pub rst: bool,
}

/// The two halves of a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// Asks.
    Request,
    /// Answers.
    Reply,
}

/// An ICMP error (RFC 792, RFC 4443 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// What is wrong.
    pub what: Problem,
    /// Who says so: the address that the error comes from.
    pub by: IpAddr,
    /// The packet that it is about.
    pub about: Quoted,
}

/// Why a packet did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// Destination unreachable.
    Unreachable(Unreachable),
    /// Longer than a link can carry ("fragmentation needed", RFC 1191; "packet too big",
    /// RFC 8201).
    TooBig {
        /// The longest packet that it can.
        mtu: u32,
    },
    /// Time exceeded.
    HopLimit,
}

/// What could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// There is no route to the network.
    Network,
    /// Nobody on the network has the address.
    Host,
    /// Nobody listens on the port.
    Port,
    /// A filter forbids it.
    Prohibited,
}

/// The addresses of the packet that an ICMP error quotes, as it was when the error was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quoted {
    /// What it carried.
    pub protocol: Protocol,
    /// Who sent it.
    pub source: SocketAddr,
    /// For whom it was.
    pub destination: SocketAddr,
}

/// A packet without its payload: all that translators and firewalls look at.
pub(super) type Head = Packet<()>;

impl<P> Packet<P> {
    /// The packet without its payload.
    pub(super) const fn head(&self) -> Head {
        Packet {
            protocol: self.protocol,
            source: self.source,
            destination: self.destination,
            size: self.size,
            ecn: self.ecn,
            hop_limit: self.hop_limit,
            may_fragment: self.may_fragment,
            kind: self.kind,
            payload: (),
        }
    }

    /// Takes over what a translator has changed.
    pub(super) const fn readdress(&mut self, head: Head) {
        self.source = head.source;
        self.destination = head.destination;
        self.kind = head.kind;
    }

    /// The addresses as an ICMP error would quote them.
    #[must_use]
    pub const fn quoted(&self) -> Quoted {
        Quoted { protocol: self.protocol, source: self.source, destination: self.destination }
    }
}

/// A packet that has reached a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival<P> {
    /// When.
    pub at: Instant,
    /// At which of the host's interfaces.
    pub interface: InterfaceId,
    /// What: with the addresses that translators gave it and fewer hops left.
    pub packet: Packet<P>,
    /// A number that chooses, modulo the payload's length in bits, the one that was flipped on the
    /// way. The model leaves the payload alone: flipping is up to the driver.
    pub flipped_bit: Option<u64>,
}

/// What a driver must do to a host because of something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostChange {
    /// The interface has other addresses now: the old ones go, with every route through it.
    Readdressed {
        /// Which.
        interface: InterfaceId,
        /// What it has now.
        addressing: Addressing,
    },
    /// The host sees its cable plugged in or out.
    Carrier {
        /// Which.
        interface: InterfaceId,
        /// Whether it is in.
        up: bool,
    },
}

/// How a host's interface is set up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addressing {
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Where packets for elsewhere go, one of each family at most. For the host's own tables: the
    /// model finds the way by itself, and boxes that are renumbered later do not appear here.
    pub gateways: Vec<IpAddr>,
    /// The longest packet that its link carries.
    pub mtu: u32,
}
