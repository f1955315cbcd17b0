//! What happens, and when.

use std::{net::IpAddr, time::Duration};

use super::{
    draft::{Draft, Kind, attachment_mut, attachments},
    error::{Problem, Reading},
    limits,
    nodes::addresses,
    table::{Table, Value},
};
use crate::{
    Suggestion,
    topology::{Attachment, Duplex, Happening, Moment, NodeKind},
};

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Down,
    Up,
    Unplug,
    Plug,
    Link,
    Rebind,
    Renumber,
    Move,
}

const VERBS: [(&str, Verb); 8] = [
    ("down", Verb::Down),
    ("up", Verb::Up),
    ("unplug", Verb::Unplug),
    ("plug", Verb::Plug),
    ("link", Verb::Link),
    ("rebind", Verb::Rebind),
    ("renumber", Verb::Renumber),
    ("move", Verb::Move),
];

/// A node, and one of its interfaces unless all are meant.
#[derive(Debug, Clone, Copy)]
struct Target<'a> {
    node: usize,
    /// Which of the node's attachments, and its name.
    interface: Option<(usize, &'a str)>,
    at: usize,
}

/// Reads every `[[at]]`, in the order of time: later ones build on what earlier ones did, so the
/// draft's nodes change along.
pub(super) fn read(draft: &mut Draft<'_>, value: Option<Value<'_>>) -> Reading<Vec<Moment>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let mut tables = Vec::new();
    for value in value.list() {
        let mut table = value.table("a moment ([[at]])")?;
        tables.push((table.need("time")?.time()?, table));
    }
    tables.sort_by_key(|(time, _)| *time);
    let mut timeline = Vec::new();
    for (time, table) in tables {
        let at = table.at;
        draft.moment(time, table, &mut timeline)?;
        if timeline.len() > limits::MOMENTS {
            let problem = Problem::TooMany { what: "things that happen", most: limits::MOMENTS };
            return Err(problem.at(at));
        }
    }
    timeline.sort_by_key(|moment| moment.at);
    Ok(timeline)
}

impl Draft<'_> {
    fn moment(
        &mut self,
        time: Duration,
        mut table: Table<'_>,
        timeline: &mut Vec<Moment>,
    ) -> Reading<()> {
        let mut given = Vec::new();
        for (key, verb) in VERBS {
            given.extend(table.take(key).map(|value| (verb, value)));
        }
        let [(verb, value)] = given[..] else {
            let verbs = VERBS.iter().map(|(key, _)| *key).collect();
            return match table.named().iter().all(|entry| is_known(entry.name)) {
                true => Err(Problem::Verb { verbs }.at(table.at)),
                false => table.finish(),
            };
        };
        let mut push = |at, what| timeline.push(Moment { at, what });
        match verb {
            Verb::Down => {
                let target = self.target(value)?;
                push(time, self.down(target));
                if let Some(lasting) = table.take("for") {
                    push(time + lasting.time()?, self.up(target));
                }
            }
            Verb::Up => push(time, self.up(self.target(value)?)),
            Verb::Unplug => {
                let (host, interface) =
                    self.names(self.target_host(value, "a host: others are not told")?);
                push(time, Happening::Unplug { host, interface });
            }
            Verb::Plug => {
                let (host, interface) =
                    self.names(self.target_host(value, "a host: others are not told")?);
                push(time, Happening::Plug { host, interface });
            }
            Verb::Link => {
                let target = self.target(value)?;
                let link = self.profiles.link(table.need("with")?)?;
                push(time, self.link(target, link));
                match table.take("for") {
                    Some(lasting) => {
                        let end = time + lasting.time()?;
                        self.links_now(target).into_iter().for_each(|what| push(end, what));
                    }
                    None => self.change_links(target, link),
                }
            }
            Verb::Rebind => push(time, self.rebind(value)?),
            Verb::Renumber => push(time, self.renumber(value, &mut table)?),
            Verb::Move => push(time, self.move_to(value, &mut table)?),
        }
        table.finish()
    }

    fn down(&self, target: Target<'_>) -> Happening {
        let (node, interface) = self.names(target);
        Happening::Down { node, interface }
    }

    fn up(&self, target: Target<'_>) -> Happening {
        let (node, interface) = self.names(target);
        Happening::Up { node, interface }
    }

    fn link(&self, target: Target<'_>, link: Duplex) -> Happening {
        let (node, interface) = self.names(target);
        Happening::Link { node, interface, link }
    }

    /// What gives the target the links back that it has now.
    fn links_now(&self, target: Target<'_>) -> Vec<Happening> {
        let node = self.name(target.node).to_owned();
        let restored = |attachment: &&Attachment| Happening::Link {
            node: node.clone(),
            interface: Some(attachment.name.clone()),
            link: attachment.link,
        };
        self.meant(target).iter().map(restored).collect()
    }

    fn change_links(&mut self, target: Target<'_>, link: Duplex) {
        let slots = 0..self.attachments(target.node).len();
        for slot in slots.filter(|slot| target.interface.is_none_or(|(only, _)| only == *slot)) {
            if let Some(attachment) = self.attachment_mut(target.node, slot) {
                attachment.link = link;
            }
        }
    }

    fn rebind(&self, value: Value<'_>) -> Reading<Happening> {
        let nat = self.find(value.text()?, Some(Kind::Nat), value.at())?;
        Ok(Happening::Rebind { nat: self.name(nat).to_owned() })
    }

    fn renumber(&mut self, value: Value<'_>, table: &mut Table<'_>) -> Reading<Happening> {
        let target = self.target(value)?;
        let slot = self.only_interface(target)?;
        let network = self.network_of(target.node, slot);
        let addresses = self.new_addresses(target, network, table.take("address"))?;
        let (node, _) = self.names(target);
        let interface = self.change(target.node, slot, |attachment| {
            attachment.addresses.clone_from(&addresses);
        });
        Ok(Happening::Renumber { node, interface, addresses })
    }

    fn move_to(&mut self, value: Value<'_>, table: &mut Table<'_>) -> Reading<Happening> {
        let target = self.target_host(value, "a host: nothing else moves")?;
        let slot = self.only_interface(target)?;
        let to = table.need("to")?;
        let network = self.find(to.text()?, Some(Kind::Network), to.at())?;
        let addresses = self.new_addresses(target, network, table.take("address"))?;
        let link = self.link_on(network, table.take("with"))?;
        let (host, network) = (self.name(target.node).to_owned(), self.name(network).to_owned());
        let interface = self.change(target.node, slot, |attachment| {
            attachment.network.clone_from(&network);
            attachment.addresses.clone_from(&addresses);
            attachment.link = link;
        });
        Ok(Happening::Move { host, interface, network, addresses, link })
    }

    /// The addresses given, or the next that are free.
    fn new_addresses(
        &mut self,
        target: Target<'_>,
        network: usize,
        given: Option<Value<'_>>,
    ) -> Reading<Vec<IpAddr>> {
        match given {
            Some(given) => {
                let given = addresses(given)?;
                self.release(target.node, network);
                self.reserve(target.node, network, &given)
            }
            None => self.next_free(target.node, network, target.at),
        }
    }

    /// Changes an attachment; gives its name.
    fn change(
        &mut self,
        node: usize,
        slot: usize,
        change: impl FnOnce(&mut Attachment),
    ) -> Option<String> {
        let attachment = self.attachment_mut(node, slot)?;
        change(attachment);
        Some(attachment.name.clone())
    }

    /// Reads `"node"` or `"node.interface"`.
    fn target<'b>(&self, value: Value<'b>) -> Reading<Target<'b>> {
        let text = value.text()?;
        let at = value.at();
        let (node, interface) = match text.split_once('.') {
            Some((node, interface)) => (self.find(node, None, at)?, Some(interface)),
            None => (self.find(text, None, at)?, None),
        };
        let Some(name) = interface else { return Ok(Target { node, interface: None, at }) };
        let interfaces = self.attachments(node);
        let slot = interfaces.iter().position(|attachment| attachment.name == name);
        let unknown = || {
            let known = interfaces.iter().map(|attachment| attachment.name.as_str());
            let suggestion = Suggestion::among(name, known);
            Problem::UnknownName { what: "interface", name: text.to_owned(), suggestion }.at(at)
        };
        let slot = slot.ok_or_else(unknown)?;
        Ok(Target { node, interface: Some((slot, name)), at })
    }

    /// The same where the node must be a host.
    fn target_host<'b>(&self, value: Value<'b>, expected: &'static str) -> Reading<Target<'b>> {
        let target = self.target(value)?;
        match self.declared.get(target.node).is_some_and(|one| one.kind == Kind::Host) {
            true => Ok(target),
            false => value.refuse(expected),
        }
    }

    /// The interface that is meant where only one can be.
    fn only_interface(&self, target: Target<'_>) -> Reading<usize> {
        match (target.interface, &self.attachments(target.node)[..]) {
            (Some((slot, _)), _) => Ok(slot),
            (None, [_]) => Ok(0),
            (None, several) => {
                let node = self.name(target.node).to_owned();
                let first = several.first().map(|first| first.name.clone()).unwrap_or_default();
                Err(Problem::WhichInterface { node, first }.at(target.at))
            }
        }
    }

    fn names(&self, target: Target<'_>) -> (String, Option<String>) {
        let interface = target.interface.map(|(_, name)| name.to_owned());
        (self.name(target.node).to_owned(), interface)
    }

    fn meant(&self, target: Target<'_>) -> Vec<&Attachment> {
        let all = self.attachments(target.node);
        match target.interface {
            Some((slot, _)) => all.into_iter().skip(slot).take(1).collect(),
            None => all,
        }
    }

    fn attachments(&self, node: usize) -> Vec<&Attachment> {
        self.nodes.get(node).map_or_else(Vec::new, |node| attachments(&node.kind))
    }

    fn attachment_mut(&mut self, node: usize, slot: usize) -> Option<&mut Attachment> {
        attachment_mut(&mut self.nodes.get_mut(node)?.kind, slot)
    }

    /// The network on which an attachment is now.
    fn network_of(&self, node: usize, slot: usize) -> usize {
        let name = self.attachments(node).get(slot).map(|attachment| attachment.network.as_str());
        let is_it = |kind: &NodeKind, other: &str| {
            matches!(kind, NodeKind::Subnet(_)) && Some(other) == name
        };
        let found = self.nodes.iter().position(|node| is_it(&node.kind, &node.name));
        found.unwrap_or_default()
    }
}

fn is_known(key: &str) -> bool {
    ["time", "for", "with", "to", "address"].contains(&key)
        || VERBS.iter().any(|(verb, _)| *verb == key)
}
