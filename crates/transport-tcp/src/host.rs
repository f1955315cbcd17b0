//! The state that handles and the driver share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use portolan_mux::Mux;
use portolan_mux_io::{MuxHost, Signals, Waiters, add_mux_stats};
use portolan_transport::{CloseCode, CloseReason, ConnectionStats};

use crate::counted::Counters;

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Host {
    state: Mutex<State>,
    signals: Signals,
    driver: AtomicWaker,
    counters: Arc<Counters>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) mux: Mux,
    pub(crate) waiters: Waiters,
    /// What this side has said to close, until the driver sends it.
    pub(crate) farewell: Option<(CloseCode, String)>,
    pub(crate) rtt: Option<Duration>,
}

impl Host {
    pub(crate) fn new(mux: Mux, counters: Arc<Counters>) -> Self {
        let state = State { mux, waiters: Waiters::new(), farewell: None, rtt: None };
        Self {
            state: Mutex::new(state),
            signals: Signals::default(),
            driver: AtomicWaker::new(),
            counters,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn driver(&self) -> &AtomicWaker {
        &self.driver
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Closes from this side; the first call counts.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        let reason = CloseReason::cut(reason);
        let mut state = self.lock();
        if state.waiters.reason().is_some() {
            return;
        }
        state.farewell = Some((code, reason.to_owned()));
        let local = CloseReason::Local { code, reason: reason.to_owned() };
        let woken = state.waiters.close(local, &self.signals);
        drop(state);
        woken.wake();
        self.driver.wake();
    }

    /// The connection is gone for a reason that is not ours.
    pub(crate) fn end(&self, reason: CloseReason) {
        let woken = self.lock().waiters.close(reason, &self.signals);
        woken.wake();
    }

    pub(crate) fn stats(&self) -> ConnectionStats {
        let (mux, rtt) = {
            let state = self.lock();
            (state.mux.stats(), state.rtt)
        };
        let counters = &self.counters;
        let mut stats = ConnectionStats {
            rtt,
            bytes_sent: counters.bytes_sent.load(Relaxed),
            bytes_received: counters.bytes_received.load(Relaxed),
            packets_sent: counters.session_frames_sent.load(Relaxed) + mux.frames_sent,
            packets_received: counters.session_frames_received.load(Relaxed) + mux.frames_received,
            ..ConnectionStats::default()
        };
        add_mux_stats(&mut stats, &mux);
        stats
    }
}

impl MuxHost for Host {
    fn with<R>(&self, call: impl FnOnce(&mut Mux, &mut Waiters) -> R) -> R {
        let state = &mut *self.lock();
        call(&mut state.mux, &mut state.waiters)
    }

    fn signals(&self) -> &Signals {
        &self.signals
    }

    fn wake_driver(&self) {
        self.driver.wake();
    }

    fn on_abandoned(&self) {
        self.close(CloseCode::DROPPED, "");
    }
}
