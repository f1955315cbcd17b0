//! The sending side of parities: the group that is being filled, those that were closed, and what
//! became of them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::code::{LENGTH, MEMBERS_MAX, PARITIES_MAX, add_member};

/// Closed groups whose fate is followed.
const FOLLOWED_MAX: usize = 64;

/// How many messages share how many parities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) members: u8,
    pub(super) parities: u8,
}

impl Shape {
    /// All that are tried, the cheapest first.
    pub(super) const ALL: [Self; 12] = [
        Self::new(16, 1),
        Self::new(8, 1),
        Self::new(6, 1),
        Self::new(16, 3),
        Self::new(4, 1),
        Self::new(8, 2),
        Self::new(3, 1),
        Self::new(6, 2),
        Self::new(8, 3),
        Self::new(2, 1),
        Self::new(4, 2),
        Self::new(6, 3),
    ];

    const fn new(members: u8, parities: u8) -> Self {
        Self { members, parities }
    }

    /// The chance that a member is lost and cannot be computed, where each packet is lost with
    /// chance `share`, independent of the others.
    pub(super) fn failure(self, share: f64) -> f64 {
        // The member itself is lost, and at least as many of the others as there are parities.
        let others = i32::from(self.members) - 1 + i32::from(self.parities);
        let (mut chance, mut few) = ((1.0 - share).powi(others), 0.0);
        for lost in 0..i32::from(self.parities) {
            few += chance;
            chance *=
                f64::from(others - lost) / f64::from(lost + 1) * share / (1.0 - share).max(1e-9);
        }
        share * (1.0 - few).max(0.0)
    }
}

/// A parity that waits to be sent.
#[derive(Debug)]
pub(super) struct Parity {
    /// The number of the group's first message.
    pub(super) first: u64,
    pub(super) members: u8,
    pub(super) index: u8,
    pub(super) bytes: Vec<u8>,
    /// After it nothing of the group is of use.
    pub(super) expires: Instant,
}

/// A group that is being filled.
#[derive(Debug)]
pub(super) struct Open {
    first: u64,
    shape: Shape,
    filled: u8,
    sums: [Vec<u8>; PARITIES_MAX],
    /// When it is closed although it is not full.
    pub(super) closes: Instant,
    expires: Instant,
}

impl Open {
    pub(super) fn new(first: u64, shape: Shape, closes: Instant, expires: Instant) -> Self {
        Self { first, shape, filled: 0, sums: Default::default(), closes, expires }
    }

    /// Takes the next message in; answers whether the group is full.
    pub(super) fn add(&mut self, payload: &[u8], expires: Instant) -> bool {
        let member = usize::from(self.filled);
        let sums = self.sums.iter_mut().take(self.shape.parities.into());
        sums.enumerate().for_each(|(parity, sum)| add_member(sum, parity, member, payload));
        self.filled += 1;
        self.expires = self.expires.max(expires);
        self.filled >= self.shape.members || member + 1 >= MEMBERS_MAX
    }

    /// Whether this is the number that comes next in the group.
    pub(super) fn continues(&self, sequence: u64) -> bool {
        self.first + u64::from(self.filled) == sequence
    }

    /// Bytes of one of its parities.
    pub(super) fn parity_len(&self) -> usize {
        self.sums.iter().map(Vec::len).max().unwrap_or(LENGTH)
    }

    /// Its parities: of a group that is not full no more than it has messages.
    pub(super) fn close(self) -> impl Iterator<Item = Parity> {
        let Self { first, shape, filled, sums, expires, .. } = self;
        let count = shape.parities.min(filled);
        (0..count).zip(sums).map(move |(index, bytes)| Parity {
            first,
            members: filled,
            index,
            bytes,
            expires,
        })
    }
}

/// A group whose parities were made, and what is known of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) first: u64,
    pub(super) members: u8,
    /// Parities that may still arrive.
    pub(super) under_way: u8,
    pub(super) arrived: u8,
    /// Members that were lost and are not sent again.
    pub(super) given_up: u8,
}

impl Fate {
    pub(super) fn numbers(&self) -> std::ops::Range<u64> {
        self.first..self.first + u64::from(self.members)
    }
}

/// The groups whose fate is followed, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Fates(VecDeque<Fate>);

impl Fates {
    /// Follows one more; answers the one that is followed no longer.
    pub(super) fn push(&mut self, fate: Fate) -> Option<Fate> {
        self.0.push_back(fate);
        if self.0.len() > FOLLOWED_MAX { self.0.pop_front() } else { None }
    }

    /// The group that this message belongs to.
    pub(super) fn of(&mut self, sequence: u64) -> Option<&mut Fate> {
        let at = self.0.partition_point(|fate| fate.numbers().end <= sequence);
        self.0.get_mut(at).filter(|fate| fate.first <= sequence)
    }

    pub(super) fn memory(&self) -> usize {
        self.0.capacity() * size_of::<Fate>()
    }
}

/// How long a group may take to fill, so that its parities still help.
pub(super) fn span(left: Duration, round_trip: Duration) -> Duration {
    left.saturating_sub(round_trip / 2) / 2
}
