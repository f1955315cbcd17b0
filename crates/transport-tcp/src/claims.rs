//! Connections of remotes that we dial ourselves at the same moment.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
};

/// Remotes that are dialled at once, by address: what comes from there is no stranger's.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    by_remote: Mutex<HashMap<SocketAddr, mpsc::Sender<TcpStream>>>,
    news: Notify,
}

/// The right to what comes from one remote; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    claims: &'a Claims,
    remote: SocketAddr,
    arrived: mpsc::Receiver<TcpStream>,
}

impl Claims {
    /// Claims what comes from `remote`; the latest claim counts.
    pub(crate) fn claim(&self, remote: SocketAddr) -> Claim<'_> {
        let (arrive, arrived) = mpsc::channel(1);
        self.lock().insert(remote, arrive);
        self.news.notify_waiters();
        Claim { claims: self, remote, arrived }
    }

    /// Waits until somebody claims what comes from `remote`. Cancel safe.
    pub(crate) async fn claimed(&self, remote: SocketAddr) -> mpsc::Sender<TcpStream> {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // From here on no claim is missed.
            news.as_mut().enable();
            if let Some(claim) = self.lock().get(&remote).filter(|claim| !claim.is_closed()) {
                return claim.clone();
            }
            news.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, mpsc::Sender<TcpStream>>> {
        self.by_remote.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// The next one that has come. Cancel safe.
    pub(crate) async fn arrived(&mut self) -> TcpStream {
        match self.arrived.recv().await {
            Some(stream) => stream,
            // A later claim has taken its place.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.arrived.close();
        let mut by_remote = self.claims.lock();
        if by_remote.get(&self.remote).is_some_and(mpsc::Sender::is_closed) {
            by_remote.remove(&self.remote);
        }
    }
}
