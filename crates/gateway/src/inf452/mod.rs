//! `inf452`: a directory of peers that talk with each other directly, in lines.
//!
//! Whoever is no client of it is reached through a port of ours: the old client asks where they
//! are, is told that port, and talks there as with any peer.

mod bridge;
mod talk;
#[cfg(test)]
mod tests;
pub mod wire;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::Name;

use self::bridge::InfBridge;
use crate::{
    bridge::{Bridge, Carrier, Gateway, Lane, Service, Visitor},
    options::{Options, OptionsError},
};

/// A row of the table: one for each dialect, so that both can be served at once.
#[derive(Debug)]
pub(crate) struct Inf452 {
    name: &'static str,
    lanes: &'static [Lane],
    about: &'static str,
    dialect: Dialect,
}

/// The clients of the first years.
pub(crate) const OF_2024: Inf452 = Inf452 {
    name: "inf452",
    lanes: &[Lane { carrier: Carrier::Tcp, registry: "inf452" }],
    about: "a directory of peers: USER, KEEP, LIST, ADDR",
    dialect: Dialect::Of2024,
};

/// Those that want the name back.
pub(crate) const OF_2026: Inf452 = Inf452 {
    name: "inf452-2026",
    lanes: &[Lane { carrier: Carrier::Tcp, registry: "inf452-2026" }],
    about: "the same where ADDR is answered with name, address and port",
    dialect: Dialect::Of2026,
};

/// How `ADDR` is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `ADDR ip:porta`; an unknown user is told of.
    Of2024,
    /// `ADDR nome:ip:porta`; an unknown user has no answer.
    Of2026,
}

impl Gateway for Inf452 {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn port(&self) -> u16 {
        10_000
    }

    fn lanes(&self) -> &'static [Lane] {
        self.lanes
    }

    fn open(&self, options: &Options) -> Result<Arc<dyn Service>, OptionsError> {
        options.check(self.options())?;
        let dialect = self.dialect;
        Ok(Arc::new(Directory { dialect, addresses: Arc::default() }))
    }
}

#[derive(Debug)]
struct Directory {
    dialect: Dialect,
    addresses: Arc<Addresses>,
}

impl Service for Directory {
    fn accept(&self, visitor: Visitor) -> Box<dyn Bridge> {
        Box::new(InfBridge::new(visitor, self.dialect, Arc::clone(&self.addresses)))
    }
}

/// Where the clients of this gateway listen for each other; one entry a client.
#[derive(Debug, Default)]
struct Addresses(Mutex<BTreeMap<Name, SocketAddr>>);

impl Addresses {
    fn set(&self, name: Name, address: SocketAddr) {
        self.lock().insert(name, address);
    }

    fn get(&self, name: &Name) -> Option<SocketAddr> {
        self.lock().get(name).copied()
    }

    /// Forgets a client, unless another has come under its name.
    fn forget(&self, name: &Name, address: SocketAddr) {
        let mut all = self.lock();
        if all.get(name) == Some(&address) {
            all.remove(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
