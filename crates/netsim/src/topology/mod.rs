//! A small world as plain values: hosts, networks, routers, address translators, and what happens
//! to them when.
//!
//! A file in TOML becomes a [`Topology`] by [`parse`]; a [`World`](crate::World) brings it to life.
//! Every name in a `Topology` that was parsed has been checked: it refers to something that is
//! there.
//!
//! ```
//! let world = portolan_netsim::topology::parse(r#"
//!     seed = 7
//!
//!     [network.home]
//!     prefix = "192.168.1.0/24"
//!
//!     [network.internet]
//!     prefix = ["203.0.113.0/24", "2001:db8::/64"]
//!
//!     [host.alice]                     # 192.168.1.2: the next that is free
//!     on = "home"
//!     link = "good-wifi,loss=1%"
//!
//!     [host.bob]
//!     on = "internet"
//!     address = "203.0.113.9"
//!
//!     [nat.box]                        # 192.168.1.1: gateways come first
//!     inside = "home"
//!     outside = { on = "internet", link = "dsl" }
//!     kind = "port-restricted"
//!
//!     [profile.dsl]
//!     delay = "10ms"
//!     up = { rate = "2Mbit" }
//!     down = { rate = "16Mbit" }
//!
//!     [[at]]
//!     time = "3s"
//!     rebind = "box"
//!
//!     [[run]]
//!     on = "alice"
//!     command = "ping -c 3 {bob}"
//! "#)?;
//! assert_eq!(world.nodes.len(), 5);
//! # Ok::<(), portolan_netsim::topology::TopologyError>(())
//! ```
//!
//! # Links
//! A link belongs to the place where a node touches a network, so a packet from one host to
//! another on the same network passes two: up of the sender's, down of the receiver's. A network's
//! own `link` is that of every such place that has none. To have a link once, give it to one host:
//! [`Topology::pair`] does.

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
