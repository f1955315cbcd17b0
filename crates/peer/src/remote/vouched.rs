//! Where the server says it sees those who look for a way to us, and want us to know.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::{Name, PeerCandidates};
use tokio::sync::watch;

/// So many are remembered; of more, the oldest is forgotten.
const REMEMBERED_MAX: usize = 64;

/// What the server has said lately.
#[derive(Debug, Default)]
pub(crate) struct Vouched {
    seen: Mutex<VecDeque<(Name, IpAddr)>>,
    news: watch::Sender<()>,
}

impl Vouched {
    /// Takes the server's word. What a peer says of itself in it is not looked at: that it tells
    /// us on our own connection.
    pub(crate) fn note(&self, told: &PeerCandidates) {
        let Some(ip) = told.seen.as_ref().and_then(|seen| seen.parse().ok()) else { return };
        self.forget(&told.from);
        let mut seen = self.lock();
        if seen.len() >= REMEMBERED_MAX {
            seen.pop_front();
        }
        seen.push_back((told.from.clone(), ip));
        drop(seen);
        self.news.send_replace(());
    }

    /// What was said of `who` before does not count any more.
    pub(super) fn forget(&self, who: &Name) {
        self.lock().retain(|(name, _)| name != who);
    }

    /// Waits until the server says where it sees `who`. Cancel safe.
    pub(super) async fn of(&self, who: &Name) -> IpAddr {
        let mut news = self.news.subscribe();
        loop {
            let found = self.lock().iter().find(|(name, _)| name == who).map(|(_, ip)| *ip);
            if let Some(ip) = found {
                return ip;
            }
            if news.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Name, IpAddr)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::{Name, PeerCandidates};

    use super::{REMEMBERED_MAX, Vouched};

    fn told(of: &str, seen: Option<&str>) -> PeerCandidates {
        let from = Name::new(of).unwrap();
        PeerCandidates { from, candidates: Vec::new(), seen: seen.map(str::to_owned) }
    }

    #[tokio::test]
    async fn the_servers_latest_word_of_each_counts_and_the_memory_is_bounded() {
        let vouched = Vouched::default();
        let bob = Name::new("bob").unwrap();
        for nonsense in [None, Some("nowhere"), Some("192.0.2.1:7")] {
            vouched.note(&told("bob", nonsense));
        }
        assert!(vouched.lock().is_empty());
        let (seen, ()) = tokio::join!(vouched.of(&bob), async {
            vouched.note(&told("carol", Some("192.0.2.3")));
            vouched.note(&told("bob", Some("192.0.2.1")));
        });
        assert_eq!(seen, std::net::IpAddr::from([192, 0, 2, 1]));
        vouched.note(&told("bob", Some("192.0.2.2")));
        assert_eq!(vouched.of(&bob).await, std::net::IpAddr::from([192, 0, 2, 2]));
        for number in 0..2 * REMEMBERED_MAX {
            vouched.note(&told(&format!("user{number}"), Some("192.0.2.9")));
        }
        assert_eq!(vouched.lock().len(), REMEMBERED_MAX);
    }
}
