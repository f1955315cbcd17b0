//! The names by which either side may be called, on this path and on others to come
//! (RFC 9000 §5.1).
//!
//! Who watches two networks must not see that one connection moved from one to the other, so each
//! path has its own pair of names. Spare ones are told in advance, under encryption: a side that
//! has moved has no time to ask.

use crate::{ConnectionId, event::ResetToken};

/// Names of one side that the other may use at once: one in use, one to try another path by, one
/// for the move after that.
pub(crate) const NAMES_MAX: usize = 3;

/// Names given up whose end the remote has not confirmed. Beyond, paths share a name.
const RETIRING_MAX: usize = 8;

/// What we may be called.
#[derive(Debug)]
pub(crate) struct LocalIds {
    issued: [Option<Issued>; NAMES_MAX],
    next_number: u64,
}

#[derive(Debug, Clone, Copy)]
struct Issued {
    number: u64,
    id: ConnectionId,
    /// The remote has yet to be told.
    is_due: bool,
}

/// What a RETIRE_ID of the remote has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retired {
    /// This name is not used any more.
    Id(ConnectionId),
    /// It was retired before.
    Before,
    /// It was never issued.
    Unknown,
}

impl LocalIds {
    /// One name, which the handshake has told.
    pub(crate) fn new(first: ConnectionId) -> Self {
        let mut issued = [None; NAMES_MAX];
        issued[0] = Some(Issued { number: 0, id: first, is_due: false });
        Self { issued, next_number: 1 }
    }

    /// Makes a new name in a free place, if there is one; `draw` gives it.
    pub(crate) fn issue(&mut self, draw: impl FnOnce() -> ConnectionId) -> Option<ConnectionId> {
        let free = self.issued.iter_mut().find(|place| place.is_none())?;
        let id = draw();
        *free = Some(Issued { number: self.next_number, id, is_due: true });
        self.next_number += 1;
        Some(id)
    }

    /// The names that the remote has yet to be told.
    pub(crate) fn due(&self) -> impl Iterator<Item = (u64, ConnectionId)> {
        let due = self.issued.iter().flatten().filter(|issued| issued.is_due);
        due.map(|issued| (issued.number, issued.id))
    }

    /// A name is on its way to the remote.
    pub(crate) fn on_sent(&mut self, number: u64) {
        self.set_due(number, false);
    }

    /// It got lost.
    pub(crate) fn on_lost(&mut self, number: u64) {
        self.set_due(number, true);
    }

    /// The remote calls us by this name no more.
    pub(crate) fn on_retired(&mut self, number: u64) -> Retired {
        if number >= self.next_number {
            return Retired::Unknown;
        }
        let place = self.issued.iter_mut().find(|place| is_number(place.as_ref(), number));
        place.and_then(Option::take).map_or(Retired::Before, |issued| Retired::Id(issued.id))
    }

    fn set_due(&mut self, number: u64, is_due: bool) {
        let place = self.issued.iter_mut().flatten().find(|issued| issued.number == number);
        if let Some(issued) = place {
            issued.is_due = is_due;
        }
    }
}

fn is_number(issued: Option<&Issued>, number: u64) -> bool {
    issued.is_some_and(|issued| issued.number == number)
}

/// One name of the remote's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RemoteId {
    pub(crate) number: u64,
    pub(crate) id: ConnectionId,
    /// By this the remote can prove that it has forgotten the name.
    pub(crate) token: Option<ResetToken>,
}

/// What a NEW_ID of the remote has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// A name, or one that was known.
    Fine,
    /// More than may be in use at once.
    TooMany,
    /// One number with two names, or one name with two numbers.
    Contradiction,
}

/// What the remote may be called, besides the names that paths use.
#[derive(Debug)]
pub(crate) struct RemoteIds {
    spare: [Option<RemoteId>; NAMES_MAX],
    known: Known,
    retiring: Vec<Retiring>,
}

#[derive(Debug, Clone, Copy)]
struct Retiring {
    number: u64,
    is_due: bool,
}

impl RemoteIds {
    /// The remote's first name is known from the handshake.
    pub(crate) fn new() -> Self {
        Self { spare: [None; NAMES_MAX], known: Known::with_first(), retiring: Vec::new() }
    }

    /// Learns a name.
    pub(crate) fn on_new(&mut self, new: RemoteId) -> Learnt {
        for spare in self.spare.iter().flatten() {
            if (spare.number == new.number) != (spare.id == new.id) {
                return Learnt::Contradiction;
            }
        }
        if !self.known.take(new.number) {
            return Learnt::Fine;
        }
        match self.spare.iter_mut().find(|place| place.is_none()) {
            Some(place) => {
                *place = Some(new);
                Learnt::Fine
            }
            None => Learnt::TooMany,
        }
    }

    /// Takes the oldest spare name, for a path. `None` also when many names are being given up:
    /// then paths share one, rather than that a remote makes us remember without end.
    pub(crate) fn take(&mut self) -> Option<RemoteId> {
        if self.retiring.len() >= RETIRING_MAX {
            return None;
        }
        let oldest = self.spare.iter_mut().filter(|place| place.is_some());
        oldest.min_by_key(|place| place.map(|spare| spare.number))?.take()
    }

    /// Gives a name up: the remote will hear that it is free.
    pub(crate) fn retire(&mut self, number: u64) {
        if self.retiring.iter().all(|retiring| retiring.number != number) {
            self.retiring.push(Retiring { number, is_due: true });
        }
    }

    /// The names whose end the remote has yet to be told.
    pub(crate) fn due(&self) -> impl Iterator<Item = u64> {
        self.retiring.iter().filter(|retiring| retiring.is_due).map(|retiring| retiring.number)
    }

    /// A RETIRE_ID is on its way.
    pub(crate) fn on_sent(&mut self, number: u64) {
        self.set_due(number, false);
    }

    /// It got lost.
    pub(crate) fn on_lost(&mut self, number: u64) {
        self.set_due(number, true);
    }

    /// It has arrived.
    pub(crate) fn on_acked(&mut self, number: u64) {
        self.retiring.retain(|retiring| retiring.number != number);
    }

    fn set_due(&mut self, number: u64, is_due: bool) {
        let found = self.retiring.iter_mut().find(|retiring| retiring.number == number);
        if let Some(retiring) = found {
            retiring.is_due = is_due;
        }
    }

    /// Bytes of the list that can grow.
    pub(crate) fn memory(&self) -> usize {
        self.retiring.capacity() * size_of::<Retiring>()
    }
}

/// Upper bound of [`RemoteIds::memory`]: what is in use can be given up beyond the limit, and
/// growing doubles.
pub(crate) const MEMORY_MAX: usize = 2 * (RETIRING_MAX + NAMES_MAX) * size_of::<Retiring>();

/// Which numbers have been seen: names that are told again after their end are no news.
#[derive(Debug)]
struct Known {
    highest: u64,
    /// Bit n: the number `highest - n`.
    mask: u64,
}

impl Known {
    fn with_first() -> Self {
        Self { highest: 0, mask: 1 }
    }

    /// Marks a number; answers whether it is new. What is far behind counts as seen.
    fn take(&mut self, number: u64) -> bool {
        if let Some(ahead) = number.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.mask = self.mask.checked_shl(shift).unwrap_or(0) | 1;
            self.highest = number;
            return true;
        }
        let behind = u32::try_from(self.highest - number).unwrap_or(u32::MAX);
        let bit = 1_u64.checked_shl(behind).unwrap_or(0);
        let is_new = bit != 0 && self.mask & bit == 0;
        self.mask |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> ConnectionId {
        ConnectionId(number.to_be_bytes())
    }

    fn remote(number: u64) -> RemoteId {
        RemoteId { number, id: id(number), token: None }
    }

    #[test]
    fn only_so_many_names_are_issued_and_a_retired_one_makes_room() {
        let mut ids = LocalIds::new(id(100));
        let issued: Vec<_> = (0..5).filter_map(|n| ids.issue(|| id(n))).collect();
        assert_eq!(issued, [id(0), id(1)]);
        assert_eq!(ids.on_retired(0), Retired::Id(id(100)));
        assert_eq!(ids.on_retired(0), Retired::Before);
        assert_eq!(ids.on_retired(3), Retired::Unknown);
        assert_eq!(ids.issue(|| id(9)), Some(id(9)));
        assert_eq!(ids.due().map(|(number, _)| number).collect::<Vec<_>>(), [3, 1, 2]);
    }

    #[test]
    fn a_lost_name_is_due_again_unless_it_was_retired() {
        let mut ids = LocalIds::new(id(100));
        ids.issue(|| id(1));
        ids.on_sent(1);
        assert_eq!(ids.due().count(), 0);
        ids.on_lost(1);
        assert_eq!(ids.due().count(), 1);
        ids.on_sent(1);
        ids.on_retired(1);
        ids.on_lost(1);
        assert_eq!(ids.due().count(), 0);
    }

    #[test]
    fn names_are_taken_in_order_and_once() {
        let mut ids = RemoteIds::new();
        assert_eq!(ids.on_new(remote(2)), Learnt::Fine);
        assert_eq!(ids.on_new(remote(1)), Learnt::Fine);
        assert_eq!(ids.on_new(remote(1)), Learnt::Fine);
        assert_eq!(ids.take(), Some(remote(1)));
        assert_eq!(ids.on_new(remote(1)), Learnt::Fine, "told again after it was taken");
        assert_eq!(ids.take(), Some(remote(2)));
        assert_eq!(ids.take(), None);
    }

    #[test]
    fn more_names_than_allowed_and_contradictions_are_noticed() {
        let mut ids = RemoteIds::new();
        for number in 1..=3 {
            assert_eq!(ids.on_new(remote(number)), Learnt::Fine);
        }
        assert_eq!(ids.on_new(remote(4)), Learnt::TooMany);
        assert_eq!(ids.on_new(RemoteId { id: id(7), ..remote(1) }), Learnt::Contradiction);
        assert_eq!(ids.on_new(RemoteId { id: id(1), ..remote(5) }), Learnt::Contradiction);
    }

    #[test]
    fn a_remote_that_confirms_nothing_is_not_remembered_without_end() {
        let mut ids = RemoteIds::new();
        let mut taken = 0;
        for number in 1..1_000 {
            let _ = ids.on_new(remote(number));
            if let Some(name) = ids.take() {
                taken += 1;
                ids.retire(name.number);
            }
        }
        assert_eq!(taken, RETIRING_MAX);
        assert!(ids.memory() <= MEMORY_MAX);
        ids.on_acked(1);
        assert!(ids.take().is_some());
    }

    #[test]
    fn what_is_far_behind_is_known() {
        let mut known = Known::with_first();
        assert!(!known.take(0));
        assert!(known.take(1_000));
        assert!(!known.take(3));
        assert!(known.take(999));
        assert!(!known.take(999));
        assert!(known.take(u64::MAX));
    }
}
