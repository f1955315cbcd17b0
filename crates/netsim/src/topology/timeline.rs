//! What happens to a world while it runs.

use std::{net::IpAddr, time::Duration};

use super::Duplex;

/// Something that happens at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// From the start.
    pub at: Duration,
    /// What.
    pub what: Happening,
}

/// What can happen to a world. An `interface` of `None` means all of the node's.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A node's attachment swallows everything, without a word.
    Down {
        /// The node.
        node: String,
        /// Which of its attachments.
        interface: Option<String>,
    },
    /// It carries again.
    Up {
        /// The node.
        node: String,
        /// Which of its attachments.
        interface: Option<String>,
    },
    /// A host's interface loses its cable, or its radio cell: the host knows, and uses others.
    Unplug {
        /// The host.
        host: String,
        /// Which of its interfaces.
        interface: Option<String>,
    },
    /// It is there again.
    Plug {
        /// The host.
        host: String,
        /// Which of its interfaces.
        interface: Option<String>,
    },
    /// An attachment behaves like this from now on.
    Link {
        /// The node.
        node: String,
        /// Which of its attachments.
        interface: Option<String>,
        /// How.
        link: Duplex,
    },
    /// A translator forgets every mapping and gives new ports from now on.
    Rebind {
        /// The translator.
        nat: String,
    },
    /// A node's attachment gets other addresses on the network where it is.
    Renumber {
        /// The node.
        node: String,
        /// Which of its attachments.
        interface: Option<String>,
        /// The addresses from now on.
        addresses: Vec<IpAddr>,
    },
    /// A host's interface leaves its network and joins another.
    Move {
        /// The host.
        host: String,
        /// Which of its interfaces.
        interface: Option<String>,
        /// The network that it joins.
        network: String,
        /// Its addresses there.
        addresses: Vec<IpAddr>,
        /// How the two directions behave there.
        link: Duplex,
    },
}
