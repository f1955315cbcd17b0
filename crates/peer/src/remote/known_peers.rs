//! Which key belongs to which user: trusted at first use, compared ever after.

use std::path::{Path, PathBuf};

use portolan_identity::{KnownHosts, KnownHostsError, KnownHostsLimits, PeerId, Verdict};
use portolan_protocol::Name;
use tokio::task::spawn_blocking;

use crate::NameScope;

/// Bytes of a user in the file: 32 characters of four bytes, each written as `%xx`, and a key.
const ENTRY_MAX: usize = 32 * 4 * 3 + 80;

/// How well the key of a user is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Familiarity {
    /// The user has proved this key before.
    Known,
    /// Nobody has proved to be the owner of this name yet.
    New,
    /// Another key was proved before: this is somebody else, or the user has a new one.
    Changed,
}

/// The file of known peers, in the form of known hosts: `name@server-key:0 key`, or `name@lan:0
/// key` where there is no server.
#[derive(Debug, Clone)]
pub(crate) struct KnownPeers {
    /// `None`: nothing is remembered.
    path: Option<PathBuf>,
    /// Where names mean something.
    place: String,
}

impl KnownPeers {
    pub(crate) fn new(path: Option<PathBuf>, scope: NameScope, server: PeerId) -> Self {
        let place = match scope {
            NameScope::Server => server.to_string(),
            NameScope::Lan => "lan".to_owned(),
        };
        Self { path, place }
    }

    /// How well each of these keys is known.
    pub(crate) async fn judge(
        &self,
        users: impl Iterator<Item = (&Name, PeerId)>,
    ) -> Result<Vec<Familiarity>, KnownHostsError> {
        let entries: Vec<_> = users.map(|(name, id)| (self.entry(name), id)).collect();
        let Some(path) = self.path.clone() else {
            return Ok(vec![Familiarity::New; entries.len()]);
        };
        let task = spawn_blocking(move || {
            let hosts = load(&path)?;
            let judged = entries.iter().map(|(entry, id)| match hosts.check(entry, id) {
                Verdict::Known => Familiarity::Known,
                Verdict::New => Familiarity::New,
                Verdict::Changed { .. } => Familiarity::Changed,
            });
            Ok(judged.collect())
        });
        task.await.expect("reading a file of known peers does not panic")
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
        let task = spawn_blocking(move || act(&mut load(&path)?, &entry));
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
        format!("{entry}@{}:0", self.place)
    }
}

fn load(path: &Path) -> Result<KnownHosts, KnownHostsError> {
    let limits = KnownHostsLimits { host: ENTRY_MAX, ..KnownHostsLimits::default() };
    KnownHosts::load_with(path, limits)
}

#[cfg(test)]
mod tests {
    use portolan_identity::{Identity, KnownHostsError};
    use portolan_protocol::Name;

    use super::{Familiarity, KnownPeers};
    use crate::NameScope;

    #[tokio::test]
    async fn a_user_in_any_script_is_known_again_and_a_changed_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("known_peers");
        let server = Identity::from_seed([1; 32]).id();
        let peers = KnownPeers::new(Some(path.clone()), NameScope::Server, server);
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
        let elsewhere = KnownPeers::new(Some(path), NameScope::Server, second);
        elsewhere.check(&Name::new("bob").unwrap(), second).await.unwrap();
    }
    #[tokio::test]
    async fn without_a_server_a_user_is_known_whoever_hosts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("known_peers");
        let [one, other, host, next] =
            [1, 2, 3, 4].map(|seed| Identity::from_seed([seed; 32]).id());
        let bob = Name::new("bob").unwrap();
        let peers = KnownPeers::new(Some(path.clone()), NameScope::Lan, host);
        assert_eq!(peers.judge([(&bob, one)].into_iter()).await.unwrap(), [Familiarity::New]);
        peers.remember(&bob, one).await.unwrap();
        let peers = KnownPeers::new(Some(path.clone()), NameScope::Lan, next);
        let judged = peers.judge([(&bob, one), (&bob, other)].into_iter()).await.unwrap();
        assert_eq!(judged, [Familiarity::Known, Familiarity::Changed]);
        assert!(peers.check(&bob, other).await.is_err());
        let at_a_server = KnownPeers::new(Some(path), NameScope::Server, host);
        at_a_server.check(&bob, other).await.unwrap();
    }
}
