//! How much there is of everything, for those who watch.

use portolan_protocol::RegistryInfo;

use super::Core;
use crate::store::Waiting;

/// How much there is of everything at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Each registry's counters, without names.
    pub registries: Vec<RegistryInfo>,
    /// Names.
    pub users: u64,
    /// Groups.
    pub groups: u64,
    /// Conversations under way.
    pub conversations: u64,
    /// Relays under way.
    pub relays: u64,
    /// What waits in all mailboxes together.
    pub waiting: Waiting,
}

impl Core {
    /// Counts; costs the same however many there are.
    #[must_use]
    pub fn census(&self) -> Census {
        Census {
            registries: self.registries.iter().map(super::Registry::info).collect(),
            users: self.directory.len() as u64,
            groups: self.groups.len() as u64,
            conversations: self.conversations.len() as u64,
            relays: self.relays.len() as u64,
            waiting: self.directory.waiting,
        }
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.is_draining || self.is_stopping
    }

    /// Relays under way.
    #[must_use]
    pub fn relays(&self) -> usize {
        self.relays.len()
    }
}
