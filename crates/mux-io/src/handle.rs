//! A program's hold on a connection.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use portolan_mux::{Mux, StreamId};
use portolan_transport::{
    AcceptStreamError, CloseReason, Lifetime, OpenStreamError, Priority, RecvDatagramError,
    RecvStream, SendDatagramError, SendStream,
};
use tokio::{sync::Notify, time::Instant};

use crate::{MuxHost, Waiters, recv::MuxRecv, send::MuxSend, stats::mux_priority};

/// A program's hold on a connection; clones and streams hold it too, and the host is told when
/// the last one goes.
pub struct MuxHandle<H: MuxHost> {
    guard: Arc<Guard<H>>,
}

struct Guard<H: MuxHost> {
    host: Arc<H>,
}

impl<H: MuxHost> Drop for Guard<H> {
    fn drop(&mut self) {
        self.host.on_abandoned();
    }
}

impl<H: MuxHost> Clone for MuxHandle<H> {
    fn clone(&self) -> Self {
        Self { guard: Arc::clone(&self.guard) }
    }
}

impl<H: MuxHost> fmt::Debug for MuxHandle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MuxHandle").finish_non_exhaustive()
    }
}

impl<H: MuxHost> MuxHandle<H> {
    /// The first hold on `host`; make only one, and clones of it.
    #[must_use]
    pub fn new(host: Arc<H>) -> Self {
        Self { guard: Arc::new(Guard { host }) }
    }

    /// The connection's state.
    #[must_use]
    pub fn host(&self) -> &Arc<H> {
        &self.guard.host
    }

    /// Opens a stream; waits while the remote's limit is reached. Cancel safe.
    ///
    /// # Errors
    /// [`OpenStreamError::Closed`] when the connection is gone.
    pub async fn open_stream(
        &self,
        priority: Priority,
    ) -> Result<(SendStream, RecvStream), OpenStreamError> {
        let id = self
            .wait(&self.host().signals().available, |mux, waiters| match waiters.reason() {
                Some(reason) => Some(Err(OpenStreamError::Closed(reason.clone()))),
                None => mux.open(mux_priority(priority)).map(Ok),
            })
            .await?;
        Ok(self.stream(id))
    }

    /// Waits for the next stream that the remote opened. Cancel safe.
    ///
    /// # Errors
    /// [`AcceptStreamError::Closed`] when the connection is gone.
    pub async fn accept_stream(&self) -> Result<(SendStream, RecvStream), AcceptStreamError> {
        let id = self
            .wait(&self.host().signals().opened, |mux, waiters| match waiters.reason() {
                Some(reason) => Some(Err(AcceptStreamError::Closed(reason.clone()))),
                None => mux.accept().map(Ok),
            })
            .await?;
        Ok(self.stream(id))
    }

    /// Queues a datagram and returns at once.
    ///
    /// # Errors
    /// [`SendDatagramError`] when it is too long or the connection is gone.
    pub fn send_datagram(
        &self,
        payload: Bytes,
        lifetime: Lifetime,
    ) -> Result<(), SendDatagramError> {
        let now = Instant::now().into_std();
        let expires = match lifetime {
            Lifetime::Once => None,
            // A life longer than the clock can count never ends: repaired like no end at all.
            Lifetime::Until(life) => Some(now.checked_add(life).unwrap_or(now + FOREVER)),
        };
        self.host().with(|mux, waiters| match waiters.reason() {
            Some(reason) => Err(SendDatagramError::Closed(reason.clone())),
            None => mux
                .send_datagram(now, payload, expires)
                .map_err(|error| SendDatagramError::TooLarge { size: error.size, max: error.max }),
        })?;
        self.host().wake_driver();
        Ok(())
    }

    /// Waits for the next datagram; those that came before the end are handed out first. Cancel
    /// safe.
    ///
    /// # Errors
    /// [`RecvDatagramError::Closed`] when the connection is gone.
    pub async fn recv_datagram(&self) -> Result<Bytes, RecvDatagramError> {
        self.wait(&self.host().signals().datagram, |mux, waiters| {
            let closed = || waiters.reason().cloned().map(RecvDatagramError::Closed);
            mux.recv_datagram().map(Ok).or_else(|| closed().map(Err))
        })
        .await
    }

    /// The longest datagram in bytes that fits now.
    #[must_use]
    pub fn max_datagram_size(&self) -> usize {
        self.host().with(|mux, _| mux.datagram_max())
    }

    /// Waits until the connection is gone and says why. Cancel safe.
    pub async fn closed(&self) -> CloseReason {
        self.wait(&self.host().signals().closed, |_, waiters| waiters.reason().cloned()).await
    }

    /// Asks under the lock until there is an answer, sleeping on `signal` in between.
    async fn wait<T>(
        &self,
        signal: &Notify,
        mut ask: impl FnMut(&mut Mux, &mut Waiters) -> Option<T>,
    ) -> T {
        loop {
            let mut signalled = std::pin::pin!(signal.notified());
            // Registered before asking, so that nothing is missed in between.
            signalled.as_mut().enable();
            if let Some(answer) = self.host().with(&mut ask) {
                return answer;
            }
            signalled.await;
        }
    }

    fn stream(&self, id: StreamId) -> (SendStream, RecvStream) {
        let send = SendStream::new(MuxSend::new(self.clone(), id));
        (send, RecvStream::new(MuxRecv::new(self.clone(), id)))
    }
}

/// A century.
const FOREVER: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 86_400);
