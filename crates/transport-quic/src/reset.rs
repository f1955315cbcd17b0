//! What an endpoint keeps beyond its end, so that those who go on talking to it learn after a
//! restart that it has forgotten them (RFC 9000 §10.3).

use portolan_identity::Identity;
use quinn::{
    ConnectionId, ConnectionIdGenerator,
    crypto::{CryptoError, HmacKey},
};

/// Whoever wants to know the key of resets would need a signature of this.
const LABEL: &[u8] = b"portolan quic: key of stateless resets, version 1";

/// Bytes of our connection IDs, as of quinn's own.
const ID_LEN: usize = 8;

/// By this, tokens of stateless resets are made from connection IDs: the same after every start,
/// and nobody else's, for signatures of Ed25519 are deterministic (RFC 9000 §10.3.2).
pub(crate) struct ResetKey([u8; 32]);

impl ResetKey {
    pub(crate) fn of(identity: &Identity) -> Self {
        let signature = identity.sign(LABEL);
        let mut key = [0; 32];
        key.copy_from_slice(&signature[..32]);
        Self(key)
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // The comparison takes the same time whatever differs.
        let is_ours = blake3::Hash::from_slice(signature)
            .is_ok_and(|signature| signature == blake3::keyed_hash(&self.0, data));
        if is_ours { Ok(()) } else { Err(CryptoError) }
    }
}

/// Connection IDs by chance alone. Those of quinn can be told from others by a key of the process,
/// and packets with others are ignored: also those of whoever was known before a restart. As the
/// key of resets stays, no ID may come twice (RFC 9000 §10.3.2): 64 random bits see to that.
pub(crate) struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_LEN];
        let random = portolan_identity::provider().secure_random;
        random.fill(&mut id).expect("the system gives random bytes");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_LEN
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(seed: u8) -> Vec<u8> {
        let key = ResetKey::of(&Identity::from_seed([seed; 32]));
        let mut token = vec![0; key.signature_len()];
        key.sign(b"an ID", &mut token);
        assert!(key.verify(b"an ID", &token).is_ok());
        assert!(key.verify(b"another", &token).is_err());
        token
    }

    #[test]
    fn tokens_are_the_same_after_a_restart_and_nobody_elses() {
        assert_eq!(token(1), token(1));
        assert_ne!(token(1), token(2));
    }
}
