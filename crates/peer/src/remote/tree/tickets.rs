//! Directories that we offer: whom they are for, and where they are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::Name;

use crate::{
    files::{Share, Tally},
    session::random,
};

/// A directory that one peer may walk and fetch from.
#[derive(Debug, Clone)]
pub(crate) struct OfferedTree {
    pub(crate) to: Name,
    pub(crate) share: Arc<Share>,
    /// Counts what that peer fetches.
    pub(crate) tally: Arc<Tally>,
}

/// The offered directories, as many as transfers are under way.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<HashMap<u64, OfferedTree>>);

/// Offers a directory until it is dropped.
pub(crate) struct Ticket {
    tickets: Arc<Tickets>,
    number: u64,
}

impl Tickets {
    /// Offers a directory.
    pub(crate) fn issue(self: &Arc<Self>, tree: OfferedTree) -> Ticket {
        let number = random();
        self.lock().insert(number, tree);
        Ticket { tickets: Arc::clone(self), number }
    }

    /// The directory of a ticket, for the one it is for.
    pub(crate) fn find(&self, who: &Name, number: u64) -> Option<OfferedTree> {
        self.lock().get(&number).filter(|tree| tree.to == *who).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, OfferedTree>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tickets.lock().remove(&self.number);
    }
}
