//! Who owns which name, and who is there.

use std::collections::{BTreeMap, HashMap};

use portolan_identity::PeerId;
use portolan_protocol::{Name, Settings, Timestamp};

use super::{SessionId, devices::Stand, rates::TokenBucket};
use crate::store::{PasswordHash, Snapshot, StoredUser, UserId, Waiting};

/// A user whom the server knows.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: Name,
    pub(super) key: PeerId,
    /// What moves the name to another key.
    pub(super) password: Option<PasswordHash>,
    /// Attempts at the password, once there was one.
    pub(super) guesses: Option<TokenBucket>,
    /// Whether the store has confirmed the name.
    pub(super) is_saved: bool,
    /// What waits, messages on their way into the store included.
    pub(super) waiting: Waiting,
    pub(super) settings: Settings,
    /// Who has written how much of it, since nothing waited; as long as this process remembers.
    pub(super) writers: HashMap<UserId, Waiting>,
    pub(super) online: Option<Online>,
    /// Not at the keyboard, in the user's words; kept until they are back or have logged out.
    pub(super) away: Option<String>,
    /// When the user was last there, if that is known and is over.
    pub(super) last_seen: Option<Timestamp>,
    pub(super) relays: Relays,
}

/// Whether a mailbox takes another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It does.
    Free,
    /// It does, but not from this sender.
    ForOthers,
    /// It does not.
    Full,
}

/// A user who is there, as others may know of it.
#[derive(Debug, Clone)]
pub(super) struct Online {
    /// The sessions, the latest last; at least one.
    pub(super) stands: Vec<Stand>,
    pub(super) since: Timestamp,
    /// Free or busy since.
    pub(super) state_since: Timestamp,
    /// What the others were told last.
    pub(super) is_busy: bool,
}

impl Online {
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.stands.iter().map(|stand| stand.session)
    }

    pub(super) fn latest(&self) -> Option<Stand> {
        self.stands.last().copied()
    }
}

/// Relays that a user has open.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Relays {
    pub(super) calling: u32,
    pub(super) called: u32,
}

/// Every known name, and an ordered list of those who are there.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: HashMap<UserId, User>,
    by_name: HashMap<String, UserId>,
    /// The same in order.
    pub(super) names: BTreeMap<String, UserId>,
    names_of: HashMap<PeerId, usize>,
    pub(super) online: BTreeMap<String, UserId>,
    /// What waits for all users together.
    pub(super) waiting: Waiting,
    last_id: u64,
}

impl Directory {
    /// What the store knows.
    pub(super) fn load(snapshot: &Snapshot) -> Self {
        let mut directory = Self::default();
        for (stored, waiting) in &snapshot.users {
            directory.insert(stored, true);
            directory.add_waiting(stored.id, *waiting);
        }
        for (user, settings) in &snapshot.settings {
            if let Some(known) = directory.users.get_mut(user) {
                known.settings = *settings;
            }
        }
        directory
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn names_of(&self, key: PeerId) -> usize {
        self.names_of.get(&key).copied().unwrap_or(0)
    }

    pub(super) fn get(&self, user: UserId) -> Option<&User> {
        self.users.get(&user)
    }

    pub(super) fn get_mut(&mut self, user: UserId) -> Option<&mut User> {
        self.users.get_mut(&user)
    }

    pub(super) fn find(&self, name: &Name) -> Option<UserId> {
        self.by_name.get(&name.key()).copied()
    }

    /// Reserves a name until the store has confirmed it.
    pub(super) fn reserve(&mut self, name: Name, key: PeerId, since: Timestamp) -> StoredUser {
        let stored = StoredUser { id: UserId(self.last_id + 1), name, key, since, password: None };
        self.insert(&stored, false);
        stored
    }

    /// Gives a name to another key; answers the name.
    pub(super) fn set_key(&mut self, user: UserId, key: PeerId) -> Option<Name> {
        let known = self.users.get_mut(&user)?;
        let before = std::mem::replace(&mut known.key, key);
        if let Some(count) = self.names_of.get_mut(&before) {
            *count -= 1;
        }
        *self.names_of.entry(key).or_default() += 1;
        Some(known.name.clone())
    }

    /// Forgets a name that the store could not take.
    pub(super) fn forget(&mut self, user: UserId) {
        let Some(gone) = self.users.remove(&user) else { return };
        self.by_name.remove(&gone.name.key());
        self.names.remove(&gone.name.key());
        if let Some(count) = self.names_of.get_mut(&gone.key) {
            *count -= 1;
        }
    }

    pub(super) fn add_waiting(&mut self, user: UserId, more: Waiting) {
        for waiting in [self.users.get_mut(&user).map(|u| &mut u.waiting), Some(&mut self.waiting)]
            .into_iter()
            .flatten()
        {
            waiting.messages += more.messages;
            waiting.bytes += more.bytes;
        }
    }

    /// Notes who has written something that waits. Those whom the bound leaves out are taken to
    /// have written enough ([`Self::has_room`]).
    pub(super) fn note_writer(&mut self, owner: UserId, from: UserId, more: Waiting, max: u64) {
        let Some(known) = self.users.get_mut(&owner) else { return };
        if known.writers.len() as u64 >= max && !known.writers.contains_key(&from) {
            return;
        }
        let written = known.writers.entry(from).or_default();
        written.messages += more.messages;
        written.bytes += more.bytes;
    }

    /// Whether a message has room in a mailbox. Half of it is for those who have not filled a
    /// quarter of it themselves, so that nobody keeps others out.
    pub(super) fn has_room(
        &self,
        owner: UserId,
        from: UserId,
        size: Waiting,
        most: Waiting,
    ) -> Room {
        let Some(known) = self.users.get(&owner) else { return Room::Full };
        let waiting = known.waiting;
        if waiting.messages + size.messages > most.messages
            || waiting.bytes + size.bytes > most.bytes
        {
            return Room::Full;
        }
        let is_crowded = waiting.messages * 2 > most.messages || waiting.bytes * 2 > most.bytes;
        let is_known = (known.writers.len() as u64) < most.messages;
        let written = known.writers.get(&from).copied();
        let has_enough = written.map_or(!is_known, |written| {
            written.messages * 4 >= most.messages || written.bytes * 4 >= most.bytes
        });
        if is_crowded && has_enough { Room::ForOthers } else { Room::Free }
    }

    pub(super) fn take_waiting(&mut self, user: UserId, less: Waiting) {
        for waiting in [self.users.get_mut(&user).map(|u| &mut u.waiting), Some(&mut self.waiting)]
            .into_iter()
            .flatten()
        {
            waiting.messages = waiting.messages.saturating_sub(less.messages);
            waiting.bytes = waiting.bytes.saturating_sub(less.bytes);
        }
        if let Some(known) = self.users.get_mut(&user).filter(|known| known.waiting.messages == 0) {
            known.writers = HashMap::new();
        }
    }

    fn insert(&mut self, stored: &StoredUser, is_saved: bool) {
        self.last_id = self.last_id.max(stored.id.0);
        self.by_name.insert(stored.name.key(), stored.id);
        self.names.insert(stored.name.key(), stored.id);
        *self.names_of.entry(stored.key).or_default() += 1;
        let user = User {
            name: stored.name.clone(),
            key: stored.key,
            password: stored.password.clone(),
            guesses: None,
            is_saved,
            waiting: Waiting::default(),
            settings: Settings::default(),
            writers: HashMap::new(),
            online: None,
            away: None,
            last_seen: None,
            relays: Relays::default(),
        };
        self.users.insert(stored.id, user);
    }
}
