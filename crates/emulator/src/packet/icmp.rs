//! ICMP errors: read for the model, written when the model makes them, changed when a translator
//! has changed what they quote.

use std::net::{IpAddr, SocketAddr};

use portolan_netsim::{IcmpError, Problem, Protocol, Quoted, Unreachable};

use super::{
    checksum::Sum,
    compose::{Face, compose, put, put_addresses, put_bytes, put_ports, write_header_checksum},
    frame::{Frame, Piece},
    layout::{Layout, byte, long, number, word},
};

/// An error is at most this long: what every IPv4 host takes (RFC 1812 §4.3.2.3), and what every
/// IPv6 link carries (RFC 4443 §2.4).
const ERROR_MAX_V4: usize = 576;
const ERROR_MAX_V6: usize = 1280;

/// What an error frame says; `None`: it quotes nothing that can be understood.
pub(crate) fn read(frame: &Frame) -> Option<IcmpError> {
    let (bytes, layout) = (frame.bytes(), frame.layout());
    let quote = bytes.get(layout.payload_at..)?;
    let inner = Layout::quoted(quote).ok()?;
    let (source, destination) = inner.addresses(quote).ok()?;
    let (from, to) = inner.ports(quote);
    let about = Quoted {
        protocol: protocol(&inner),
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    };
    Some(IcmpError { what: problem(bytes, layout)?, by: layout.addresses(bytes).ok()?.0, about })
}

fn protocol(layout: &Layout) -> Protocol {
    match layout.protocol {
        number::TCP => Protocol::Tcp,
        number::UDP => Protocol::Udp,
        number::ICMP | number::ICMP_V6 => Protocol::Icmp,
        other => Protocol::Other(other),
    }
}

fn problem(bytes: &[u8], layout: &Layout) -> Option<Problem> {
    let at = layout.transport_at;
    let (kind, code) = (byte(bytes, at).ok()?, byte(bytes, at + 1).ok()?);
    Some(match (layout.v4, kind, code) {
        (true, 3, 4) => Problem::TooBig { mtu: u32::from(word(bytes, at + 6).ok()?) },
        (false, 2, _) => Problem::TooBig { mtu: long(bytes, at + 4).ok()? },
        (true, 11, _) | (false, 3, _) => Problem::HopLimit,
        (true, 3, 2 | 3) | (false, 1, 4) => Problem::Unreachable(Unreachable::Port),
        (true, 3, 1 | 7 | 12) | (false, 1, 3) => Problem::Unreachable(Unreachable::Host),
        (true, 3, 9 | 10 | 13) | (false, 1, 1) => Problem::Unreachable(Unreachable::Prohibited),
        _ => Problem::Unreachable(Unreachable::Network),
    })
}

/// Type, code and the second word of an error (RFC 792, RFC 1191 §4, RFC 4443 §3).
fn codes(v4: bool, what: Problem) -> (u8, u8, u32) {
    match (v4, what) {
        (true, Problem::Unreachable(Unreachable::Network)) => (3, 0, 0),
        (true, Problem::Unreachable(Unreachable::Host)) => (3, 1, 0),
        (true, Problem::Unreachable(Unreachable::Port)) => (3, 3, 0),
        (true, Problem::Unreachable(Unreachable::Prohibited)) => (3, 13, 0),
        (true, Problem::TooBig { mtu }) => (3, 4, mtu.min(0xffff)),
        (true, Problem::HopLimit) => (11, 0, 0),
        (false, Problem::Unreachable(Unreachable::Network)) => (1, 0, 0),
        (false, Problem::Unreachable(Unreachable::Host)) => (1, 3, 0),
        (false, Problem::Unreachable(Unreachable::Port)) => (1, 4, 0),
        (false, Problem::Unreachable(Unreachable::Prohibited)) => (1, 1, 0),
        (false, Problem::TooBig { mtu }) => (2, 0, mtu),
        (false, Problem::HopLimit) => (3, 0, 0),
    }
}

/// Appends an error about a piece, as the box that found it would send it.
pub(crate) fn write(error: &IcmpError, about: &Piece, face: &Face, out: &mut Vec<u8>) {
    let v4 = face.destination.is_ipv4();
    let begin = out.len();
    let headers = if v4 { 28 } else { 48 };
    out.resize(begin + headers, 0);
    quote(error, about, out);
    let longest = if v4 { ERROR_MAX_V4 } else { ERROR_MAX_V6 };
    out.truncate(begin + longest);

    let packet = out.get_mut(begin..).unwrap_or_default();
    let (kind, code, second) = codes(v4, error.what);
    put_bytes(packet, headers - 8, &[kind, code]);
    put_bytes(packet, headers - 4, &second.to_be_bytes());
    write_ip_header(packet, face, if v4 { number::ICMP } else { number::ICMP_V6 });
    write_checksum(packet, v4, headers - 8);
}

/// The piece as it was where the error was made.
fn quote(error: &IcmpError, about: &Piece, out: &mut Vec<u8>) {
    let Ok(packet) = about.frame.packet(about.index, None) else { return };
    let face = Face {
        source: error.about.source,
        destination: error.about.destination,
        ecn: packet.ecn,
        hop_limit: packet.hop_limit.max(1),
    };
    compose(&about.frame, &(about.index..about.index + 1), &face, out);
}

/// Writes a header without options or extensions, for a packet of our own making.
pub(crate) fn write_ip_header(packet: &mut [u8], face: &Face, protocol: u8) {
    let v4 = face.destination.is_ipv4();
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    if v4 {
        put_bytes(packet, 0, &[0x45, 0]);
        put(packet, 2, length);
        put_bytes(packet, 8, &[face.hop_limit, protocol]);
    } else {
        put_bytes(packet, 0, &[0x60]);
        put(packet, 4, length - 40);
        put_bytes(packet, 6, &[protocol, face.hop_limit]);
    }
    let layout = Layout::plain(v4, protocol, packet.len());
    put_addresses(packet, &layout, face.source.ip(), face.destination.ip());
    write_header_checksum(packet, &layout);
}

/// Makes the checksum of an ICMP packet anew; that of IPv6 covers a pseudo header (RFC 4443 §2.3).
pub(crate) fn write_checksum(packet: &mut [u8], v4: bool, at: usize) {
    put(packet, at + 2, 0);
    let body = packet.get(at..).unwrap_or_default();
    let mut sum = Sum::default().bytes(body);
    let layout = Layout::plain(v4, number::ICMP_V6, packet.len());
    if !v4 && let Ok((source, destination)) = layout.addresses(packet) {
        let pseudo = Sum::pseudo(source, destination, number::ICMP_V6, body.len());
        sum = sum.word(pseudo.folded());
    }
    put(packet, at + 2, sum.finished());
}

/// Makes an error frame that has been composed quote other addresses.
pub(crate) fn requote(packet: &mut [u8], layout: &Layout, about: &Quoted) {
    if let Some(quote) = packet.get_mut(layout.payload_at..)
        && let Ok(inner) = Layout::quoted(quote)
    {
        rewrite_quote(quote, &inner, about);
    }
    write_checksum(packet, layout.v4, layout.transport_at);
}

fn rewrite_quote(quote: &mut [u8], inner: &Layout, about: &Quoted) {
    let face =
        Face { source: about.source, destination: about.destination, ecn: None, hop_limit: 0 };
    if same_family(inner, about.source.ip()) && same_family(inner, about.destination.ip()) {
        put_addresses(quote, inner, face.source.ip(), face.destination.ip());
        put_ports(quote, inner, &face);
        write_header_checksum(quote, inner);
    }
}

fn same_family(layout: &Layout, address: IpAddr) -> bool {
    layout.v4 == address.is_ipv4()
}
