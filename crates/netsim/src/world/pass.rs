//! Through translators and firewalls.

use super::{
    InterfaceId, Kind, Packet, World,
    forward::InHand,
    gate::{Gate, Verdict},
    graph::Family,
    packet::Head,
};
use crate::topology::Unsolicited;

impl<P: Clone> World<P> {
    /// A packet has come to a translator. IPv6 it only guards, as home routers do.
    pub(super) fn on_translator(&mut self, entered: InterfaceId, hand: InHand<P>) {
        match Family::of(hand.packet.destination.ip()) {
            Family::V4 if self.is_inside(entered) => self.on_nat_from_inside(entered, hand),
            Family::V4 => self.on_nat_from_outside(entered, hand),
            Family::V6 => self.on_guard(entered, hand),
        }
    }

    fn on_nat_from_inside(&mut self, entered: InterfaceId, mut hand: InHand<P>) {
        let vertex = self.vertex(entered);
        if self.is_own(vertex, &hand.packet) {
            return match &self.gates[vertex] {
                Gate::Translator(gate) if gate.hairpins(&hand.packet) => self.hairpin(vertex, hand),
                Gate::Translator(_) | Gate::Guard(_) | Gate::Open => {
                    self.on_own(vertex, &hand.packet);
                }
            };
        }
        if !self.spend_hop(vertex, &mut hand) {
            return;
        }
        let Some((leaves, to)) = self.find_hop(vertex, &hand.packet) else { return };
        if !self.is_inside(leaves) {
            let mut head = hand.packet.head();
            match self.translate_outward(vertex, &mut head) {
                Verdict::Pass => hand.packet.readdress(head),
                verdict => return self.react(vertex, &hand.packet, verdict),
            }
        }
        self.enter_up(leaves, Some(to), hand);
    }

    /// Only what is for the outside address can be for anybody inside.
    fn on_nat_from_outside(&mut self, entered: InterfaceId, mut hand: InHand<P>) {
        let vertex = self.vertex(entered);
        let mut head = hand.packet.head();
        let verdict = match &mut self.gates[vertex] {
            Gate::Translator(gate) if gate.v4.is_outside(&hand.packet) => {
                gate.v4.inward(self.now, &mut head)
            }
            Gate::Translator(_) | Gate::Guard(_) | Gate::Open => Verdict::Unsolicited,
        };
        match verdict {
            Verdict::Pass if self.spend_hop(vertex, &mut hand) => {
                hand.packet.readdress(head);
                self.route(vertex, hand);
            }
            Verdict::Pass => {}
            verdict => self.react(vertex, &hand.packet, verdict),
        }
    }

    /// From inside to inside by outside addresses (RFC 4787 §6): both are translated, so that the
    /// receiver sees the sender's outside address.
    fn hairpin(&mut self, vertex: usize, mut hand: InHand<P>) {
        let mut head = hand.packet.head();
        let mut verdict = self.translate_outward(vertex, &mut head);
        if verdict == Verdict::Pass
            && let Gate::Translator(gate) = &mut self.gates[vertex]
        {
            verdict = gate.v4.inward(self.now, &mut head);
            gate.v4.count_hairpin(verdict);
        }
        match verdict {
            Verdict::Pass if self.spend_hop(vertex, &mut hand) => {
                hand.packet.readdress(head);
                self.route(vertex, hand);
            }
            Verdict::Pass => {}
            verdict => self.react(vertex, &hand.packet, verdict),
        }
    }

    fn translate_outward(&mut self, vertex: usize, head: &mut Head) -> Verdict {
        match &mut self.gates[vertex] {
            Gate::Translator(gate) => gate.v4.outward(self.now, head),
            Gate::Guard(_) | Gate::Open => Verdict::Pass,
        }
    }

    /// A packet has come to a box that guards its inside without translation.
    pub(super) fn on_guard(&mut self, entered: InterfaceId, mut hand: InHand<P>) {
        let vertex = self.vertex(entered);
        let from_inside = self.is_inside(entered);
        match (self.is_own(vertex, &hand.packet), from_inside) {
            (true, true) => return self.on_own(vertex, &hand.packet),
            (true, false) => return self.react(vertex, &hand.packet, Verdict::Unsolicited),
            (false, _) => {}
        }
        if !self.spend_hop(vertex, &mut hand) {
            return;
        }
        let Some((leaves, to)) = self.find_hop(vertex, &hand.packet) else { return };
        let verdict = match (from_inside, self.is_inside(leaves)) {
            (true, false) => self.guard_outward(vertex, &hand.packet.head()),
            (false, true) => self.guard_inward(vertex, &hand.packet.head()),
            (true, true) | (false, false) => Verdict::Pass,
        };
        match verdict {
            Verdict::Pass => self.enter_up(leaves, Some(to), hand),
            verdict => self.react(vertex, &hand.packet, verdict),
        }
    }

    fn guard_outward(&mut self, vertex: usize, head: &Head) -> Verdict {
        match &mut self.gates[vertex] {
            Gate::Translator(gate) => gate.v6.outward(self.now, head),
            Gate::Guard(guard) => guard.outward(self.now, head),
            Gate::Open => Verdict::Pass,
        }
    }

    fn guard_inward(&mut self, vertex: usize, head: &Head) -> Verdict {
        match &mut self.gates[vertex] {
            Gate::Translator(gate) => gate.v6.inward(self.now, head),
            Gate::Guard(guard) => guard.inward(self.now, head),
            Gate::Open => Verdict::Pass,
        }
    }

    /// Counts a packet that does not pass, and answers it if that is the box's way.
    fn react(&mut self, vertex: usize, packet: &Packet<P>, verdict: Verdict) {
        match verdict {
            Verdict::Pass => {}
            Verdict::Blocked => self.stats.blocked += 1,
            Verdict::Refused => self.stats.refused += 1,
            Verdict::Unsolicited => {
                self.stats.filtered += 1;
                match self.gates[vertex].unsolicited() {
                    Unsolicited::Drop => {}
                    Unsolicited::Reject => self.answer(vertex, packet),
                }
            }
        }
    }

    /// An error that a translator makes itself says what its receiver knows: outside, the outside
    /// address of the host that a packet was for; inside, the inside address of its sender.
    pub(super) fn translate_own_error(&self, vertex: usize, packet: &mut Packet<P>) {
        let (Gate::Translator(gate), Kind::Error(_)) = (&self.gates[vertex], packet.kind) else {
            return;
        };
        let is_back = gate.v4.is_outside(packet);
        let hop = self.routes.out_of_box(&self.graph, vertex, packet.destination.ip());
        let goes_out = hop.is_some_and(|hop| !self.is_inside(hop.leaves));
        let mut head = packet.head();
        if is_back || goes_out {
            gate.v4.error_outward(self.now, &mut head);
        }
        if is_back {
            gate.v4.error_inward(self.now, &mut head);
        }
        packet.readdress(head);
    }

    fn is_inside(&self, id: InterfaceId) -> bool {
        self.graph.vertices[self.vertex(id)].interfaces.first() == Some(&id)
    }
}
