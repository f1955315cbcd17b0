//! Where there is no server, names are whoever takes them first: who comes or writes with another
//! key than the one we know is pointed out.

use std::collections::BTreeSet;

use portolan_protocol::{ErrorCode, Name, PresenceChange};
use tokio::task::JoinSet;

use super::line::Line;
use crate::{Event, NameScope, Peer, ReachError};

/// Questions about keys under way at once; of more users nobody asks.
const CHECKS_MAX: usize = 16;
/// Users that are remembered as looked at.
const SEEN_MAX: usize = 1024;

/// Compares the keys of those who come and write with what we know.
pub(super) struct KeyChecks {
    scope: NameScope,
    /// Who was looked at since they came, or since there is another host.
    seen: BTreeSet<Name>,
    running: JoinSet<Option<Line>>,
}

impl KeyChecks {
    pub(super) fn new(scope: NameScope) -> Self {
        Self { scope, seen: BTreeSet::new(), running: JoinSet::new() }
    }

    /// Looks at who comes or writes.
    pub(super) fn on_event(&mut self, event: &Event, peer: &Peer) {
        if self.scope != NameScope::Lan {
            return;
        }
        match event {
            Event::Reconnected(_) => self.seen.clear(),
            Event::Presence(presence) => {
                // Another may have taken the name meanwhile.
                self.seen.remove(&presence.user.name);
                if presence.change == PresenceChange::Online {
                    self.check(&presence.user.name, peer);
                }
            }
            Event::Message(message) => self.check(&message.from, peer),
            _ => {}
        }
    }

    fn check(&mut self, who: &Name, peer: &Peer) {
        let has_room = self.running.len() < CHECKS_MAX && self.seen.len() < SEEN_MAX;
        if who == peer.name() || !has_room || !self.seen.insert(who.clone()) {
            return;
        }
        let (who, peer) = (who.clone(), peer.clone());
        self.running.spawn(async move {
            let error @ ReachError::KeyChanged(_) = peer.check_key(&who).await.err()? else {
                return None;
            };
            let message = format!("{who} is not who you know by that name: {error}");
            Some(Line::Error { code: ErrorCode::UnknownPeer.as_str().to_owned(), message })
        });
    }

    /// The next warning; `None`: nothing is being looked at. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            if let Ok(Some(warning)) = self.running.join_next().await? {
                return Some(warning);
            }
        }
    }
}
