//! Which address everyone gets.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    draft::{Draft, Plug, Role, attachment_mut},
    error::{Problem, Reading},
};
use crate::topology::{NodeKind, Prefix};

/// The addresses in use, by network, and who has them.
#[derive(Debug, Default)]
pub(super) struct Pool {
    owners: BTreeMap<(usize, IpAddr), String>,
    /// The number that was given out last, by network and first address of the prefix.
    last: BTreeMap<(usize, IpAddr), u128>,
}

impl Pool {
    /// The next address of the prefix that nobody has, for this owner.
    fn take(&mut self, network: usize, prefix: &Prefix, owner: &str) -> Option<IpAddr> {
        let last = self.last.entry((network, prefix.address)).or_default();
        let in_order = (*last + 1..=NUMBERS_MAX).chain(1..=*last);
        let mut candidates = in_order.filter_map(|number| Some((number, nth(prefix, number)?)));
        let is_free = |address: IpAddr| {
            is_for_hosts(prefix, address) && !self.owners.contains_key(&(network, address))
        };
        let (number, address) = candidates.find(|(_, address)| is_free(*address))?;
        *last = number;
        self.owners.insert((network, address), owner.to_owned());
        Some(address)
    }
}

/// Settles the addresses of every attachment: those given first, then the gateways', then the rest.
pub(super) fn assign(draft: &mut Draft<'_>) -> Reading<()> {
    let plugs = std::mem::take(&mut draft.plugs);
    let settled = |plug: &&Plug, role| plug.given.is_empty() && plug.role == role;
    for plug in plugs.iter().filter(|plug| !plug.given.is_empty()) {
        let addresses = draft.reserve(plug.node, plug.network, &plug.given)?;
        draft.settle(plug, addresses);
    }
    for role in [Role::Gateway, Role::Member] {
        for plug in plugs.iter().filter(|plug| settled(plug, role)) {
            let addresses = draft.next_free(plug.node, plug.network, plug.at)?;
            draft.settle(plug, addresses);
        }
    }
    draft.plugs = plugs;
    draft.refuse_nats_without_ipv4()
}

impl Draft<'_> {
    fn refuse_nats_without_ipv4(&self) -> Reading<()> {
        for (node, one) in self.nodes.iter().zip(&self.declared) {
            let NodeKind::Nat(nat) = &node.kind else { continue };
            for side in [&nat.inside, &nat.outside] {
                if !side.addresses.iter().any(IpAddr::is_ipv4) {
                    let (node, network) = (node.name.clone(), side.network.clone());
                    return Err(Problem::NoIpv4 { node, network }.at(one.entry.at));
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self, plug: &Plug, addresses: Vec<IpAddr>) {
        let node = self.nodes.get_mut(plug.node);
        if let Some(place) = node.and_then(|node| attachment_mut(&mut node.kind, plug.slot)) {
            place.addresses = addresses;
        }
    }

    /// Takes the addresses that were given.
    pub(super) fn reserve(
        &mut self,
        node: usize,
        network: usize,
        given: &[(IpAddr, usize)],
    ) -> Reading<Vec<IpAddr>> {
        let owner = self.name(node).to_owned();
        for (address, at) in given {
            let prefixes = &self.subnet(network).prefixes;
            if !prefixes.iter().any(|prefix| is_for_hosts(prefix, *address)) {
                let prefixes: Vec<_> = prefixes.iter().map(ToString::to_string).collect();
                return Err(Problem::Elsewhere {
                    address: *address,
                    network: self.name(network).to_owned(),
                    prefixes: prefixes.join(", "),
                }
                .at(*at));
            }
            if let Some(other) = self.pool.owners.insert((network, *address), owner.clone()) {
                return Err(Problem::Taken { address: *address, owner: other }.at(*at));
            }
        }
        Ok(given.iter().map(|(address, _)| *address).collect())
    }

    /// Gives back the node's addresses on the network.
    pub(super) fn release(&mut self, node: usize, network: usize) {
        let owner = self.name(node).to_owned();
        self.pool.owners.retain(|(on, _), other| *on != network || *other != owner);
    }

    /// Takes the next free address of each of the network's prefixes.
    pub(super) fn next_free(
        &mut self,
        node: usize,
        network: usize,
        at: usize,
    ) -> Reading<Vec<IpAddr>> {
        let owner = self.name(node).to_owned();
        let mut addresses = Vec::new();
        for prefix in self.subnet(network).prefixes.clone() {
            let Some(address) = self.pool.take(network, &prefix, &owner) else {
                return Err(Problem::Full { network: self.name(network).to_owned() }.at(at));
            };
            addresses.push(address);
        }
        Ok(addresses)
    }
}

/// More than all attachments and moments of a file can use.
const NUMBERS_MAX: u128 = 32_768;

/// The address so many behind the prefix's first; `None`: the prefix is over.
fn nth(prefix: &Prefix, number: u128) -> Option<IpAddr> {
    let address = match prefix.address {
        IpAddr::V4(first) => {
            let address = u32::try_from(number).ok().and_then(|n| first.to_bits().checked_add(n));
            IpAddr::V4(Ipv4Addr::from_bits(address?))
        }
        IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits().checked_add(number)?)),
    };
    prefix.contains(address).then_some(address)
}

/// Whether a host may have the address: neither the network's own nor, under IPv4, broadcast.
fn is_for_hosts(prefix: &Prefix, address: IpAddr) -> bool {
    let is_last = match (address, prefix.address) {
        (IpAddr::V4(address), IpAddr::V4(first)) => {
            let host_bits = u32::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            address.to_bits() == first.to_bits() | host_bits
        }
        _ => false,
    };
    prefix.contains(address) && address != prefix.address && !is_last
}
