//! STUN Binding messages, as far as the probes need them (RFC 8489, and RFC 5780 for behaviour).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Set in every message (RFC 8489 §5).
const COOKIE: u32 = 0x2112_A442;

/// Bytes before the attributes (RFC 8489 §5).
pub(super) const HEADER: usize = 20;

/// Longest message that is read from a stream.
pub(super) const MESSAGE_MAX: usize = 548;

/// The port of STUN (RFC 8489 §8.1).
pub(super) const PORT: u16 = 3478;

const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;

// RFC 8489 §18.3, RFC 5780 §9.1.
const CHANGE_REQUEST: u16 = 0x0003;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const OTHER_ADDRESS: u16 = 0x802c;

/// Names a request, so that its answer is known.
pub(super) type TransactionId = [u8; 12];

/// Which of the server's addresses should answer (RFC 5780 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Change {
    /// Another IP address.
    pub(super) address: Flag,
    /// Another port.
    pub(super) port: Flag,
}

/// Whether to change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Flag {
    /// Leave it.
    #[default]
    Same,
    /// Change it.
    Other,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// How do I look from there?
    Request(Change),
    /// Like this.
    Answer {
        /// The address from which the request came.
        mapped: SocketAddr,
        /// The server's other address and other port, if it has them.
        other: Option<SocketAddr>,
    },
}

impl Message {
    /// The message as bytes.
    pub(super) fn encode(&self, id: TransactionId) -> Vec<u8> {
        let mut attributes = Vec::new();
        let kind = match self {
            Self::Request(change) => {
                if *change != Change::default() {
                    // RFC 5780 §7.2: 0x04 changes the address, 0x02 the port.
                    let address = if change.address == Flag::Other { 4 } else { 0 };
                    let port = if change.port == Flag::Other { 2 } else { 0 };
                    put(&mut attributes, CHANGE_REQUEST, &[0, 0, 0, address | port]);
                }
                REQUEST
            }
            Self::Answer { mapped, other } => {
                put(&mut attributes, XOR_MAPPED_ADDRESS, &hidden(*mapped, id));
                if let Some(other) = other {
                    put(&mut attributes, OTHER_ADDRESS, &plain(*other));
                }
                SUCCESS
            }
        };
        let mut bytes = Vec::with_capacity(HEADER + attributes.len());
        bytes.extend_from_slice(&kind.to_be_bytes());
        let length = u16::try_from(attributes.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&COOKIE.to_be_bytes());
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&attributes);
        bytes
    }

    /// Reads a message; `None` is anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<(TransactionId, Self)> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = body_length(header)?;
        let id: TransactionId = *header.last_chunk()?;
        let attributes = || Attributes(rest.get(..length).unwrap_or_default());
        rest.get(..length)?;
        let message = match kind {
            REQUEST => Self::Request(asked_change(attributes())),
            SUCCESS => {
                let find =
                    |wanted| attributes().find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
                let mapped = shown(find(XOR_MAPPED_ADDRESS)?, id)?;
                Self::Answer { mapped, other: find(OTHER_ADDRESS).and_then(address) }
            }
            _ => return None,
        };
        Some((id, message))
    }
}

/// How many bytes follow a header; `None` if it is not STUN's.
pub(super) fn body_length(header: &[u8; HEADER]) -> Option<usize> {
    let cookie = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    (cookie == COOKIE && length.is_multiple_of(4)).then_some(length)
}

fn asked_change(mut attributes: Attributes<'_>) -> Change {
    let flags = attributes.find(|(kind, _)| *kind == CHANGE_REQUEST);
    let bits = flags.and_then(|(_, value)| value.get(3).copied()).unwrap_or_default();
    let flag = |bit| if bits & bit == 0 { Flag::Same } else { Flag::Other };
    Change { address: flag(4), port: flag(2) }
}

/// Type and value, one after the other (RFC 8489 §14).
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        // Padded to four bytes; the last one's padding may be missing.
        self.0 = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_be_bytes([head[0], head[1]]), value))
    }
}

fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// MAPPED-ADDRESS and its like (RFC 8489 §14.1).
fn plain(address: SocketAddr) -> Vec<u8> {
    let family = if address.is_ipv4() { 1 } else { 2 };
    let mut value = vec![0, family];
    value.extend_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => value.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => value.extend_from_slice(&ip.octets()),
    }
    value
}

fn address(value: &[u8]) -> Option<SocketAddr> {
    let (head, rest) = value.split_first_chunk::<4>()?;
    let ip = match head[1] {
        1 => IpAddr::V4(Ipv4Addr::from(*rest.first_chunk::<4>()?)),
        2 => IpAddr::V6(Ipv6Addr::from(*rest.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([head[2], head[3]])))
}

/// XOR-MAPPED-ADDRESS (RFC 8489 §14.2): some translators rewrite addresses that they recognise.
fn hidden(address: SocketAddr, id: TransactionId) -> Vec<u8> {
    let mut value = plain(address);
    veil(&mut value, id);
    value
}

fn shown(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let mut value = value.to_vec();
    veil(&mut value, id);
    address(&value)
}

/// The exclusive or of port and address with the cookie and the transaction; its own inverse.
fn veil(value: &mut [u8], id: TransactionId) {
    let cookie = COOKIE.to_be_bytes();
    let port = cookie.iter();
    for (byte, mask) in value.iter_mut().skip(2).take(2).zip(port) {
        *byte ^= mask;
    }
    for (byte, mask) in value.iter_mut().skip(4).zip(cookie.iter().chain(&id)) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = [7; 12];

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let other = Change { address: Flag::Other, port: Flag::Other };
        let v4 = SocketAddr::from(([203, 0, 113, 2], 40_000));
        let v6 = SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 1));
        for message in [
            Message::Request(Change::default()),
            Message::Request(other),
            Message::Request(Change { port: Flag::Other, ..Change::default() }),
            Message::Answer { mapped: v4, other: None },
            Message::Answer { mapped: v6, other: Some(v4) },
        ] {
            assert_eq!(Message::decode(&message.encode(ID)), Some((ID, message)));
        }
    }

    /// The IPv4 response of RFC 5769 §2.2: software name, address, and attributes that we skip.
    #[test]
    fn the_sample_response_of_rfc_5769_is_understood() {
        let sample = from_hex(
            "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
             002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7\
             80280004c07d4c96",
        );
        let mapped = SocketAddr::from(([192, 0, 2, 1], 32_853));
        let (_, message) = Message::decode(&sample).unwrap();
        assert_eq!(message, Message::Answer { mapped, other: None });
    }

    #[test]
    fn cut_and_random_bytes_are_no_message_and_no_panic() {
        let mapped = SocketAddr::from(([192, 0, 2, 1], 1));
        let whole = Message::Answer { mapped, other: Some(mapped) }.encode(ID);
        for length in 0..whole.len() {
            assert_eq!(Message::decode(&whole[..length]), None);
        }
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0xff;
            let _ = Message::decode(&damaged);
        }
    }

    fn from_hex(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
    }
}
