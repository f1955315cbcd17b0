//! The connections of one endpoint: who has something to do, and when each must be looked at.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use portolan_rudp::ConnectionHandle;
use portolan_transport::Expect;

use crate::{host::Host, inbox::Reply};

/// A connection in the driver's care.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) host: Arc<Host>,
    pub(crate) stage: Stage,
    deadline: Option<Instant>,
    ready: bool,
}

/// How far a connection is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// We dial; someone waits for the outcome.
    Dialling {
        /// Whom we want to reach.
        expect: Expect,
        /// Who waits.
        reply: Reply,
    },
    /// A remote dials us.
    Answering,
    /// Handed out, or ended before it was.
    Settled,
}

/// All connections, the queue of those with something to do, and the times to look at the others.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: HashMap<ConnectionHandle, Slot>,
    ready: VecDeque<ConnectionHandle>,
    deadlines: BTreeSet<(Instant, ConnectionHandle)>,
}

impl Table {
    /// Takes a connection in; it has something to do.
    pub(crate) fn insert(&mut self, handle: ConnectionHandle, host: Arc<Host>, stage: Stage) {
        let slot = Slot { host, stage, deadline: None, ready: false };
        self.slots.insert(handle, slot);
        self.make_ready(handle);
    }

    pub(crate) fn get_mut(&mut self, handle: ConnectionHandle) -> Option<&mut Slot> {
        self.slots.get_mut(&handle)
    }

    pub(crate) fn remove(&mut self, handle: ConnectionHandle) -> Option<Slot> {
        self.set_deadline(handle, None);
        self.slots.remove(&handle)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (ConnectionHandle, &Slot)> {
        self.slots.iter().map(|(handle, slot)| (*handle, slot))
    }

    /// Queues a connection for its turn; once is enough.
    pub(crate) fn make_ready(&mut self, handle: ConnectionHandle) {
        if let Some(slot) = self.slots.get_mut(&handle)
            && !slot.ready
        {
            slot.ready = true;
            self.ready.push_back(handle);
        }
    }

    /// The connection whose turn it is.
    pub(crate) fn next_ready(&mut self) -> Option<ConnectionHandle> {
        loop {
            let handle = self.ready.pop_front()?;
            if let Some(slot) = self.slots.get_mut(&handle) {
                slot.ready = false;
                return Some(handle);
            }
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many wait for their turn.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn set_deadline(&mut self, handle: ConnectionHandle, deadline: Option<Instant>) {
        let Some(slot) = self.slots.get_mut(&handle) else { return };
        if slot.deadline == deadline {
            return;
        }
        if let Some(old) = slot.deadline.take() {
            self.deadlines.remove(&(old, handle));
        }
        if let Some(new) = deadline {
            self.deadlines.insert((new, handle));
        }
        slot.deadline = deadline;
    }

    /// When the next connection must be looked at.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A connection whose time has come; it has no deadline any more.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<ConnectionHandle> {
        let (at, handle) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.set_deadline(handle, None);
        Some(handle)
    }
}
