//! The connection that carries the session now, for all who need it.

use std::sync::{Arc, PoisonError, RwLock};

use portolan_protocol::{LoggedIn, Welcome};

use crate::dial::Connected;

/// A connection on which we are logged in.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) connected: Connected,
    pub(crate) welcome: Welcome,
    pub(crate) logged_in: LoggedIn,
}

/// The connection that carries the session now; another one after a reconnection.
#[derive(Debug)]
pub(crate) struct Link {
    current: RwLock<Arc<Established>>,
}

impl Link {
    pub(crate) fn new(established: Arc<Established>) -> Self {
        Self { current: RwLock::new(established) }
    }

    /// The connection of this moment, or the last one while there is none.
    pub(crate) fn current(&self) -> Arc<Established> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, established: Arc<Established>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = established;
    }
}
