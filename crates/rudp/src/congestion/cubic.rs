//! CUBIC (RFC 9438).

use std::time::{Duration, Instant};

use super::{
    AckSummary, Acked, CongestionEvent, Controller, Recovery,
    hystart::{Advice, HyStart},
    loss_based_phase, window_initial, window_min,
};
use crate::delivery::Lost;

/// How steep the curve is, in packets per cubic second (RFC 9438 §5.1).
const C: f64 = 0.4;

/// What is left of the window after a loss (RFC 9438 §4.6).
const BETA: f64 = 0.7;

/// What is left of it after a mark: the queue that marks is shorter than one that drops (RFC 8511).
const BETA_MARK: f64 = 0.85;

/// How fast Reno would grow with this `BETA` (RFC 9438 §4.3).
const RENO_GROWTH: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

#[derive(Debug)]
pub(super) struct Cubic {
    packet_size: f64,
    /// Bytes; whole ones are used.
    window: f64,
    threshold: f64,
    /// The window before the last loss, which the curve returns to.
    window_max: f64,
    /// The window before the last loss, without fast convergence.
    window_prior: f64,
    recovery: Recovery,
    hystart: HyStart,
    epoch: Option<Epoch>,
    /// What was before the last reaction.
    undo: Option<Undo>,
}

/// What a reaction changes (RFC 9438 §4.9.2).
#[derive(Debug)]
struct Undo {
    window: f64,
    threshold: f64,
    window_max: f64,
    window_prior: f64,
    epoch: Option<Epoch>,
}

/// Growth since the last loss.
#[derive(Debug)]
struct Epoch {
    start: Instant,
    /// When the curve reaches `window_max`, in seconds after the start.
    k: f64,
    /// What Reno's window would be.
    reno: f64,
    last: Instant,
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "windows are positive and far below 2^52 bytes"
)]
impl Cubic {
    pub(super) fn new(packet_size: u64) -> Self {
        Self {
            packet_size: packet_size as f64,
            window: window_initial(packet_size) as f64,
            threshold: f64::INFINITY,
            window_max: 0.0,
            window_prior: 0.0,
            recovery: Recovery::default(),
            hystart: HyStart::default(),
            epoch: None,
            undo: None,
        }
    }

    fn bytes(&self) -> u64 {
        self.window as u64
    }

    fn window_min(&self) -> f64 {
        window_min(self.packet_size as u64) as f64
    }

    /// RFC 9438 §4.4 and §4.5.
    fn avoid_congestion(&mut self, acked: &Acked<'_>) {
        let (packet, window) = (self.packet_size, self.window);
        let window_max = self.window_max.max(window);
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            start: acked.now,
            k: ((window_max - window) / packet / C).cbrt(),
            reno: window,
            last: acked.now,
        });
        epoch.last = acked.now;
        let share = acked.bytes as f64 / window;
        // Once Reno has returned to the window before the loss, it grows as it always did (§4.3).
        let growth = if epoch.reno < self.window_prior { RENO_GROWTH } else { 1.0 };
        epoch.reno += growth * packet * share;

        let elapsed = acked.now.saturating_duration_since(epoch.start);
        let curve =
            |time: Duration| window_max + C * packet * (time.as_secs_f64() - epoch.k).powi(3);
        if curve(elapsed) < epoch.reno {
            self.window = window.max(epoch.reno);
        } else {
            let target = curve(elapsed + acked.rtt.smoothed()).clamp(window, 1.5 * window);
            self.window += (target - window) * share;
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "windows are positive and far below 2^52 bytes"
)]
impl Controller for Cubic {
    fn window(&self) -> u64 {
        self.bytes()
    }

    fn phase(&self) -> &'static str {
        loss_based_phase(self.window < self.threshold)
    }

    fn slow_start_threshold(&self) -> Option<u64> {
        self.threshold.is_finite().then_some(self.threshold as u64)
    }

    fn is_starting(&self) -> bool {
        self.window < self.threshold
    }

    fn on_packet_size(&mut self, packet_size: u64) {
        self.packet_size = packet_size as f64;
        self.window = self.window.max(self.window_min());
        // The curve counts in packets.
        self.epoch = None;
    }

    fn on_acked(&mut self, acked: &Acked<'_>) {
        if self.recovery.covers(acked.sent) {
            return;
        }
        if acked.is_app_limited {
            // Time in which nothing was tried does not move along the curve (RFC 9438 §5.8).
            if let Some(epoch) = &mut self.epoch {
                epoch.start += acked.now.saturating_duration_since(epoch.last);
                epoch.last = acked.now;
            }
            return;
        }
        if self.window < self.threshold {
            let growth = self.hystart.growth(acked.sent, acked.bytes);
            self.window = (self.window + growth as f64).min(self.threshold);
        } else {
            self.avoid_congestion(acked);
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
            && let Some(undo) = self.undo.take()
        {
            self.window = self.window.max(undo.window);
            self.threshold = undo.threshold;
            self.window_max = undo.window_max;
            self.window_prior = undo.window_prior;
            self.epoch = undo.epoch;
        }
    }

    fn on_congestion(&mut self, now: Instant, event: &CongestionEvent) {
        if !self.recovery.answers(now, event) {
            self.undo = Some(Undo {
                window: self.window,
                threshold: self.threshold,
                window_max: self.window_max,
                window_prior: self.window_prior,
                epoch: self.epoch.take(),
            });
            // Fast convergence (RFC 9438 §4.7): the path seems to have less to give than before.
            let is_less = self.window < self.window_max;
            self.window_max = if is_less { self.window * (1.0 + BETA) / 2.0 } else { self.window };
            self.window_prior = self.window;
            let beta = if event.is_mark { BETA_MARK } else { BETA };
            self.window = (self.window * beta).max(self.window_min());
            self.threshold = self.window;
        }
        if event.is_persistent {
            self.window = self.window_min();
            self.recovery.started = None;
            self.epoch = None;
            self.hystart = HyStart::default();
        }
    }
}
