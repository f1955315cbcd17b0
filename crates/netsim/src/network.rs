//! Hosts, the links between them and the packets under way.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    Change, Delivery, Ecn, Link, LinkStats, Where,
    flow::Flow,
    lane::{Lane, Passage},
    packet::wire_size,
    timeline::Timeline,
};

/// A network in virtual time; see the [crate] for its invariants.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    /// How a link begins that no change has named yet.
    template: Link,
    template_up: bool,
    lanes: BTreeMap<(IpAddr, IpAddr), Lane>,
    flows: HashMap<(SocketAddr, SocketAddr), Flow>,
    addresses: Addresses,
    timeline: Timeline,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    /// Breaks ties between packets that arrive at the same time: first in, first out.
    next_number: u64,
}

impl Network {
    /// Perfect links between any two hosts; all chance comes from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            template: Link::default(),
            template_up: true,
            lanes: BTreeMap::new(),
            flows: HashMap::new(),
            addresses: Addresses::default(),
            timeline: Timeline::default(),
            under_way: BinaryHeap::new(),
            next_number: 0,
        }
    }

    /// Sets how links behave from now on.
    ///
    /// # Panics
    /// When a probability lies outside 0..=1 or a rate is zero.
    pub fn set_link(&mut self, place: Where, link: Link) {
        self.apply(Change::Link(place, link));
    }

    /// Lets `change` happen at `at`; those of the same time in the order of these calls.
    ///
    /// # Panics
    /// When a probability lies outside 0..=1 or a rate is zero.
    pub fn schedule(&mut self, at: Instant, change: Change) {
        if let Change::Link(_, link) = &change {
            link.check();
        }
        self.timeline.schedule(at, change);
    }

    /// Schedules a time in which the links at `place` swallow everything.
    pub fn schedule_blackhole(&mut self, place: Where, from: Instant, duration: Duration) {
        self.schedule(from, Change::Down(place));
        self.schedule(from + duration, Change::Up(place));
    }

    /// Lets `change` happen at once.
    ///
    /// # Panics
    /// When a probability lies outside 0..=1 or a rate is zero.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Link(place, link) => self.replace_link(place, link),
            Change::Down(place) => self.set_up(place, false),
            Change::Up(place) => self.set_up(place, true),
            Change::Readdress { host, seen_as } => self.addresses.map(host, seen_as),
        }
    }

    /// Takes a datagram from a host. Its fate is decided here; what survives comes out of
    /// [`Self::poll_delivery`].
    pub fn send(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
        ecn: Option<Ecn>,
    ) {
        self.advance(now);
        let size = wire_size(to, bytes.len());
        let receiver = self.addresses.host(to);
        let seen_as = self.addresses.seen_as(from);
        let host = receiver.unwrap_or(to);

        let seed = self.seed;
        let flow = self.flows.entry((from, host)).or_insert_with(|| Flow::new(seed, from, host));
        let lane = self
            .lanes
            .entry((from.ip(), host.ip()))
            .or_insert_with(|| Lane::new(self.template, self.template_up));
        if receiver.is_none() {
            lane.turn_away(flow);
        } else if let Some(passage) = lane.pass(now, size, ecn, flow) {
            self.deliver_later(
                &passage,
                Delivery {
                    at: passage.arrival,
                    from: seen_as,
                    to: host,
                    bytes: bytes.to_vec(),
                    ecn: passage.ecn,
                },
            );
        }
    }

    /// When the next packet arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse(next)| next.0.at)
    }

    /// Takes the next packet that has arrived by `now`, in the order of arrival.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<Delivery> {
        self.under_way.peek().filter(|Reverse(next)| next.0.at <= now)?;
        self.under_way.pop().map(|Reverse(next)| next.0)
    }

    /// Packets that have not arrived yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// What the links at `place` have done so far.
    #[must_use]
    pub fn stats(&self, place: Where) -> LinkStats {
        let mut sum = LinkStats::default();
        match place {
            Where::Everywhere => self.lanes.values().for_each(|lane| sum += lane.stats),
            Where::Between { from, to } => {
                self.lanes.get(&(from, to)).into_iter().for_each(|lane| sum += lane.stats);
            }
        }
        sum
    }

    fn advance(&mut self, now: Instant) {
        while let Some(change) = self.timeline.poll(now) {
            self.apply(change);
        }
    }

    fn replace_link(&mut self, place: Where, link: Link) {
        link.check();
        if place == Where::Everywhere {
            self.template = link;
        }
        self.for_each_lane(place, |lane| lane.link = link);
    }

    fn set_up(&mut self, place: Where, up: bool) {
        if place == Where::Everywhere {
            self.template_up = up;
        }
        self.for_each_lane(place, |lane| lane.up = up);
    }

    fn for_each_lane(&mut self, place: Where, mut act: impl FnMut(&mut Lane)) {
        match place {
            Where::Everywhere => self.lanes.values_mut().for_each(act),
            Where::Between { from, to } => act(self
                .lanes
                .entry((from, to))
                .or_insert_with(|| Lane::new(self.template, self.template_up))),
        }
    }

    fn deliver_later(&mut self, passage: &Passage, mut delivery: Delivery) {
        if let Some(at) = passage.second {
            self.push(Delivery { at, ..delivery.clone() });
        }
        if let Some(bit) = passage.flipped_bit {
            flip_bit(&mut delivery.bytes, bit);
        }
        self.push(delivery);
    }

    fn push(&mut self, delivery: Delivery) {
        self.under_way.push(Reverse(UnderWay(delivery, self.next_number)));
        self.next_number += 1;
    }
}

/// Which host stands behind which address.
#[derive(Debug, Default)]
struct Addresses {
    seen_as: HashMap<SocketAddr, SocketAddr>,
    /// `None`: nobody, since the host that was there is seen elsewhere now.
    hosts: HashMap<SocketAddr, Option<SocketAddr>>,
}

impl Addresses {
    fn map(&mut self, host: SocketAddr, seen_as: SocketAddr) {
        let before = self.seen_as.insert(host, seen_as).unwrap_or(host);
        self.hosts.insert(before, None);
        self.hosts.insert(seen_as, Some(host));
    }

    fn seen_as(&self, host: SocketAddr) -> SocketAddr {
        self.seen_as.get(&host).copied().unwrap_or(host)
    }

    fn host(&self, address: SocketAddr) -> Option<SocketAddr> {
        self.hosts.get(&address).copied().unwrap_or(Some(address))
    }
}

/// Ordered by arrival, then by number.
#[derive(Debug)]
struct UnderWay(Delivery, u64);

impl UnderWay {
    const fn key(&self) -> (Instant, u64) {
        (self.0.at, self.1)
    }
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for UnderWay {}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Flips the bit that `draw` chooses; nothing in an empty payload.
fn flip_bit(bytes: &mut [u8], draw: u64) {
    let bits = bytes.len() as u64 * 8;
    let Some(bit) = draw.checked_rem(bits) else { return };
    if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|index| bytes.get_mut(index)) {
        *byte ^= 1 << (bit % 8);
    }
}
