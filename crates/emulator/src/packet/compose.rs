//! Writes the packets that leave: a run of segments with what the network has changed.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use portolan_netsim::Ecn;

use super::{
    checksum::{Sum, never_zero, updated},
    frame::{Frame, flag},
    layout::{Layout, Transport, byte, long, number, word},
    vnet::{Offload, Segments},
};

/// What the network may change in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Face {
    /// The sender, as the receiver sees it.
    pub(crate) source: SocketAddr,
    /// The receiver.
    pub(crate) destination: SocketAddr,
    /// The mark that it carries.
    pub(crate) ecn: Option<Ecn>,
    /// How many more boxes may forward it.
    pub(crate) hop_limit: u8,
}

/// Appends a run of a frame's segments to `out` as one IP packet; says what is left to the kernel.
pub(crate) fn compose(frame: &Frame, run: &Range<u16>, face: &Face, out: &mut Vec<u8>) -> Offload {
    let layout = frame.layout();
    let begin = out.len();
    out.extend_from_slice(frame.bytes().get(..layout.payload_at).unwrap_or_default());
    out.extend_from_slice(frame.bytes().get(frame.payload(run)).unwrap_or_default());
    let packet = out.get_mut(begin..).unwrap_or_default();

    write_lengths(packet, layout, run.start);
    write_mark(packet, layout, face);
    match layout.transport {
        Transport::Tcp => write_sequence(packet, frame, run),
        Transport::Udp
        | Transport::Echo { .. }
        | Transport::IcmpError
        | Transport::LinkTalk
        | Transport::Trailing
        | Transport::Other => {}
    }
    write_addresses(packet, frame, face);
    write_header_checksum(packet, layout);
    Offload { checksum: frame.offload().checksum, segments: segments_of(frame, run) }
}

/// A run of one is an ordinary packet.
fn segments_of(frame: &Frame, run: &Range<u16>) -> Option<Segments> {
    let segments = frame.offload().segments.filter(|_| run.len() > 1)?;
    Some(Segments {
        headers: u16::try_from(frame.layout().payload_at).unwrap_or(u16::MAX),
        ecn: segments.ecn && run.start == 0,
        ..segments
    })
}

fn write_lengths(packet: &mut [u8], layout: &Layout, first: u16) {
    let length = |from: usize| u16::try_from(packet.len() - from).unwrap_or(u16::MAX);
    let (whole, after_header) = (length(0), length(if layout.v4 { 0 } else { 40 }));
    let transport = length(layout.transport_at);
    if layout.v4 {
        put(packet, 2, whole);
        let id = word(packet, 4).unwrap_or_default();
        put(packet, 4, id.wrapping_add(first));
    } else {
        put(packet, 4, after_header);
    }
    // A fragment has the length of its whole datagram there.
    if layout.transport == Transport::Udp && layout.fragment.is_none() {
        put(packet, layout.transport_at + 4, transport);
    }
}

/// ECN (RFC 3168 §5) and the hop count.
pub(crate) fn write_mark(packet: &mut [u8], layout: &Layout, face: &Face) {
    let bits = match face.ecn {
        None => 0b00,
        Some(Ecn::Ect1) => 0b01,
        Some(Ecn::Ect0) => 0b10,
        Some(Ecn::Ce) => 0b11,
    };
    let (shift, hop_limit_at) = if layout.v4 { (0, 8) } else { (4, 7) };
    if let Some(class) = packet.get_mut(1) {
        *class = *class & !(0b11 << shift) | bits << shift;
    }
    if let Some(hops) = packet.get_mut(hop_limit_at) {
        *hops = face.hop_limit;
    }
}

/// The sequence number of the run, and only those flags that its segments had.
fn write_sequence(packet: &mut [u8], frame: &Frame, run: &Range<u16>) {
    let at = frame.layout().transport_at;
    let before = frame.payload(&(0..run.start)).len();
    let sequence = long(packet, at + 4).unwrap_or_default();
    let sequence = sequence.wrapping_add(u32::try_from(before).unwrap_or_default());
    if let Some(field) = packet.get_mut(at + 4..at + 8) {
        field.copy_from_slice(&sequence.to_be_bytes());
    }
    let mut gone = 0;
    if run.start > 0 {
        gone |= flag::CWR;
    }
    if run.end < frame.segments() {
        gone |= flag::FIN | flag::PSH;
    }
    // A pure CWR of another meaning (accurate ECN) is only touched where the kernel would.
    if let Some(flags) = packet.get_mut(at + 13).filter(|_| frame.segments() > 1) {
        *flags &= !gone;
    }
}

fn write_addresses(packet: &mut [u8], frame: &Frame, face: &Face) {
    let layout = frame.layout();
    let before = covered(packet, layout);
    put_addresses(packet, layout, face.source.ip(), face.destination.ip());
    put_ports(packet, layout, face);
    let Some(at) = layout.checksum_at() else { return };
    let checksum = word(packet, at).unwrap_or_default();
    if frame.offload().checksum.is_some() {
        let length = packet.len() - layout.transport_at;
        let (source, destination) = (face.source.ip(), face.destination.ip());
        put(packet, at, Sum::pseudo(source, destination, layout.protocol, length).folded());
    } else if layout.protocol != number::UDP {
        put(packet, at, updated(checksum, before, covered(packet, layout)));
    } else if checksum != 0 {
        put(packet, at, never_zero(updated(checksum, before, covered(packet, layout))));
    }
}

/// The sum of what a checksum covers and a translator changes: addresses (but for ICMP over IPv4)
/// and ports.
fn covered(packet: &[u8], layout: &Layout) -> Sum {
    let mut sum = Sum::default();
    if layout.protocol != number::ICMP
        && let Ok((source, destination)) = layout.addresses(packet)
    {
        sum = sum.address(source).address(destination);
    }
    let (from, to) = layout.ports(packet);
    match layout.transport {
        Transport::Echo { .. } => sum.word(from),
        Transport::Tcp
        | Transport::Udp
        | Transport::IcmpError
        | Transport::LinkTalk
        | Transport::Trailing
        | Transport::Other => sum.word(from).word(to),
    }
}

/// Writes addresses of the packet's own family; others are left as they are.
pub(crate) fn put_addresses(
    packet: &mut [u8],
    layout: &Layout,
    source: IpAddr,
    destination: IpAddr,
) {
    let places = if layout.v4 { [12, 16] } else { [8, 24] };
    for (address, at) in [source, destination].into_iter().zip(places) {
        match address {
            IpAddr::V4(address) if layout.v4 => put_bytes(packet, at, &address.octets()),
            IpAddr::V6(address) if !layout.v4 => put_bytes(packet, at, &address.octets()),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }
}

/// Writes the ports, or the identifier of an echo: whichever of the two has changed.
pub(crate) fn put_ports(packet: &mut [u8], layout: &Layout, face: &Face) {
    let at = layout.transport_at;
    let (from, to) = (face.source.port(), face.destination.port());
    match layout.transport {
        Transport::Tcp | Transport::Udp => {
            put(packet, at, from);
            put(packet, at + 2, to);
        }
        Transport::Echo { .. } => {
            let identifier = word(packet, at + 4).unwrap_or_default();
            put(packet, at + 4, if from == identifier { to } else { from });
        }
        Transport::IcmpError | Transport::LinkTalk | Transport::Trailing | Transport::Other => {}
    }
}

/// RFC 791 §3.1; IPv6 has none.
pub(crate) fn write_header_checksum(packet: &mut [u8], layout: &Layout) {
    if !layout.v4 {
        return;
    }
    put(packet, 10, 0);
    let header = usize::from(byte(packet, 0).unwrap_or_default() & 0x0f) * 4;
    let checksum = Sum::default().bytes(packet.get(..header).unwrap_or_default()).finished();
    put(packet, 10, checksum);
}

/// Flips a bit of the payload, or of the transport's header where there is no payload.
pub(crate) fn flip_bit(packet: &mut [u8], layout: &Layout, bit: u64) {
    let from =
        if layout.payload_at < packet.len() { layout.payload_at } else { layout.transport_at };
    let bits = (packet.len().saturating_sub(from) as u64) * 8;
    if bits == 0 {
        return;
    }
    let bit = bit % bits;
    let at = from + usize::try_from(bit / 8).unwrap_or_default();
    if let Some(byte) = packet.get_mut(at) {
        *byte ^= 1 << (bit % 8);
    }
}

pub(crate) fn put(packet: &mut [u8], at: usize, value: u16) {
    put_bytes(packet, at, &value.to_be_bytes());
}

pub(crate) fn put_bytes(packet: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = packet.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}
