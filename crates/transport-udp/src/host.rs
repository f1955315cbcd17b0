//! One connection's state, shared by its handles and the driver.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use portolan_mux::Mux;
use portolan_mux_io::{MuxHost, Signals, Waiters, Woken};
use portolan_rudp::{Connection, ConnectionHandle, MigrationError, Route};
use portolan_transport::{CloseCode, CloseReason};
use tokio::{sync::oneshot, time::Instant};
use tracing::Span;

use crate::inbox::Inbox;

/// One connection's state behind one lock.
pub(crate) struct Host {
    state: Mutex<State>,
    signals: Signals,
    handle: ConnectionHandle,
    inbox: Arc<Inbox>,
    span: Span,
    // Listed in the inbox already.
    listed: AtomicBool,
}

/// What the lock guards.
pub(crate) struct State {
    pub(crate) connection: Connection,
    pub(crate) waiters: Waiters,
    /// The address that our end is bound to.
    pub(crate) local: SocketAddr,
    /// Another address of the remote that is being tried, and who waits for the outcome.
    trial: Option<(Route, oneshot::Sender<bool>)>,
}

impl Host {
    pub(crate) fn new(
        (connection, handle): (Connection, ConnectionHandle),
        local: SocketAddr,
        inbox: Arc<Inbox>,
        span: Span,
    ) -> Self {
        Self {
            state: Mutex::new(State { connection, waiters: Waiters::new(), local, trial: None }),
            signals: Signals::default(),
            handle,
            inbox,
            span,
            listed: AtomicBool::new(false),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address that our end is bound to.
    pub(crate) fn local(&self) -> SocketAddr {
        self.lock().local
    }

    /// Our end is bound to another address now.
    pub(crate) fn move_to(&self, now: std::time::Instant, local: SocketAddr) {
        let mut state = self.lock();
        state.local = local;
        state.connection.local_address_changed(now);
    }

    /// Tries another address of the remote; the receiver hears whether the connection has gone
    /// there, or nothing if something else was tried instead.
    pub(crate) fn try_path(
        &self,
        now: std::time::Instant,
        remote: SocketAddr,
    ) -> Result<oneshot::Receiver<bool>, MigrationError> {
        let (tell, outcome) = oneshot::channel();
        let route = Route::from(remote);
        let mut state = self.lock();
        state.connection.probe_path(now, route)?;
        state.trial = Some((route, tell));
        drop(state);
        self.wake_driver();
        Ok(outcome)
    }

    /// What was tried works: the connection goes there, if anybody still wants it to.
    pub(crate) fn on_path_works(&self, now: std::time::Instant, route: Route) {
        let mut state = self.lock();
        let trial = state.trial.take_if(|(tried, _)| *tried == route);
        let Some((_, tell)) = trial.filter(|(_, tell)| !tell.is_closed()) else { return };
        let _ = tell.send(state.connection.migrate_to(now, route).is_ok());
    }

    /// What was tried does not work.
    pub(crate) fn on_path_fails(&self, route: Route) {
        let trial = self.lock().trial.take_if(|(tried, _)| *tried == route);
        if let Some((_, tell)) = trial {
            let _ = tell.send(false);
        }
    }

    /// What is logged of the connection belongs to this.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The driver is looking at the connection: it may be listed again.
    pub(crate) fn unlist(&self) {
        self.listed.store(false, Ordering::Release);
    }

    /// Closes the connection for this side; the first end counts.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        let reason = CloseReason::cut(reason);
        let mut state = self.lock();
        if state.waiters.reason().is_some() {
            return;
        }
        state.connection.close(Instant::now().into_std(), code.0, reason.as_bytes());
        state.trial = None;
        let ended = CloseReason::Local { code, reason: reason.to_owned() };
        let woken = state.waiters.close(ended, &self.signals);
        drop(state);
        woken.wake();
        self.wake_driver();
    }

    /// The connection has ended without us.
    pub(crate) fn end(&self, state: &mut State, reason: CloseReason) -> Woken {
        if state.waiters.reason().is_some() {
            return Woken::default();
        }
        state.trial = None;
        state.waiters.close(reason, &self.signals)
    }

    /// Finds out whom the machine's events concern.
    pub(crate) fn dispatch(&self, state: &mut State) -> Woken {
        let State { connection, waiters, .. } = state;
        waiters.dispatch(connection.mux(), &self.signals)
    }
}

impl MuxHost for Host {
    fn with<R>(&self, call: impl FnOnce(&mut Mux, &mut Waiters) -> R) -> R {
        let mut state = self.lock();
        let State { connection, waiters, .. } = &mut *state;
        call(connection.mux(), waiters)
    }

    fn signals(&self) -> &Signals {
        &self.signals
    }

    fn wake_driver(&self) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.inbox.touch(self.handle);
        }
    }

    fn on_abandoned(&self) {
        self.close(CloseCode::DROPPED, "");
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("handle", &self.handle).finish_non_exhaustive()
    }
}
