//! Offered directories that we agreed to take: who comes back with one goes on with it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::{Name, OfferTree};
use tokio::time::{Duration, Instant};

use super::{budget::Budget, rounds::Rounds};
use crate::TransferId;

/// How long a broken transfer may go on without asking anew.
const LASTING: Duration = Duration::from_secs(60 * 60);

/// A directory that was agreed to.
#[derive(Debug, Clone)]
pub(crate) struct AgreedTree {
    from: Name,
    name: String,
    files: u64,
    bytes: u64,
    since: Instant,
    pub(crate) id: TransferId,
    /// What of it may still come, however often it is offered again.
    pub(crate) budget: Arc<Budget>,
    pub(crate) rounds: Rounds,
}

/// What was agreed to, within a bound; the oldest goes first.
#[derive(Debug)]
pub(crate) struct AgreedTrees {
    max: usize,
    agreed: Mutex<VecDeque<AgreedTree>>,
}

impl AgreedTrees {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, agreed: Mutex::default() }
    }

    /// The transfer with which an offer goes on that is no larger than the one agreed to.
    pub(crate) fn find(&self, now: Instant, who: &Name, offer: &OfferTree) -> Option<AgreedTree> {
        let mut agreed = self.lock();
        agreed.retain(|tree| now.duration_since(tree.since) < LASTING);
        let fits = |tree: &&AgreedTree| {
            tree.is(who, &offer.name) && offer.files <= tree.files && offer.bytes <= tree.bytes
        };
        agreed.iter().find(fits).cloned()
    }

    /// Notes that a directory is wanted.
    pub(crate) fn note(
        &self,
        now: Instant,
        who: &Name,
        offer: &OfferTree,
        (id, file_max): (TransferId, Option<u64>),
    ) -> AgreedTree {
        let tree = AgreedTree {
            from: who.clone(),
            name: offer.name.clone(),
            files: offer.files,
            bytes: offer.bytes,
            since: now,
            id,
            budget: Budget::new(offer.files, offer.bytes, file_max),
            rounds: Rounds::default(),
        };
        let mut agreed = self.lock();
        agreed.retain(|kept| !kept.is(who, &offer.name));
        agreed.push_back(tree.clone());
        let excess = agreed.len().saturating_sub(self.max);
        agreed.drain(..excess);
        tree
    }

    /// Forgets a directory: it is there, or will not be.
    pub(crate) fn end(&self, who: &Name, name: &str) {
        self.lock().retain(|kept| !kept.is(who, name));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<AgreedTree>> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AgreedTree {
    fn is(&self, who: &Name, name: &str) -> bool {
        self.from == *who && self.name == name
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::{Name, OfferTree};
    use tokio::time::{Duration, Instant};

    use super::{AgreedTrees, LASTING};
    use crate::TransferId;

    fn offer(name: &str, files: u64) -> OfferTree {
        OfferTree { name: name.into(), files, bytes: 10, tree: files }
    }

    #[test]
    fn agreements_are_for_so_much_for_an_hour_and_within_a_bound() {
        let (agreed, now) = (AgreedTrees::new(2), Instant::now());
        let bob = Name::new("bob").unwrap();
        for (id, name) in (0..).zip(["a", "b", "c"]) {
            agreed.note(now, &bob, &offer(name, 3), (TransferId(id), None));
        }
        let find = |at, name, files| agreed.find(at, &bob, &offer(name, files)).map(|tree| tree.id);
        assert_eq!(find(now, "a", 3), None, "the oldest has gone");
        assert_eq!(find(now, "b", 3), Some(TransferId(1)));
        assert_eq!((find(now, "b", 2), find(now, "b", 4)), (Some(TransferId(1)), None));
        let eve = Name::new("eve").unwrap();
        assert!(agreed.find(now, &eve, &offer("b", 3)).is_none());
        agreed.find(now, &bob, &offer("c", 3)).unwrap().budget.reserve(10).unwrap().spend();
        let left = agreed.find(now, &bob, &offer("c", 3)).unwrap().budget;
        assert!(left.reserve(1).is_none(), "an offer made again brings no more");
        agreed.end(&bob, "b");
        assert_eq!(find(now, "b", 3), None);
        let almost = now + LASTING - Duration::from_millis(1);
        assert_eq!(
            (find(almost, "c", 3), find(now + LASTING, "c", 3)),
            (Some(TransferId(2)), None)
        );
    }
}
