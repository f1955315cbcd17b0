//! Who is there by a gateway, across all of them: a name has one place.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use portolan_gateway::Duplicates;
use portolan_protocol::Name;
use tokio::sync::mpsc;

/// Notes that wait for one client; more are not left.
pub(super) const NOTES_MAX: usize = 64;

/// What one client leaves for another.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) from: Name,
    pub(super) bytes: Bytes,
}

/// Every client that has entered.
#[derive(Default)]
pub(super) struct Places {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    /// The last is the one that counts; those before come back when it is given back.
    places: HashMap<Name, Vec<Place>>,
}

struct Place {
    number: u64,
    registry: usize,
    notes: mpsc::Sender<Note>,
}

impl Places {
    /// Takes the name's place; `None`: somebody has it, and keeps it.
    pub(super) fn claim(
        &self,
        name: &Name,
        registry: usize,
        duplicates: Duplicates,
        notes: mpsc::Sender<Note>,
    ) -> Option<u64> {
        let mut state = self.lock();
        if duplicates == Duplicates::Refuse && state.places.contains_key(name) {
            return None;
        }
        state.last += 1;
        let number = state.last;
        state.places.entry(name.clone()).or_default().push(Place { number, registry, notes });
        Some(number)
    }

    /// Gives it back; who had it before, and is still there, has it again.
    pub(super) fn release(&self, name: &Name, number: u64) {
        let mut state = self.lock();
        if let Some(places) = state.places.get_mut(name) {
            places.retain(|place| place.number != number);
            if places.is_empty() {
                state.places.remove(name);
            }
        }
    }

    /// Leaves a note for a client of the same registry; `false`: there is none.
    pub(super) fn leave_note(&self, to: &Name, registry: usize, note: Note) -> bool {
        let state = self.lock();
        let last = state.places.get(to).and_then(|places| places.last());
        let place = last.filter(|place| place.registry == registry);
        // A client that does not read its notes goes without.
        place.is_some_and(|place| {
            !matches!(place.notes.try_send(note), Err(mpsc::error::TrySendError::Closed(_)))
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use portolan_gateway::Duplicates;
    use portolan_protocol::Name;
    use tokio::sync::mpsc;

    use super::{Note, Places};

    #[test]
    fn a_name_has_one_place_and_only_its_holder_gives_it_back() {
        let places = Places::default();
        let ana = Name::new("ana").unwrap();
        let (notes, mut received) = mpsc::channel(1);
        let first = places.claim(&ana, 0, Duplicates::Refuse, notes.clone()).unwrap();
        assert_eq!(places.claim(&ana, 1, Duplicates::Refuse, notes.clone()), None);
        let (notes_of_another, _) = mpsc::channel(1);
        let second = places.claim(&ana, 0, Duplicates::Replace, notes).unwrap();
        let third = places.claim(&ana, 1, Duplicates::Replace, notes_of_another).unwrap();
        places.release(&ana, third);
        places.release(&ana, first);
        let note = || Note { from: ana.clone(), bytes: "x".into() };
        assert!(places.leave_note(&ana, 0, note()));
        assert!(!places.leave_note(&ana, 1, note()), "another gateway");
        assert_eq!(received.try_recv().unwrap().bytes, "x");
        places.release(&ana, second);
        assert!(!places.leave_note(&ana, 0, note()));
    }
}
