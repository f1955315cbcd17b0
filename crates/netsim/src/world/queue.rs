//! Packets under way, in the order of time.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

use super::{InterfaceId, Packet};

/// What waits for its time.
///
/// The heap orders small tickets; packets wait in slots that are used again, so that a packet
/// costs no allocation once the queue has grown to its size.
#[derive(Debug)]
pub(super) struct Queue<P> {
    tickets: BinaryHeap<Reverse<Ticket>>,
    slots: Vec<Option<Travelling<P>>>,
    free: Vec<usize>,
    /// Breaks ties between those of the same time: first in, first out.
    next_number: u64,
}

/// A packet between two places.
#[derive(Debug, Clone)]
pub(super) struct Travelling<P> {
    pub(super) packet: Packet<P>,
    pub(super) flipped_bit: Option<u64>,
    pub(super) stage: Stage,
}

/// What the packet meets next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// It has left its sender and comes to the network.
    Crosses(Crossing),
    /// It comes to an interface.
    Arrives(Place),
}

/// From an interface to one or to all others on its network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crossing {
    pub(super) from: Place,
    /// `None`: everyone who may hear it.
    pub(super) to: Option<InterfaceId>,
}

/// An interface, at one network: moving it makes another place of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) interface: InterfaceId,
    pub(super) moves: u32,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    at: Instant,
    number: u64,
    slot: usize,
}

impl<P> Queue<P> {
    pub(super) const fn new() -> Self {
        Self { tickets: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), next_number: 0 }
    }

    pub(super) fn push(&mut self, at: Instant, travelling: Travelling<P>) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(travelling);
        self.tickets.push(Reverse(Ticket { at, number: self.next_number, slot }));
        self.next_number += 1;
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.tickets.peek().map(|Reverse(ticket)| ticket.at)
    }

    /// Takes the first that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Travelling<P>)> {
        self.tickets.peek().filter(|Reverse(ticket)| ticket.at <= now)?;
        let Reverse(ticket) = self.tickets.pop()?;
        let travelling = self.slots[ticket.slot].take()?;
        self.free.push(ticket.slot);
        Some((ticket.at, travelling))
    }

    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }
}
