//! Offered files that were wanted: who offers one again goes on with it, or hears that it is there.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::{Hash, Name};
use tokio::time::{Duration, Instant};

use crate::{Stop, TransferId, files::Order};

/// How long a transfer may go on, or be confirmed again, without asking anew.
const LASTING: Duration = Duration::from_secs(60 * 60);

/// A file as the other side asks for it or offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) from: Name,
    pub(crate) name: String,
    /// What it is offered as; `None`: it is asked for.
    pub(crate) hash: Option<Hash>,
}

/// How far a file that was agreed to has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is on its way, or broke off.
    Wanted,
    /// It is there. Its sender may not have heard so.
    Arrived(PathBuf),
    /// We have stopped it. Whoever began it does not know it, or asks whether it may go on.
    Stopped(Stop),
}

/// What was agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) id: TransferId,
    pub(crate) standing: Standing,
}

impl Agreement {
    /// How we have stopped it, if we have.
    pub(crate) fn stop(&self) -> Option<Stop> {
        match &self.standing {
            Standing::Stopped(stop) => Some(*stop),
            Standing::Wanted | Standing::Arrived(_) => None,
        }
    }
}

/// What was agreed to, within a bound; the oldest goes first.
#[derive(Debug)]
pub(crate) struct Agreements {
    max: usize,
    agreed: Mutex<VecDeque<(Offered, Agreement, Instant)>>,
}

impl Agreements {
    /// Remembers at most `max`.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, agreed: Mutex::default() }
    }

    /// What was agreed about a file that is offered again.
    pub(crate) fn find(&self, now: Instant, offered: &Offered) -> Option<Agreement> {
        let mut agreed = self.lock();
        agreed.retain(|(_, _, since)| now.duration_since(*since) < LASTING);
        agreed.iter().find(|(kept, ..)| kept == offered).map(|(_, agreement, _)| agreement.clone())
    }

    /// Notes how far a file that is wanted has come.
    pub(crate) fn note(&self, now: Instant, offered: Offered, agreement: Agreement) {
        let mut agreed = self.lock();
        agreed.retain(|(kept, ..)| *kept != offered);
        agreed.push_back((offered, agreement, now));
        let excess = agreed.len().saturating_sub(self.max);
        agreed.drain(..excess);
    }

    /// Stops a transfer that is expected to come again, or lets it go on; the answer is how it
    /// stood, and what it is offered as. `None`: nothing is known of it.
    pub(crate) fn order(&self, id: TransferId, order: Order) -> Option<(Standing, Option<Hash>)> {
        let mut agreed = self.lock();
        let (offered, agreement, _) =
            agreed.iter_mut().find(|(_, agreement, _)| agreement.id == id)?;
        let standing = match order {
            Order::Run => Standing::Wanted,
            Order::Stop(stop) => Standing::Stopped(stop),
        };
        Some((std::mem::replace(&mut agreement.standing, standing), offered.hash))
    }

    /// Forgets a file: it will not come.
    pub(crate) fn end(&self, offered: &Offered) {
        self.lock().retain(|(kept, ..)| kept != offered);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Offered, Agreement, Instant)>> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::{Hash, Name};
    use tokio::time::{Duration, Instant};

    use super::{Agreement, Agreements, LASTING, Offered, Standing};
    use crate::TransferId;

    fn wanted(id: u64) -> Agreement {
        Agreement { id: TransferId(id), standing: Standing::Wanted }
    }

    fn offered(name: &str) -> Offered {
        Offered { from: Name::new("bob").unwrap(), name: name.into(), hash: Some(Hash([1; 32])) }
    }

    #[test]
    fn agreements_are_bounded_in_number_and_time() {
        let agreements = Agreements::new(2);
        let now = Instant::now();
        for (id, name) in (0..).zip(["a", "b", "c"]) {
            agreements.note(now, offered(name), wanted(id));
        }
        assert_eq!(agreements.find(now, &offered("a")), None);
        assert_eq!(agreements.find(now, &offered("b")), Some(wanted(1)));
        agreements.end(&offered("b"));
        assert_eq!(agreements.find(now, &offered("b")), None);
        let other = Offered { hash: Some(Hash([2; 32])), ..offered("c") };
        assert_eq!(agreements.find(now, &other), None, "other bytes were not agreed to");
        let almost = now + LASTING - Duration::from_millis(1);
        assert_eq!(agreements.find(almost, &offered("c")), Some(wanted(2)));
        assert_eq!(agreements.find(now + LASTING, &offered("c")), None);
    }
}
