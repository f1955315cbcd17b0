//! Ids of names: thirteen digits for everyone whom a client may write to.
//!
//! A user of this gateway is called by its id in the directory too. Whoever has another name, and
//! every group that was not made here, gets an id that follows from the name; what was met once
//! can be written to.

use std::collections::HashMap;

use portolan_protocol::Name;

use super::wire::Id;

/// Names that are remembered; beyond that, the next ones are known only while they are spoken of.
const KNOWN_MAX: usize = 100_000;

/// Names by their ids.
#[derive(Debug, Default)]
pub(super) struct Ids {
    users: HashMap<Id, Name>,
    groups: HashMap<Id, String>,
}

impl Ids {
    /// The id of a user, remembered.
    pub(super) fn of_user(&mut self, name: &Name) -> Option<Id> {
        if let Some(own) = own_id(name) {
            return Some(own);
        }
        let id =
            follow('0', &name.key(), |id| self.users.get(id).is_none_or(|known| known == name))?;
        if self.users.len() < KNOWN_MAX {
            self.users.entry(id).or_insert_with(|| name.clone());
        }
        Some(id)
    }

    /// The user of an id. One that was never met is a user of this gateway, if anyone.
    pub(super) fn user(&self, id: Id) -> Option<Name> {
        match self.users.get(&id) {
            Some(name) => Some(name.clone()),
            None => Name::new(id.as_str()).ok(),
        }
    }

    /// Whether the id is somebody's who has another name.
    pub(super) fn is_followed(&self, id: Id) -> bool {
        self.users.contains_key(&id)
    }

    /// The id of a group, remembered.
    pub(super) fn of_group(&mut self, group: &str) -> Option<Id> {
        if let Some(own) = Id::parse(group).filter(Id::is_group) {
            return Some(own);
        }
        let key = group.to_lowercase();
        let id = follow('1', &key, |id| {
            self.groups.get(id).is_none_or(|known| known.to_lowercase() == key)
        })?;
        if self.groups.len() < KNOWN_MAX {
            self.groups.entry(id).or_insert_with(|| group.to_owned());
        }
        Some(id)
    }

    /// The group of an id.
    pub(super) fn group(&self, id: Id) -> String {
        self.groups.get(&id).cloned().unwrap_or_else(|| id.as_str().to_owned())
    }
}

/// The id that is the name itself.
pub(super) fn own_id(name: &Name) -> Option<Id> {
    Id::parse(name.as_str()).filter(Id::is_user)
}

/// The first of the ids that follow from a key which is free.
fn follow(first: char, key: &str, is_free: impl Fn(&Id) -> bool) -> Option<Id> {
    (0..16_u8).find_map(|turn| {
        let mut hasher = blake3::Hasher::new_derive_key("portolan 2026-11 id of a name");
        hasher.update(&[turn]);
        hasher.update(key.as_bytes());
        let (number, _) =
            hasher.finalize().as_bytes().split_first_chunk().map(|(n, r)| (*n, r.len()))?;
        Id::new(first, u64::from_be_bytes(number)).filter(&is_free)
    })
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Name;

    use super::Ids;

    #[test]
    fn every_name_has_an_id_and_is_found_by_it() {
        let mut ids = Ids::default();
        for text in ["alice", "Bob-2", "0050452041144", "x.ana.20.maria"] {
            let name = Name::new(text).unwrap();
            let id = ids.of_user(&name).unwrap();
            assert!(id.is_user());
            assert_eq!(ids.user(id), Some(name.clone()));
            assert_eq!(ids.of_user(&name), Some(id));
        }
        let id = ids.of_group("team").unwrap();
        assert!(id.is_group());
        assert_eq!(ids.group(id), "team");
        assert_eq!(ids.of_group("1333333333333").unwrap().as_str(), "1333333333333");
        assert_eq!(
            ids.of_user(&Name::new("0050452041144").unwrap()).unwrap().as_str(),
            "0050452041144"
        );
    }

    #[test]
    fn ids_stay_the_same_after_a_restart() {
        let alice = Name::new("alice").unwrap();
        let (mut one, mut other) = (Ids::default(), Ids::default());
        other.of_user(&Name::new("bob").unwrap());
        assert_eq!(one.of_user(&alice), other.of_user(&alice));
    }
}
