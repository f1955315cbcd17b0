//! What a link has done so far.

use std::ops::AddAssign;

/// Counters of one link, or of all.
///
/// `entered + duplicated` = `carried` + the five reasons to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStats {
    /// Packets given to the link.
    pub entered: u64,
    /// Packets that will arrive or have arrived, second copies included.
    pub carried: u64,
    /// Bytes of those, IP and UDP headers included.
    pub bytes_carried: u64,
    /// Dropped by chance.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
    /// Dropped because CoDel found that packets had waited too long.
    pub shed: u64,
    /// Dropped because they were longer than the MTU.
    pub oversized: u64,
    /// Dropped because the link was down, or led nowhere.
    pub blackholed: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// Held back so that later ones overtake.
    pub reordered: u64,
    /// Carried with a flipped bit.
    pub corrupted: u64,
    /// Marked by the queue as having met congestion.
    pub marked: u64,
}

impl LinkStats {
    /// Packets that were dropped, whatever the reason.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.lost + self.overflowed + self.shed + self.oversized + self.blackholed
    }
}

impl AddAssign for LinkStats {
    fn add_assign(&mut self, other: Self) {
        self.entered += other.entered;
        self.carried += other.carried;
        self.bytes_carried += other.bytes_carried;
        self.lost += other.lost;
        self.overflowed += other.overflowed;
        self.shed += other.shed;
        self.oversized += other.oversized;
        self.blackholed += other.blackholed;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.marked += other.marked;
    }
}
