//! Which key belongs to which user: trusted at first use, compared ever after.

use std::path::PathBuf;

use portolan_identity::{KnownHosts, KnownHostsError, KnownHostsLimits, PeerId};
use portolan_protocol::Name;
use tokio::task::spawn_blocking;

/// Bytes of a user in the file: 32 characters of four bytes, each written as `%xx`, and a key.
const ENTRY_MAX: usize = 32 * 4 * 3 + 80;

/// The file of known peers, in the form of known hosts: `name@server-key:0 key`.
#[derive(Debug, Clone)]
pub(crate) struct KnownPeers {
    /// `None`: nothing is remembered.
    path: Option<PathBuf>,
    /// Names mean something at one server only.
    server: PeerId,
}

impl KnownPeers {
    pub(crate) fn new(path: Option<PathBuf>, server: PeerId) -> Self {
        Self { path, server }
    }

    /// Refuses a user whose key is not the one we remember.
    pub(crate) async fn check(&self, who: &Name, id: PeerId) -> Result<(), KnownHostsError> {
        self.with_file(who, move |hosts, entry| hosts.verify(entry, &id).map(drop)).await
    }

    /// Remembers a user who has proved a key.
    pub(crate) async fn remember(&self, who: &Name, id: PeerId) -> Result<(), KnownHostsError> {
        self.with_file(who, move |hosts, entry| hosts.remember(entry, id)).await
    }

    async fn with_file(
        &self,
        who: &Name,
        act: impl FnOnce(&mut KnownHosts, &str) -> Result<(), KnownHostsError> + Send + 'static,
    ) -> Result<(), KnownHostsError> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let entry = self.entry(who);
        let task = spawn_blocking(move || {
            let limits = KnownHostsLimits { host: ENTRY_MAX, ..KnownHostsLimits::default() };
            act(&mut KnownHosts::load_with(&path, limits)?, &entry)
        });
        task.await.expect("reading a file of known peers does not panic")
    }

    fn entry(&self, who: &Name) -> String {
        let mut entry = String::new();
        for byte in who.key().bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                entry.push(char::from(byte));
            } else {
                entry.push_str(&format!("%{byte:02x}"));
            }
        }
        format!("{entry}@{}:0", self.server)
    }
}

#[cfg(test)]
mod tests {
    use portolan_identity::{Identity, KnownHostsError};
    use portolan_protocol::Name;

    use super::KnownPeers;

    #[tokio::test]
    async fn a_user_in_any_script_is_known_again_and_a_changed_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("known_peers");
        let server = Identity::from_seed([1; 32]).id();
        let peers = KnownPeers::new(Some(path.clone()), server);
        let (first, second) =
            (Identity::from_seed([2; 32]).id(), Identity::from_seed([3; 32]).id());
        for name in ["bob", "Łucja", &"𝒳".repeat(32)] {
            let name = Name::new(name).unwrap();
            peers.check(&name, first).await.unwrap();
            peers.remember(&name, first).await.unwrap();
            peers.check(&name, first).await.unwrap();
            let error = peers.check(&name, second).await.unwrap_err();
            assert!(matches!(error, KnownHostsError::Changed { .. }), "{error}");
            assert!(
                error.to_string().contains("known_peers"),
                "the file to mend is named: {error}"
            );
        }
        let elsewhere = KnownPeers::new(Some(path), second);
        elsewhere.check(&Name::new("bob").unwrap(), second).await.unwrap();
    }
}
