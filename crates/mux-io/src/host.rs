//! What a carrier provides.

use portolan_mux::Mux;

use crate::{Signals, Waiters};

/// A connection's state, which holds a [`Mux`] and the [`Waiters`] behind one lock.
///
/// The driver of the connection must, with the lock held, call [`Waiters::dispatch`] after
/// whatever may have queued events of the machine, and [`Waiters::close`] once when the
/// connection is gone; both answer wakers, to be woken after the lock is released.
pub trait MuxHost: Send + Sync + 'static {
    /// Runs `call` with the lock held. `call` is short and never comes back to the host.
    fn with<R>(&self, call: impl FnOnce(&mut Mux, &mut Waiters) -> R) -> R;

    /// The signals that belong to the waiters.
    fn signals(&self) -> &Signals;

    /// Tells the driver that the machine may have something to send.
    fn wake_driver(&self);

    /// The last handle was dropped: closes the connection with
    /// [`CloseCode::DROPPED`](portolan_transport::CloseCode::DROPPED), without waiting.
    fn on_abandoned(&self);
}
