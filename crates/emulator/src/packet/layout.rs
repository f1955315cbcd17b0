//! Where things are in an IP packet. Total: whatever the bytes are, they are described or refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// IPv6 extension headers before the transport's; more are refused.
const EXTENSIONS_MAX: usize = 8;

/// Protocol numbers (IANA, "Assigned Internet Protocol Numbers").
pub(crate) mod number {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const IGMP: u8 = 2;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMP_V6: u8 = 58;
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
}

/// Why bytes are not a packet that can be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    /// Shorter than its headers say.
    #[error("it ends within its headers")]
    Short,
    /// Not version 4 or 6.
    #[error("it is neither IPv4 nor IPv6")]
    Version,
    /// More than [`EXTENSIONS_MAX`].
    #[error("it has too many extension headers")]
    Extensions,
    /// The kernel's offload header does not fit it.
    #[error("its offload header does not fit it")]
    Offload,
}

/// What comes after the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// An echo request or reply of ICMP.
    Echo {
        /// Asks rather than answers.
        request: bool,
    },
    /// An ICMP error, which quotes the packet that it is about.
    IcmpError,
    /// Neighbours, groups and routers talking about the link itself (NDP, MLD, IGMP).
    LinkTalk,
    /// A fragment that is not the first: no ports.
    Trailing,
    /// Anything else.
    Other,
}

/// The place of a fragment in its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// What all fragments of a datagram have in common.
    pub(crate) id: u32,
    /// Whether it has the transport's header.
    pub(crate) first: bool,
}

/// Where things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Version 4 rather than 6.
    pub(crate) v4: bool,
    /// The protocol's number.
    pub(crate) protocol: u8,
    pub(crate) transport: Transport,
    pub(crate) transport_at: usize,
    /// Where the payload begins; for ICMP errors the quoted packet.
    pub(crate) payload_at: usize,
    /// Length of the packet; what comes after it is padding.
    pub(crate) length: usize,
    pub(crate) fragment: Option<Fragment>,
}

impl Layout {
    /// Describes a whole packet.
    pub(crate) fn of(ip: &[u8]) -> Result<Self, Malformed> {
        let layout = Self::quoted(ip)?;
        if layout.length > ip.len() || layout.payload_at > layout.length {
            return Err(Malformed::Short);
        }
        Ok(layout)
    }

    /// Describes a packet of which only the beginning is there; the transport's header may be cut.
    pub(crate) fn quoted(ip: &[u8]) -> Result<Self, Malformed> {
        match ip.first().ok_or(Malformed::Short)? >> 4 {
            4 => Self::of_v4(ip),
            6 => Self::of_v6(ip),
            _ => Err(Malformed::Version),
        }
    }

    fn of_v4(ip: &[u8]) -> Result<Self, Malformed> {
        let header = usize::from(byte(ip, 0)? & 0x0f) * 4;
        let fragment = word(ip, 6)?;
        let (offset, more) = (fragment & 0x1fff, fragment & 0x2000 != 0);
        let layout = Self {
            v4: true,
            protocol: byte(ip, 9)?,
            transport: Transport::Other,
            transport_at: header,
            payload_at: header,
            length: usize::from(word(ip, 2)?),
            fragment: (offset != 0 || more)
                .then_some(Fragment { id: u32::from(word(ip, 4)?), first: offset == 0 }),
        };
        if header < 20 || ip.len() < header {
            return Err(Malformed::Short);
        }
        layout.with_transport(ip)
    }

    fn of_v6(ip: &[u8]) -> Result<Self, Malformed> {
        let mut layout = Self {
            v4: false,
            protocol: byte(ip, 6)?,
            transport: Transport::Other,
            transport_at: 40,
            payload_at: 40,
            length: usize::from(word(ip, 4)?) + 40,
            fragment: None,
        };
        if ip.len() < 40 {
            return Err(Malformed::Short);
        }
        for _ in 0..EXTENSIONS_MAX {
            match layout.protocol {
                number::FRAGMENT => layout.pass_fragment_header(ip)?,
                number::HOP_BY_HOP | number::ROUTING | number::DESTINATION_OPTIONS => {
                    layout.pass_extension(ip)?;
                }
                _ => return layout.with_transport(ip),
            }
            if layout.fragment.is_some_and(|fragment| !fragment.first) {
                return layout.with_transport(ip);
            }
        }
        Err(Malformed::Extensions)
    }

    fn pass_extension(&mut self, ip: &[u8]) -> Result<(), Malformed> {
        let at = self.transport_at;
        self.protocol = byte(ip, at)?;
        self.transport_at += (usize::from(byte(ip, at + 1)?) + 1) * 8;
        Ok(())
    }

    fn pass_fragment_header(&mut self, ip: &[u8]) -> Result<(), Malformed> {
        let at = self.transport_at;
        let id = u32::from(word(ip, at + 4)?) << 16 | u32::from(word(ip, at + 6)?);
        self.fragment = Some(Fragment { id, first: word(ip, at + 2)? & 0xfff8 == 0 });
        self.protocol = byte(ip, at)?;
        self.transport_at += 8;
        Ok(())
    }

    fn with_transport(mut self, ip: &[u8]) -> Result<Self, Malformed> {
        let at = self.transport_at;
        let (transport, header) = match (self.protocol, self.v4) {
            _ if self.fragment.is_some_and(|fragment| !fragment.first) => (Transport::Trailing, 0),
            (number::TCP, _) => (Transport::Tcp, tcp_header(ip, at)),
            (number::UDP, _) => (Transport::Udp, 8),
            (number::ICMP, true) => icmp_v4(byte(ip, at)?),
            (number::ICMP_V6, false) => icmp_v6(byte(ip, at)?),
            (number::IGMP, true) => (Transport::LinkTalk, 0),
            _ => (Transport::Other, 0),
        };
        self.transport = transport;
        self.payload_at = at + header;
        Ok(self)
    }

    /// A packet of our own making: without options, extensions or fragments.
    pub(crate) const fn plain(v4: bool, protocol: u8, length: usize) -> Self {
        let at = if v4 { 20 } else { 40 };
        Self {
            v4,
            protocol,
            transport: Transport::Other,
            transport_at: at,
            payload_at: at,
            length,
            fragment: None,
        }
    }

    /// Whether the first two words after the IP header are ports.
    pub(crate) const fn has_ports(&self) -> bool {
        matches!(self.transport, Transport::Tcp | Transport::Udp)
    }

    /// Where the transport's checksum stands, if it covers the addresses.
    pub(crate) const fn checksum_at(&self) -> Option<usize> {
        match self.transport {
            Transport::Tcp => Some(self.transport_at + 16),
            Transport::Udp => Some(self.transport_at + 6),
            Transport::Echo { .. } | Transport::IcmpError => Some(self.transport_at + 2),
            Transport::LinkTalk | Transport::Trailing | Transport::Other => None,
        }
    }

    /// Sender and receiver.
    pub(crate) fn addresses(&self, ip: &[u8]) -> Result<(IpAddr, IpAddr), Malformed> {
        if self.v4 {
            Ok((v4(ip, 12)?.into(), v4(ip, 16)?.into()))
        } else {
            Ok((v6(ip, 8)?.into(), v6(ip, 24)?.into()))
        }
    }

    /// The ports; of an echo its identifier, twice (RFC 5508 §3); else zeros.
    pub(crate) fn ports(&self, ip: &[u8]) -> (u16, u16) {
        let at = self.transport_at;
        let read = |at| word(ip, at).unwrap_or_default();
        match self.transport {
            Transport::Tcp | Transport::Udp => (read(at), read(at + 2)),
            Transport::Echo { .. } => (read(at + 4), read(at + 4)),
            Transport::IcmpError | Transport::LinkTalk | Transport::Trailing | Transport::Other => {
                (0, 0)
            }
        }
    }
}

fn tcp_header(ip: &[u8], at: usize) -> usize {
    let header = byte(ip, at + 12).map_or(0, |byte| usize::from(byte >> 4) * 4);
    header.max(20)
}

/// RFC 792: the echo and the errors that quote.
fn icmp_v4(kind: u8) -> (Transport, usize) {
    match kind {
        0 => (Transport::Echo { request: false }, 8),
        8 => (Transport::Echo { request: true }, 8),
        3 | 4 | 11 | 12 => (Transport::IcmpError, 8),
        9 | 10 => (Transport::LinkTalk, 8),
        _ => (Transport::Other, 8),
    }
}

/// RFC 4443; neighbours RFC 4861, groups RFC 2710 and RFC 3810.
fn icmp_v6(kind: u8) -> (Transport, usize) {
    match kind {
        128 => (Transport::Echo { request: true }, 8),
        129 => (Transport::Echo { request: false }, 8),
        1..=4 => (Transport::IcmpError, 8),
        130..=137 | 143 => (Transport::LinkTalk, 4),
        _ => (Transport::Other, 4),
    }
}

pub(crate) fn byte(bytes: &[u8], at: usize) -> Result<u8, Malformed> {
    bytes.get(at).copied().ok_or(Malformed::Short)
}

pub(crate) fn word(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    Ok(u16::from_be_bytes([byte(bytes, at)?, byte(bytes, at + 1)?]))
}

pub(crate) fn long(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    Ok(u32::from(word(bytes, at)?) << 16 | u32::from(word(bytes, at + 2)?))
}

fn v4(bytes: &[u8], at: usize) -> Result<Ipv4Addr, Malformed> {
    Ok(Ipv4Addr::from_bits(long(bytes, at)?))
}

fn v6(bytes: &[u8], at: usize) -> Result<Ipv6Addr, Malformed> {
    let octets = bytes.get(at..at + 16).ok_or(Malformed::Short)?;
    Ok(Ipv6Addr::from(<[u8; 16]>::try_from(octets).map_err(|_| Malformed::Short)?))
}
