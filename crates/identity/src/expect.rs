//! Who the remote must be.

use data_encoding::BASE32_DNSSEC;
use rustls::pki_types::{DnsName, ServerName};

use crate::PeerId;

const PINNED: &str = ".id.invalid";
const ANY: &str = "any.tofu.invalid";

/// Who the remote must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The holder of this key and nobody else.
    Id(PeerId),
    /// Anyone who can prove a key; the caller decides afterwards.
    Any,
}

impl Expect {
    /// The server name that carries this expectation to the verifier.
    ///
    /// It is local: no server name is sent (RFC 6066), so that nobody on the path learns who is
    /// being called. It is also the key under which sessions are kept for resumption.
    #[must_use]
    pub fn server_name(&self) -> ServerName<'static> {
        let name = DnsName::try_from(self.dns_name()).expect("52 letters and digits and a suffix");
        ServerName::DnsName(name)
    }

    /// The same as text, for libraries that take a name as text.
    #[must_use]
    pub fn dns_name(&self) -> String {
        match self {
            // 52 characters: hexadecimal would be longer than a label may be (63, RFC 1035 §2.3.4).
            Self::Id(id) => BASE32_DNSSEC.encode(id.as_bytes()) + PINNED,
            Self::Any => ANY.to_owned(),
        }
    }

    /// Reads the name back; `None` for a name that is not one of ours.
    pub(crate) fn from_server_name(name: &ServerName<'_>) -> Option<Self> {
        let ServerName::DnsName(name) = name else { return None };
        if name.as_ref() == ANY {
            return Some(Self::Any);
        }
        let label = name.as_ref().strip_suffix(PINNED)?;
        let key = BASE32_DNSSEC.decode(label.as_bytes()).ok()?;
        Some(Self::Id(PeerId::from_bytes(key.try_into().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::Expect;
    use crate::{Identity, PeerId};

    #[test]
    fn an_expectation_survives_the_way_through_a_server_name() {
        let keys = [[0; 32], [255; 32], *Identity::from_seed([7; 32]).id().as_bytes()];
        for key in keys {
            let expect = Expect::Id(PeerId::from_bytes(key));
            assert_eq!(Expect::from_server_name(&expect.server_name()), Some(expect));
        }
        assert_eq!(Expect::from_server_name(&Expect::Any.server_name()), Some(Expect::Any));
    }

    #[test]
    fn other_names_are_no_expectation() {
        for name in ["example.org", "x.id.invalid", "127.0.0.1", "any.tofu.invalid.org"] {
            let name = ServerName::try_from(name).unwrap();
            assert_eq!(Expect::from_server_name(&name), None);
        }
    }
}
