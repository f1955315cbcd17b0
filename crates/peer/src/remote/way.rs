//! By which of a session's connections a stream goes, and whether there is a better one.

use std::sync::Arc;

use portolan_transport::Connection;

use super::paths::{Leg, Paths};
use crate::Via;

/// The connection that a stream goes by.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    paths: Arc<Paths>,
    connection: Arc<dyn Connection>,
}

impl Way {
    pub(super) fn new(paths: &Arc<Paths>, leg: &Leg) -> Self {
        Self { paths: Arc::clone(paths), connection: Arc::clone(&leg.connection) }
    }

    /// Whether no better one is sought.
    pub(crate) fn is_the_best(&self) -> bool {
        self.paths.leg_of(&self.connection).is_some_and(|leg| leg.rank >= self.paths.aim())
    }

    /// Whether there is a better one.
    pub(crate) fn is_outdone(&self) -> bool {
        let best = self.paths.best();
        let ours = self.paths.leg_of(&self.connection);
        ours.is_some_and(|ours| best.rank > ours.rank)
    }

    /// Whether both are the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.connection), Arc::as_ptr(&other.connection))
    }

    /// How the bytes go; `None`: they do not go any more.
    pub(crate) fn via(&self) -> Option<Via> {
        let leg = self.paths.leg_of(&self.connection)?;
        Some(Via { kind: leg.path().kind, transport: leg.transport })
    }
}
