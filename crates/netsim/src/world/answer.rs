//! What boxes answer: ICMP errors, resets, echo replies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    Echo, IcmpError, InterfaceId, Kind, Packet, Problem, Protocol, TcpFlags, Unreachable, World,
    forward::InHand,
    graph::{Family, Shape},
    queue::{Stage, Travelling},
    routes::Hop,
};

/// Hops that a packet made by a box has before it.
const HOP_LIMIT: u8 = 64;
/// The longest ICMP error (RFC 1812 §4.3.2.3); in IPv6 the smallest MTU (RFC 4443 §3).
const ERROR_MAX_V4: u32 = 576;
const ERROR_MAX_V6: u32 = 1280;
/// IP and ICMP headers before the quoted packet (RFC 792, RFC 4443).
const ERROR_HEADERS_V4: u32 = 20 + 8;
const ERROR_HEADERS_V6: u32 = 40 + 8;
/// An IP and a TCP header without options.
const RESET_V4: u32 = 20 + 20;
const RESET_V6: u32 = 40 + 20;

impl<P: Clone> World<P> {
    /// A packet for a box itself: pings are answered, everything else is refused.
    pub(super) fn on_own(&mut self, vertex: usize, packet: &Packet<P>) {
        self.stats.consumed += 1;
        self.answer(vertex, packet);
    }

    /// What a host would answer that listens nowhere (RFC 1122 §3.2.2.1, RFC 9293 §3.10.7.1).
    pub(super) fn answer(&mut self, vertex: usize, packet: &Packet<P>) {
        match (packet.kind, packet.protocol) {
            (Kind::Error(_) | Kind::Echo(Echo::Reply), _) => {}
            (Kind::Echo(Echo::Request), _) => {
                let mut reply = reply(packet, Protocol::Icmp, packet.size);
                reply.kind = Kind::Echo(Echo::Reply);
                self.originate(vertex, reply);
            }
            (Kind::Tcp(flags), _) => self.reset(vertex, packet, flags),
            (Kind::Plain, Protocol::Tcp) => self.reset(vertex, packet, TcpFlags::default()),
            (Kind::Plain, Protocol::Udp | Protocol::Icmp | Protocol::Other(_)) => {
                self.refuse(vertex, packet, Problem::Unreachable(Unreachable::Port));
            }
        }
    }

    fn reset(&mut self, vertex: usize, packet: &Packet<P>, flags: TcpFlags) {
        if flags.rst {
            return;
        }
        let size = if packet.source.is_ipv4() { RESET_V4 } else { RESET_V6 };
        let mut reset = reply(packet, Protocol::Tcp, size);
        reset.kind = Kind::Tcp(TcpFlags { rst: true, ack: !flags.ack, ..TcpFlags::default() });
        self.originate(vertex, reset);
    }

    /// Tells the sender of a packet, by an ICMP error from a box, why it goes no further.
    pub(super) fn refuse(&mut self, vertex: usize, packet: &Packet<P>, what: Problem) {
        if deserves_error(packet) {
            self.originate(vertex, error(packet, what));
        }
    }

    /// A packet is longer than the link can carry: dropped, and said so if it may not be cut.
    ///
    /// The box before the link says it; if a host is, its gateway does.
    pub(super) fn too_big(
        &mut self,
        from: InterfaceId,
        to: Option<InterfaceId>,
        packet: &Packet<P>,
        mtu: u32,
    ) {
        if packet.may_fragment && packet.source.is_ipv4() {
            return;
        }
        let what = Problem::TooBig { mtu };
        match self.graph.shape(from) {
            Shape::Host => self.tell_host(from, to, packet, what),
            Shape::Router | Shape::Translator | Shape::Firewall => {
                self.refuse(self.graph.interfaces[from.0].vertex, packet, what);
            }
        }
    }

    /// An error for a host about a packet that did not even leave its network; from `by`, or from
    /// the host itself.
    pub(super) fn tell_host(
        &mut self,
        host: InterfaceId,
        by: Option<InterfaceId>,
        packet: &Packet<P>,
        what: Problem,
    ) {
        if !deserves_error(packet) {
            return;
        }
        let family = Family::of(packet.source.ip());
        let speaker = self.graph.interfaces[by.unwrap_or(host).0].address(family);
        let mut error = error(packet, what);
        set_source(&mut error, speaker.unwrap_or_else(|| packet.source.ip()));
        self.stats.made += 1;
        let stage = Stage::Arrives(self.place(host));
        self.push(self.now, Travelling { packet: error, flipped_bit: None, stage });
    }

    /// Sends a packet that a box has made; one without a source gets the box's address towards
    /// its destination.
    pub(super) fn originate(&mut self, vertex: usize, mut packet: Packet<P>) {
        self.stats.made += 1;
        self.translate_own_error(vertex, &mut packet);
        let to = packet.destination.ip();
        let hop = self.routes.out_of_box(&self.graph, vertex, to);
        let Some(Hop { leaves, to: Some(next) }) = hop else {
            self.stats.unrouted += 1;
            return;
        };
        if packet.source.ip().is_unspecified()
            && let Some(own) = self.graph.interfaces[leaves.0].address(Family::of(to))
        {
            set_source(&mut packet, own);
        }
        self.enter_up(leaves, Some(next), InHand { packet, flipped_bit: None });
    }
}

/// No error is ever made about an error, about a packet for many, or for a sender that is not one
/// host (RFC 1122 §3.2.2, RFC 4443 §2.4).
fn deserves_error<P>(packet: &Packet<P>) -> bool {
    let is_error = matches!(packet.kind, Kind::Error(_));
    let is_for_many = match packet.destination.ip() {
        IpAddr::V4(to) => to.is_multicast() || to.is_broadcast(),
        IpAddr::V6(to) => to.is_multicast(),
    };
    let source = packet.source.ip();
    !is_error && !is_for_many && !source.is_multicast() && !source.is_unspecified()
}

/// A packet the other way, with the payload of the one that it answers.
fn reply<P: Clone>(packet: &Packet<P>, protocol: Protocol, size: u32) -> Packet<P> {
    Packet {
        protocol,
        source: packet.destination,
        destination: packet.source,
        size,
        ecn: None,
        hop_limit: HOP_LIMIT,
        may_fragment: false,
        kind: Kind::Plain,
        payload: packet.payload.clone(),
    }
}

/// An ICMP error about a packet; its source is still open.
fn error<P: Clone>(packet: &Packet<P>, what: Problem) -> Packet<P> {
    let (nobody, headers, max): (IpAddr, u32, u32) = match packet.source.ip() {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), ERROR_HEADERS_V4, ERROR_MAX_V4),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), ERROR_HEADERS_V6, ERROR_MAX_V6),
    };
    let size = packet.size.saturating_add(headers).min(max);
    let mut error = reply(packet, Protocol::Icmp, size);
    error.source = SocketAddr::new(nobody, 0);
    error.destination.set_port(0);
    error.kind = Kind::Error(IcmpError { what, by: nobody, about: packet.quoted() });
    error
}

/// An error says who makes it also in itself.
fn set_source<P>(packet: &mut Packet<P>, source: IpAddr) {
    packet.source.set_ip(source);
    if let Kind::Error(error) = &mut packet.kind {
        error.by = source;
    }
}
