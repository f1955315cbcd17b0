//! Relays that are no directories: what a server gives two users so that another carries their
//! bytes, and what that one checks (`docs/relay.md`).

use std::fmt;

use portolan_peer_id::PeerId;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What a pass's signature begins with, so that it is worth nothing for another purpose.
const PURPOSE: &[u8] = b"portolan relay pass 1\0";

/// Asks for a relay besides the server itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Relays that could not be reached, by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<PeerId>,
}

/// Where bytes to another user can be carried, and the right to have them carried there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayPlace {
    /// The key that the relay must prove.
    pub id: PeerId,
    /// Its address and port, the same for every transport.
    pub address: String,
    /// For the holder alone.
    pub pass: RelayPass,
}

/// Asks a relay to be brought together with whoever holds the other pass of an introduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enter {
    /// The right to it.
    pub pass: RelayPass,
}

/// The right of one user to be carried to one other by one relay, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayPass {
    /// What is granted.
    pub terms: PassTerms,
    /// The issuer's, over [`PassTerms::to_be_signed`].
    pub signature: Signature,
}

/// What a pass grants, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassTerms {
    /// The server that has introduced the two.
    pub issuer: PeerId,
    /// The relay that is asked.
    pub relay: PeerId,
    /// The same in both passes of an introduction and in no other.
    pub introduction: Introduction,
    /// Who the holder is in it.
    pub side: Side,
    /// Who may show the pass.
    pub holder: PeerId,
    /// Who is at the other end.
    pub other: PeerId,
    /// To be shown before then.
    pub until: Timestamp,
    /// The relay ends so many milliseconds after it began.
    pub lasts_ms: u64,
    /// And after so many bytes, both ways and by every carrier.
    pub bytes: u64,
}

impl PassTerms {
    /// What the issuer signs: a text that says what for, then every field at its full length,
    /// integers big-endian.
    #[must_use]
    pub fn to_be_signed(&self) -> Vec<u8> {
        let side = match self.side {
            Side::Caller => 0,
            Side::Callee => 1,
        };
        let [until, lasts, bytes] = [self.until.0, self.lasts_ms, self.bytes].map(u64::to_be_bytes);
        let fields: [&[u8]; 10] = [
            PURPOSE,
            self.issuer.as_bytes(),
            self.relay.as_bytes(),
            &self.introduction.0,
            &[side],
            self.holder.as_bytes(),
            self.other.as_bytes(),
            &until,
            &lasts,
            &bytes,
        ];
        fields.concat()
    }
}

/// The number of an introduction; random, so that nobody guesses another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Introduction(pub [u8; 16]);

/// Who somebody is in an introduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Asked for it.
    Caller,
    /// Was asked.
    Callee,
}

/// An Ed25519 signature (RFC 8032), in halves.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature([[u8; 32]; 2]);

impl Signature {
    /// Of 64 bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 64]) -> Self {
        let mut halves = [[0; 32]; 2];
        for (half, from) in halves.iter_mut().zip(bytes.chunks_exact(32)) {
            half.copy_from_slice(from);
        }
        Self(halves)
    }

    /// The 64 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (to, half) in bytes.chunks_exact_mut(32).zip(&self.0) {
            to.copy_from_slice(half);
        }
        bytes
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}

/// How much a relay has to do, told to the servers that it serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayLoad {
    /// Relays under way.
    pub relays: u64,
    /// Bytes carried since its start, both ways.
    pub bytes: u64,
}

/// A relay as the server that uses it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayInfo {
    /// Its key.
    pub id: PeerId,
    /// Where clients find it.
    pub address: String,
    /// Whether it answers.
    pub up: bool,
    /// What it says of itself; the last that was heard.
    pub load: RelayLoad,
    /// Introductions that were handed to it.
    pub handed: u64,
    /// Why it does not answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> PassTerms {
        let [issuer, relay, holder, other] = [1, 2, 3, 4].map(|of| PeerId::from_bytes([of; 32]));
        PassTerms {
            issuer,
            relay,
            introduction: Introduction([5; 16]),
            side: Side::Caller,
            holder,
            other,
            until: Timestamp(6),
            lasts_ms: 7,
            bytes: 8,
        }
    }

    #[test]
    fn every_term_is_signed() {
        let other = PeerId::from_bytes([9; 32]);
        let changes: [fn(&mut PassTerms, PeerId); 9] = [
            |terms, other| terms.issuer = other,
            |terms, other| terms.relay = other,
            |terms, _| terms.introduction = Introduction([6; 16]),
            |terms, _| terms.side = Side::Callee,
            |terms, other| terms.holder = other,
            |terms, other| terms.other = other,
            |terms, _| terms.until = Timestamp(7),
            |terms, _| terms.lasts_ms += 1,
            |terms, _| terms.bytes += 1,
        ];
        for change in changes {
            let mut changed = terms();
            change(&mut changed, other);
            assert_ne!(changed.to_be_signed(), terms().to_be_signed(), "{changed:?}");
            assert_eq!(changed.to_be_signed().len(), terms().to_be_signed().len());
        }
    }

    #[test]
    fn a_signature_is_read_as_it_was_written() {
        let mut bytes = [0; 64];
        for (at, byte) in (0..).zip(&mut bytes) {
            *byte = at;
        }
        assert_eq!(Signature::new(&bytes).to_bytes(), bytes);
    }
}
