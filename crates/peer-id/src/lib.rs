//! The public key that names a peer, and its printable form.
//!
//! A [`PeerId`] is the 32 bytes of an Ed25519 public key (RFC 8032). People read it, type it and
//! compare it aloud, so the printed form is grouped and carries check digits that catch typing
//! errors. Pure: this crate knows no key file, no TLS and no socket.

mod text;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use text::ParsePeerIdError;

/// An Ed25519 public key: who a peer is, on every transport.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId([u8; PeerId::LEN]);

impl PeerId {
    /// Length of the key in bytes.
    pub const LEN: usize = 32;

    /// Takes the 32 bytes of an Ed25519 public key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// The whole printable form: groups of characters with check digits.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::encode(&self.0))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl std::str::FromStr for PeerId {
    type Err = ParsePeerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text::decode(text).map(Self)
    }
}

/// Text in formats for people (JSON, TOML), bytes in binary ones (MessagePack).
impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(TextVisitor)
        } else {
            deserializer.deserialize_bytes(BytesVisitor)
        }
    }
}

struct TextVisitor;

impl de::Visitor<'_> for TextVisitor {
    type Value = PeerId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a printed peer id")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PeerId, E> {
        text.parse().map_err(E::custom)
    }
}

struct BytesVisitor;

impl de::Visitor<'_> for BytesVisitor {
    type Value = PeerId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("32 bytes of an Ed25519 public key")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<PeerId, E> {
        let key = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))?;
        Ok(PeerId(key))
    }
}
