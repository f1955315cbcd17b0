//! Who listens where.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use portolan_transport::BindError;

use crate::endpoint::Listener;

/// The first port that is given to those who ask for any (RFC 6335 §6).
const FIRST_DYNAMIC: u16 = 49_152;

/// The ports of one program; memory has one host, so only the port of an address counts.
#[derive(Default)]
pub(crate) struct Ports(Mutex<Table>);

#[derive(Default)]
struct Table {
    listeners: HashMap<u16, Weak<Listener>>,
    given: u16,
}

impl Ports {
    /// Takes the port of `addr`, or a free one for port 0.
    pub(crate) fn bind(
        &self,
        mut addr: SocketAddr,
        listener: impl FnOnce(SocketAddr) -> Listener,
    ) -> Result<Arc<Listener>, BindError> {
        let mut table = self.lock();
        if addr.port() == 0 {
            addr.set_port(table.free_port().ok_or(BindError::InUse(addr))?);
        } else if table.is_taken(addr.port()) {
            return Err(BindError::InUse(addr));
        }
        let listener = Arc::new(listener(addr));
        table.listeners.insert(addr.port(), Arc::downgrade(&listener));
        Ok(listener)
    }

    pub(crate) fn find(&self, port: u16) -> Option<Arc<Listener>> {
        self.lock().listeners.get(&port)?.upgrade()
    }

    pub(crate) fn release(&self, port: u16) {
        self.lock().listeners.remove(&port);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn is_taken(&self, port: u16) -> bool {
        self.listeners.get(&port).is_some_and(|listener| listener.strong_count() > 0)
    }

    /// Goes round, so that a port which was just given back is not the next to be given.
    fn free_port(&mut self) -> Option<u16> {
        for _ in FIRST_DYNAMIC..=u16::MAX {
            let port = FIRST_DYNAMIC + self.given % (u16::MAX - FIRST_DYNAMIC + 1);
            self.given = self.given.wrapping_add(1);
            if !self.is_taken(port) {
                return Some(port);
            }
        }
        None
    }
}
