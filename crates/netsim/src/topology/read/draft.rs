//! A world while its file is being read.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    addresses::Pool,
    error::{Failure, Problem, Reading, position},
    limits,
    links::Profiles,
    table::{Named, Table, Value},
};
use crate::{
    Suggestion,
    topology::{Attachment, Duplex, Happening, Moment, Node, NodeKind, Subnet},
};

/// What has been read so far.
pub(super) struct Draft<'a> {
    pub(super) profiles: &'a Profiles,
    /// Every node's table, in the order of the file.
    pub(super) declared: Vec<Declared<'a>>,
    /// The nodes as they become complete, in the same order.
    pub(super) nodes: Vec<Node>,
    /// The link of a network's attachments that have none of their own; by node.
    pub(super) network_links: Vec<Option<Duplex>>,
    pub(super) plugs: Vec<Plug>,
    pub(super) forwards: Vec<(usize, Value<'a>)>,
    pub(super) pool: Pool,
}

/// A node's table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared<'a> {
    pub(super) kind: Kind,
    pub(super) entry: Named<'a>,
}

/// The tables of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Network,
    Host,
    Router,
    Nat,
    Firewall,
}

const KINDS: [(&str, Kind); 5] = [
    ("network", Kind::Network),
    ("host", Kind::Host),
    ("router", Kind::Router),
    ("nat", Kind::Nat),
    ("firewall", Kind::Firewall),
];

/// An attachment whose addresses are still to be settled.
#[derive(Debug)]
pub(super) struct Plug {
    pub(super) node: usize,
    /// Which of the node's attachments.
    pub(super) slot: usize,
    pub(super) network: usize,
    /// The addresses given, and where.
    pub(super) given: Vec<(IpAddr, usize)>,
    /// Where its network was named.
    pub(super) at: usize,
    /// Whether others on the network go out through it.
    pub(super) role: Role,
}

/// What an attachment is to its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Gateway,
    Member,
}

impl<'a> Draft<'a> {
    /// Collects every name of a node, and checks it.
    pub(super) fn declare(
        text: &str,
        file: &mut Table<'a>,
        profiles: &'a Profiles,
    ) -> Reading<Self> {
        let mut declared = Vec::new();
        for (key, kind) in KINDS {
            let Some(value) = file.take(key) else { continue };
            let entries = value.table("a table of nodes")?.named();
            declared.extend(entries.into_iter().map(|entry| Declared { kind, entry }));
        }
        declared.sort_by_key(|declared| declared.entry.at);
        if let Some(one) = declared.get(limits::NODES) {
            let problem = Problem::TooMany { what: "nodes", most: limits::NODES };
            return Err(problem.at(one.entry.at));
        }
        check_names(text, &declared)?;
        let nodes = declared.iter().map(|one| empty(one.entry.name)).collect();
        Ok(Self {
            profiles,
            network_links: vec![None; declared.len()],
            declared,
            nodes,
            plugs: Vec::new(),
            forwards: Vec::new(),
            pool: Pool::default(),
        })
    }

    /// The node of this name and, if one was asked for, of this kind.
    pub(super) fn find(&self, name: &str, kind: Option<Kind>, at: usize) -> Reading<usize> {
        let fits = |one: &Declared<'_>| match kind {
            Some(kind) => one.kind == kind,
            None => one.kind != Kind::Network,
        };
        let found = self.declared.iter().position(|one| fits(one) && one.entry.name == name);
        found.ok_or_else(|| {
            let known = self.declared.iter().filter(|one| fits(one)).map(|one| one.entry.name);
            let what = kind.map_or("node", Kind::word);
            let suggestion = Suggestion::among(name, known);
            Problem::UnknownName { what, name: name.to_owned(), suggestion }.at(at)
        })
    }

    /// The subnet behind the index of a network.
    pub(super) fn subnet(&self, network: usize) -> &Subnet {
        match self.nodes.get(network).map(|node| &node.kind) {
            Some(NodeKind::Subnet(subnet)) => subnet,
            _ => unreachable!("indexes of networks come from Draft::find, which checked the kind"),
        }
    }

    pub(super) fn name(&self, node: usize) -> &str {
        self.declared.get(node).map_or("", |one| one.entry.name)
    }

    /// Refuses networks on which nobody ever is.
    pub(super) fn refuse_deserted(&self, timeline: &[Moment]) -> Reading<()> {
        let visited: BTreeSet<usize> = self.plugs.iter().map(|plug| plug.network).collect();
        let is_moved_to = |name: &str| {
            timeline.iter().any(
                |moment| matches!(&moment.what, Happening::Move { network, .. } if network == name),
            )
        };
        for (index, one) in self.declared.iter().enumerate() {
            let name = one.entry.name;
            if one.kind == Kind::Network && !visited.contains(&index) && !is_moved_to(name) {
                return Err(Problem::Deserted { network: name.to_owned() }.at(one.entry.at));
            }
        }
        Ok(())
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Host => "host",
            Self::Router => "router",
            Self::Nat => "NAT",
            Self::Firewall => "firewall",
        }
    }
}

/// The attachments of a node, in their order.
pub(super) fn attachments(kind: &NodeKind) -> Vec<&Attachment> {
    match kind {
        NodeKind::Host(host) => host.interfaces.iter().collect(),
        NodeKind::Subnet(_) => Vec::new(),
        NodeKind::Router(router) => router.interfaces.iter().collect(),
        NodeKind::Nat(nat) => vec![&nat.inside, &nat.outside],
        NodeKind::Firewall(firewall) => vec![&firewall.inside, &firewall.outside],
    }
}

/// The attachment of a node in this place.
pub(super) fn attachment_mut(kind: &mut NodeKind, slot: usize) -> Option<&mut Attachment> {
    match kind {
        NodeKind::Host(host) => host.interfaces.get_mut(slot),
        NodeKind::Subnet(_) => None,
        NodeKind::Router(router) => router.interfaces.get_mut(slot),
        NodeKind::Nat(nat) => [&mut nat.inside, &mut nat.outside].into_iter().nth(slot),
        NodeKind::Firewall(firewall) => {
            [&mut firewall.inside, &mut firewall.outside].into_iter().nth(slot)
        }
    }
}

/// Refuses a name that cannot stand in a command or in front of a dot.
pub(super) fn check_name(name: &str, most: usize, at: usize) -> Result<(), Failure> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if !name.is_empty() && name.len() <= most && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(Problem::Value {
        expected: format!("a name of at most {most} letters, digits, - and _"),
        found: format!("\"{}\"", name.chars().take(most).collect::<String>()),
        suggestion: Suggestion::default(),
    }
    .at(at))
}

fn check_names(text: &str, declared: &[Declared<'_>]) -> Reading<()> {
    for (index, one) in declared.iter().enumerate() {
        let Named { name, at, .. } = one.entry;
        check_name(name, limits::NAME, at)?;
        if name == "lab" {
            let name = name.to_owned();
            return Err(Problem::Reserved { name, by: "the laboratory's own program" }.at(at));
        }
        let before = declared.iter().take(index).find(|other| other.entry.name == name);
        if let Some(before) = before {
            let (line, _) = position(text, before.entry.at);
            return Err(Problem::Twice { name: name.to_owned(), line }.at(at));
        }
    }
    Ok(())
}

fn empty(name: &str) -> Node {
    Node { name: name.to_owned(), kind: NodeKind::Subnet(Subnet::default()) }
}
