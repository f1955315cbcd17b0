//! The thread that tells presence who came and went: late, and in one go.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use portolan_identity::PeerId;

use super::clock;
use crate::presence::{Presence, Sighting};

/// What has been seen waits this long for more.
const GATHER: Duration = Duration::from_secs(2);

/// After this time without news it is noted that the server is alive: as wrong may be what is said
/// of those who were there when it was killed.
const ALIVE: Duration = Duration::from_secs(30);

/// The queue to the thread that owns presence. It holds the latest sighting of each user, and so
/// never more than there are users.
pub(super) struct SightingWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// By what names are compared by.
    sightings: BTreeMap<String, Sighting>,
    is_closed: bool,
}

impl SightingWriter {
    /// Hands `presence` to a thread of its own.
    pub(super) fn start(presence: Box<dyn Presence>, server: PeerId) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let queue = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("presence-writer".into())
            .spawn(move || queue.write(presence, server))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a sighting in the place of an older one of the same user.
    pub(super) fn push(&self, sighting: Sighting) {
        let mut queue = self.shared.lock();
        let is_first = queue.sightings.is_empty();
        queue.sightings.insert(sighting.name.key(), sighting);
        drop(queue);
        if is_first {
            self.shared.changed.notify_one();
        }
    }

    /// Notes what waits and ends the thread. Blocks for as long as the disk takes.
    pub(super) fn close(&self) {
        self.shared.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ended = thread.join();
        }
    }
}

impl Drop for SightingWriter {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn write(&self, mut presence: Box<dyn Presence>, server: PeerId) {
        loop {
            let (sightings, is_closed) = self.gather();
            let sightings: Vec<Sighting> = sightings.into_values().collect();
            if let Err(error) = presence.note(server, clock::now().wall, &sightings) {
                let source = &error.source;
                tracing::warn!(%error, %source, "who was seen is not remembered");
            }
            if is_closed {
                return;
            }
        }
    }

    /// Waits for sightings and then for more of them, or until it is time for a sign of life.
    fn gather(&self) -> (BTreeMap<String, Sighting>, bool) {
        let queue = self.lock();
        let is_quiet = |queue: &mut Queue| queue.sightings.is_empty() && !queue.is_closed;
        let (queue, _) = self
            .changed
            .wait_timeout_while(queue, ALIVE, is_quiet)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut queue, _) = self
            .changed
            .wait_timeout_while(queue, GATHER, |queue| {
                !queue.sightings.is_empty() && !queue.is_closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut queue.sightings), queue.is_closed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};

    use portolan_identity::PeerId;
    use portolan_protocol::{Name, Timestamp};

    use super::SightingWriter;
    use crate::presence::{Presence, PresenceError, Sighting};

    struct Told(SyncSender<Vec<Sighting>>);

    impl Presence for Told {
        fn recall(&mut self, _: PeerId) -> Result<Vec<Sighting>, PresenceError> {
            Ok(Vec::new())
        }

        fn note(
            &mut self,
            _: PeerId,
            _: Timestamp,
            sightings: &[Sighting],
        ) -> Result<(), PresenceError> {
            self.0.send(sightings.to_vec()).unwrap();
            Ok(())
        }
    }

    #[test]
    fn what_waits_is_noted_once_and_at_the_end_at_the_latest() {
        let (told, notes) = sync_channel(4);
        let writer =
            SightingWriter::start(Box::new(Told(told)), PeerId::from_bytes([1; 32])).unwrap();
        let seen = |text: &str, at| Sighting {
            name: Name::new(text).unwrap(),
            place: None,
            at: Timestamp(at),
        };
        for at in 0..5 {
            writer.push(seen("alice", at));
            writer.push(seen("Bob", at));
        }
        writer.close();
        let notes: Vec<Sighting> = notes.try_iter().flatten().collect();
        let last: Vec<&Sighting> = ["alice", "Bob"]
            .iter()
            .map(|who| notes.iter().rfind(|s| s.name.as_str() == *who).unwrap())
            .collect();
        assert_eq!(last, [&seen("alice", 4), &seen("Bob", 4)]);
        assert!(notes.len() <= 10);
    }
}
