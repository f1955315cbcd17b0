//! Ways through the graph: shortest paths between networks, worked out when the graph changes.

use std::{collections::VecDeque, net::IpAddr};

use super::{
    InterfaceId,
    graph::{Family, Graph, Shape},
};

/// The routes of both families.
#[derive(Debug, Default)]
pub(super) struct Routes {
    v4: Table,
    v6: Table,
}

/// Where a packet goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hop {
    /// The interface by which it leaves.
    pub(super) leaves: InterfaceId,
    /// The one to which it goes; `None`: its destination is on the network, but nobody is there.
    pub(super) to: Option<InterfaceId>,
}

/// Distances in networks, and the first boxes on the shortest ways.
#[derive(Debug, Default)]
struct Table {
    /// By target network, then by the network that one stands on.
    towards: Vec<Vec<Step>>,
    /// To the nearest network that is inside of nothing: where default routes lead.
    upwards: Vec<Step>,
    /// The box on each network that is asked about unknown destinations.
    gateways: Vec<Option<InterfaceId>>,
}

/// The next box on a way.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// Networks still to enter; `None`: there is no way.
    distance: Option<u32>,
    /// The box's interface on this network; `None`: already there.
    via: Option<InterfaceId>,
}

impl Routes {
    pub(super) fn new(graph: &Graph) -> Self {
        Self { v4: Table::new(graph, Family::V4), v6: Table::new(graph, Family::V6) }
    }

    const fn table(&self, family: Family) -> &Table {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Where a packet goes that a host sends out of this interface. `None`: there is no gateway.
    pub(super) fn out_of_host(&self, graph: &Graph, from: InterfaceId, to: IpAddr) -> Option<Hop> {
        let segment = graph.interfaces[from.0].segment;
        if graph.segments[segment].prefix_of(to).is_some() {
            return Some(Hop { leaves: from, to: graph.segments[segment].owner(to) });
        }
        let table = self.table(Family::of(to));
        let best = table.best(graph, segment, to).map(|(_, step)| step);
        let via = best.and_then(|step| step.via).or(table.gateways[segment])?;
        Some(Hop { leaves: from, to: Some(via) })
    }

    /// Where a box sends a packet. `None`: it knows no way.
    pub(super) fn out_of_box(&self, graph: &Graph, vertex: usize, to: IpAddr) -> Option<Hop> {
        let table = self.table(Family::of(to));
        on_link(graph, vertex, to)
            .or_else(|| table.through(graph, vertex, to))
            .or_else(|| table.upwards(graph, vertex))
    }

    /// The address of the box that a host asks about unknown destinations.
    pub(super) fn gateway(&self, graph: &Graph, segment: usize, family: Family) -> Option<IpAddr> {
        let gateway = self.table(family).gateways[segment]?;
        graph.interfaces[gateway.0].address(family)
    }
}

/// The interface on whose network the destination is.
fn on_link(graph: &Graph, vertex: usize, to: IpAddr) -> Option<Hop> {
    let known = graph.vertices[vertex].interfaces.iter().filter_map(|id| {
        let segment = &graph.segments[graph.interfaces[id.0].segment];
        let length = segment.prefix_of(to)?;
        Some((length, Hop { leaves: *id, to: segment.owner(to) }))
    });
    longest(known)
}

/// The first of those with the longest prefix.
fn longest<T>(routes: impl Iterator<Item = (u8, T)>) -> Option<T> {
    let better = |best: Option<(u8, T)>, next: (u8, T)| match best {
        Some(best) if best.0 >= next.0 => Some(best),
        Some(_) | None => Some(next),
    };
    routes.fold(None, better).map(|(_, route)| route)
}

impl Table {
    fn new(graph: &Graph, family: Family) -> Self {
        let count = graph.segments.len();
        let towards = (0..count).map(|target| search(graph, family, &[target])).collect();
        let tops: Vec<usize> = (0..count).filter(|&at| is_top(graph, family, at)).collect();
        let upwards = search(graph, family, &tops);
        let gateways = (0..count)
            .map(|at| upwards[at].via.or_else(|| any_router(graph, family, at)))
            .collect();
        Self { towards, upwards, gateways }
    }

    /// The best step from a network to the one that the destination is in, with its prefix.
    fn best(&self, graph: &Graph, from: usize, to: IpAddr) -> Option<(u8, Step)> {
        let mut best: Option<(u8, Step)> = None;
        for (target, segment) in graph.segments.iter().enumerate() {
            let Some(length) = segment.prefix_of(to) else { continue };
            let step = self.towards[target][from];
            if step.distance.is_some() && best.is_none_or(|best| is_better((length, step), best)) {
                best = Some((length, step));
            }
        }
        best
    }

    /// A box's way to a network that it is not on.
    fn through(&self, graph: &Graph, vertex: usize, to: IpAddr) -> Option<Hop> {
        let mut best: Option<(u8, Step, InterfaceId)> = None;
        for &id in &graph.vertices[vertex].interfaces {
            let Some((length, step)) = self.best(graph, graph.interfaces[id.0].segment, to) else {
                continue;
            };
            let leads_on = step.via.is_some_and(|via| graph.interfaces[via.0].vertex != vertex);
            if leads_on && best.is_none_or(|(l, s, _)| is_better((length, step), (l, s))) {
                best = Some((length, step, id));
            }
        }
        best.map(|(_, step, leaves)| Hop { leaves, to: step.via })
    }

    /// A box's default route.
    fn upwards(&self, graph: &Graph, vertex: usize) -> Option<Hop> {
        let interfaces = graph.vertices[vertex].interfaces.iter();
        let steps = interfaces.map(|id| (*id, self.upwards[graph.interfaces[id.0].segment]));
        let nearest = steps.filter(|(_, step)| step.distance.is_some());
        let (leaves, step) = nearest.min_by_key(|(_, step)| step.distance)?;
        let via = step.via.filter(|via| graph.interfaces[via.0].vertex != vertex)?;
        Some(Hop { leaves, to: Some(via) })
    }
}

/// Longer prefixes first, then shorter ways.
fn is_better(one: (u8, Step), other: (u8, Step)) -> bool {
    one.0 > other.0 || (one.0 == other.0 && one.1.distance < other.1.distance)
}

/// The steps from every network to the nearest of the targets, breadth first.
fn search(graph: &Graph, family: Family, targets: &[usize]) -> Vec<Step> {
    let mut steps = vec![Step::default(); graph.segments.len()];
    let mut open = VecDeque::new();
    for &target in targets {
        steps[target].distance = Some(0);
        open.push_back(target);
    }
    while let Some(near) = open.pop_front() {
        let distance = steps[near].distance.map(|distance| distance + 1);
        for &exit in &graph.segments[near].members {
            for &entry in &graph.vertices[graph.interfaces[exit.0].vertex].interfaces {
                let far = graph.interfaces[entry.0].segment;
                if steps[far].distance.is_none() && passes(graph, family, entry, exit) {
                    steps[far] = Step { distance, via: Some(entry) };
                    open.push_back(far);
                }
            }
        }
    }
    steps
}

/// Whether a box forwards from one of its interfaces to another: it has addresses of the family
/// on both, and does not hide one from the other.
fn passes(graph: &Graph, family: Family, entry: InterfaceId, exit: InterfaceId) -> bool {
    let vertex = &graph.vertices[graph.interfaces[entry.0].vertex];
    let addressed = [entry, exit].iter().all(|id| graph.interfaces[id.0].address(family).is_some());
    let open = match (vertex.shape, family) {
        (Shape::Host, _) => false,
        (Shape::Router | Shape::Firewall, _) | (Shape::Translator, Family::V6) => true,
        (Shape::Translator, Family::V4) => vertex.interfaces.first() == Some(&entry),
    };
    open && addressed
}

/// Whether no translator or firewall leads out of the network.
fn is_top(graph: &Graph, family: Family, segment: usize) -> bool {
    !graph.segments[segment].members.iter().any(|id| {
        let vertex = &graph.vertices[graph.interfaces[id.0].vertex];
        let walled = matches!(vertex.shape, Shape::Translator | Shape::Firewall);
        walled
            && vertex.interfaces.first() == Some(id)
            && vertex
                .interfaces
                .iter()
                .all(|other| graph.interfaces[other.0].address(family).is_some())
    })
}

/// The first router of a network from which nothing leads upwards.
fn any_router(graph: &Graph, family: Family, segment: usize) -> Option<InterfaceId> {
    graph.segments[segment].members.iter().copied().find(|id| {
        matches!(graph.shape(*id), Shape::Router | Shape::Firewall)
            && graph.interfaces[id.0].address(family).is_some()
    })
}
