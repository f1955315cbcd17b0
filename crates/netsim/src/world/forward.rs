//! From hop to hop.

use super::{
    Arrival, InterfaceId, Packet, Problem, Unreachable, World,
    graph::Shape,
    queue::{Crossing, Place, Stage, Travelling},
    routes::Hop,
};
use crate::lane::Passage;

/// A packet that a box has in its hands.
#[derive(Debug)]
pub(super) struct InHand<P> {
    pub(super) packet: Packet<P>,
    pub(super) flipped_bit: Option<u64>,
}

impl<P: Clone> World<P> {
    /// A host sends: to everyone, to somebody on its network, or to its gateway.
    pub(super) fn leave_host(&mut self, from: InterfaceId, packet: Packet<P>) {
        let to = packet.destination.ip();
        let segment = self.graph.interfaces[from.0].segment;
        if self.graph.segments[segment].is_for_all(to) {
            return self.enter_up(from, None, InHand { packet, flipped_bit: None });
        }
        match self.routes.out_of_host(&self.graph, from, to) {
            Some(Hop { to: Some(next), .. }) => {
                self.enter_up(from, Some(next), InHand { packet, flipped_bit: None });
            }
            Some(Hop { to: None, .. }) => {
                self.unreachable_at_home(from, &packet, Unreachable::Host);
            }
            None => self.unreachable_at_home(from, &packet, Unreachable::Network),
        }
    }

    fn unreachable_at_home(&mut self, from: InterfaceId, packet: &Packet<P>, what: Unreachable) {
        self.stats.unrouted += 1;
        self.tell_host(from, None, packet, Problem::Unreachable(what));
    }

    /// Sends a packet out of an interface, to another one or to all.
    pub(super) fn enter_up(&mut self, from: InterfaceId, to: Option<InterfaceId>, hand: InHand<P>) {
        let now = self.now;
        let stage = Stage::Crosses(Crossing { from: self.place(from), to });
        let way = &mut self.graph.interfaces[from.0].up;
        let mtu = way.is_too_narrow(&hand.packet).then_some(way.lane.link.mtu);
        let passage = way.pass(now, &hand.packet);
        if let Some(mtu) = mtu {
            self.too_big(from, to, &hand.packet, mtu);
        }
        self.travel(passage, hand, stage);
    }

    /// A packet has reached its sender's network.
    pub(super) fn on_crossing(&mut self, crossing: Crossing, travelling: Travelling<P>) {
        let Travelling { packet, flipped_bit, .. } = travelling;
        let hand = InHand { packet, flipped_bit };
        let from = crossing.from.interface;
        if self.has_left(crossing.from) {
            self.stats.moved += 1;
            return;
        }
        match crossing.to {
            None => self.spread(from, &hand),
            Some(to) if self.segment(from) != self.segment(to) => self.stats.moved += 1,
            Some(to) if self.is_apart(from, to) => self.stats.isolated += 1,
            Some(to) => self.enter_down(from, to, hand),
        }
    }

    /// Gives a copy to every other host on the network.
    fn spread(&mut self, from: InterfaceId, hand: &InHand<P>) {
        let segment = self.segment(from);
        let mut copies = 0_u64;
        if self.graph.segments[segment].multicast {
            for index in 0..self.graph.segments[segment].members.len() {
                let to = self.graph.segments[segment].members[index];
                if to == from || self.graph.shape(to) != Shape::Host || self.is_apart(from, to) {
                    continue;
                }
                copies += 1;
                let copy = InHand { packet: hand.packet.clone(), flipped_bit: hand.flipped_bit };
                self.enter_down(from, to, copy);
            }
        }
        match copies.checked_sub(1) {
            Some(beyond_first) => self.stats.copied += beyond_first,
            None => self.stats.unheard += 1,
        }
    }

    fn enter_down(&mut self, from: InterfaceId, to: InterfaceId, hand: InHand<P>) {
        let now = self.now;
        let stage = Stage::Arrives(self.place(to));
        let way = &mut self.graph.interfaces[to.0].down;
        let mtu = way.is_too_narrow(&hand.packet).then_some(way.lane.link.mtu);
        let passage = way.pass(now, &hand.packet);
        if let Some(mtu) = mtu {
            self.too_big(from, Some(to), &hand.packet, mtu);
        }
        self.travel(passage, hand, stage);
    }

    fn travel(&mut self, passage: Option<Passage>, hand: InHand<P>, stage: Stage) {
        let Some(Passage { arrival, second, flipped_bit, ecn }) = passage else { return };
        let InHand { mut packet, flipped_bit: before } = hand;
        packet.ecn = ecn;
        if let Some(at) = second {
            let copy = Travelling { packet: packet.clone(), flipped_bit: before, stage };
            self.push(at, copy);
        }
        self.push(arrival, Travelling { packet, flipped_bit: before.or(flipped_bit), stage });
    }

    /// A packet has come to an interface.
    pub(super) fn on_arrival(&mut self, place: Place, travelling: Travelling<P>) {
        let Travelling { packet, flipped_bit, .. } = travelling;
        if self.has_left(place) {
            self.stats.moved += 1;
            return;
        }
        match self.graph.shape(place.interface) {
            Shape::Host => {
                let (at, interface) = (self.now, place.interface);
                self.arrived.push_back(Arrival { at, interface, packet, flipped_bit });
            }
            Shape::Router => self.on_router(place.interface, InHand { packet, flipped_bit }),
            Shape::Translator => {
                self.on_translator(place.interface, InHand { packet, flipped_bit });
            }
            Shape::Firewall => self.on_guard(place.interface, InHand { packet, flipped_bit }),
        }
    }

    fn on_router(&mut self, entered: InterfaceId, mut hand: InHand<P>) {
        let vertex = self.vertex(entered);
        if self.is_own(vertex, &hand.packet) {
            self.on_own(vertex, &hand.packet);
        } else if self.spend_hop(vertex, &mut hand) {
            self.route(vertex, hand);
        }
    }

    /// Whether the packet may go on.
    pub(super) fn spend_hop(&mut self, vertex: usize, hand: &mut InHand<P>) -> bool {
        if hand.packet.hop_limit <= 1 {
            self.stats.hop_limit += 1;
            self.refuse(vertex, &hand.packet, Problem::HopLimit);
            return false;
        }
        hand.packet.hop_limit -= 1;
        true
    }

    /// Sends a packet on by the box's routes.
    pub(super) fn route(&mut self, vertex: usize, hand: InHand<P>) {
        if let Some((leaves, to)) = self.find_hop(vertex, &hand.packet) {
            self.enter_up(leaves, Some(to), hand);
        }
    }

    /// By which interface a box sends a packet, and to which. `None`: it has told the sender that
    /// there is no way.
    pub(super) fn find_hop(
        &mut self,
        vertex: usize,
        packet: &Packet<P>,
    ) -> Option<(InterfaceId, InterfaceId)> {
        let missing = match self.routes.out_of_box(&self.graph, vertex, packet.destination.ip()) {
            Some(Hop { leaves, to: Some(next) }) => return Some((leaves, next)),
            Some(Hop { to: None, .. }) => Unreachable::Host,
            None => Unreachable::Network,
        };
        self.stats.unrouted += 1;
        self.refuse(vertex, packet, Problem::Unreachable(missing));
        None
    }

    pub(super) fn is_own(&self, vertex: usize, packet: &Packet<P>) -> bool {
        let to = packet.destination.ip();
        let mut interfaces = self.graph.vertices[vertex].interfaces.iter();
        interfaces.any(|id| self.graph.interfaces[id.0].addresses.contains(&to))
    }

    /// Client isolation keeps hosts apart, not hosts and boxes.
    fn is_apart(&self, from: InterfaceId, to: InterfaceId) -> bool {
        self.graph.segments[self.segment(from)].isolated
            && self.graph.shape(from) == Shape::Host
            && self.graph.shape(to) == Shape::Host
    }

    pub(super) fn vertex(&self, id: InterfaceId) -> usize {
        self.graph.interfaces[id.0].vertex
    }

    fn segment(&self, id: InterfaceId) -> usize {
        self.graph.interfaces[id.0].segment
    }
}
