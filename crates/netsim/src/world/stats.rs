//! What a world has done so far.

/// What became of the packets of a world, other than in its links.
///
/// `sent + made + copied` plus the second copies that links made = `delivered + consumed` + the
/// reasons to drop + what links dropped + what is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorldStats {
    /// Packets that hosts sent.
    pub sent: u64,
    /// Errors, resets and echo replies that the model itself made.
    pub made: u64,
    /// Copies of multicast and broadcast packets, beyond the first.
    pub copied: u64,
    /// Packets that reached a host.
    pub delivered: u64,
    /// Packets for a box itself, answered or not.
    pub consumed: u64,
    /// Dropped: no way leads to their destination, or nobody is there.
    pub unrouted: u64,
    /// Dropped: forwarded too often.
    pub hop_limit: u64,
    /// Dropped between hosts on an isolated network.
    pub isolated: u64,
    /// Multicast and broadcast packets that nobody was there to hear, or that the network does not
    /// carry.
    pub unheard: u64,
    /// Dropped because an interface had moved away.
    pub moved: u64,
    /// Dropped by a translator or a firewall: nobody inside had asked for them.
    pub filtered: u64,
    /// Dropped by a translator or a firewall that lets no UDP pass.
    pub blocked: u64,
    /// Dropped by a translator: no mapping left, or a protocol that it does not translate.
    pub refused: u64,
}

impl WorldStats {
    /// Packets that were dropped outside of links, whatever the reason.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.unrouted
            + self.hop_limit
            + self.isolated
            + self.unheard
            + self.moved
            + self.filtered
            + self.blocked
            + self.refused
    }
}

/// What a translator has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatStats {
    /// Mappings now.
    pub mappings: u64,
    /// Mappings made.
    pub created: u64,
    /// Mappings that nobody used for too long.
    pub expired: u64,
    /// Mappings that a rebinding or another address has ended.
    pub forgotten: u64,
    /// Packets for which no mapping could be made.
    pub refused: u64,
    /// Packets from outside that nobody had asked for.
    pub filtered: u64,
    /// UDP packets that are not let pass.
    pub blocked: u64,
    /// Packets between two inside hosts by their outside addresses.
    pub hairpinned: u64,
}
