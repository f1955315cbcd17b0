//! What is known of the servers that announce themselves, by their keys.

use std::collections::{BTreeMap, HashMap};

use portolan_identity::PeerId;
use portolan_nat_io::{LanRole, LanServer, Sighting};

use super::{FoundServer, gathering::HOSTS_MAX};

/// A change of what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Seen(PeerId, LanRole),
    Gone(PeerId),
}

/// The servers that were seen.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    servers: BTreeMap<PeerId, LanServer>,
    names: HashMap<String, PeerId>,
    /// Only this server counts.
    pinned: Option<PeerId>,
}

impl Sightings {
    pub(super) fn new(pinned: Option<PeerId>) -> Self {
        Self { pinned, ..Self::default() }
    }

    /// Notes a sighting; `None`: it changes nothing.
    pub(super) fn note(&mut self, sighting: Sighting) -> Option<Change> {
        match sighting {
            Sighting::Seen(server) => self.note_seen(server),
            Sighting::Gone { name } => {
                let id = self.names.remove(&name)?;
                self.servers.remove(&id);
                Some(Change::Gone(id))
            }
        }
    }

    fn note_seen(&mut self, server: LanServer) -> Option<Change> {
        let key: PeerId = server.key.parse().ok()?;
        let has_room = self.servers.len() < HOSTS_MAX || self.servers.contains_key(&key);
        let is_wanted = self.pinned.is_none_or(|pinned| pinned == key);
        // Under another name the same key is another claim: the first one stays.
        let is_its_name = self.names.get(&server.name).is_none_or(|known| *known == key);
        if !has_room || !is_wanted || !is_its_name {
            return None;
        }
        let role = server.role;
        self.names.insert(server.name.clone(), key);
        self.servers.insert(key, server);
        Some(Change::Seen(key, role))
    }

    /// Every server that somebody has set up.
    pub(super) fn set_up(&self) -> Vec<LanServer> {
        let set_up = self.servers.values().filter(|server| server.role == LanRole::SetUp);
        set_up.cloned().collect()
    }

    /// Where the server with this key says it is.
    pub(super) fn find(&self, id: PeerId) -> Option<FoundServer> {
        let server = self.servers.get(&id)?;
        Some(FoundServer { id, addresses: server.addresses.clone() })
    }
}

#[cfg(test)]
mod tests {
    use portolan_identity::PeerId;
    use portolan_nat_io::{LanRole, LanServer, Sighting};

    use super::{Change, HOSTS_MAX, Sightings};

    fn key(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn seen(name: &str, key: &str, port: u16) -> Sighting {
        let addresses = vec![([10, 0, 0, 1], port).into()];
        let role = LanRole::Passing;
        Sighting::Seen(LanServer { name: name.to_owned(), key: key.to_owned(), role, addresses })
    }

    #[test]
    fn servers_are_known_by_their_keys_and_come_and_go() {
        let mut sightings = Sightings::default();
        let text = key(1).to_string();
        assert_eq!(sightings.note(seen("a", "no key", 1)), None);
        let wanted = Some(Change::Seen(key(1), LanRole::Passing));
        assert_eq!(sightings.note(seen("a", &text, 1)), wanted);
        assert_eq!(sightings.note(seen("a", &text, 2)), wanted);
        assert_eq!(sightings.find(key(1)).unwrap().addresses, [([10, 0, 0, 1], 2).into()]);
        assert_eq!(sightings.note(seen("a", &key(2).to_string(), 3)), None, "a's name is a's");
        let gone = Sighting::Gone { name: "a".to_owned() };
        assert_eq!(sightings.note(gone.clone()), Some(Change::Gone(key(1))));
        assert_eq!(sightings.note(gone), None);
    }

    #[test]
    fn memory_is_bounded_and_a_pinned_key_is_the_only_one() {
        let mut sightings = Sightings::default();
        let many = 0..u8::try_from(HOSTS_MAX).unwrap() + 5;
        let taken = many.filter(|&number| {
            sightings.note(seen(&number.to_string(), &key(number).to_string(), 1)).is_some()
        });
        assert_eq!(taken.count(), HOSTS_MAX);
        let mut pinned = Sightings::new(Some(key(1)));
        assert_eq!(pinned.note(seen("b", &key(2).to_string(), 1)), None);
        assert!(pinned.note(seen("a", &key(1).to_string(), 1)).is_some());
    }
}
