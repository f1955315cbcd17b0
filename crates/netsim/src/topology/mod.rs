//! A small world as plain values: hosts, networks, routers, address translators, and what happens
//! to them when.
//!
//! A topology file in TOML becomes a [`Topology`]; a `World` brings it to life.
//! Every name in a `Topology` has been checked: it refers to something that is there.

mod node;
mod pair;
mod read;
mod timeline;

pub use node::{
    Attachment, Firewall, Host, Mapping, Nat, Node, NodeKind, PortAllocation, Prefix, Router,
    Scope, Subnet, Unsolicited,
};
pub use read::{Problem, TopologyError, parse};
pub use timeline::{Happening, Moment};

use std::time::Duration;

use crate::{Link, draft::MTU};

/// A small world.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Topology {
    /// Where all chance comes from.
    pub seed: u64,
    /// When the experiment ends by itself; `None`: when its programs have ended.
    pub duration: Option<Duration>,
    /// Everything that has a name, in the order of the file; names are unique.
    pub nodes: Vec<Node>,
    /// What happens, in the order of time.
    pub timeline: Vec<Moment>,
    /// What runs on the hosts.
    pub programs: Vec<Program>,
}

impl Topology {
    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

/// Both directions of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Duplex {
    /// From the attached node to the network.
    pub up: Link,
    /// From the network to the node.
    pub down: Link,
}

impl Duplex {
    /// No delay, no loss, no limit, packets of up to 1,500 bytes.
    pub const PERFECT: Self = Self::symmetric(Link { mtu: MTU, ..Link::PERFECT });

    /// The same in both directions.
    #[must_use]
    pub const fn symmetric(link: Link) -> Self {
        Self { up: link, down: link }
    }
}

/// A command on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The host.
    pub on: String,
    /// What its output is marked with; the program's own name unless the file says otherwise.
    pub label: String,
    /// Program and arguments. `{NAME}` in an argument stands for the first address of that host.
    pub command: Vec<String>,
    /// When it starts.
    pub at: Duration,
    /// Whether it is ended once the programs that are not background have ended.
    pub background: bool,
}
