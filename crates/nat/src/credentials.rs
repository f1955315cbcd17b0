//! What proves that a check is meant for us and comes from who we were introduced to.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The two ends of an introduction (RFC 8445 §6.1.1). The introduction gives them out, so both can
/// never claim the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Chooses the path; who asked for the introduction.
    Controlling,
    /// Follows the choice; who was asked.
    Controlled,
}

impl Role {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Controlling => Self::Controlled,
            Self::Controlled => Self::Controlling,
        }
    }
}

/// Letters of a user fragment; 40 bits of it are enough to tell introductions apart.
const FRAGMENT_LEN: usize = 8;

/// Name and key of one end's checks (RFC 8445 §5.3: user fragment and password).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    fragment: String,
    key: [u8; 32],
}

impl Credentials {
    /// Derives what one end uses from a ticket that only the two of an introduction know.
    #[must_use]
    pub fn derive(ticket: &[u8], role: Role) -> Self {
        let label: &[u8] = match role {
            Role::Controlling => b"portolan nat 1 controlling",
            Role::Controlled => b"portolan nat 1 controlled",
        };
        let key = mac(ticket, &[label, b" key"]);
        let name = mac(ticket, &[label, b" name"]);
        Self { fragment: name.iter().take(FRAGMENT_LEN).map(letter).collect(), key }
    }

    /// The name.
    #[must_use]
    pub fn fragment(&self) -> &str {
        &self.fragment
    }

    pub(crate) const fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

/// The key is not for logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("fragment", &self.fragment)
            .finish_non_exhaustive()
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length; the fallback is there for the types only.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// One of 32 letters that ICE allows in a fragment.
fn letter(byte: &u8) -> char {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    char::from(LETTERS[usize::from(byte % 32)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_tickets_have_credentials_of_their_own_and_none_is_shown() {
        let all: Vec<_> = [b"one", b"two"]
            .into_iter()
            .flat_map(|ticket| {
                [Role::Controlling, Role::Controlled].map(|role| Credentials::derive(ticket, role))
            })
            .collect();
        for (index, one) in all.iter().enumerate() {
            assert_eq!(one.fragment().len(), FRAGMENT_LEN);
            assert!(!format!("{one:?}").contains("key"));
            for other in &all[..index] {
                assert!(one.key() != other.key() && one.fragment() != other.fragment());
            }
        }
        assert_eq!(all[0], Credentials::derive(b"one", Role::Controlling));
    }
}
