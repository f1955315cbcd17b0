//! Network address translation for IPv4 (RFC 4787, RFC 5382, RFC 5508, RFC 6888).

use std::{
    hash::Hasher,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use super::{
    Verdict, is_reset,
    ports::Ports,
    remote,
    sessions::Timeouts,
    table::{Key, Table},
};
use crate::{
    topology::{Nat, Scope},
    world::{Echo, Kind, NatStats, Packet, Protocol, Quoted, packet::Head, way::FlowHasher},
};

/// A translator's mappings.
#[derive(Debug)]
pub(in crate::world) struct Translator {
    outside: Option<Ipv4Addr>,
    rules: Rules,
    tcp: Table,
    udp: Table,
    echo: Table,
    stats: NatStats,
}

/// How it was configured.
#[derive(Debug)]
struct Rules {
    mapping: Scope,
    filtering: Scope,
    timeouts: Timeouts,
    mappings_max: usize,
    blocks_udp: bool,
    forwards: Vec<(u16, SocketAddr)>,
}

const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Translator {
    pub(super) fn new(name: &str, nat: &Nat, seed: u64) -> Self {
        let ports = |protocol: &str| {
            let mut stream = FlowHasher::default();
            stream.write(name.as_bytes());
            stream.write(protocol.as_bytes());
            Ports::new(nat.ports, seed, stream.finish())
        };
        Self {
            outside: v4(&nat.outside.addresses),
            rules: Rules {
                mapping: nat.mapping,
                filtering: nat.filtering,
                timeouts: Timeouts { udp: nat.udp_timeout, tcp: nat.tcp_timeout },
                mappings_max: usize::try_from(nat.mappings_max).unwrap_or(usize::MAX),
                blocks_udp: nat.blocks_udp,
                forwards: nat.forwards.clone(),
            },
            tcp: Table::new(ports("/ports/tcp")),
            udp: Table::new(ports("/ports/udp")),
            echo: Table::new(ports("/ports/echo")),
            stats: NatStats::default(),
        }
    }

    /// Takes another outside address: what was mapped to the old one is gone.
    pub(in crate::world) fn renumber(&mut self, now: Instant, addresses: &[IpAddr]) {
        self.forget(now);
        self.outside = v4(addresses);
    }

    /// Forgets all mappings; new ones get other ports.
    pub(in crate::world) fn rebind(&mut self, now: Instant) {
        self.forget(now);
        self.tables_mut().into_iter().for_each(Table::rebind);
    }

    fn forget(&mut self, now: Instant) {
        self.stats.forgotten += self.alive(now);
        self.tables_mut().into_iter().for_each(Table::clear);
    }

    pub(in crate::world) fn stats(&self, now: Instant) -> NatStats {
        let mappings = self.alive(now);
        // Those that are over but still stand in a table count as expired.
        let expired = self.stats.created - self.stats.forgotten - mappings;
        NatStats { mappings, expired, ..self.stats }
    }

    fn alive(&self, now: Instant) -> u64 {
        self.tables().into_iter().map(|table| table.alive(now) as u64).sum()
    }

    /// Whether a packet is for the outside address.
    pub(in crate::world) fn is_outside<P>(&self, packet: &Packet<P>) -> bool {
        self.outside.map(IpAddr::V4) == Some(packet.destination.ip())
    }

    pub(in crate::world) fn count_hairpin(&mut self, verdict: Verdict) {
        self.stats.hairpinned += u64::from(verdict == Verdict::Pass);
    }

    /// A packet goes from inside to outside.
    pub(in crate::world) fn outward(&mut self, now: Instant, packet: &mut Head) -> Verdict {
        let verdict = self.translate_outward(now, packet);
        self.count(verdict);
        verdict
    }

    /// A packet comes to the outside address.
    pub(in crate::world) fn inward(&mut self, now: Instant, packet: &mut Head) -> Verdict {
        let verdict = self.translate_inward(now, packet);
        self.count(verdict);
        verdict
    }

    const fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Pass => {}
            Verdict::Unsolicited => self.stats.filtered += 1,
            Verdict::Blocked => self.stats.blocked += 1,
            Verdict::Refused => self.stats.refused += 1,
        }
    }

    fn translate_outward(&mut self, now: Instant, packet: &mut Head) -> Verdict {
        let Some(outside) = self.outside.map(IpAddr::V4) else { return Verdict::Refused };
        match (packet.protocol, packet.kind) {
            (_, Kind::Error(_)) if self.error_outward(now, packet) => {}
            (_, Kind::Error(_)) => return Verdict::Unsolicited,
            (Protocol::Udp, _) if self.rules.blocks_udp => return Verdict::Blocked,
            (Protocol::Tcp | Protocol::Udp, _) | (Protocol::Icmp, Kind::Echo(_)) => {
                match self.port(now, packet) {
                    Ok(port) => set_source(packet, SocketAddr::new(outside, port)),
                    Err(verdict) => return verdict,
                }
            }
            (Protocol::Icmp | Protocol::Other(_), _) => return Verdict::Refused,
        }
        Verdict::Pass
    }

    /// The outside port of a packet's sender, and remembers with whom it speaks.
    fn port(&mut self, now: Instant, packet: &Head) -> Result<u16, Verdict> {
        let inside = packet.source;
        let to = remote(packet.protocol, packet.destination);
        if let Some(port) = self.rules.forward_of(packet.protocol, inside) {
            return Ok(port);
        }
        let key = (inside, self.rules.scope(to));
        let port = match self.table(packet.protocol).port_of(now, &key) {
            Some(port) => port,
            None if is_reset(packet) => return Err(Verdict::Unsolicited),
            None => self.map(now, packet.protocol, key).ok_or(Verdict::Refused)?,
        };
        let timeouts = self.rules.timeouts;
        if let Some(binding) = self.table_mut(packet.protocol).at_mut(port) {
            binding.sessions.on_outward(now, (packet.protocol, packet.kind), to, &timeouts);
        }
        Ok(port)
    }

    /// Makes a mapping.
    fn map(&mut self, now: Instant, protocol: Protocol, key: Key) -> Option<u16> {
        if self.is_full() {
            self.tables_mut().into_iter().for_each(|table| table.sweep(now));
        }
        if self.is_full() {
            return None;
        }
        let forwards = self.rules.forwards(protocol).to_vec();
        let is_reserved = |port| forwards.iter().any(|(forwarded, _)| *forwarded == port);
        let port = self.table_mut(protocol).insert(now, key, is_reserved)?;
        self.stats.created += 1;
        Some(port)
    }

    fn is_full(&self) -> bool {
        let mappings: usize = self.tables().into_iter().map(Table::len).sum();
        mappings >= self.rules.mappings_max
    }

    fn translate_inward(&mut self, now: Instant, packet: &mut Head) -> Verdict {
        let inside = match (packet.protocol, packet.kind) {
            (_, Kind::Error(_)) if self.error_inward(now, packet) => return Verdict::Pass,
            (_, Kind::Error(_)) => None,
            (Protocol::Udp, _) if self.rules.blocks_udp => return Verdict::Blocked,
            (Protocol::Tcp | Protocol::Udp, _) | (Protocol::Icmp, Kind::Echo(Echo::Reply)) => {
                self.receiver(now, packet)
            }
            (Protocol::Icmp | Protocol::Other(_), _) => None,
        };
        let Some(inside) = inside else { return Verdict::Unsolicited };
        set_destination(packet, inside);
        Verdict::Pass
    }

    /// The inside socket that a packet from outside may reach.
    fn receiver(&mut self, now: Instant, packet: &Head) -> Option<SocketAddr> {
        let port = packet.destination.port();
        if let Some(inside) = self.rules.forward_to(packet.protocol, port) {
            return Some(inside);
        }
        let (filtering, timeouts) = (self.rules.filtering, self.rules.timeouts);
        let from = remote(packet.protocol, packet.source);
        let binding = self.table_mut(packet.protocol).at_mut(port)?;
        if !binding.is_alive(now) || !binding.sessions.admit(now, filtering, from) {
            return None;
        }
        binding.sessions.on_inward(now, (packet.protocol, packet.kind), from, &timeouts);
        Some(binding.inside())
    }

    /// An ICMP error from inside about a packet that had come in (RFC 5508 §4.2): it seems to come
    /// from the translator and to quote what the remote had sent.
    pub(in crate::world) fn error_outward(&self, now: Instant, packet: &mut Head) -> bool {
        let Kind::Error(mut error) = packet.kind else { return false };
        let Quoted { protocol, source, destination } = error.about;
        let Some(outside) = self.outside.map(IpAddr::V4) else { return false };
        let key = (destination, self.rules.scope(remote(protocol, source)));
        let mapped = || self.table(protocol).port_of(now, &key);
        let Some(port) = self.rules.forward_of(protocol, destination).or_else(mapped) else {
            return false;
        };
        error.about.destination = SocketAddr::new(outside, port);
        if protocol == Protocol::Icmp {
            error.about.source.set_port(port);
        }
        if !packet.source.ip().is_unspecified() {
            packet.source.set_ip(outside);
            error.by = outside;
        }
        packet.kind = Kind::Error(error);
        true
    }

    /// An ICMP error from outside about a packet that had gone out (RFC 5508 §4.1): it goes to the
    /// sender and quotes what that had sent. Nothing is kept alive or ended by it (RFC 5382 §7).
    pub(in crate::world) fn error_inward(&self, now: Instant, packet: &mut Head) -> bool {
        let Kind::Error(mut error) = packet.kind else { return false };
        let Quoted { protocol, source, destination } = error.about;
        let to = remote(protocol, destination);
        let mapped = || {
            let binding = self.table(protocol).at(source.port())?;
            binding.sessions.know(now, to).then(|| binding.inside())
        };
        let is_ours = self.outside.map(IpAddr::V4) == Some(source.ip());
        let found = self.rules.forward_to(protocol, source.port()).or_else(mapped);
        let Some(inside) = found.filter(|_| is_ours) else { return false };
        error.about.source = inside;
        if protocol == Protocol::Icmp {
            error.about.destination.set_port(inside.port());
        }
        packet.destination = SocketAddr::new(inside.ip(), 0);
        packet.kind = Kind::Error(error);
        true
    }

    const fn tables(&self) -> [&Table; 3] {
        [&self.tcp, &self.udp, &self.echo]
    }

    const fn tables_mut(&mut self) -> [&mut Table; 3] {
        [&mut self.tcp, &mut self.udp, &mut self.echo]
    }

    const fn table(&self, protocol: Protocol) -> &Table {
        match protocol {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
            Protocol::Icmp | Protocol::Other(_) => &self.echo,
        }
    }

    const fn table_mut(&mut self, protocol: Protocol) -> &mut Table {
        match protocol {
            Protocol::Tcp => &mut self.tcp,
            Protocol::Udp => &mut self.udp,
            Protocol::Icmp | Protocol::Other(_) => &mut self.echo,
        }
    }
}

impl Rules {
    /// As much of the remote as a mapping depends on.
    const fn scope(&self, to: SocketAddr) -> SocketAddr {
        match self.mapping {
            Scope::EndpointIndependent => NOBODY,
            Scope::AddressDependent => SocketAddr::new(to.ip(), 0),
            Scope::AddressAndPortDependent => to,
        }
    }

    /// The inside socket to which a port is forwarded.
    fn forward_to(&self, protocol: Protocol, port: u16) -> Option<SocketAddr> {
        let mut forwards = self.forwards(protocol).iter();
        forwards.find(|(from, to)| *from == port && to.is_ipv4()).map(|(_, to)| *to)
    }

    /// The port that is forwarded to an inside socket.
    fn forward_of(&self, protocol: Protocol, inside: SocketAddr) -> Option<u16> {
        self.forwards(protocol).iter().find(|(_, to)| *to == inside).map(|(port, _)| *port)
    }

    fn forwards(&self, protocol: Protocol) -> &[(u16, SocketAddr)] {
        match protocol {
            Protocol::Tcp | Protocol::Udp => &self.forwards,
            Protocol::Icmp | Protocol::Other(_) => &[],
        }
    }
}

fn v4(addresses: &[IpAddr]) -> Option<Ipv4Addr> {
    addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

/// The identifier of an echo stands on both sides.
fn set_source(packet: &mut Head, source: SocketAddr) {
    packet.source = source;
    if packet.protocol == Protocol::Icmp {
        packet.destination.set_port(source.port());
    }
}

fn set_destination(packet: &mut Head, destination: SocketAddr) {
    packet.destination = destination;
    if packet.protocol == Protocol::Icmp {
        packet.source.set_port(destination.port());
    }
}
