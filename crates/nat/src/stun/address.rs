//! Addresses in attributes (RFC 8489 §14.1, §14.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAGIC_COOKIE, TransactionId};

const IPV4: u8 = 1;
const IPV6: u8 = 2;

/// What an address is xor-ed with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mask {
    /// Nothing.
    Plain,
    /// The cookie, and for IPv6 the transaction too.
    Of(TransactionId),
}

impl Mask {
    const fn port(self) -> u16 {
        match self {
            Self::Plain => 0,
            Self::Of(_) => (MAGIC_COOKIE >> 16) as u16,
        }
    }

    const fn v4(self) -> u32 {
        match self {
            Self::Plain => 0,
            Self::Of(_) => MAGIC_COOKIE,
        }
    }

    fn v6(self) -> u128 {
        match self {
            Self::Plain => 0,
            Self::Of(transaction) => {
                let mut bytes = [0; 16];
                let (cookie, rest) = bytes.split_at_mut(4);
                cookie.copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
                rest.copy_from_slice(&transaction.0);
                u128::from_be_bytes(bytes)
            }
        }
    }
}

/// Reads an address; `None`: it is none.
pub(super) fn decode(value: &[u8], mask: Mask) -> Option<SocketAddr> {
    let (head, rest) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([head[2], head[3]]) ^ mask.port();
    let ip = match head[1] {
        IPV4 => {
            let bits = u32::from_be_bytes(rest.try_into().ok()?);
            IpAddr::V4(Ipv4Addr::from_bits(bits ^ mask.v4()))
        }
        IPV6 => {
            let bits = u128::from_be_bytes(rest.try_into().ok()?);
            IpAddr::V6(Ipv6Addr::from_bits(bits ^ mask.v6()))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Writes an address behind `out`.
pub(super) fn encode(out: &mut Vec<u8>, address: SocketAddr, mask: Mask) {
    let family = if address.is_ipv4() { IPV4 } else { IPV6 };
    out.extend_from_slice(&[0, family]);
    out.extend_from_slice(&(address.port() ^ mask.port()).to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&(ip.to_bits() ^ mask.v4()).to_be_bytes()),
        IpAddr::V6(ip) => out.extend_from_slice(&(ip.to_bits() ^ mask.v6()).to_be_bytes()),
    }
}

/// Bytes of an attribute that holds an address of this family, header included.
pub(super) const fn attribute_len(address: SocketAddr) -> usize {
    if address.is_ipv4() { 12 } else { 24 }
}
