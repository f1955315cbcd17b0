//! Who is behind which number, where, and how much they may send. No sockets, no clock.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use portolan_datagram_io::{BINDING_LEN, RelayFrame, RelayKey};

use super::{bucket::Bucket, quota::Quota};

/// What one channel may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChannelLimits {
    /// Bytes a second of each side.
    pub(super) bytes: u64,
    /// Datagrams a second of each side.
    pub(super) datagrams: u64,
    /// Bytes that wait for the socket, of each side.
    pub(super) queue: usize,
}

/// Where somebody is, and which of our addresses is known there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) addr: SocketAddr,
    pub(super) local_ip: Option<IpAddr>,
}

/// Why datagrams were not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No such channel, or no frame at all.
    Unknown,
    /// They come from elsewhere than the last binding of their side, or the other has none yet.
    Unbound,
    /// A binding that its key has not made, or an old one.
    Forged,
    /// More than one side may send.
    TooMany,
    /// The socket has no room, and the side's queue neither.
    Overflowed,
    /// More than the relay may carry in all.
    Spent,
}

/// The way of datagrams that are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) to: Place,
    /// The channel as the other side knows it.
    pub(super) number: u64,
    /// Earlier ones wait: these must not overtake them.
    pub(super) is_behind: bool,
}

/// Datagrams under way that the socket had no room for.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) to: Place,
    pub(super) bytes: Vec<u8>,
    pub(super) segment: usize,
}

/// Both sides of every channel, by number.
#[derive(Debug)]
pub(super) struct ChannelTable {
    limits: ChannelLimits,
    sides: HashMap<u64, Side>,
    /// Whose queues are not empty, in the order of their turns.
    turns: VecDeque<u64>,
}

#[derive(Debug)]
struct Side {
    other: u64,
    key: RelayKey,
    place: Option<Place>,
    /// Of the last binding.
    counter: u64,
    bucket: Bucket,
    quota: Quota,
    queue: VecDeque<Waiting>,
    queued: usize,
}

impl ChannelTable {
    pub(super) fn new(limits: ChannelLimits) -> Self {
        Self { limits, sides: HashMap::new(), turns: VecDeque::new() }
    }

    /// Opens a channel between two numbers; false: one of them is taken.
    pub(super) fn open(
        &mut self,
        now: Instant,
        sides: [(u64, RelayKey); 2],
        quota: &Quota,
    ) -> bool {
        let [(first, _), (second, _)] = &sides;
        let is_taken = |number| self.sides.contains_key(number);
        if first == second || is_taken(first) || is_taken(second) {
            return false;
        }
        let numbers = [*first, *second];
        for ((number, key), other) in sides.into_iter().zip(numbers.into_iter().rev()) {
            let bucket = Bucket::new(now, self.limits.bytes, self.limits.datagrams);
            let (queue, queued) = (VecDeque::new(), 0);
            let (place, counter, quota) = (None, 0, quota.clone());
            let side = Side { other, key, place, counter, bucket, quota, queue, queued };
            self.sides.insert(number, side);
        }
        true
    }

    /// Closes the channel that has this number on one side.
    pub(super) fn close(&mut self, number: u64) {
        if let Some(side) = self.sides.remove(&number) {
            self.sides.remove(&side.other);
            self.turns.retain(|turn| *turn != number && *turn != side.other);
        }
    }

    /// A binding has come: the answer to send back, if it is genuine and new.
    pub(super) fn bind(
        &mut self,
        from: Place,
        (number, counter): (u64, u64),
        frame: &[u8],
    ) -> Result<[u8; BINDING_LEN], Refusal> {
        let side = self.sides.get_mut(&number).ok_or(Refusal::Unknown)?;
        if counter <= side.counter || !side.key.has_made(frame) {
            return Err(Refusal::Forged);
        }
        side.counter = counter;
        side.place = Some(from);
        Ok(RelayFrame::bound(&side.key, number, counter, from.addr))
    }

    /// Whether so many datagrams of `number`, so long together, may go on; and where to.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        (from, number): (SocketAddr, u64),
        (bytes, datagrams): (usize, usize),
    ) -> Result<Route, Refusal> {
        let side = self.sides.get_mut(&number).ok_or(Refusal::Unknown)?;
        if side.place.is_none_or(|place| place.addr != from) {
            return Err(Refusal::Unbound);
        }
        let (other, is_behind) = (side.other, !side.queue.is_empty());
        if !side.bucket.take(now, bytes as u64, datagrams as u64) {
            return Err(Refusal::TooMany);
        }
        if !side.quota.take(bytes as u64) {
            return Err(Refusal::Spent);
        }
        let to = self.sides.get(&other).and_then(|side| side.place).ok_or(Refusal::Unbound)?;
        Ok(Route { to, number: other, is_behind })
    }

    /// Whether any wait.
    pub(super) fn is_waiting(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Keeps what the socket has no room for until its turn comes.
    pub(super) fn keep(&mut self, number: u64, waiting: Waiting) -> Result<(), Refusal> {
        let side = self.sides.get_mut(&number).ok_or(Refusal::Unknown)?;
        if side.queued + waiting.bytes.len() > self.limits.queue {
            return Err(Refusal::Overflowed);
        }
        if side.queue.is_empty() {
            self.turns.push_back(number);
        }
        side.queued += waiting.bytes.len();
        side.queue.push_back(waiting);
        Ok(())
    }

    /// What goes next: a train of each side that waits, in turn.
    pub(super) fn next_waiting(&mut self) -> Option<(u64, Waiting)> {
        let number = self.turns.pop_front()?;
        let side = self.sides.get_mut(&number)?;
        let waiting = side.queue.pop_front()?;
        side.queued -= waiting.bytes.len();
        if !side.queue.is_empty() {
            self.turns.push_back(number);
        }
        Some((number, waiting))
    }

    /// Gives back the rest of what could not be sent: it is the next of its side again.
    pub(super) fn put_back(&mut self, number: u64, waiting: Waiting) {
        let Some(side) = self.sides.get_mut(&number) else { return };
        if side.queue.is_empty() {
            self.turns.push_front(number);
        }
        side.queued += waiting.bytes.len();
        side.queue.push_front(waiting);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shell::clock;

    const LIMITS: ChannelLimits = ChannelLimits { bytes: 10_000, datagrams: 100, queue: 3_000 };
    const KEYS: [RelayKey; 2] = [RelayKey([1; 32]), RelayKey([2; 32])];

    fn place(port: u16) -> Place {
        Place { addr: SocketAddr::new([192, 0, 2, 1].into(), port), local_ip: None }
    }

    /// A channel of alice (number 1) and bob (number 2), who is bound at port 2.
    fn table(now: Instant) -> ChannelTable {
        let mut table = ChannelTable::new(LIMITS);
        let [alice, bob] = KEYS;
        assert!(table.open(now, [(1, alice), (2, bob)], &Quota::none()));
        bind(&mut table, 2, 2, 1).expect("bound");
        table
    }

    fn route(port: u16, number: u64) -> Result<Route, Refusal> {
        Ok(Route { to: place(port), number, is_behind: false })
    }

    fn bind(
        table: &mut ChannelTable,
        port: u16,
        number: u64,
        counter: u64,
    ) -> Result<[u8; BINDING_LEN], Refusal> {
        let key = &KEYS[usize::try_from(number - 1).expect("small")];
        let frame = RelayFrame::bind(key, number, counter);
        table.bind(place(port), (number, counter), &frame)
    }

    #[test]
    fn datagrams_go_to_where_the_other_side_was_bound_last() {
        let now = clock::now().instant;
        let mut table = table(now);
        let from = |port| (place(port).addr, 1);
        assert_eq!(table.admit(now, from(7), (9, 1)), Err(Refusal::Unbound), "not bound yet");
        let bound = bind(&mut table, 7, 1, 1).expect("bound");
        let said = RelayFrame::Bound { channel: 1, counter: 1, seen: place(7).addr };
        assert_eq!(RelayFrame::decode(&bound), Some(said));
        assert!(KEYS[0].has_made(&bound), "the answer is genuine");
        assert_eq!(table.admit(now, from(7), (9, 1)), route(2, 2));
        assert_eq!(table.admit(now, from(8), (9, 1)), Err(Refusal::Unbound), "from elsewhere");
        bind(&mut table, 8, 1, 2).expect("moved");
        assert_eq!(table.admit(now, from(7), (9, 1)), Err(Refusal::Unbound), "no longer there");
        assert_eq!(table.admit(now, from(8), (9, 1)), route(2, 2));
        assert_eq!(table.admit(now, (place(2).addr, 2), (9, 1)), route(8, 1));
    }

    #[test]
    fn replayed_and_forged_bindings_move_nobody() {
        let now = clock::now().instant;
        let mut table = table(now);
        bind(&mut table, 7, 1, 5).expect("bound");
        assert_eq!(bind(&mut table, 666, 1, 5), Err(Refusal::Forged), "a replay");
        assert_eq!(bind(&mut table, 666, 1, 4), Err(Refusal::Forged), "an older one");
        let frame = RelayFrame::bind(&RelayKey([9; 32]), 1, 6);
        assert_eq!(table.bind(place(666), (1, 6), &frame), Err(Refusal::Forged));
        let frame = RelayFrame::bind(&KEYS[0], 3, 6);
        assert_eq!(table.bind(place(666), (3, 6), &frame), Err(Refusal::Unknown));
        assert_eq!(table.admit(now, (place(7).addr, 1), (9, 1)), route(2, 2));
    }

    #[test]
    fn a_side_sends_no_more_than_it_may_and_the_other_is_not_charged() {
        let now = clock::now().instant;
        let mut table = table(now);
        bind(&mut table, 1, 1, 1).expect("bound");
        let mut alice = |now| table.admit(now, (place(1).addr, 1), (1_000, 1));
        let carried = (0..50).filter(|_| alice(now).is_ok()).count();
        assert_eq!(carried, 10, "10,000 bytes");
        assert_eq!(alice(now), Err(Refusal::TooMany));
        assert!(alice(now + Duration::from_millis(100)).is_ok(), "a tenth of a second's worth");
        assert!(alice(now + Duration::from_millis(100)).is_err());
        assert!(table.admit(now, (place(2).addr, 2), (1_000, 1)).is_ok());
        let many = table.admit(now, (place(2).addr, 2), (101, 101));
        assert_eq!(many, Err(Refusal::TooMany), "a hundred datagrams");
    }

    #[test]
    fn a_channel_carries_what_its_pass_grants_and_no_more_both_ways_together() {
        let now = clock::now().instant;
        let mut table = ChannelTable::new(LIMITS);
        let [alice, bob] = KEYS;
        let quota = Quota::of(1_000);
        assert!(table.open(now, [(1, alice), (2, bob)], &quota));
        bind(&mut table, 1, 1, 1).expect("bound");
        bind(&mut table, 2, 2, 1).expect("bound");
        let (alice, bob) = ((place(1).addr, 1), (place(2).addr, 2));
        assert!(table.admit(now, alice, (600, 1)).is_ok());
        assert!(table.admit(now, bob, (300, 1)).is_ok() && !quota.is_spent());
        assert_eq!(table.admit(now, alice, (200, 1)), Err(Refusal::Spent));
        assert_eq!(table.admit(now, bob, (1, 1)), Err(Refusal::Spent), "for good");
        assert!(quota.is_spent());
    }

    #[test]
    fn who_waits_has_its_turn_and_queues_are_bounded() {
        let now = clock::now().instant;
        let mut table = table(now);
        let waiting = |mark| Waiting { to: place(2), bytes: vec![mark; 1_000], segment: 1_000 };
        for mark in 0..3 {
            table.keep(1, waiting(mark)).expect("room");
        }
        assert_eq!(table.keep(1, waiting(9)), Err(Refusal::Overflowed));
        table.keep(2, waiting(100)).expect("the other side has a queue of its own");
        bind(&mut table, 1, 1, 1).expect("bound");
        let behind = table.admit(now, (place(1).addr, 1), (9, 1)).expect("admitted");
        assert!(behind.is_behind && table.is_waiting());
        let (number, first) = table.next_waiting().expect("one");
        assert_eq!((number, first.bytes[0]), (1, 0));
        let rest = Waiting { bytes: vec![0; 10], ..first };
        table.put_back(number, rest);
        let order = std::iter::from_fn(|| table.next_waiting());
        let order: Vec<_> = order.map(|(number, waiting)| (number, waiting.bytes[0])).collect();
        assert_eq!(order, [(2, 100), (1, 0), (1, 1), (1, 2)]);
        assert!(!table.is_waiting());
    }

    #[test]
    fn a_closed_channel_is_gone_on_both_sides_with_what_waited() {
        let now = clock::now().instant;
        let mut table = table(now);
        table.keep(1, Waiting { to: place(2), bytes: vec![0; 9], segment: 9 }).expect("room");
        table.close(2);
        assert!(!table.is_waiting() && table.sides.is_empty());
        assert_eq!(table.admit(now, (place(2).addr, 2), (9, 1)), Err(Refusal::Unknown));
        let [alice, bob] = KEYS;
        let twice = [(1, alice.clone()), (1, bob.clone())];
        assert!(!table.open(now, twice, &Quota::none()), "one number twice");
        assert!(table.open(now, [(1, alice), (2, bob)], &Quota::none()));
    }
}
