//! Two hosts in one process, and the task that carries frames between them.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use portolan_mux::{Config, Mux, Reader, Side};
use portolan_mux_io::{MuxHandle, MuxHost, Signals, Waiters};
use portolan_transport::CloseReason;
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

/// A connection's state without a carrier.
pub(crate) struct Host {
    state: Mutex<(Mux, Waiters)>,
    signals: Signals,
    wake: Arc<Notify>,
    abandoned: AtomicBool,
}

impl MuxHost for Host {
    fn with<R>(&self, call: impl FnOnce(&mut Mux, &mut Waiters) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (mux, waiters) = &mut *state;
        call(mux, waiters)
    }

    fn signals(&self) -> &Signals {
        &self.signals
    }

    fn wake_driver(&self) {
        self.wake.notify_one();
    }

    fn on_abandoned(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }
}

impl Host {
    fn new(side: Side, config: Config, wake: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new((Mux::new(side, config), Waiters::new())),
            signals: Signals::default(),
            wake: Arc::clone(wake),
            abandoned: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    pub(crate) fn end(&self, reason: CloseReason) {
        self.with(|_, waiters| waiters.close(reason, &self.signals)).wake();
    }

    /// Whether something waits to be carried.
    pub(crate) fn is_sending(&self) -> bool {
        self.with(|mux, _| mux.wants_to_send())
    }

    /// Wakers that are kept.
    pub(crate) fn wakers(&self) -> usize {
        self.with(|_, waiters| waiters.len())
    }

    /// Carries one batch to `other`; answers whether there was one.
    fn carry(&self, other: &Self) -> bool {
        let now = Instant::now().into_std();
        let (mut bytes, mut sent) = (Vec::new(), Vec::new());
        let woken = self.with(|mux, waiters| {
            mux.poll_frames(now, &mut bytes, 4_000, &mut sent);
            sent.iter().for_each(|frame| mux.on_acked(now, frame));
            waiters.dispatch(mux, &self.signals)
        });
        woken.wake();
        let woken = other.with(|mux, waiters| {
            let mut reader = Reader::new(&bytes);
            while let Ok(kind) = reader.varint() {
                mux.handle_frame(now, kind, &mut reader).expect("both obey the rules");
            }
            waiters.dispatch(mux, &other.signals)
        });
        woken.wake();
        !bytes.is_empty()
    }
}

/// Two handles, and the task between them.
pub(crate) struct Pair {
    pub(crate) alice: MuxHandle<Host>,
    pub(crate) bob: MuxHandle<Host>,
    pub(crate) carrying: JoinHandle<()>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

pub(crate) fn pair(config: Config) -> Pair {
    let wake = Arc::new(Notify::new());
    let alice = Host::new(Side::Client, config, &wake);
    let bob = Host::new(Side::Server, config, &wake);
    let params = alice.with(|mux, _| mux.params());
    alice.with(|mux, _| mux.on_params(params)).expect("sense");
    bob.with(|mux, _| mux.on_params(params)).expect("sense");
    let carrying = tokio::spawn({
        let (alice, bob) = (Arc::clone(&alice), Arc::clone(&bob));
        async move {
            loop {
                while alice.carry(&bob) | bob.carry(&alice) {}
                wake.notified().await;
            }
        }
    });
    Pair { alice: MuxHandle::new(alice), bob: MuxHandle::new(bob), carrying }
}

/// Runs a test, which fails if it never ends.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test ends");
    });
}
