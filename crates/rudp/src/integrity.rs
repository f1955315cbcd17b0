//! What needs cryptography but no handshake: checksums of clear packets, cookies, reset tokens.

use std::{fmt, sync::Arc};

use rustls::{
    CipherSuite, SupportedCipherSuite,
    crypto::{
        CryptoProvider,
        cipher::{AeadKey, Iv},
        tls13::{Hkdf, OkmBlock},
    },
    quic::PacketKey,
};

use crate::packet::TAG_LEN;

/// Known to everyone: the tag tells damage and other protocols from ours, not friend from foe.
const CHECKSUM_KEY: [u8; 32] = *b"portolan rudp 1: clear packets  ";

/// Seals what is not encrypted, and makes tokens that only we can make.
#[derive(Clone)]
pub(crate) struct Integrity(Arc<Inner>);

struct Inner {
    checksum: Box<dyn PacketKey>,
    hash: &'static dyn Hkdf,
}

impl Integrity {
    /// `None` when the provider lacks AES-256-GCM for QUIC.
    pub(crate) fn new(provider: &CryptoProvider) -> Option<Self> {
        let suite = provider.cipher_suites.iter().find_map(|suite| match suite {
            SupportedCipherSuite::Tls13(suite)
                if suite.common.suite == CipherSuite::TLS13_AES_256_GCM_SHA384 =>
            {
                Some(suite)
            }
            _ => None,
        })?;
        let key = AeadKey::from(CHECKSUM_KEY);
        let checksum = suite.quic?.packet_key(key, Iv::from([0; 12]));
        Some(Self(Arc::new(Inner { checksum, hash: suite.hkdf_provider })))
    }

    /// Appends the checksum of `buf[start..]`.
    pub(crate) fn seal(&self, buf: &mut Vec<u8>, start: usize) {
        let tag = self.0.checksum.encrypt_in_place(0, &buf[start..], &mut []);
        buf.extend_from_slice(tag.expect("no payload is too long").as_ref());
    }

    /// Whether `packet` ends with its checksum.
    pub(crate) fn check(&self, packet: &[u8]) -> bool {
        let Some((content, tag)) = packet.split_last_chunk::<TAG_LEN>() else { return false };
        self.0.checksum.decrypt_in_place(0, content, &mut tag.clone()).is_ok()
    }

    /// The first 16 bytes of an HMAC over `message`.
    pub(crate) fn token(&self, key: &[u8; 32], message: &[u8]) -> [u8; 16] {
        let tag = self.0.hash.hmac_sign(&OkmBlock::new(key), message);
        let mut token = [0; 16];
        for (to, from) in token.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        token
    }

    /// A key of its own for one purpose.
    pub(crate) fn derive(&self, key: &[u8; 32], label: &[u8], number: u64) -> [u8; 32] {
        let mut message = label.to_vec();
        message.extend_from_slice(&number.to_be_bytes());
        let tag = self.0.hash.hmac_sign(&OkmBlock::new(key), &message);
        let mut derived = [0; 32];
        for (to, from) in derived.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        derived
    }
}

impl fmt::Debug for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Integrity")
    }
}

/// Compares in a time that does not depend on where they differ.
pub(crate) fn equal_secrets(left: &[u8; 16], right: &[u8; 16]) -> bool {
    std::hint::black_box(left.iter().zip(right).fold(0, |sum, (left, right)| sum | left ^ right))
        == 0
}
