//! The algorithm that RFC 9002 §7 describes.

use std::time::Instant;

use super::{
    AckSummary, Acked, CongestionEvent, Controller, Recovery,
    hystart::{Advice, HyStart},
    loss_based_phase, window_initial, window_min,
};
use crate::delivery::Lost;

/// What is left of the window after a loss, and after a mark (RFC 8511 §3).
const SHARE: (u64, u64) = (1, 2);
const SHARE_MARK: (u64, u64) = (4, 5);

#[derive(Debug)]
pub(super) struct NewReno {
    packet_size: u64,
    window: u64,
    threshold: u64,
    recovery: Recovery,
    hystart: HyStart,
    /// Bytes that arrived since the window last grew by a packet.
    arrived: u64,
    /// Window and threshold before the last reaction.
    undo: Option<(u64, u64)>,
}

impl NewReno {
    pub(super) fn new(packet_size: u64) -> Self {
        Self {
            packet_size,
            window: window_initial(packet_size),
            threshold: u64::MAX,
            recovery: Recovery::default(),
            hystart: HyStart::default(),
            arrived: 0,
            undo: None,
        }
    }
}

impl Controller for NewReno {
    fn window(&self) -> u64 {
        self.window
    }

    fn phase(&self) -> &'static str {
        loss_based_phase(self.window < self.threshold)
    }

    fn slow_start_threshold(&self) -> Option<u64> {
        (self.threshold < u64::MAX).then_some(self.threshold)
    }

    fn is_starting(&self) -> bool {
        self.window < self.threshold
    }

    fn on_packet_size(&mut self, packet_size: u64) {
        self.packet_size = packet_size;
        self.window = self.window.max(window_min(packet_size));
    }

    fn on_acked(&mut self, acked: &Acked<'_>) {
        if acked.is_app_limited || self.recovery.covers(acked.sent) {
            return;
        }
        if self.window < self.threshold {
            let growth = self.hystart.growth(acked.sent, acked.bytes);
            self.window = self.window.saturating_add(growth).min(self.threshold);
            return;
        }
        self.arrived += acked.bytes;
        if self.arrived >= self.window {
            self.arrived -= self.window;
            self.window += self.packet_size;
        }
    }

    fn on_ack(&mut self, ack: &AckSummary) {
        if self.is_starting() && self.hystart.on_ack(ack.now, ack.rtt) == Advice::Leave {
            self.threshold = self.window;
        }
    }

    fn on_lost(&mut self, _now: Instant, _lost: &Lost, _delivered: u64) {
        self.recovery.on_lost();
    }

    fn on_late(&mut self, sent: Instant) {
        if self.recovery.on_late(sent)
            && let Some((window, threshold)) = self.undo.take()
        {
            self.window = self.window.max(window);
            self.threshold = threshold;
        }
    }

    fn on_congestion(&mut self, now: Instant, event: &CongestionEvent) {
        let min = window_min(self.packet_size);
        if !self.recovery.answers(now, event) {
            self.undo = Some((self.window, self.threshold));
            let (kept, of) = if event.is_mark { SHARE_MARK } else { SHARE };
            self.window = (self.window * kept / of).max(min);
            self.threshold = self.window;
            self.arrived = 0;
        }
        if event.is_persistent {
            self.window = min;
            self.recovery.started = None;
            self.hystart = HyStart::default();
        }
    }
}
