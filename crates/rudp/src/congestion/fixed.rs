//! A rate that somebody has chosen: for the laboratory, where a path is to be seen without a
//! congestion control that reacts to it. Unfair to everyone else on the path.

use std::time::{Duration, Instant};

use super::{Acked, CongestionEvent, Controller, window_initial};

/// Round trips whose packets may be under way: acknowledgements may be late without stopping the
/// flow.
const ROUNDS: u128 = 4;

#[derive(Debug)]
pub(super) struct FixedRate {
    /// Bytes a second.
    rate: u64,
    packet_size: u64,
    rtt: Duration,
}

impl FixedRate {
    pub(super) fn new(packet_size: u64, rate: u64) -> Self {
        Self { rate: rate.max(1), packet_size, rtt: Duration::ZERO }
    }
}

impl Controller for FixedRate {
    fn window(&self) -> u64 {
        let bytes = u128::from(self.rate) * self.rtt.as_nanos() * ROUNDS / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX).max(window_initial(self.packet_size))
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(self.rate)
    }

    fn phase(&self) -> &'static str {
        "fixed_rate"
    }

    fn is_starting(&self) -> bool {
        false
    }

    fn on_packet_size(&mut self, packet_size: u64) {
        self.packet_size = packet_size;
    }

    fn on_acked(&mut self, acked: &Acked<'_>) {
        self.rtt = acked.rtt.smoothed();
    }

    fn on_congestion(&mut self, _now: Instant, _event: &CongestionEvent) {}
}
