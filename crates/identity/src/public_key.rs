//! Public keys as the wire carries them, and signatures by them.

use rustls::pki_types::CertificateDer;
use thiserror::Error;

use crate::{
    PeerId,
    provider::{ed25519, provider},
};

/// What comes before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// Why the remote has no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RemoteKeyError {
    /// No key was shown: the handshake is not over, or the remote is not one of ours.
    #[error("the other side has not shown a key")]
    Missing,
    /// A certificate or another kind of key.
    #[error("the other side has shown something else than an Ed25519 public key")]
    NotEd25519,
}

/// A signature does not fit the message and the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature does not fit: the message or the key is another one")]
pub struct BadSignature;

/// The key that the remote has proved, from a connection's `peer_certificates()`.
///
/// # Errors
/// [`RemoteKeyError`] when there is none or it is of another kind.
pub fn remote_id(certificates: Option<&[CertificateDer<'_>]>) -> Result<PeerId, RemoteKeyError> {
    match certificates {
        None | Some([]) => Err(RemoteKeyError::Missing),
        Some([spki]) => from_spki(spki).ok_or(RemoteKeyError::NotEd25519),
        Some(_) => Err(RemoteKeyError::NotEd25519),
    }
}

/// Checks a signature made with [`Identity::sign`](crate::Identity::sign).
///
/// # Errors
/// [`BadSignature`] whatever is wrong: length, key, message or signature.
pub fn verify(id: &PeerId, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    let algorithms = ed25519(&provider());
    let algorithm = algorithms.all.first().ok_or(BadSignature)?;
    algorithm.verify_signature(id.as_bytes(), message, signature).map_err(|_| BadSignature)
}

pub(crate) fn from_spki(spki: &[u8]) -> Option<PeerId> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    Some(PeerId::from_bytes(key.try_into().ok()?))
}
