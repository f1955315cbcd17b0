//! The same names on systems that have no network namespaces.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    process::{Child, Command},
    thread::JoinHandle,
    time::Instant,
};

use portolan_netsim::topology::{Happening, Topology};

use crate::{ApplyError, Counters, Health, Launch, Missing, Options, StartError};

/// Never succeeds here.
///
/// # Errors
/// Always [`Missing::Linux`].
pub fn launch() -> Result<Launch, Missing> {
    Err(Missing::Linux)
}

/// Cannot be had here.
#[derive(Debug)]
pub struct Emulator(Infallible);

/// Cannot be had here.
#[derive(Debug)]
pub struct HostNamespace(Infallible);

impl Emulator {
    /// Never succeeds here.
    ///
    /// # Errors
    /// Always [`Missing::Linux`].
    pub fn start(_topology: &Topology, _options: Options) -> Result<Self, StartError> {
        Err(Missing::Linux.into())
    }

    /// A host by its name.
    #[must_use]
    pub fn host(&self, _name: &str) -> Option<&HostNamespace> {
        match self.0 {}
    }

    /// Makes something happen now.
    ///
    /// # Errors
    /// Never comes to it.
    pub fn apply(&self, _what: &Happening) -> Result<Instant, ApplyError> {
        match self.0 {}
    }

    /// How well it has kept its promises.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.0 {}
    }

    /// What the model has counted.
    #[must_use]
    pub fn stats(&self) -> Counters {
        match self.0 {}
    }

    /// Begins to count anew.
    pub fn reset_health(&self) {
        match self.0 {}
    }
}

impl HostNamespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.0 {}
    }

    /// Its addresses now.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        match self.0 {}
    }

    /// Runs a thread on the host.
    ///
    /// # Errors
    /// Never comes to it.
    pub fn spawn_thread<T: Send + 'static>(
        &self,
        _name: &str,
        _work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        match self.0 {}
    }

    /// Runs a program on the host.
    ///
    /// # Errors
    /// Never comes to it.
    pub fn spawn(&self, _command: &mut Command) -> io::Result<Child> {
        match self.0 {}
    }
}
