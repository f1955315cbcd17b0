//! TCP resets that a box sends in the name of a host (RFC 9293 §3.10.7.1).

use super::{
    checksum::Sum,
    compose::{Face, put, put_bytes},
    frame::{Piece, flag},
    icmp::write_ip_header,
    layout::{long, number},
};

/// Appends the reset that a segment to a closed port is answered with.
pub(crate) fn write(about: &Piece, face: &Face, out: &mut Vec<u8>) {
    let begin = out.len();
    let headers = if face.destination.is_ipv4() { 20 } else { 40 };
    out.resize(begin + headers + 20, 0);
    let packet = out.get_mut(begin..).unwrap_or_default();
    let (sequence, acknowledgment, flags) = numbers(about);
    put(packet, headers, face.source.port());
    put(packet, headers + 2, face.destination.port());
    put_bytes(packet, headers + 4, &sequence.to_be_bytes());
    put_bytes(packet, headers + 8, &acknowledgment.to_be_bytes());
    put_bytes(packet, headers + 12, &[5 << 4, flags]);
    write_ip_header(packet, face, number::TCP);
    let (source, destination) = (face.source.ip(), face.destination.ip());
    let sum = Sum::pseudo(source, destination, number::TCP, 20);
    let checksum = sum.bytes(packet.get(headers..).unwrap_or_default()).finished();
    put(packet, headers + 16, checksum);
}

/// Sequence number, acknowledgment number and flags of the answer.
fn numbers(about: &Piece) -> (u32, u32, u8) {
    let (bytes, layout) = (about.frame.bytes(), about.frame.layout());
    let at = layout.transport_at;
    let flags = about.frame.tcp_flags();
    if flags & flag::ACK != 0 {
        return (long(bytes, at + 8).unwrap_or_default(), 0, flag::RST);
    }
    let payload = about.frame.payload(&(0..about.index + 1)).len();
    let length = u32::try_from(payload).unwrap_or_default()
        + u32::from(flags & flag::SYN != 0)
        + u32::from(flags & flag::FIN != 0);
    let next = long(bytes, at + 4).unwrap_or_default().wrapping_add(length);
    (0, next, flag::RST | flag::ACK)
}
