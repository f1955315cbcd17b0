//! Networks, hosts, routers, translators and firewalls.

use std::net::{IpAddr, SocketAddr};

use super::{
    circles,
    draft::{Declared, Draft, Kind, Plug, Role, attachments, check_name},
    error::{Problem, Reading},
    limits,
    table::{Table, Value},
};
use crate::topology::{
    Attachment, Duplex, Firewall, Host, Nat, NodeKind, PortAllocation, Prefix, Router, Scope,
    Subnet, Unsolicited,
};

/// Reads every node; addresses that were not given are left out.
pub(super) fn read(draft: &mut Draft<'_>) -> Reading<()> {
    let declared = draft.declared.clone();
    let is_network = |one: &Declared<'_>| one.kind == Kind::Network;
    for networks_first in [true, false] {
        for (index, one) in declared.iter().enumerate() {
            if is_network(one) == networks_first {
                let kind = draft.node(index, *one)?;
                if let Some(node) = draft.nodes.get_mut(index) {
                    node.kind = kind;
                }
            }
        }
    }
    circles::refuse(draft)
}

/// Reads what translators forward, now that hosts have addresses.
pub(super) fn read_forwards(draft: &mut Draft<'_>) -> Reading<()> {
    for (node, value) in std::mem::take(&mut draft.forwards) {
        let values = value.list();
        if values.len() > limits::FORWARDS {
            let problem = Problem::TooMany { what: "forwarded ports", most: limits::FORWARDS };
            return Err(problem.at(value.at()));
        }
        let forwards = values.into_iter().map(|value| draft.forward(node, value));
        let forwards = forwards.collect::<Reading<Vec<_>>>()?;
        if let Some(NodeKind::Nat(nat)) = draft.nodes.get_mut(node).map(|node| &mut node.kind) {
            nat.forwards = forwards;
        }
    }
    Ok(())
}

impl<'a> Draft<'a> {
    fn node(&mut self, index: usize, one: Declared<'a>) -> Reading<NodeKind> {
        match one.kind {
            Kind::Network => self.network(index, one).map(NodeKind::Subnet),
            Kind::Host => self.host(index, one).map(NodeKind::Host),
            Kind::Router => self.router(index, one).map(NodeKind::Router),
            Kind::Nat => self.nat(index, one).map(NodeKind::Nat),
            Kind::Firewall => self.firewall(index, one).map(NodeKind::Firewall),
        }
    }

    fn network(&mut self, index: usize, one: Declared<'a>) -> Reading<Subnet> {
        let mut table = one.entry.value.table("a network")?;
        let mut prefixes: Vec<Prefix> = Vec::new();
        for value in table.need("prefix")?.list() {
            let prefix = prefix(value)?;
            if prefixes.iter().any(|other| other.address.is_ipv4() == prefix.address.is_ipv4()) {
                return value.refuse("one prefix of each family at most");
            }
            prefixes.push(prefix);
        }
        let link = table.take("link").map(|value| self.profiles.link(value)).transpose()?;
        if let Some(place) = self.network_links.get_mut(index) {
            *place = link;
        }
        let isolated = table.take("isolated").map_or(Ok(false), Value::flag)?;
        let multicast = table.take("multicast").map_or(Ok(true), Value::flag)?;
        table.finish()?;
        Ok(Subnet { prefixes, isolated, multicast })
    }

    fn host(&mut self, index: usize, one: Declared<'a>) -> Reading<Host> {
        let mut table = one.entry.value.table("a host")?;
        let interfaces = self.interfaces(index, &mut table, Role::Member)?;
        table.finish()?;
        match interfaces.is_empty() {
            true => Err(Problem::Unplugged { node: one.entry.name.to_owned() }.at(one.entry.at)),
            false => Ok(Host { interfaces }),
        }
    }

    fn router(&mut self, index: usize, one: Declared<'a>) -> Reading<Router> {
        let mut table = one.entry.value.table("a router")?;
        let interfaces = self.interfaces(index, &mut table, Role::Gateway)?;
        table.finish()?;
        match interfaces.len() {
            0 => Err(Problem::Unplugged { node: one.entry.name.to_owned() }.at(one.entry.at)),
            1 => Err(Problem::Alone { node: one.entry.name.to_owned() }.at(one.entry.at)),
            _ => Ok(Router { interfaces }),
        }
    }

    fn nat(&mut self, index: usize, one: Declared<'a>) -> Reading<Nat> {
        let mut table = one.entry.value.table("a NAT")?;
        let (inside, outside) = self.both_sides(index, &mut table)?;
        let mut nat = Nat { inside, outside, ..Nat::default() };
        if let Some(kind) = table.take("kind") {
            (nat.mapping, nat.filtering, nat.ports) = kind.choice(NAT_KINDS)?;
        }
        set(&mut nat.mapping, table.take("mapping"), |value| value.choice(SCOPES))?;
        set(&mut nat.filtering, table.take("filtering"), |value| value.choice(SCOPES))?;
        set(&mut nat.ports, table.take("ports"), |value| value.choice(PORTS))?;
        set(&mut nat.hairpin, table.take("hairpin"), Value::flag)?;
        set(&mut nat.unsolicited, table.take("unsolicited"), |value| value.choice(UNSOLICITED))?;
        set(&mut nat.udp_timeout, table.take("udp-timeout"), Value::time)?;
        set(&mut nat.tcp_timeout, table.take("tcp-timeout"), Value::time)?;
        set(&mut nat.mappings_max, table.take("mappings-max"), |value| value.number(COUNT))?;
        set(&mut nat.blocks_udp, table.take("blocks"), blocks_udp)?;
        self.forwards.extend(table.take("forward").map(|value| (index, value)));
        table.finish()?;
        Ok(nat)
    }

    fn firewall(&mut self, index: usize, one: Declared<'a>) -> Reading<Firewall> {
        let mut table = one.entry.value.table("a firewall")?;
        let (inside, outside) = self.both_sides(index, &mut table)?;
        let mut firewall = Firewall { inside, outside, ..Firewall::default() };
        set(&mut firewall.filtering, table.take("filtering"), |value| value.choice(SCOPES))?;
        set(&mut firewall.unsolicited, table.take("unsolicited"), |value| {
            value.choice(UNSOLICITED)
        })?;
        set(&mut firewall.udp_timeout, table.take("udp-timeout"), Value::time)?;
        set(&mut firewall.blocks_udp, table.take("blocks"), blocks_udp)?;
        table.finish()?;
        Ok(firewall)
    }

    /// Either `interfaces`, or `on` with perhaps `address` and `link`.
    fn interfaces(
        &mut self,
        node: usize,
        table: &mut Table<'a>,
        role: Role,
    ) -> Reading<Vec<Attachment>> {
        let listed = table.take("interfaces");
        let on = table.take("on");
        let (address, link) = (table.take("address"), table.take("link"));
        let values = match (listed, on) {
            (Some(listed), Some(_)) => {
                return Err(Problem::Either { one: "interfaces", other: "on" }.at(listed.at()));
            }
            (Some(listed), None) => listed.list(),
            (None, Some(on)) => on.list(),
            (None, None) => Vec::new(),
        };
        if let Some(value) = values.get(limits::INTERFACES) {
            let problem = Problem::TooMany { what: "interfaces", most: limits::INTERFACES };
            return Err(problem.at(value.at()));
        }
        let mut interfaces: Vec<Attachment> = Vec::new();
        for (slot, value) in values.iter().enumerate() {
            let own = if values.len() == 1 { address } else { None };
            let shared = Shared { name: format!("eth{slot}"), address: own, link };
            let interface = self.attachment((node, slot), *value, shared, role)?;
            if interfaces.iter().any(|other| other.name == interface.name) {
                return value.refuse("another name: an interface before has it");
            }
            interfaces.push(interface);
        }
        match address {
            Some(address) if values.len() != 1 => {
                address.refuse("addresses within \"interfaces\", since there are several")
            }
            Some(_) | None => Ok(interfaces),
        }
    }

    fn both_sides(
        &mut self,
        node: usize,
        table: &mut Table<'a>,
    ) -> Reading<(Attachment, Attachment)> {
        let (inside, outside) = (table.need("inside")?, table.need("outside")?);
        let inside = self.attachment((node, 0), inside, Shared::named("inside"), Role::Gateway)?;
        let outside =
            self.attachment((node, 1), outside, Shared::named("outside"), Role::Member)?;
        Ok((inside, outside))
    }

    /// A network's name, or a table with `on` and perhaps `name`, `address` and `link`.
    fn attachment(
        &mut self,
        (node, slot): (usize, usize),
        value: Value<'a>,
        shared: Shared<'a>,
        role: Role,
    ) -> Reading<Attachment> {
        let Shared { mut name, mut address, mut link } = shared;
        let mut on = value;
        if value.is_table() {
            let mut table = value.table("an interface")?;
            on = table.need("on")?;
            if let Some(given) = table.take("name") {
                check_name(given.text()?, limits::INTERFACE_NAME, given.at())?;
                name = given.text()?.to_owned();
                if name == "lo" {
                    return Err(
                        Problem::Reserved { name, by: "every host's loopback" }.at(given.at())
                    );
                }
            }
            address = table.take("address").or(address);
            link = table.take("link").or(link);
            table.finish()?;
        }
        let network = self.find(on.text()?, Some(Kind::Network), on.at())?;
        let given = address.map_or_else(|| Ok(Vec::new()), addresses)?;
        self.plugs.push(Plug { node, slot, network, given, at: on.at(), role });
        let link = self.link_on(network, link)?;
        Ok(Attachment { name, network: self.name(network).to_owned(), addresses: Vec::new(), link })
    }

    /// The link given, or else the network's, or else a perfect one.
    pub(super) fn link_on(&self, network: usize, link: Option<Value<'_>>) -> Reading<Duplex> {
        match link {
            Some(link) => self.profiles.link(link),
            None => {
                Ok(self.network_links.get(network).copied().flatten().unwrap_or(Duplex::PERFECT))
            }
        }
    }

    fn forward(&self, nat: usize, value: Value<'_>) -> Reading<(u16, SocketAddr)> {
        let mut table = value.table("a forwarded port")?;
        let port: u16 = table.need("port")?.number(PORT)?;
        let to = table.need("to")?;
        table.finish()?;
        let text = to.text()?;
        if let Ok(address) = text.parse() {
            return Ok((port, address));
        }
        let (host, to_port) = text.rsplit_once(':').unwrap_or((text, ""));
        let to_port = match to_port {
            "" => port,
            digits => match digits.parse() {
                Ok(port) => port,
                Err(_) => return to.refuse("a host such as \"alice\" or \"alice:8080\""),
            },
        };
        let host = self.find(host, Some(Kind::Host), to.at())?;
        match self.address_behind(nat, host) {
            Some(address) => Ok((port, SocketAddr::new(address, to_port))),
            None => to.refuse("a host on the inside network"),
        }
    }

    /// The host's first address on the translator's inside network.
    fn address_behind(&self, nat: usize, host: usize) -> Option<IpAddr> {
        let inside = attachments(&self.nodes.get(nat)?.kind).first()?.network.clone();
        let interfaces = attachments(&self.nodes.get(host)?.kind);
        let interface = interfaces.into_iter().find(|interface| interface.network == inside)?;
        interface.addresses.first().copied()
    }
}

/// What an interface has that says nothing of its own.
struct Shared<'a> {
    name: String,
    address: Option<Value<'a>>,
    link: Option<Value<'a>>,
}

impl Shared<'_> {
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), address: None, link: None }
    }
}

const SCOPES: &[(&str, Scope)] = &[
    ("endpoint-independent", Scope::EndpointIndependent),
    ("address-dependent", Scope::AddressDependent),
    ("address-and-port-dependent", Scope::AddressAndPortDependent),
];

const PORTS: &[(&str, PortAllocation)] = &[
    ("preserving", PortAllocation::Preserving),
    ("sequential", PortAllocation::Sequential),
    ("random", PortAllocation::Random),
];

const UNSOLICITED: &[(&str, Unsolicited)] =
    &[("drop", Unsolicited::Drop), ("reject", Unsolicited::Reject)];

/// The four kinds of RFC 3489 §5 as mapping, filtering and ports.
const NAT_KINDS: &[(&str, (Scope, Scope, PortAllocation))] = &[
    ("full-cone", (Scope::EndpointIndependent, Scope::EndpointIndependent, PRESERVING)),
    ("address-restricted", (Scope::EndpointIndependent, Scope::AddressDependent, PRESERVING)),
    ("port-restricted", (Scope::EndpointIndependent, Scope::AddressAndPortDependent, PRESERVING)),
    (
        "symmetric",
        (Scope::AddressAndPortDependent, Scope::AddressAndPortDependent, PortAllocation::Random),
    ),
];

const PRESERVING: PortAllocation = PortAllocation::Preserving;
const COUNT: &str = "a whole number";
const PORT: &str = "a port from 0 to 65535";

fn set<'a, T>(
    place: &mut T,
    value: Option<Value<'a>>,
    read: impl FnOnce(Value<'a>) -> Reading<T>,
) -> Reading<()> {
    if let Some(value) = value {
        *place = read(value)?;
    }
    Ok(())
}

fn blocks_udp(value: Value<'_>) -> Reading<bool> {
    let blocked = value.list().into_iter().map(|value| value.choice(&[("udp", ())]));
    Ok(!blocked.collect::<Reading<Vec<()>>>()?.is_empty())
}

/// One address, or a list with one of each family at most.
pub(super) fn addresses(value: Value<'_>) -> Reading<Vec<(IpAddr, usize)>> {
    let mut addresses: Vec<(IpAddr, usize)> = Vec::new();
    for value in value.list() {
        let Ok(address) = value.text()?.parse::<IpAddr>() else {
            return value.refuse("an address such as \"10.0.0.2\", without a prefix length");
        };
        if addresses.iter().any(|(other, _)| other.is_ipv4() == address.is_ipv4()) {
            return value.refuse("one address of each family at most");
        }
        addresses.push((address, value.at()));
    }
    match addresses.is_empty() {
        true => value.refuse("at least one address"),
        false => Ok(addresses),
    }
}

fn prefix(value: Value<'_>) -> Reading<Prefix> {
    const EXPECTED: &str = "a prefix such as \"10.0.0.0/24\" or \"fd00::/64\"";
    let read = |text: &str| {
        let (address, length) = text.split_once('/')?;
        Some(Prefix { address: address.parse().ok()?, length: length.parse().ok()? })
    };
    let Some(prefix) = read(value.text()?) else { return value.refuse(EXPECTED) };
    let longest = if prefix.address.is_ipv4() { 30 } else { 126 };
    if prefix.length > longest {
        return value.refuse("a prefix with room for two hosts: at most /30, or /126 under IPv6");
    }
    let first = prefix.first();
    if first.address != prefix.address {
        return value.refuse(&format!("the first address of the prefix: \"{first}\""));
    }
    Ok(prefix)
}
