//! Offered files that were wanted and have not arrived yet: who offers one again goes on with it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::{Hash, Name};
use tokio::time::{Duration, Instant};

use crate::TransferId;

/// How long a broken transfer may go on without asking anew.
const LASTING: Duration = Duration::from_secs(60 * 60);

/// A file as its sender offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) from: Name,
    pub(crate) name: String,
    pub(crate) hash: Hash,
}

/// What was agreed to, within a bound; the oldest goes first.
#[derive(Debug)]
pub(crate) struct Agreements {
    max: usize,
    agreed: Mutex<VecDeque<(Offered, TransferId, Instant)>>,
}

impl Agreements {
    /// Remembers at most `max`.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, agreed: Mutex::default() }
    }

    /// The transfer that a file offered again goes on with.
    pub(crate) fn find(&self, now: Instant, offered: &Offered) -> Option<TransferId> {
        let mut agreed = self.lock();
        agreed.retain(|(_, _, since)| now.duration_since(*since) < LASTING);
        agreed.iter().find(|(kept, ..)| kept == offered).map(|(_, id, _)| *id)
    }

    /// Notes that a file is wanted.
    pub(crate) fn note(&self, now: Instant, offered: Offered, id: TransferId) {
        let mut agreed = self.lock();
        agreed.retain(|(kept, ..)| *kept != offered);
        agreed.push_back((offered, id, now));
        let excess = agreed.len().saturating_sub(self.max);
        agreed.drain(..excess);
    }

    /// Forgets a file: it is there, or will not be.
    pub(crate) fn end(&self, offered: &Offered) {
        self.lock().retain(|(kept, ..)| kept != offered);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Offered, TransferId, Instant)>> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::{Hash, Name};
    use tokio::time::{Duration, Instant};

    use super::{Agreements, LASTING, Offered};
    use crate::TransferId;

    fn offered(name: &str) -> Offered {
        Offered { from: Name::new("bob").unwrap(), name: name.into(), hash: Hash([1; 32]) }
    }

    #[test]
    fn agreements_are_bounded_in_number_and_time() {
        let agreements = Agreements::new(2);
        let now = Instant::now();
        for (id, name) in (0..).zip(["a", "b", "c"]) {
            agreements.note(now, offered(name), TransferId(id));
        }
        assert_eq!(agreements.find(now, &offered("a")), None);
        assert_eq!(agreements.find(now, &offered("b")), Some(TransferId(1)));
        agreements.end(&offered("b"));
        assert_eq!(agreements.find(now, &offered("b")), None);
        let other = Offered { hash: Hash([2; 32]), ..offered("c") };
        assert_eq!(agreements.find(now, &other), None, "other bytes were not agreed to");
        let almost = now + LASTING - Duration::from_millis(1);
        assert_eq!(agreements.find(almost, &offered("c")), Some(TransferId(2)));
        assert_eq!(agreements.find(now + LASTING, &offered("c")), None);
    }
}
