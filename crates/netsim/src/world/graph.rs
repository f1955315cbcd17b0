//! Who is attached to what.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use super::{InterfaceId, WorldError, way::Way};
use crate::topology::{Attachment, Duplex, Host, NodeKind, Prefix, Router, Subnet, Topology};

/// The nodes, their interfaces and the networks between them.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) vertices: Vec<Vertex>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) segments: Vec<Segment>,
}

/// A node that is attached to networks.
#[derive(Debug)]
pub(super) struct Vertex {
    pub(super) name: String,
    pub(super) interfaces: Vec<InterfaceId>,
    pub(super) shape: Shape,
}

/// How a node joins its networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Not at all.
    Host,
    /// All with all.
    Router,
    /// The first, inside, with the second, outside; IPv4 only outwards.
    Translator,
    /// The first, inside, with the second, outside.
    Firewall,
}

/// Where a node touches a network.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) vertex: usize,
    pub(super) segment: usize,
    pub(super) addresses: Vec<IpAddr>,
    /// Learnt from what the host sends; the model does not give any.
    pub(super) link_local: Option<Ipv6Addr>,
    pub(super) up: Way,
    pub(super) down: Way,
    /// How often it has changed networks.
    pub(super) moves: u32,
}

/// An IP subnet.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) prefixes: Vec<Prefix>,
    pub(super) isolated: bool,
    pub(super) multicast: bool,
    pub(super) members: Vec<InterfaceId>,
    owners: HashMap<IpAddr, InterfaceId>,
}

/// The families in which graphs, and so routes, may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl Interface {
    /// Its address in the family.
    pub(super) fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| Family::of(*address) == family)
    }

    pub(super) fn set_link(&mut self, link: &Duplex) {
        self.up.set_link(link.up);
        self.down.set_link(link.down);
    }
}

impl Segment {
    fn new(name: &str, subnet: &Subnet) -> Self {
        Self {
            name: name.to_owned(),
            prefixes: subnet.prefixes.clone(),
            isolated: subnet.isolated,
            multicast: subnet.multicast,
            members: Vec::new(),
            owners: HashMap::new(),
        }
    }

    pub(super) fn owner(&self, address: IpAddr) -> Option<InterfaceId> {
        self.owners.get(&address).copied()
    }

    /// The prefix that an address is in; link-local ones are in a prefix of their own
    /// (RFC 4291 §2.5.6).
    pub(super) fn prefix_of(&self, address: IpAddr) -> Option<u8> {
        if let IpAddr::V6(address) = address
            && address.is_unicast_link_local()
        {
            return Some(64);
        }
        self.prefixes.iter().find(|prefix| prefix.contains(address)).map(|prefix| prefix.length)
    }

    /// Whether everybody on the network is meant.
    pub(super) fn is_for_all(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() => true,
            IpAddr::V4(_) => self.prefixes.iter().any(|prefix| is_broadcast(prefix, address)),
            IpAddr::V6(v6) => v6.is_multicast(),
        }
    }
}

impl Graph {
    /// # Errors
    /// When a name or an address does not fit.
    pub(super) fn new(topology: &Topology) -> Result<Self, WorldError> {
        let mut graph = Self::default();
        for node in &topology.nodes {
            if let NodeKind::Subnet(subnet) = &node.kind {
                graph.segments.push(Segment::new(&node.name, subnet));
            }
        }
        for node in &topology.nodes {
            let (shape, attachments): (Shape, Vec<&Attachment>) = match &node.kind {
                NodeKind::Subnet(_) => continue,
                NodeKind::Host(Host { interfaces }) => (Shape::Host, interfaces.iter().collect()),
                NodeKind::Router(Router { interfaces }) => {
                    (Shape::Router, interfaces.iter().collect())
                }
                NodeKind::Nat(nat) => (Shape::Translator, vec![&nat.inside, &nat.outside]),
                NodeKind::Firewall(wall) => (Shape::Firewall, vec![&wall.inside, &wall.outside]),
            };
            graph.add(&node.name, shape, &attachments, topology.seed)?;
        }
        Ok(graph)
    }

    fn add(
        &mut self,
        name: &str,
        shape: Shape,
        attachments: &[&Attachment],
        seed: u64,
    ) -> Result<(), WorldError> {
        let vertex = self.vertices.len();
        self.vertices.push(Vertex { name: name.to_owned(), interfaces: Vec::new(), shape });
        for attachment in attachments {
            let id = InterfaceId(self.interfaces.len());
            let lane = format!("{name}.{}", attachment.name);
            self.interfaces.push(Interface {
                name: attachment.name.clone(),
                vertex,
                segment: self.segment(&attachment.network)?,
                addresses: Vec::new(),
                link_local: None,
                up: Way::new(seed, format!("{lane}.up"), attachment.link.up),
                down: Way::new(seed, format!("{lane}.down"), attachment.link.down),
                moves: 0,
            });
            self.vertices[vertex].interfaces.push(id);
            self.plug(id, &attachment.addresses)?;
        }
        Ok(())
    }

    pub(super) fn segment(&self, name: &str) -> Result<usize, WorldError> {
        self.segments
            .iter()
            .position(|segment| segment.name == name)
            .ok_or_else(|| WorldError::Unknown { what: "network", name: name.to_owned() })
    }

    pub(super) fn vertex(&self, name: &str) -> Option<usize> {
        self.vertices.iter().position(|vertex| vertex.name == name)
    }

    /// An interface by its name, or by its side of a box that has two.
    pub(super) fn interface(&self, node: &str, name: &str) -> Option<InterfaceId> {
        let vertex = &self.vertices[self.vertex(node)?];
        let named = |id: &&InterfaceId| self.interfaces[id.0].name == name;
        let side = match (vertex.shape, name) {
            (Shape::Translator | Shape::Firewall, "inside") => vertex.interfaces.first(),
            (Shape::Translator | Shape::Firewall, "outside") => vertex.interfaces.last(),
            (Shape::Host | Shape::Router | Shape::Translator | Shape::Firewall, _) => None,
        };
        vertex.interfaces.iter().find(named).or(side).copied()
    }

    pub(super) fn shape(&self, id: InterfaceId) -> Shape {
        self.vertices[self.interfaces[id.0].vertex].shape
    }

    /// Gives an interface its addresses on the network where it stands.
    pub(super) fn plug(&mut self, id: InterfaceId, addresses: &[IpAddr]) -> Result<(), WorldError> {
        self.check_addresses(id, self.interfaces[id.0].segment, addresses)?;
        let interface = &mut self.interfaces[id.0];
        interface.addresses = addresses.to_vec();
        let segment = &mut self.segments[interface.segment];
        segment.members.push(id);
        segment.owners.extend(addresses.iter().map(|address| (*address, id)));
        Ok(())
    }

    /// Takes an interface off its network.
    pub(super) fn unplug(&mut self, id: InterfaceId) {
        let interface = &mut self.interfaces[id.0];
        interface.addresses.clear();
        interface.link_local = None;
        let segment = &mut self.segments[interface.segment];
        segment.members.retain(|member| *member != id);
        segment.owners.retain(|_, owner| *owner != id);
    }

    /// Remembers the link-local address of a host: one an interface.
    pub(super) fn learn(&mut self, id: InterfaceId, source: IpAddr) {
        let IpAddr::V6(address) = source else { return };
        let interface = &mut self.interfaces[id.0];
        if !address.is_unicast_link_local() || interface.link_local == Some(address) {
            return;
        }
        let owners = &mut self.segments[interface.segment].owners;
        if let Some(before) = interface.link_local.replace(address) {
            owners.remove(&IpAddr::V6(before));
        }
        owners.insert(source, id);
    }

    /// # Errors
    /// When one of the addresses cannot be had on the network.
    pub(super) fn check_addresses(
        &self,
        id: InterfaceId,
        segment: usize,
        addresses: &[IpAddr],
    ) -> Result<(), WorldError> {
        let node = || self.vertices[self.interfaces[id.0].vertex].name.clone();
        let segment = &self.segments[segment];
        for address in addresses {
            if segment.prefix_of(*address).is_none() {
                let network = segment.name.clone();
                return Err(WorldError::Elsewhere { node: node(), address: *address, network });
            }
            if let Some(owner) = segment.owner(*address).filter(|owner| *owner != id) {
                let other = self.vertices[self.interfaces[owner.0].vertex].name.clone();
                return Err(WorldError::Taken { node: node(), address: *address, other });
            }
        }
        Ok(())
    }
}

/// The last address of an IPv4 prefix (RFC 919 §7); prefixes of two addresses or one have none
/// (RFC 3021).
fn is_broadcast(prefix: &Prefix, address: IpAddr) -> bool {
    let IpAddr::V4(v4) = address else { return false };
    let host_bits = 32_u32.saturating_sub(u32::from(prefix.length));
    host_bits > 1 && prefix.contains(address) && v4.to_bits().trailing_ones() >= host_bits
}
