//! What one connection draws by chance that nobody may guess: names, and questions to paths.

use std::sync::Arc;

use crate::{ConnectionId, event::ResetToken, integrity::Integrity};

/// A source of unguessable bytes, and the key of reset tokens.
///
/// Bytes are drawn by HMAC from one secret and a count: no state but that, and no generator for
/// each connection.
pub(crate) struct Secrets {
    secret: [u8; 32],
    drawn: u64,
    reset_key: Arc<[u8; 32]>,
}

impl Secrets {
    /// `secret` is this connection's alone; `reset_key` is shared by all of the endpoint.
    pub(crate) fn new(secret: [u8; 32], reset_key: Arc<[u8; 32]>) -> Self {
        Self { secret, drawn: 0, reset_key }
    }

    /// Eight bytes that were never drawn before.
    pub(crate) fn draw(&mut self, integrity: &Integrity) -> [u8; 8] {
        self.drawn += 1;
        let [a, b, c, d, e, f, g, h, ..] = integrity.token(&self.secret, &self.drawn.to_be_bytes());
        [a, b, c, d, e, f, g, h]
    }

    /// By this a remote can tell that we have forgotten the connection that it calls `id`.
    pub(crate) fn reset_token(&self, integrity: &Integrity, id: ConnectionId) -> ResetToken {
        reset_token(integrity, &self.reset_key, id)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// The token of a name (RFC 9000 §10.3.2).
pub(crate) fn reset_token(integrity: &Integrity, key: &[u8; 32], id: ConnectionId) -> ResetToken {
    let mut message = b"portolan rudp reset".to_vec();
    message.extend_from_slice(&id.0);
    ResetToken(integrity.token(key, &message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::integrity;

    #[test]
    fn nothing_is_drawn_twice_and_two_secrets_draw_differently() {
        let key = Arc::new([9; 32]);
        let mut one = Secrets::new([1; 32], Arc::clone(&key));
        let mut two = Secrets::new([2; 32], key);
        let mut drawn: Vec<_> = (0..50).map(|_| one.draw(&integrity())).collect();
        drawn.extend((0..50).map(|_| two.draw(&integrity())));
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 100);
    }
}
