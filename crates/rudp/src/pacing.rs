//! Spreads a window over a round trip (RFC 9002 §7.7): a token bucket.

use std::time::{Duration, Instant};

/// Packets that may always go at once.
const BURST_MIN: u64 = 10;

/// Time whose share of the window may be saved up: timers of this coarseness lose no throughput.
const BURST_TIME: Duration = Duration::from_millis(4);

/// A timer that goes off late has let the flow wait for nothing, which is made up for. What is
/// later than that was a pause.
const LATE_MAX: Duration = Duration::from_millis(8);

/// A hundred and twenty-five hundredths of a window go out in a round trip, so that pacing is not
/// what limits the rate; twice the window while it doubles in a round trip.
const GAIN: (u64, u64) = (5, 4);
const GAIN_START: (u64, u64) = (2, 1);

#[derive(Debug)]
pub(crate) struct Pacer {
    /// Bytes that may be sent now.
    tokens: u64,
    /// Bytes that were sent ahead of their time.
    debt: u64,
    /// When they were last counted.
    counted: Option<Instant>,
    /// When the packet that waits was to go.
    due: Option<Instant>,
}

/// What the pacer goes by: so many bytes in so much time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
    pub(crate) packet_size: u64,
}

impl Pace {
    /// A window, spread over a round trip.
    pub(crate) fn of_window(window: u64, rtt: Duration, packet_size: u64) -> Self {
        Self::with(GAIN, window, rtt, packet_size)
    }

    /// The same for a window that doubles in a round trip.
    pub(crate) fn of_start(window: u64, rtt: Duration, packet_size: u64) -> Self {
        Self::with(GAIN_START, window, rtt, packet_size)
    }

    fn with((times, by): (u64, u64), window: u64, rtt: Duration, packet_size: u64) -> Self {
        Self { bytes: window * times / by, time: rtt.max(Duration::from_nanos(1)), packet_size }
    }

    /// Bytes in `time`.
    fn bytes(&self, time: Duration) -> u64 {
        let whole = self.time.as_nanos().max(1);
        let bytes = u128::from(self.bytes) * time.as_nanos() / whole;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Time for `bytes`, not less.
    fn time(&self, bytes: u64) -> Duration {
        let rate = u128::from(self.bytes.max(1));
        let nanos = (u128::from(bytes) * self.time.as_nanos()).div_ceil(rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1))
    }

    fn capacity(&self) -> u64 {
        (BURST_MIN * self.packet_size).max(self.bytes(BURST_TIME))
    }
}

impl Pacer {
    pub(crate) fn new() -> Self {
        Self { tokens: 0, debt: 0, counted: None, due: None }
    }

    /// When a packet may go; `None`: now.
    pub(crate) fn delay(&mut self, now: Instant, pace: Pace) -> Option<Instant> {
        self.count(now, pace);
        if self.tokens >= pace.packet_size {
            self.due = None;
            return None;
        }
        // Waits for half of the bucket: small steps would cost a timer each.
        let wanted = (pace.capacity() / 2).max(pace.packet_size);
        let due = now + pace.time((wanted - self.tokens).saturating_add(self.debt));
        self.due = Some(due);
        Some(due)
    }

    /// Bytes that may go in the moment for which [`Self::delay`] has just said that one may.
    pub(crate) fn allowance(&self) -> u64 {
        self.tokens
    }

    /// Bytes that were sent ahead of their time.
    pub(crate) fn debt(&self) -> u64 {
        self.debt
    }

    pub(crate) fn on_sent(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
    }

    /// These did not wait for their time.
    pub(crate) fn on_sent_ahead(&mut self, bytes: u64) {
        self.debt = self.debt.saturating_add(bytes);
    }

    fn count(&mut self, now: Instant, pace: Pace) {
        let late = self.due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        let made_up = if late <= LATE_MAX { pace.bytes(late) } else { 0 };
        let capacity = pace.capacity() + made_up;
        let Some(counted) = self.counted else {
            self.counted = Some(now);
            self.tokens = capacity;
            return;
        };
        // The packets of a train leave in one moment.
        if counted == now {
            return;
        }
        let earned = pace.bytes(now.saturating_duration_since(counted));
        // Less than a byte is not lost: the time is counted again with what follows.
        if earned > 0 || self.tokens >= capacity {
            // What was made up for stays until it is used.
            let capacity = capacity.max(self.tokens);
            let paid = earned.min(self.debt);
            self.debt -= paid;
            self.tokens = self.tokens.saturating_add(earned - paid).min(capacity);
            self.counted = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::epoch;

    const PACE: Pace =
        Pace { bytes: 150_000, time: Duration::from_millis(100), packet_size: 1_200 };

    /// Packets until the pacer says wait, and until when.
    fn burst(pacer: &mut Pacer, now: Instant) -> (u32, Instant) {
        for packets in 0.. {
            if let Some(until) = pacer.delay(now, PACE) {
                return (packets, until);
            }
            pacer.on_sent(PACE.packet_size);
        }
        unreachable!("the loop ends by returning")
    }

    #[test]
    fn a_window_is_spread_over_four_fifths_of_a_round() {
        let mut pacer = Pacer::new();
        let (mut packets, mut now) = burst(&mut pacer, epoch());
        assert_eq!(packets, 10);
        while now < epoch() + PACE.time {
            let (more, until) = burst(&mut pacer, now);
            assert!(more > 0, "the time it named is enough");
            packets += more;
            now = until;
        }
        assert!((125..=140).contains(&packets), "{packets} packets");
    }

    #[test]
    fn a_pause_does_not_save_up_more_than_a_burst() {
        let mut pacer = Pacer::new();
        let (_, now) = burst(&mut pacer, epoch());
        assert_eq!(burst(&mut pacer, now + Duration::from_secs(60)).0, 10);
    }

    /// Packets in a second when timers go off so much too late.
    fn packets_with_timers_late_by(late: Duration) -> u32 {
        let mut pacer = Pacer::new();
        let (mut packets, mut now) = burst(&mut pacer, epoch());
        while now < epoch() + Duration::from_secs(1) {
            let (more, until) = burst(&mut pacer, now);
            packets += more;
            now = until + late;
        }
        packets
    }

    #[test]
    fn a_timer_that_is_late_costs_no_throughput() {
        let exact = packets_with_timers_late_by(Duration::ZERO);
        for late_ms in [1, 4, 8] {
            let late = packets_with_timers_late_by(Duration::from_millis(late_ms));
            assert!(late >= exact * 99 / 100, "{late} packets, {exact} with exact timers");
        }
    }

    #[test]
    fn what_a_late_timer_makes_up_for_is_bounded() {
        let pace = Pace { bytes: 12_500_000, time: Duration::from_secs(1), packet_size: 1_200 };
        let mut pacer = Pacer::new();
        pacer.delay(epoch(), pace);
        pacer.on_sent(u64::MAX);
        let due = pacer.delay(epoch(), pace).unwrap();
        assert_eq!(pacer.delay(due + LATE_MAX, pace), None);
        let usual = due - epoch() + LATE_MAX;
        assert_eq!(pacer.tokens, pace.bytes(usual));
        pacer.on_sent(u64::MAX);
        let due = pacer.delay(due + LATE_MAX, pace).unwrap();
        pacer.delay(due + 2 * LATE_MAX, pace);
        assert_eq!(pacer.tokens, pace.bytes(BURST_TIME));
    }

    #[test]
    fn a_fast_path_is_not_held_up_by_coarse_timers() {
        let pace = Pace { bytes: 12_500_000, time: Duration::from_millis(1), ..PACE };
        let mut pacer = Pacer::new();
        pacer.delay(epoch(), pace);
        pacer.on_sent(u64::MAX);
        assert_eq!(pacer.delay(epoch() + BURST_TIME, pace), None);
        assert!(pacer.tokens >= 40_000_000);
    }
}
