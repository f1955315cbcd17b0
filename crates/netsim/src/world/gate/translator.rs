//! Network address translation for IPv4 (RFC 4787, RFC 5382, RFC 5508, RFC 6888).

use std::{
    collections::HashMap,
    hash::Hasher,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use super::{
    Verdict, is_reset,
    ports::Ports,
    remote,
    sessions::{Sessions, Timeouts},
};
use crate::{
    topology::{Nat, Scope},
    world::{Echo, Kind, Packet, Protocol, Quoted, packet::Head, way::FlowHasher},
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

/// What a translator has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatStats {
    /// Mappings now.
    pub mappings: u64,
    /// Mappings made.
    pub created: u64,
    /// Mappings that nobody used for too long.
    pub expired: u64,
    /// Mappings that a rebinding or another address has ended.
    pub forgotten: u64,
    /// Heads for which no mapping could be made.
    pub refused: u64,
    /// Heads from outside that nobody had asked for.
    pub filtered: u64,
    /// UDP packets that are not let pass.
    pub blocked: u64,
    /// Heads between two inside hosts by their outside addresses.
    pub hairpinned: u64,
}

#[derive(Debug)]
struct Rules {
    mapping: Scope,
    filtering: Scope,
    timeouts: Timeouts,
    mappings_max: usize,
    blocks_udp: bool,
    forwards: Vec<(u16, SocketAddr)>,
}

/// The mappings of one protocol.
#[derive(Debug)]
struct Table {
    ports: Ports,
    by_inside: HashMap<Key, u16>,
    by_port: HashMap<u16, Binding>,
}

/// An inside socket, and as much of the remote as the mapping depends on.
type Key = (SocketAddr, SocketAddr);

/// One mapping.
#[derive(Debug)]
struct Binding {
    key: Key,
    sessions: Sessions,
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
        let mut translator = Self {
            outside: None,
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
        };
        translator.set_outside(&nat.outside.addresses);
        translator
    }

    /// Takes another outside address: what was mapped to the old one is gone.
    pub(in crate::world) fn set_outside(&mut self, addresses: &[IpAddr]) {
        self.forget();
        self.outside = addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
    }

    /// Forgets all mappings; new ones get other ports.
    pub(in crate::world) fn rebind(&mut self) {
        self.forget();
        for table in [&mut self.tcp, &mut self.udp, &mut self.echo] {
            table.ports.rebind();
        }
    }

    fn forget(&mut self) {
        for table in [&mut self.tcp, &mut self.udp, &mut self.echo] {
            self.stats.forgotten += table.by_port.len() as u64;
            table.by_port.clear();
            table.by_inside.clear();
        }
    }

    pub(in crate::world) fn stats(&self, now: Instant) -> NatStats {
        let bindings = [&self.tcp, &self.udp, &self.echo].map(|table| table.by_port.values());
        let alive = bindings.into_iter().flatten().filter(|binding| binding.is_alive(now));
        let mappings = alive.count() as u64;
        // Those that are over but still stand in a table count as expired.
        let expired = self.stats.created - self.stats.forgotten - mappings;
        NatStats { mappings, expired, ..self.stats }
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
        let port = match self.existing(now, packet.protocol, key) {
            Some(port) => port,
            None if is_reset(packet) => return Err(Verdict::Unsolicited),
            None => self.map(now, packet.protocol, key).ok_or(Verdict::Refused)?,
        };
        let timeouts = self.rules.timeouts;
        if let Some(binding) = self.table_mut(packet.protocol).by_port.get_mut(&port) {
            binding.sessions.on_outward(now, (packet.protocol, packet.kind), to, &timeouts);
        }
        Ok(port)
    }

    fn existing(&mut self, now: Instant, protocol: Protocol, key: Key) -> Option<u16> {
        let table = self.table(protocol);
        let port = *table.by_inside.get(&key)?;
        table.by_port.get(&port)?.is_alive(now).then_some(port)
    }

    /// Makes a mapping.
    fn map(&mut self, now: Instant, protocol: Protocol, key: Key) -> Option<u16> {
        if self.mappings() >= self.rules.mappings_max {
            self.sweep(now);
        }
        if self.mappings() >= self.rules.mappings_max {
            return None;
        }
        let Self { rules, tcp, udp, echo, .. } = self;
        let table = match protocol {
            Protocol::Tcp => tcp,
            Protocol::Udp => udp,
            Protocol::Icmp | Protocol::Other(_) => echo,
        };
        let Table { ports, by_port, .. } = &mut *table;
        let is_free = |port: u16| {
            let taken = by_port.get(&port).is_some_and(|binding| binding.is_alive(now));
            !taken && rules.forward_to(protocol, port).is_none()
        };
        let port = ports.choose(key.0.port(), is_free)?;
        table.remove(port);
        table.by_inside.insert(key, port);
        table.by_port.insert(port, Binding { key, sessions: Sessions::default() });
        self.stats.created += 1;
        Some(port)
    }

    fn mappings(&self) -> usize {
        self.tcp.by_port.len() + self.udp.by_port.len() + self.echo.by_port.len()
    }

    /// Throws away what is over.
    fn sweep(&mut self, now: Instant) {
        for table in [&mut self.tcp, &mut self.udp, &mut self.echo] {
            let Table { by_inside, by_port, .. } = table;
            by_port.retain(|_, binding| binding.is_alive(now));
            by_inside.retain(|key, port| by_port.get(port).is_some_and(|it| it.key == *key));
        }
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
        let binding = self.table_mut(packet.protocol).by_port.get_mut(&port)?;
        if !binding.is_alive(now) || !binding.sessions.admit(now, filtering, from) {
            return None;
        }
        binding.sessions.on_inward(now, (packet.protocol, packet.kind), from, &timeouts);
        Some(binding.key.0)
    }

    /// An ICMP error from inside about a packet that had come in (RFC 5508 §4.2): it seems to come
    /// from the translator and to quote what the remote had sent.
    pub(in crate::world) fn error_outward(&self, now: Instant, packet: &mut Head) -> bool {
        let Kind::Error(mut error) = packet.kind else { return false };
        let Quoted { protocol, source, destination } = error.about;
        let Some(outside) = self.outside.map(IpAddr::V4) else { return false };
        let key = (destination, self.rules.scope(remote(protocol, source)));
        let mapped = || {
            let table = self.table(protocol);
            let port = *table.by_inside.get(&key)?;
            table.by_port.get(&port)?.is_alive(now).then_some(port)
        };
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
            let binding = self.table(protocol).by_port.get(&source.port())?;
            binding.sessions.know(now, to).then_some(binding.key.0)
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

impl Table {
    fn new(ports: Ports) -> Self {
        Self { ports, by_inside: HashMap::new(), by_port: HashMap::new() }
    }

    fn remove(&mut self, port: u16) {
        let Some(Binding { key, .. }) = self.by_port.remove(&port) else { return };
        if self.by_inside.get(&key) == Some(&port) {
            self.by_inside.remove(&key);
        }
    }
}

impl Binding {
    fn is_alive(&self, now: Instant) -> bool {
        self.sessions.is_alive(now)
    }
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
