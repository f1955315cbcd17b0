//! What is done to every datagram before it leaves: nothing, or AES-128-GCM.

use std::{fmt, ops::Range};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use portolan_identity::PeerId;

use super::wire::{HEADER, Header};

/// Bytes of an AES-128 key.
const KEY: usize = 16;

/// Which end of a connection sealed a datagram: the two never share a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// Connections are numbered below 2^31.
    fn bit(self) -> u32 {
        match self {
            Self::Client => 0,
            Self::Server => 1 << 31,
        }
    }
}

/// How datagrams are protected.
pub(crate) enum Protection {
    /// Not at all.
    Bare,
    /// By AES-128-GCM.
    Sealed(LessSafeKey),
}

impl Protection {
    /// The cost of encryption without its worth: the key is made from the public key of the
    /// server, which everyone knows.
    pub(crate) fn sealed_for(server: PeerId) -> Self {
        let (key, _) = server.as_bytes().split_at(KEY);
        let key = UnboundKey::new(&AES_128_GCM, key).expect("16 bytes are an AES-128 key");
        Self::Sealed(LessSafeKey::new(key))
    }

    /// Bytes that protection adds to a datagram.
    pub(crate) fn tag(&self) -> usize {
        match self {
            Self::Bare => 0,
            Self::Sealed(_) => AES_128_GCM.tag_len(),
        }
    }

    /// Protects the datagram in `out` from `start` on and appends the tag.
    pub(crate) fn seal(&self, side: Side, header: Header, out: &mut Vec<u8>, start: usize) {
        let Self::Sealed(key) = self else { return };
        let (clear, body) = out[start..].split_at_mut(HEADER);
        let nonce = nonce(side, header);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*clear), body);
        out.extend_from_slice(tag.expect("a datagram is short enough for AES-GCM").as_ref());
    }

    /// Where the body of `datagram` is once it is opened; `None` when it is not authentic.
    pub(crate) fn open(
        &self,
        side: Side,
        header: Header,
        datagram: &mut [u8],
    ) -> Option<Range<usize>> {
        let length = datagram.len();
        let (clear, body) = datagram.split_at_mut_checked(HEADER)?;
        match self {
            Self::Bare => Some(HEADER..length),
            Self::Sealed(key) => {
                let body = key.open_in_place(nonce(side, header), Aad::from(&*clear), body).ok()?;
                Some(HEADER..HEADER + body.len())
            }
        }
    }
}

fn nonce(side: Side, header: Header) -> Nonce {
    let mut bytes = [0; 12];
    let (connection, number) = bytes.split_at_mut(4);
    connection.copy_from_slice(&(header.connection | side.bit()).to_be_bytes());
    number.copy_from_slice(&header.number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "Bare",
            Self::Sealed(_) => "Sealed",
        })
    }
}

#[cfg(test)]
mod tests {
    use portolan_identity::Identity;

    use super::{super::wire::Kind, *};

    fn sealed(key: &Protection, header: Header) -> Vec<u8> {
        let mut datagram = Vec::new();
        header.encode(&mut datagram);
        datagram.extend_from_slice(b"body");
        key.seal(Side::Client, header, &mut datagram, 0);
        datagram
    }

    #[test]
    fn only_the_key_of_the_named_server_opens_what_was_sealed() {
        let bob = Identity::from_seed([2; 32]).id();
        let mallory = Identity::from_seed([3; 32]).id();
        let header = Header { kind: Kind::Hello, connection: 1, number: 0 };
        let key = Protection::sealed_for(bob);
        let datagram = sealed(&key, header);
        let mut right = datagram.clone();
        let body = key.open(Side::Client, header, &mut right).expect("the right key");
        assert_eq!(&right[body], b"body");
        assert_eq!(key.open(Side::Server, header, &mut datagram.clone()), None);
        let wrong = Protection::sealed_for(mallory);
        assert_eq!(wrong.open(Side::Client, header, &mut { datagram }), None);
    }
}
