//! Which addresses this program has bound.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{Lane, LaneSocket, Reading, socket::Socket};

/// The UDP sockets of one program, by local address.
///
/// Kept where the transports of the program find it, so that the second one bound to an address
/// joins the first one's socket.
#[derive(Debug, Default)]
pub struct SharedSockets {
    sockets: Arc<Sockets>,
}

impl SharedSockets {
    /// Opens `lane` on `addr`: binds the address, or joins the socket that is bound to it.
    ///
    /// Port 0 always binds a new port. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// `AddrInUse` when another program has the address, or another user of this one the lane;
    /// otherwise what the system says.
    pub fn open(&self, addr: SocketAddr, lane: Lane) -> io::Result<Arc<LaneSocket>> {
        self.open_as(addr, lane, Reading::Eager)
    }

    /// The same, for a lane that reads in its own way.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_as(
        &self,
        addr: SocketAddr,
        lane: Lane,
        reading: Reading,
    ) -> io::Result<Arc<LaneSocket>> {
        let mut bound = self.sockets.lock();
        let socket = match bound.get(&addr).and_then(Weak::upgrade) {
            Some(socket) => socket,
            None => Arc::new(Socket::bind(addr)?),
        };
        if !socket.open_lane(lane, reading) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        bound.insert(socket.local(), Arc::downgrade(&socket));
        Ok(Arc::new(LaneSocket::new(socket, lane, Arc::clone(&self.sockets))))
    }
}

/// The map behind [`SharedSockets`]; holds no socket open.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Mutex<HashMap<SocketAddr, Weak<Socket>>>);

impl Sockets {
    /// Gives one user's hold on `socket` back. Under the map's lock, so that nobody finds an
    /// address that is neither joinable any more nor free yet.
    pub(crate) fn release(&self, socket: Arc<Socket>) {
        let mut bound = self.lock();
        let local = socket.local();
        drop(socket);
        if bound.get(&local).is_some_and(|weak| weak.strong_count() == 0) {
            bound.remove(&local);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Weak<Socket>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
