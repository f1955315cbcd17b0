//! What goes between a relay and those it serves (`docs/relay.md`).
//!
//! ```text
//! data     [0x08][channel 7][the datagram]
//! bind     [0x09][channel 7][counter 8][zeros 18]                     [code 32]
//! bound    [0x0A][channel 7][counter 8][address seen 16][port seen 2] [code 32]
//! ```
//!
//! A channel number is known to one side and the relay. The code is BLAKE3, keyed with the secret
//! that the relay gave over an authenticated connection, of everything before it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Bytes before a relayed datagram.
pub const HEADER: usize = 8;

/// Bytes of a binding, and of its answer, which so is never longer than what asked for it.
pub const BINDING_LEN: usize = HEADER + 8 + 18 + CODE;

const CODE: usize = 32;
const DATA: u8 = 0x08;
const BIND: u8 = 0x09;
const BOUND: u8 = 0x0A;

/// The bits of a channel number.
const NUMBER_BITS: u32 = 56;

/// The secret of one side of a channel.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayKey(pub [u8; 32]);

/// Something said between a relay and one that it serves, whose code is checked apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayFrame<'a> {
    /// A datagram for, or from, the other side.
    Data {
        /// The channel of the side between which and the relay it goes.
        channel: u64,
        /// What it says.
        payload: &'a [u8],
    },
    /// "I am where this comes from."
    Bind {
        /// Of the sender.
        channel: u64,
        /// Grows with every binding of a channel: old ones say nothing.
        counter: u64,
    },
    /// "I see you there."
    Bound {
        /// Of the receiver.
        channel: u64,
        /// Of the binding that is answered.
        counter: u64,
        /// Where it came from.
        seen: SocketAddr,
    },
}

impl<'a> RelayFrame<'a> {
    /// Reads a frame; `None`: it is none.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let channel = number(header);
        match header[0] {
            DATA => Some(Self::Data { channel, payload: rest }),
            BIND if bytes.len() == BINDING_LEN => {
                let (counter, _) = rest.split_first_chunk::<8>()?;
                Some(Self::Bind { channel, counter: u64::from_be_bytes(*counter) })
            }
            BOUND if bytes.len() == BINDING_LEN => {
                let (counter, rest) = rest.split_first_chunk::<8>()?;
                let (ip, rest) = rest.split_first_chunk::<16>()?;
                let (port, _) = rest.split_first_chunk::<2>()?;
                let ip = IpAddr::from(Ipv6Addr::from(*ip)).to_canonical();
                let seen = SocketAddr::new(ip, u16::from_be_bytes(*port));
                Some(Self::Bound { channel, counter: u64::from_be_bytes(*counter), seen })
            }
            _ => None,
        }
    }

    /// A binding, with its code.
    #[must_use]
    pub fn bind(key: &RelayKey, channel: u64, counter: u64) -> [u8; BINDING_LEN] {
        binding((BIND, channel, counter), [0; 18], key)
    }

    /// The answer to a binding, with its code.
    #[must_use]
    pub fn bound(
        key: &RelayKey,
        channel: u64,
        counter: u64,
        seen: SocketAddr,
    ) -> [u8; BINDING_LEN] {
        let ip = match seen.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut address = [0; 18];
        address[..16].copy_from_slice(&ip.octets());
        address[16..].copy_from_slice(&seen.port().to_be_bytes());
        binding((BOUND, channel, counter), address, key)
    }
}

impl RelayKey {
    /// Whether the code of a binding or an answer to one, as it came, is made with this key.
    /// Takes the same time whatever is wrong.
    #[must_use]
    pub fn has_made(&self, bytes: &[u8]) -> bool {
        let Some((said, code)) = bytes.split_last_chunk::<CODE>() else { return false };
        blake3::keyed_hash(&self.0, said) == blake3::Hash::from_bytes(*code)
    }
}

impl std::fmt::Debug for RelayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RelayKey(secret)")
    }
}

/// The header of a relayed datagram; of `channel` the low 56 bits count.
#[must_use]
pub fn data_header(channel: u64) -> [u8; HEADER] {
    header(DATA, channel)
}

/// Whether a datagram that starts with `first` is a relayed one.
pub(crate) const fn is_data(first: u8) -> bool {
    first == DATA
}

/// The channel that a relayed datagram names; `None`: it is none.
pub(crate) fn header_of(bytes: &[u8]) -> Option<u64> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    is_data(header[0]).then(|| number(header))
}

fn header(kind: u8, channel: u64) -> [u8; HEADER] {
    let low = channel & ((1 << NUMBER_BITS) - 1);
    (low | u64::from(kind) << NUMBER_BITS).to_be_bytes()
}

fn number(header: &[u8; HEADER]) -> u64 {
    u64::from_be_bytes(*header) & ((1 << NUMBER_BITS) - 1)
}

fn binding(
    (kind, channel, counter): (u8, u64, u64),
    address: [u8; 18],
    key: &RelayKey,
) -> [u8; BINDING_LEN] {
    let mut frame = [0; BINDING_LEN];
    frame[..HEADER].copy_from_slice(&header(kind, channel));
    frame[HEADER..HEADER + 8].copy_from_slice(&counter.to_be_bytes());
    frame[HEADER + 8..HEADER + 26].copy_from_slice(&address);
    let code = blake3::keyed_hash(&key.0, &frame[..BINDING_LEN - CODE]);
    frame[BINDING_LEN - CODE..].copy_from_slice(code.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RelayKey = RelayKey([7; 32]);
    const CHANNEL: u64 = 0x0012_3456_789a_bcde;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let mut data = data_header(CHANNEL).to_vec();
        data.extend(b"hello");
        let read = RelayFrame::Data { channel: CHANNEL, payload: b"hello" };
        assert_eq!(RelayFrame::decode(&data), Some(read));
        let bind = RelayFrame::bind(&KEY, CHANNEL, 3);
        let read = RelayFrame::Bind { channel: CHANNEL, counter: 3 };
        assert_eq!(RelayFrame::decode(&bind), Some(read));
        for seen in ["192.0.2.7:4000", "[2001:db8::7]:4000"] {
            let seen = seen.parse().expect("an address");
            let bound = RelayFrame::bound(&KEY, CHANNEL, 3, seen);
            let read = RelayFrame::Bound { channel: CHANNEL, counter: 3, seen };
            assert_eq!(RelayFrame::decode(&bound), Some(read));
            assert_eq!(bound.len(), bind.len(), "the answer is no longer than the question");
        }
    }

    #[test]
    fn a_binding_of_another_key_or_with_any_bit_changed_is_none() {
        let bind = RelayFrame::bind(&KEY, CHANNEL, 3);
        assert!(KEY.has_made(&bind));
        assert!(!RelayKey([8; 32]).has_made(&bind));
        for bit in 0..bind.len() * 8 {
            let mut changed = bind;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!KEY.has_made(&changed), "bit {bit}");
        }
    }

    #[test]
    fn every_prefix_and_every_kind_is_read_without_a_fault() {
        let bind = RelayFrame::bind(&KEY, CHANNEL, 3);
        for first in 0..=u8::MAX {
            for end in 0..=bind.len() {
                let mut bytes = bind;
                bytes[0] = first;
                let read = RelayFrame::decode(&bytes[..end]);
                let is_one = end >= HEADER
                    && (first == DATA || (end == BINDING_LEN && [BIND, BOUND].contains(&first)));
                assert_eq!(read.is_some(), is_one, "{first:#x}, {end} bytes");
            }
        }
    }
}
