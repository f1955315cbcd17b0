//! What programs ask of the driver.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use portolan_datagram_io::LaneSocket;
use portolan_rudp::ConnectionHandle;
use portolan_transport::{CloseCode, ConnectError, Expect};
use tokio::sync::{Notify, oneshot};

use crate::connection::UdpConnection;

/// Attempts that may wait for the driver; it takes them all each time it wakes.
const REQUESTS_MAX: usize = 1024;

/// Answers one attempt to connect.
pub(crate) type Reply = oneshot::Sender<Result<UdpConnection, ConnectError>>;

/// One attempt to connect.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) remote: SocketAddr,
    pub(crate) expect: Expect,
    pub(crate) reply: Reply,
}

/// The way to the driver: connections with something to do, attempts, and the end.
///
/// Bounded: a connection is listed once, however often it is touched.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    letters: Mutex<Letters>,
    farewell: OnceLock<(CloseCode, String)>,
    arrived: Notify,
}

/// Everything that has come since the driver last looked.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    /// Connections that programs have touched.
    pub(crate) touched: Vec<ConnectionHandle>,
    /// Attempts to start.
    pub(crate) requests: VecDeque<Request>,
    /// The socket to use from now on.
    pub(crate) socket: Option<Arc<LaneSocket>>,
    /// Someone has given up an attempt.
    pub(crate) given_up: bool,
    shut: bool,
}

impl Inbox {
    /// Lists a connection; the caller sees to it that it is listed once.
    pub(crate) fn touch(&self, handle: ConnectionHandle) {
        self.lock().touched.push(handle);
        self.arrived.notify_one();
    }

    /// Asks for a connection. When too many wait, or the driver has ended, the reply is dropped.
    pub(crate) fn request(&self, request: Request) {
        let mut letters = self.lock();
        if letters.shut || letters.requests.len() >= REQUESTS_MAX {
            return;
        }
        letters.requests.push_back(request);
        drop(letters);
        self.arrived.notify_one();
    }

    /// The driver has ended: attempts that it has not seen fail, and so do all later ones.
    pub(crate) fn shut(&self) {
        let mut letters = self.lock();
        letters.shut = true;
        let unseen = std::mem::take(&mut letters.requests);
        drop(letters);
        drop(unseen);
    }

    /// Gives the driver another socket. False: it has ended.
    pub(crate) fn rebind(&self, socket: Arc<LaneSocket>) -> bool {
        let mut letters = self.lock();
        if letters.shut {
            return false;
        }
        letters.socket = Some(socket);
        drop(letters);
        self.arrived.notify_one();
        true
    }

    /// Says that the caller of some attempt waits no more.
    pub(crate) fn give_up(&self) {
        self.lock().given_up = true;
        self.arrived.notify_one();
    }

    /// Asks the driver to end; the first call counts.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        if self.farewell.set((code, reason.to_owned())).is_ok() {
            self.arrived.notify_one();
        }
    }

    /// What the endpoint says to all, once it is closed.
    pub(crate) fn farewell(&self) -> Option<&(CloseCode, String)> {
        self.farewell.get()
    }

    /// Waits for something to come. Cancel safe.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Exchanges what has come for `empty`, whose buffers are used again.
    pub(crate) fn take(&self, empty: &mut Letters) {
        std::mem::swap(&mut *self.lock(), empty);
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
