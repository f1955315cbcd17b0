//! What happens to a world while it runs.

use std::{net::IpAddr, time::Instant};

use super::{HostChange, InterfaceId, World, WorldError, gate::Gate, graph::Shape, routes::Routes};
use crate::topology::{Duplex, Happening, Moment};

/// Tries a timeline out, so that none of it can fail later.
pub(super) fn rehearse<P: Clone>(
    world: &mut World<P>,
    timeline: &[Moment],
) -> Result<(), WorldError> {
    let mut timeline: Vec<&Moment> = timeline.iter().collect();
    timeline.sort_by_key(|moment| moment.at);
    timeline.into_iter().try_for_each(|moment| world.change(&moment.what))
}

impl<P: Clone> World<P> {
    /// Lets something happen at once. What the driver must do to hosts comes out of
    /// [`World::poll_change`].
    ///
    /// What was under way when a link went down still arrives; what was under way from or to an
    /// interface that moves is lost.
    ///
    /// # Errors
    /// When a name leads nowhere or an address does not fit; the world is as before.
    ///
    /// # Panics
    /// When a link's probability lies outside 0..=1 or its rate is zero.
    pub fn apply(&mut self, now: Instant, what: &Happening) -> Result<(), WorldError> {
        self.advance(now);
        self.change(what)
    }

    /// Something of the timeline happens. It was rehearsed: it can only fail when what was applied
    /// by hand stands in its way, and then that stays as it is.
    pub(super) fn happen(&mut self, what: &Happening) {
        let _in_the_way = self.change(what);
    }

    fn change(&mut self, what: &Happening) -> Result<(), WorldError> {
        match what {
            Happening::Down { node, interface } => self.set_up(node, interface.as_deref(), false),
            Happening::Up { node, interface } => self.set_up(node, interface.as_deref(), true),
            Happening::Unplug { host, interface } => {
                self.set_plugged(host, interface.as_deref(), false)
            }
            Happening::Plug { host, interface } => {
                self.set_plugged(host, interface.as_deref(), true)
            }
            Happening::Link { node, interface, link } => {
                self.set_link(node, interface.as_deref(), link)
            }
            Happening::Rebind { nat } => self.rebind(nat),
            Happening::Renumber { node, interface, addresses } => {
                self.renumber(node, interface.as_deref(), addresses)
            }
            Happening::Move { host, interface, network, addresses, link } => {
                let id = self.one(host, interface.as_deref())?;
                if self.graph.shape(id) != Shape::Host {
                    return Err(WorldError::Unknown { what: "host", name: host.clone() });
                }
                let segment = self.graph.segment(network)?;
                self.move_to(id, segment, addresses, link)
            }
        }
    }

    fn set_up(&mut self, node: &str, name: Option<&str>, up: bool) -> Result<(), WorldError> {
        for id in self.some(node, name)? {
            let interface = &mut self.graph.interfaces[id.0];
            interface.up.lane.up = up;
            interface.down.lane.up = up;
        }
        Ok(())
    }

    fn set_plugged(&mut self, host: &str, name: Option<&str>, up: bool) -> Result<(), WorldError> {
        let all = self.some(host, name)?;
        if all.iter().any(|id| self.graph.shape(*id) != Shape::Host) {
            return Err(WorldError::Unknown { what: "host", name: host.to_owned() });
        }
        self.set_up(host, name, up)?;
        let changes = all.into_iter().map(|interface| HostChange::Carrier { interface, up });
        self.changes.extend(changes);
        Ok(())
    }

    fn set_link(
        &mut self,
        node: &str,
        name: Option<&str>,
        link: &Duplex,
    ) -> Result<(), WorldError> {
        for id in self.some(node, name)? {
            self.graph.interfaces[id.0].set_link(link);
        }
        Ok(())
    }

    fn rebind(&mut self, nat: &str) -> Result<(), WorldError> {
        let unknown = || WorldError::Unknown { what: "nat", name: nat.to_owned() };
        let vertex = self.graph.vertex(nat).ok_or_else(unknown)?;
        match &mut self.gates[vertex] {
            Gate::Translator(gate) => {
                gate.v4.rebind(self.now);
                gate.v6.forget();
                Ok(())
            }
            Gate::Open | Gate::Guard(_) => Err(unknown()),
        }
    }

    fn renumber(
        &mut self,
        node: &str,
        name: Option<&str>,
        addresses: &[IpAddr],
    ) -> Result<(), WorldError> {
        let id = self.one(node, name)?;
        self.graph.check_addresses(id, self.graph.interfaces[id.0].segment, addresses)?;
        self.graph.unplug(id);
        self.graph.plug(id, addresses)?;
        let vertex = self.vertex(id);
        if let Gate::Translator(gate) = &mut self.gates[vertex]
            && self.graph.vertices[vertex].interfaces.last() == Some(&id)
        {
            gate.v4.renumber(self.now, addresses);
        }
        self.on_readdressed(id);
        Ok(())
    }

    fn move_to(
        &mut self,
        id: InterfaceId,
        segment: usize,
        addresses: &[IpAddr],
        link: &Duplex,
    ) -> Result<(), WorldError> {
        self.graph.check_addresses(id, segment, addresses)?;
        self.graph.unplug(id);
        let interface = &mut self.graph.interfaces[id.0];
        interface.moves += 1;
        interface.segment = segment;
        interface.set_link(link);
        self.graph.plug(id, addresses)?;
        self.changes.push_back(HostChange::Carrier { interface: id, up: false });
        self.on_readdressed(id);
        self.changes.push_back(HostChange::Carrier { interface: id, up: true });
        Ok(())
    }

    fn on_readdressed(&mut self, id: InterfaceId) {
        self.routes = Routes::new(&self.graph);
        if self.graph.shape(id) == Shape::Host {
            let addressing = self.addressing(id);
            self.changes.push_back(HostChange::Readdressed { interface: id, addressing });
        }
    }

    /// The interface that is meant: without a name the first, or the outside one.
    fn one(&self, node: &str, name: Option<&str>) -> Result<InterfaceId, WorldError> {
        let all = self.some(node, name)?;
        let unnamed = match self.graph.shape(all[0]) {
            Shape::Host | Shape::Router => all.first(),
            Shape::Translator | Shape::Firewall => all.last(),
        };
        Ok(*unnamed.unwrap_or(&all[0]))
    }

    /// The interfaces that are meant, at least one.
    fn some(&self, node: &str, name: Option<&str>) -> Result<Vec<InterfaceId>, WorldError> {
        let unknown = |what, name: &str| WorldError::Unknown { what, name: name.to_owned() };
        let vertex = self.graph.vertex(node).ok_or_else(|| unknown("node", node))?;
        let found = match name {
            None => self.graph.vertices[vertex].interfaces.clone(),
            Some(name) => self.graph.interface(node, name).into_iter().collect(),
        };
        if found.is_empty() {
            return Err(unknown("interface", name.unwrap_or(node)));
        }
        Ok(found)
    }
}
