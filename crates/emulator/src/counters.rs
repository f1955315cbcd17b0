//! What the model has counted.

use portolan_netsim::{LinkStats, NatStats, World, WorldStats};

/// What the model has counted since the start.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// What became of packets, other than in links.
    pub world: WorldStats,
    /// Every attachment.
    pub links: Vec<LinkCounters>,
    /// Every translator, by its name.
    pub nats: Vec<(String, NatStats)>,
}

/// The two directions of an attachment.
#[derive(Debug, Clone)]
pub struct LinkCounters {
    /// Whose.
    pub node: String,
    /// Which of the node's.
    pub interface: String,
    /// From the node to the network.
    pub up: LinkStats,
    /// From the network to the node.
    pub down: LinkStats,
}

impl Counters {
    /// Reads them from a world.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no emulator here"))]
    pub(crate) fn of<P: Clone>(world: &World<P>) -> Self {
        let links = world.interfaces().map(|(id, node, interface)| {
            let (up, down) = world.link_stats(id);
            LinkCounters { node: node.to_owned(), interface: interface.to_owned(), up, down }
        });
        let nats = world.nats().map(|(name, stats)| (name.to_owned(), stats));
        Self { world: world.stats(), nats: nats.collect(), links: links.collect() }
    }
}
