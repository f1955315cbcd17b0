//! The mappings of one protocol.

use std::{collections::HashMap, net::SocketAddr, time::Instant};

use super::{ports::Ports, sessions::Sessions};

/// Mappings, found from both sides.
#[derive(Debug)]
pub(super) struct Table {
    ports: Ports,
    by_inside: HashMap<Key, u16>,
    by_port: HashMap<u16, Binding>,
}

/// An inside socket, and as much of the remote as the mapping depends on.
pub(super) type Key = (SocketAddr, SocketAddr);

/// One mapping.
#[derive(Debug)]
pub(super) struct Binding {
    key: Key,
    pub(super) sessions: Sessions,
}

impl Table {
    pub(super) fn new(ports: Ports) -> Self {
        Self { ports, by_inside: HashMap::new(), by_port: HashMap::new() }
    }

    /// Those that are over, but still stand here, included.
    pub(super) fn len(&self) -> usize {
        self.by_port.len()
    }

    pub(super) fn alive(&self, now: Instant) -> usize {
        self.by_port.values().filter(|binding| binding.is_alive(now)).count()
    }

    /// The outside port of an inside socket.
    pub(super) fn port_of(&self, now: Instant, key: &Key) -> Option<u16> {
        let port = *self.by_inside.get(key)?;
        self.by_port.get(&port)?.is_alive(now).then_some(port)
    }

    /// The mapping behind an outside port, over or not.
    pub(super) fn at(&self, port: u16) -> Option<&Binding> {
        self.by_port.get(&port)
    }

    pub(super) fn at_mut(&mut self, port: u16) -> Option<&mut Binding> {
        self.by_port.get_mut(&port)
    }

    /// Makes a mapping; `None`: there is no port left.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        key: Key,
        is_reserved: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let Self { ports, by_port, .. } = self;
        let is_taken = |port| by_port.get(&port).is_some_and(|binding| binding.is_alive(now));
        let port = ports.choose(key.0.port(), |port| !is_taken(port) && !is_reserved(port))?;
        self.remove(port);
        self.by_inside.insert(key, port);
        self.by_port.insert(port, Binding { key, sessions: Sessions::default() });
        Some(port)
    }

    fn remove(&mut self, port: u16) {
        let Some(Binding { key, .. }) = self.by_port.remove(&port) else { return };
        if self.by_inside.get(&key) == Some(&port) {
            self.by_inside.remove(&key);
        }
    }

    /// Throws away what is over.
    pub(super) fn sweep(&mut self, now: Instant) {
        let Self { by_inside, by_port, .. } = self;
        by_port.retain(|_, binding| binding.is_alive(now));
        by_inside.retain(|key, port| by_port.get(port).is_some_and(|it| it.key == *key));
    }

    pub(super) fn clear(&mut self) {
        self.by_port.clear();
        self.by_inside.clear();
    }

    /// From now on, sockets get other ports than before.
    pub(super) fn rebind(&mut self) {
        self.ports.rebind();
    }
}

impl Binding {
    /// The inside socket.
    pub(super) const fn inside(&self) -> SocketAddr {
        self.key.0
    }

    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.sessions.is_alive(now)
    }
}
