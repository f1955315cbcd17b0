//! The clients of one transport.

use std::{collections::BTreeMap, time::Duration};

use portolan_protocol::RegistryInfo;

use crate::store::UserId;

/// When the connections of a registry are kept alive and given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatPolicy {
    /// A quiet connection is asked for a sign of life this often.
    pub keep_alive: Duration,
    /// Silence after which a client has vanished.
    pub idle: Duration,
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
    /// How silence is treated.
    pub(super) policy: HeartbeatPolicy,
    /// Users logged in, by the key of their names.
    pub(super) users: BTreeMap<String, UserId>,
    /// Logins since the start.
    pub(super) logins: u64,
    /// Sessions that ended without a word.
    pub(super) vanished: u64,
    /// Connections that never logged in or were refused.
    pub(super) refused: u64,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(transport: &'static str, address: String, policy: HeartbeatPolicy) -> Self {
        Self {
            transport,
            address,
            policy,
            users: BTreeMap::new(),
            logins: 0,
            vanished: 0,
            refused: 0,
        }
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
        }
    }
}
