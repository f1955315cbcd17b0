//! What redundancy may cost: a share of what it protects.

use std::time::{Duration, Instant};

/// Bytes a second that are allowed however little is sent: two packets of speech a second and a
/// few more harm nobody, and a flow of ten messages a second has no packets to ride in.
const FLOOR_A_SECOND: f64 = 2_000.0;

/// Bytes that can be saved up, and those that repairs which nobody planned can overdraw.
const SAVED_MAX: f64 = 4_000.0;

/// A share of messages that counts as most.
const MOST: f64 = 0.85;

/// Bytes on the wire that redundancy may still take.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes of redundancy for each byte that is sent for the first time.
    share: f64,
    bytes: f64,
    earned_at: Option<Instant>,
}

impl Budget {
    /// At most `percent` of what is sent for the first time.
    pub(super) fn new(percent: u32) -> Self {
        Self { share: f64::from(percent) / 100.0, bytes: 0.0, earned_at: None }
    }

    /// A message was sent for the first time, in so many bytes on the wire.
    pub(super) fn earn(&mut self, now: Instant, bytes: usize) {
        let since = self.earned_at.replace(now).map_or(Duration::ZERO, |at| now - at);
        let floor = if self.share > 0.0 { FLOOR_A_SECOND * since.as_secs_f64() } else { 0.0 };
        let earned = (bytes as f64 * self.share).max(floor);
        self.bytes = (self.bytes + earned).min(SAVED_MAX);
    }

    /// Bytes of redundancy for each byte that is sent for the first time.
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// Whether most messages of this length can be copied, each in a packet of its own with
    /// `overhead` bytes beside it.
    pub(super) fn sustains(&self, len: usize, overhead: usize) -> bool {
        (len + overhead) as f64 * self.share >= len as f64 * MOST
    }

    /// How often so many bytes can be taken.
    pub(super) fn times(&self, bytes: usize) -> u16 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let times = (self.bytes.max(0.0) / bytes.max(1) as f64) as u16;
        times
    }

    /// Takes `bytes` if there are so many.
    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        let has = self.bytes >= bytes as f64;
        if has {
            self.bytes -= bytes as f64;
        }
        has
    }

    /// Takes what was spent without asking: a repair, or a copy that found no packet to ride in.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes = (self.bytes - bytes as f64).max(-SAVED_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn no_more_is_given_than_the_share_of_what_was_sent() {
        let (mut budget, mut now, mut taken) = (Budget::new(70), epoch(), 0);
        for _ in 0..1_000 {
            budget.earn(now, 160);
            while budget.reserve(16) {
                taken += 16;
            }
            now += Duration::from_millis(20);
        }
        assert!((111_000..=112_000).contains(&taken), "{taken}");
    }

    #[test]
    fn a_few_messages_may_be_doubled_and_nothing_where_nothing_is_allowed() {
        let (mut budget, mut none, now) = (Budget::new(70), Budget::new(0), epoch());
        for second in 0..4 {
            budget.earn(now + Duration::from_secs(second), 160);
            none.earn(now + Duration::from_secs(second), 160);
            assert!(second == 0 || budget.reserve(160));
            assert!(!none.reserve(1));
        }
    }

    #[test]
    fn what_was_overdrawn_is_paid_back_first() {
        let (mut budget, now) = (Budget::new(100), epoch());
        budget.spend(200);
        budget.earn(now, 150);
        assert!(!budget.reserve(10));
        budget.earn(now, 150);
        assert!(budget.reserve(100));
        budget.spend(usize::MAX);
        budget.earn(now, 4_500);
        assert!(budget.reserve(500), "no debt is for ever");
    }
}
