//! The connections of this process, and the doors to them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use portolan_transport::Connection;

use super::outbox::{Outbox, Overflow};
use crate::{
    bus::{Doors, NewsKind, Parcel},
    core::SessionId,
    metrics::Meter,
};

/// The shell's side of a session.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) registry: usize,
    pub(super) outbox: Arc<Outbox>,
    /// None: it comes by a gateway, and has no streams.
    pub(super) connection: Option<Arc<dyn Connection>>,
}

/// Every client of this process.
pub(super) struct Clients {
    clients: RwLock<HashMap<SessionId, Client>>,
    meter: Meter,
}

impl Clients {
    pub(super) fn new(meter: Meter) -> Self {
        Self { clients: RwLock::default(), meter }
    }

    pub(super) fn insert(&self, session: SessionId, client: Client) {
        self.clients.write().unwrap_or_else(PoisonError::into_inner).insert(session, client);
    }

    pub(super) fn remove(&self, session: SessionId) -> Option<Client> {
        self.clients.write().unwrap_or_else(PoisonError::into_inner).remove(&session)
    }

    /// The session's connection.
    pub(super) fn connection(&self, session: SessionId) -> Option<Arc<dyn Connection>> {
        self.read().get(&session).and_then(|client| client.connection.clone())
    }

    /// Whether the session is there at all.
    pub(super) fn has(&self, session: SessionId) -> bool {
        self.read().contains_key(&session)
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<SessionId, Client>> {
        self.clients.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doors for Clients {
    fn put_through(&self, parcel: Parcel, slow: &mut Vec<SessionId>) {
        let clients = self.read();
        match parcel {
            Parcel::Answer { to, frame } => {
                if let Some(client) = clients.get(&to) {
                    client.outbox.push_answer(frame);
                }
            }
            Parcel::News { to, frame, weight, kind } => {
                for session in to {
                    let Some(client) = clients.get(&session) else { continue };
                    self.meter.told(client.registry, kind == NewsKind::Message);
                    if client.outbox.push_event(frame.clone(), weight) == Err(Overflow) {
                        slow.push(session);
                    }
                }
            }
            Parcel::End { to, code, reason } => {
                if let Some(client) = clients.get(&to) {
                    client.outbox.close(code, reason);
                }
            }
        }
    }
}
