//! A small world in virtual time: hosts, networks, routers, translators and firewalls.

mod answer;
mod change;
mod error;
mod forward;
mod gate;
mod graph;
mod packet;
mod pass;
mod queue;
mod routes;
mod stats;
mod way;

pub use error::WorldError;
pub use packet::{
    Addressing, Arrival, Echo, HostChange, IcmpError, Kind, Packet, Problem, Protocol, Quoted,
    TcpFlags, Unreachable,
};
pub use stats::{NatStats, WorldStats};

use std::{collections::VecDeque, time::Instant};

use self::{
    gate::Gate,
    graph::{Family, Graph},
    queue::{Place, Queue, Stage, Travelling},
    routes::Routes,
};
use crate::{
    LinkStats,
    topology::{Happening, Topology},
};

/// A small world that a topology describes, in virtual time; `P` is the driver's payload.
///
/// ```text
///  alice ──up──▶ home ──down──▶ box ──up──▶ internet ──down──▶ bob
///        ◀─down─      ◀──up───      ◀─down─          ◀──up────
/// ```
///
/// Every attachment has two lanes. A packet goes through its sender's `up`, crosses the network to
/// the next box on the shortest way (or to every host there that may hear it), and goes through
/// that one's `down`. A lane decides a packet's fate when it is entered, so every queue sees
/// packets in the order in which they come to it.
///
/// # Who drives it
/// As with a [`Network`](crate::Network), the caller owns time: it sends, waits until
/// [`Self::poll_timeout`], takes every [`Self::poll_delivery`], then every [`Self::poll_change`].
/// The payload is opaque: a driver compares the addresses and the [`Kind`] of what arrives with
/// what its bytes say and corrects the bytes.
///
/// # What the boxes do
/// - *Networks* find a receiver by its address, without ARP or neighbour discovery. Multicast and
///   broadcast reach the hosts on the network and never a router.
/// - *Routers* know the shortest way to every network they can see, and upwards for all others.
///   They count hops, answer pings, and say by ICMP why a packet goes no further: no way, nobody
///   there, hop limit, too long. Nothing is ever cut in fragments.
/// - *Translators* follow RFC 4787, RFC 5382 and RFC 5508 for IPv4. What is inside cannot be seen
///   from outside; two homes may use the same addresses. IPv6 they do not translate: they let in
///   what was asked for, like a firewall, as home routers do.
/// - *Firewalls* let in what was asked for, in both families (RFC 6092).
///
/// # Events
/// Links that go down swallow what enters, without a word; what is under way still arrives. What
/// is under way from or to an interface that moves is lost. A rebound translator gives other
/// ports; a renumbered one forgets its mappings and may give the same.
///
/// # Invariants
/// - Same seed, topology and packets: the same arrivals, bit by bit; and every packet that was
///   sent or made is delivered, under way or counted with the reason why not
///   (`random_worlds_lose_nothing_without_counting_it_and_can_be_replayed`).
/// - Chance is per flow and lane (`another_flow_does_not_change_what_chance_does_to_this_one`).
/// - Translators behave as configured (`a_probe_finds_every_behaviour_as_it_was_configured`), and
///   pairs of them can be punched exactly where those of real kernels can
///   (`every_pair_of_translators_is_punched_or_not_as_with_real_kernels`).
///
/// # Example
/// ```
/// use std::time::Instant;
/// use portolan_netsim::{Kind, Packet, Protocol, World, WorldError, topology::Topology};
///
/// fn greet(topology: &Topology, start: Instant) -> Result<(), WorldError> {
///     let mut world = World::new(topology, start)?;
///     let Some(alice) = world.host("alice") else { return Ok(()) };
///     world.send(start, alice, Packet {
///         protocol: Protocol::Udp,
///         source: ([192, 168, 1, 2], 5000).into(),
///         destination: ([203, 0, 113, 9], 7275).into(),
///         size: 28 + 5,
///         ecn: None,
///         hop_limit: 64,
///         may_fragment: false,
///         kind: Kind::Plain,
///         payload: b"hello",
///     });
///     while let Some(at) = world.poll_timeout() {
///         while let Some(arrival) = world.poll_delivery(at) {
///             println!("from {} at {at:?}", arrival.packet.source);
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct World<P> {
    graph: Graph,
    routes: Routes,
    /// One a vertex.
    gates: Vec<Gate>,
    queue: Queue<P>,
    arrived: VecDeque<Arrival<P>>,
    timeline: VecDeque<(Instant, Happening)>,
    changes: VecDeque<HostChange>,
    stats: WorldStats,
    /// The latest time that the driver or an event has named.
    now: Instant,
}

/// An interface of a node; only good for the world that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(usize);

impl<P: Clone> World<P> {
    /// Brings a topology to life; its timeline counts from `start`.
    ///
    /// # Errors
    /// When a name leads nowhere or an address does not fit, in the topology or in its timeline.
    ///
    /// # Panics
    /// When a link's probability lies outside 0..=1 or its rate is zero.
    pub fn new(topology: &Topology, start: Instant) -> Result<Self, WorldError> {
        let mut world = Self::without_timeline(topology, start)?;
        change::rehearse(&mut Self::without_timeline(topology, start)?, &topology.timeline)?;
        world.timeline = topology
            .timeline
            .iter()
            .map(|moment| (start + moment.at, moment.what.clone()))
            .collect();
        world.timeline.make_contiguous().sort_by_key(|(at, _)| *at);
        Ok(world)
    }

    fn without_timeline(topology: &Topology, start: Instant) -> Result<Self, WorldError> {
        let graph = Graph::new(topology)?;
        Ok(Self {
            routes: Routes::new(&graph),
            gates: graph
                .vertices
                .iter()
                .filter_map(|vertex| gate(topology, &vertex.name))
                .collect(),
            graph,
            queue: Queue::new(),
            arrived: VecDeque::new(),
            timeline: VecDeque::new(),
            changes: VecDeque::new(),
            stats: WorldStats::default(),
            now: start,
        })
    }

    /// The first interface of a host (or of another node).
    #[must_use]
    pub fn host(&self, name: &str) -> Option<InterfaceId> {
        self.graph.vertices[self.graph.vertex(name)?].interfaces.first().copied()
    }

    /// An interface by its name. Those of translators and firewalls are also found as `inside` and
    /// `outside`.
    #[must_use]
    pub fn interface(&self, node: &str, interface: &str) -> Option<InterfaceId> {
        self.graph.interface(node, interface)
    }

    /// How an interface is set up now.
    ///
    /// # Panics
    /// When the interface is one of another world.
    #[must_use]
    pub fn addressing(&self, id: InterfaceId) -> Addressing {
        let interface = &self.graph.interfaces[id.0];
        let segment = &self.graph.segments[interface.segment];
        let with_length = |address| Some((address, segment.prefix_of(address)?));
        Addressing {
            addresses: interface.addresses.iter().copied().filter_map(with_length).collect(),
            gateways: [Family::V4, Family::V6]
                .into_iter()
                .filter(|family| interface.address(*family).is_some())
                .filter_map(|family| self.routes.gateway(&self.graph, interface.segment, family))
                .collect(),
            mtu: interface.up.lane.link.mtu,
        }
    }

    /// Takes a packet that a host sends out of one of its interfaces.
    ///
    /// # Panics
    /// When the interface is one of another world.
    pub fn send(&mut self, now: Instant, from: InterfaceId, packet: Packet<P>) {
        self.advance(now);
        self.stats.sent += 1;
        self.graph.learn(from, packet.source.ip());
        self.leave_host(from, packet);
    }

    /// When something happens next: a packet moves on or arrives, or the timeline changes the
    /// world. Nothing happens by itself before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let arrived = self.arrived.front().map(|arrival| arrival.at);
        let scheduled = self.timeline.front().map(|(at, _)| *at);
        [arrived, scheduled, self.queue.next_at()].into_iter().flatten().min()
    }

    /// Takes the next packet that has arrived by `now`, in the order of arrival.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<Arrival<P>> {
        while self.arrived.is_empty() && self.step(now) {}
        let arrival = self.arrived.pop_front()?;
        self.stats.delivered += 1;
        Some(arrival)
    }

    /// Takes the next thing that a driver must do to a host; asked after every
    /// [`Self::poll_delivery`] that gave nothing more, and after [`Self::apply`].
    pub fn poll_change(&mut self) -> Option<HostChange> {
        self.changes.pop_front()
    }

    /// Packets that have not arrived yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.queue.len() + self.arrived.len()
    }

    /// What became of all packets, other than in links.
    #[must_use]
    pub const fn stats(&self) -> WorldStats {
        self.stats
    }

    /// What the two directions of an attachment have done: up to the network, and down from it.
    ///
    /// # Panics
    /// When the interface is one of another world.
    #[must_use]
    pub fn link_stats(&self, id: InterfaceId) -> (LinkStats, LinkStats) {
        let interface = &self.graph.interfaces[id.0];
        (interface.up.lane.stats, interface.down.lane.stats)
    }

    /// What a translator has done; `None`: there is none of this name.
    #[must_use]
    pub fn nat_stats(&self, nat: &str) -> Option<NatStats> {
        match &self.gates[self.graph.vertex(nat)?] {
            Gate::Translator(gate) => Some(gate.v4.stats(self.now)),
            Gate::Open | Gate::Guard(_) => None,
        }
    }

    /// All translators, with their names, in the order of the topology.
    pub fn nats(&self) -> impl Iterator<Item = (&str, NatStats)> {
        let gates = self.graph.vertices.iter().zip(&self.gates);
        gates.filter_map(|(vertex, gate)| match gate {
            Gate::Translator(gate) => Some((vertex.name.as_str(), gate.v4.stats(self.now))),
            Gate::Open | Gate::Guard(_) => None,
        })
    }

    /// Every interface there is, with the names of its node and its own.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceId, &str, &str)> {
        self.graph.interfaces.iter().enumerate().map(|(index, interface)| {
            let node = self.graph.vertices[interface.vertex].name.as_str();
            (InterfaceId(index), node, interface.name.as_str())
        })
    }

    /// Lets everything happen that is due.
    fn advance(&mut self, now: Instant) {
        while self.step(now) {}
        self.now = self.now.max(now);
    }

    /// Lets the next thing happen, if it is due; of the same time, what was scheduled comes first.
    fn step(&mut self, now: Instant) -> bool {
        let scheduled = self.timeline.front().map(|(at, _)| *at).filter(|at| *at <= now);
        let moves = self.queue.next_at();
        if let Some(at) = scheduled
            && moves.is_none_or(|moves| at <= moves)
        {
            self.now = self.now.max(at);
            if let Some((_, what)) = self.timeline.pop_front() {
                self.happen(&what);
            }
            return true;
        }
        let Some((at, travelling)) = self.queue.pop(now) else { return false };
        self.now = self.now.max(at);
        match travelling.stage {
            Stage::Crosses(crossing) => self.on_crossing(crossing, travelling),
            Stage::Arrives(place) => self.on_arrival(place, travelling),
        }
        true
    }

    fn place(&self, interface: InterfaceId) -> Place {
        Place { interface, moves: self.graph.interfaces[interface.0].moves }
    }

    fn has_left(&self, place: Place) -> bool {
        self.graph.interfaces[place.interface.0].moves != place.moves
    }

    fn push(&mut self, at: Instant, travelling: Travelling<P>) {
        self.queue.push(at, travelling);
    }
}

fn gate(topology: &Topology, name: &str) -> Option<Gate> {
    topology.node(name).map(|node| Gate::new(node, topology.seed))
}
