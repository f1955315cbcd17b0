//! The clients of one transport.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use portolan_protocol::{ErrorBody, ErrorCode, Name, RegistryCounters, RegistryInfo};

use super::{Core, Remote, commands::millis};
use crate::store::UserId;

/// What one registry grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryPolicy {
    /// Users logged in at once.
    pub clients: usize,
    /// How silence is treated.
    pub heartbeat: HeartbeatPolicy,
}

/// When the connections of a registry are kept alive and given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatPolicy {
    /// A quiet connection is asked for a sign of life this often.
    pub keep_alive: Duration,
    /// Silence after which a client has vanished.
    pub idle: Duration,
}

/// What moves on the control streams of a registry's clients: counted by those who move it, read
/// by those who ask.
#[derive(Debug, Default)]
pub struct Traffic {
    frames_in: AtomicU64,
    bytes_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_out: AtomicU64,
}

impl Traffic {
    /// A frame of a client has come.
    pub(crate) fn count_in(&self, bytes: usize) {
        self.frames_in.fetch_add(1, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Frames go to a client.
    pub(crate) fn count_out(&self, frames: usize, bytes: usize) {
        self.frames_out.fetch_add(frames as u64, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The clients of one transport: who is logged in over it, and how its sessions began and ended.
///
/// One type; every transport of the table has an instance.
#[derive(Debug)]
pub struct Registry {
    /// The transport's scheme.
    pub(super) transport: &'static str,
    /// Where it listens.
    pub(super) address: String,
    /// What it grants.
    pub(super) policy: RegistryPolicy,
    /// Users logged in, by the key of their names.
    pub(super) users: BTreeMap<String, UserId>,
    /// Logins since the start.
    pub(super) logins: u64,
    /// Sessions that ended without a word.
    pub(super) vanished: u64,
    /// Connections that never logged in or were refused.
    pub(super) refused: u64,
    /// How else sessions ended; of the traffic nothing.
    pub(super) counters: RegistryCounters,
    traffic: Arc<Traffic>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(transport: &'static str, address: String, policy: RegistryPolicy) -> Self {
        Self {
            transport,
            address,
            policy,
            users: BTreeMap::new(),
            logins: 0,
            vanished: 0,
            refused: 0,
            counters: RegistryCounters::default(),
            traffic: Arc::default(),
        }
    }

    /// The transport, or the gateway, of its clients.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        self.transport
    }

    /// Where its traffic is counted.
    #[must_use]
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// A user is logged in over it now.
    pub(super) fn enter(&mut self, name: &Name, user: UserId) {
        self.users.insert(name.key(), user);
        self.logins += 1;
        self.counters.peak = self.counters.peak.max(self.users.len() as u64);
    }

    /// Its counters; the names are the directory's to fill in.
    pub(super) fn info(&self) -> RegistryInfo {
        RegistryInfo {
            transport: self.transport.to_owned(),
            address: self.address.clone(),
            users: Vec::new(),
            online: self.users.len() as u64,
            logins: self.logins,
            vanished: self.vanished,
            refused: self.refused,
            clients: self.policy.clients as u64,
            heartbeat_ms: millis(self.policy.heartbeat.idle),
            counters: RegistryCounters {
                frames_in: self.traffic.frames_in.load(Ordering::Relaxed),
                bytes_in: self.traffic.bytes_in.load(Ordering::Relaxed),
                frames_out: self.traffic.frames_out.load(Ordering::Relaxed),
                bytes_out: self.traffic.bytes_out.load(Ordering::Relaxed),
                ..self.counters
            },
        }
    }
}

impl Core {
    /// Whether the registry has room for whoever wants to be `name`: one who is in it already
    /// takes no more.
    pub(super) fn check_registry(&mut self, remote: Remote, name: &Name) -> Result<(), ErrorBody> {
        let Some(registry) = self.registries.get_mut(remote.registry) else { return Ok(()) };
        let limit = registry.policy.clients;
        if registry.users.len() < limit || registry.users.contains_key(&name.key()) {
            return Ok(());
        }
        registry.counters.full += 1;
        let full = registry.transport;
        let others =
            self.registries.iter().filter(|other| other.users.len() < other.policy.clients);
        let others: Vec<&str> = others.map(|other| other.transport).collect();
        let advice = match others.join(" or ") {
            others if others.is_empty() => "try again later".to_owned(),
            others => format!("come by {others}, or later"),
        };
        let message = format!("the server has all its {limit} users over {full}; {advice}");
        Err(ErrorBody::new(ErrorCode::Quota, message).with_detail(full))
    }
}
