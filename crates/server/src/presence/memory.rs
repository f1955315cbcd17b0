//! Presence of a server that forgets everything at its end.

use std::collections::{BTreeMap, HashMap};

use portolan_identity::PeerId;
use portolan_protocol::Timestamp;

use super::{Presence, PresenceError, Sighting};

/// Remembers in memory.
#[derive(Debug, Default)]
pub struct MemoryPresence {
    /// By what names are compared by.
    sightings: BTreeMap<String, Sighting>,
    alive: HashMap<PeerId, Timestamp>,
}

impl Presence for MemoryPresence {
    fn recall(&mut self, server: PeerId) -> Result<Vec<Sighting>, PresenceError> {
        let alive = self.alive.get(&server).copied();
        for sighting in self.sightings.values_mut() {
            if sighting.place.as_ref().is_some_and(|place| place.server == server) {
                sighting.place = None;
                sighting.at = sighting.at.max(alive.unwrap_or(sighting.at));
            }
        }
        Ok(self.sightings.values().cloned().collect())
    }

    fn note(
        &mut self,
        server: PeerId,
        now: Timestamp,
        sightings: &[Sighting],
    ) -> Result<(), PresenceError> {
        self.alive.insert(server, now);
        for sighting in sightings {
            self.sightings.insert(sighting.name.key(), sighting.clone());
        }
        Ok(())
    }
}
