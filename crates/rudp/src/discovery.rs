//! How long a datagram may be on this path: packetization layer path MTU discovery for datagram
//! transports (DPLPMTUD, RFC 8899).
//!
//! Sizes are tried from a ladder of those that networks really have. Upwards first, by the
//! landmarks; once a rung has failed, between it and the last that passed. A probe is a packet of
//! padding; when it is lost nothing is sent again and the congestion controller is not told
//! (RFC 8899 §3). Probes are sent while there is data to send, so a quiet connection costs
//! nothing.

use std::time::{Duration, Instant};

/// Sizes of UDP payloads worth trying, ascending, with what they belong to.
const LADDER: [Rung; 12] = [
    Rung::new(1_232, Step::Between),   // IPv6's least MTU, 1,280
    Rung::new(1_352, Step::Between),   // tunnels inside tunnels
    Rung::new(1_392, Step::Between),   // WireGuard over IPv6: 1,420 less 28
    Rung::new(1_452, Step::Landmark),  // Ethernet with IPv6, or PPPoE
    Rung::new(1_472, Step::Landmark),  // Ethernet with IPv4
    Rung::new(4_052, Step::Between),   // cloud overlays of 4,100 to 4,352
    Rung::new(8_873, Step::Between),   // AWS transit, 8,901 less 28
    Rung::new(8_952, Step::Landmark),  // jumbo frames with IPv6
    Rung::new(8_972, Step::Landmark),  // jumbo frames with IPv4
    Rung::new(16_336, Step::Between),  // loopback of macOS, 16,384
    Rung::new(65_487, Step::Landmark), // loopback of Linux with IPv6
    Rung::new(65_507, Step::Landmark), // the longest datagram of IPv4
];

/// Probes of one size that are lost before it counts as too long (RFC 8899 §5.1.2, MAX_PROBES).
const PROBES_MAX: u8 = 3;

/// When a finished search begins anew (RFC 8899 §5.1.1, PMTU_RAISE_TIMER).
const RAISE_AFTER: Duration = Duration::from_secs(600);

/// Losses of long packets only, noticed one after the other, until the path counts as a black
/// hole for them (RFC 8899 §4.3).
const SUSPICIONS_MAX: u8 = 3;

/// Probe time-outs in a row after which long packets are suspected.
const TIMEOUTS_MAX: u32 = 2;

#[derive(Debug, Clone, Copy)]
struct Rung {
    size: u16,
    step: Step,
}

/// When a rung is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// On the way up.
    Landmark,
    /// Only below one that has failed.
    Between,
}

impl Rung {
    const fn new(size: u16, step: Step) -> Self {
        Self { size, step }
    }
}

/// The search on one path.
#[derive(Debug)]
pub(crate) struct Discovery {
    /// What every path carries (RFC 8899 §5.1.2, BASE_PLPMTU).
    base: u16,
    /// Known to pass.
    size: u16,
    /// What the two ends and the socket can handle.
    limit: u16,
    /// The shortest that is known not to pass.
    failed: Option<u16>,
    under_way: Option<u16>,
    /// Probes of the present size that were lost.
    lost: u8,
    finished: Option<Instant>,
    /// Losses that only long packets met, since the last long one arrived.
    suspicions: u8,
}

impl Discovery {
    /// Begins at `base` and never goes above `limit`.
    pub(crate) fn new(base: u16, limit: u16) -> Self {
        Self {
            base,
            size: base,
            limit: limit.max(base),
            failed: None,
            under_way: None,
            lost: 0,
            finished: None,
            suspicions: 0,
        }
    }

    /// Bytes of the longest datagram that is known to pass.
    pub(crate) fn size(&self) -> usize {
        self.size.into()
    }

    /// Learns what the remote takes. Answers whether the size has changed.
    pub(crate) fn limit(&mut self, limit: u16) -> bool {
        self.limit = self.limit.min(limit.max(self.base));
        let before = self.size;
        self.size = self.size.min(self.limit);
        self.size != before
    }

    /// The size to be tried now, if it is time for it.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<usize> {
        if self.under_way.is_some() {
            return None;
        }
        if let Some(finished) = self.finished {
            if now.saturating_duration_since(finished) < RAISE_AFTER {
                return None;
            }
            (self.finished, self.failed) = (None, None);
        }
        let next = self.next();
        if next.is_none() {
            self.finished = Some(now);
        }
        next.map(usize::from)
    }

    /// A probe of the size that [`Self::poll`] has named is on its way.
    pub(crate) fn on_sent(&mut self, size: usize) {
        self.under_way = u16::try_from(size).ok();
    }

    /// Nothing more will be heard of a probe under way: the path has moved.
    pub(crate) fn forget_probe(&mut self) {
        self.under_way = None;
    }

    /// The probe has arrived: the size is known to pass. Answers whether it is news.
    pub(crate) fn on_probe_acked(&mut self, size: u64) -> bool {
        self.under_way = None;
        self.lost = 0;
        self.suspicions = 0;
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        // A black hole may have been found since.
        let is_news = size > self.size && self.failed.is_none_or(|failed| size < failed);
        if is_news {
            self.size = size;
        }
        is_news
    }

    /// The probe was lost, for whatever reason.
    pub(crate) fn on_probe_lost(&mut self) {
        let Some(size) = self.under_way.take() else { return };
        self.lost += 1;
        if self.lost >= PROBES_MAX {
            self.lost = 0;
            self.failed = Some(self.failed.map_or(size, |failed| failed.min(size)));
        }
    }

    /// A packet arrived.
    pub(crate) fn on_acked(&mut self, size: u64) {
        if size > u64::from(self.base) {
            self.suspicions = 0;
        }
    }

    /// Packets of these sizes were found lost together. Answers whether the size has changed.
    pub(crate) fn on_lost(&mut self, sizes: impl Iterator<Item = u64>) -> bool {
        let (mut any, mut all_long) = (false, true);
        for size in sizes {
            any = true;
            all_long &= size > u64::from(self.base);
        }
        if any && all_long {
            self.suspicions += 1;
        }
        self.suspicions >= SUSPICIONS_MAX && self.fall_back()
    }

    /// So many probes in a row went unanswered. Answers whether the size has changed.
    pub(crate) fn on_timeouts(&mut self, count: u32) -> bool {
        count >= TIMEOUTS_MAX && self.fall_back()
    }

    /// Back to what every path carries: the path has changed (RFC 8899 §4.3).
    fn fall_back(&mut self) -> bool {
        self.suspicions = 0;
        if self.size == self.base {
            return false;
        }
        self.failed = Some(self.size);
        self.size = self.base;
        (self.under_way, self.lost, self.finished) = (None, 0, None);
        true
    }

    fn next(&self) -> Option<u16> {
        let above = |rung: &Rung| rung.size > self.size && rung.size <= self.limit;
        let Some(failed) = self.failed else {
            let landmark = |rung: &&Rung| above(rung) && rung.step == Step::Landmark;
            let next = LADDER.iter().find(landmark).map(|rung| rung.size);
            // The limit itself may stand between two rungs.
            return next.or((self.limit > self.size).then_some(self.limit));
        };
        let between = || LADDER.iter().filter(|rung| above(rung) && rung.size < failed);
        between().nth(between().count() / 2).map(|rung| rung.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::epoch;

    /// Searches on a path that carries `mtu` bytes; answers the size found and the probes sent.
    fn search(discovery: &mut Discovery, now: Instant, mtu: usize) -> (usize, usize) {
        let mut probes = 0;
        while let Some(size) = discovery.poll(now) {
            discovery.on_sent(size);
            probes += 1;
            if size <= mtu {
                discovery.on_probe_acked(size as u64);
            } else {
                discovery.on_probe_lost();
            }
        }
        (discovery.size(), probes)
    }

    #[test]
    fn the_common_sizes_are_found() {
        let paths = [
            (1_200, 1_200),
            (1_252, 1_232),
            (1_420, 1_392),
            (1_452, 1_452),
            (1_472, 1_472),
            (4_072, 4_052),
            (8_972, 8_972),
            (16_336, 16_336),
            (65_487, 65_487),
            (65_507, 65_507),
        ];
        for (mtu, expected) in paths {
            let (found, probes) = search(&mut Discovery::new(1_200, 65_507), epoch(), mtu);
            assert_eq!(found, expected, "a path of {mtu}");
            assert!(probes <= 18, "{probes} probes on a path of {mtu}");
        }
    }

    #[test]
    fn an_ethernet_needs_two_probes_to_be_used_in_full() {
        let mut discovery = Discovery::new(1_200, 1_472);
        assert_eq!(search(&mut discovery, epoch(), 1_472), (1_472, 2));
    }

    #[test]
    fn nothing_longer_than_the_remote_takes_is_tried() {
        let mut discovery = Discovery::new(1_200, 65_507);
        assert!(!discovery.limit(2_000));
        assert_eq!(search(&mut discovery, epoch(), 65_507).0, 2_000);
        assert!(discovery.limit(1_300));
        assert_eq!(discovery.size(), 1_300);
        assert!(discovery.limit(10), "but never below what every path carries");
        assert_eq!(discovery.size(), 1_200);
    }

    #[test]
    fn a_size_fails_only_when_its_probe_was_lost_three_times() {
        let mut discovery = Discovery::new(1_200, 1_452);
        for _ in 0..2 {
            assert_eq!(discovery.poll(epoch()), Some(1_452));
            discovery.on_sent(1_452);
            assert_eq!(discovery.poll(epoch()), None, "one probe at a time");
            discovery.on_probe_lost();
        }
        assert_eq!(search(&mut discovery, epoch(), 1_452).0, 1_452);
    }

    #[test]
    fn a_finished_search_begins_anew_after_a_while() {
        let mut discovery = Discovery::new(1_200, 65_507);
        search(&mut discovery, epoch(), 1_472);
        assert_eq!(discovery.poll(epoch() + RAISE_AFTER / 2), None);
        assert_eq!(search(&mut discovery, epoch() + RAISE_AFTER, 8_972).0, 8_972);
    }

    #[test]
    fn a_path_that_swallows_long_packets_is_noticed_by_their_losses() {
        let mut discovery = Discovery::new(1_200, 65_507);
        search(&mut discovery, epoch(), 8_972);
        assert!(!discovery.on_lost([8_972, 8_972].into_iter()));
        assert!(!discovery.on_lost([8_972].into_iter()));
        assert!(discovery.on_lost([8_972].into_iter()));
        assert_eq!(discovery.size(), 1_200);
        assert_eq!(search(&mut discovery, epoch(), 1_472).0, 1_472, "and searched anew");
    }

    #[test]
    fn losses_that_short_packets_share_or_long_ones_survive_are_not_the_paths_length() {
        let mut discovery = Discovery::new(1_200, 65_507);
        search(&mut discovery, epoch(), 1_472);
        for _ in 0..10 {
            assert!(!discovery.on_lost([1_472, 900].into_iter()));
            assert!(!discovery.on_lost([1_472].into_iter()));
            assert!(!discovery.on_lost([1_472].into_iter()));
            discovery.on_acked(1_472);
        }
        assert_eq!(discovery.size(), 1_472);
    }

    #[test]
    fn silence_brings_the_size_back_to_what_every_path_carries() {
        let mut discovery = Discovery::new(1_200, 65_507);
        assert!(!discovery.on_timeouts(5), "it is there already");
        search(&mut discovery, epoch(), 1_472);
        assert!(!discovery.on_timeouts(1));
        assert!(discovery.on_timeouts(2));
        assert_eq!(discovery.size(), 1_200);
    }

    #[test]
    fn a_late_answer_to_a_probe_does_not_undo_a_fall_back() {
        let mut discovery = Discovery::new(1_200, 65_507);
        search(&mut discovery, epoch(), 1_472);
        assert!(discovery.on_timeouts(2));
        assert!(!discovery.on_probe_acked(8_952));
        assert_eq!(discovery.size(), 1_200);
    }
}
