//! What the clients of one `tr223` gateway share.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::Name;

/// Who may close it, and where everyone is.
#[derive(Debug)]
pub(super) struct Shared {
    admins: Vec<String>,
    addresses: Mutex<HashMap<Name, SocketAddr>>,
}

impl Shared {
    pub(super) fn new(admins: Vec<String>) -> Self {
        Self { admins, addresses: Mutex::default() }
    }

    /// Whether the client of this name may close the gateway.
    pub(super) fn is_admin(&self, legacy: &str) -> bool {
        self.admins.iter().any(|admin| admin == legacy)
    }

    pub(super) fn arrive(&self, name: &Name, address: SocketAddr) {
        self.addresses().insert(name.clone(), address);
    }

    pub(super) fn leave(&self, name: &Name, address: SocketAddr) {
        let mut addresses = self.addresses();
        if addresses.get(name) == Some(&address) {
            addresses.remove(name);
        }
    }

    /// Where a client of this gateway is.
    pub(super) fn address(&self, name: &Name) -> Option<SocketAddr> {
        self.addresses().get(name).copied()
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<Name, SocketAddr>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
