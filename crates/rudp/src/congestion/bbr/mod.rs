//! BBR, version 3 (draft-ietf-ccwg-bbr), with another view of losses.
//!
//! A model of the path decides: how fast it delivers (`max_bw`) and how long an empty one takes
//! (`min_rtt`). Packets are sent at the one, and about twice their product may be under way; now
//! and then a little more is tried (`cycle.rs`), or a little less, to see the empty path again.
//!
//! The draft takes more than 2 % of loss for congestion and so gives up on paths that lose by
//! themselves. Here a loss counts by that threshold only when a queue is seen, in round trips that
//! have grown; without one, what is lost is the path's own until it exceeds [`LOSS_WITHOUT_QUEUE`]:
//! see `losses.rs` and the architecture decision 0009.

mod cycle;
mod filters;
mod losses;
mod polite;
mod share;
mod siege;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::{
    cycle::{AckPhase, Cycle, UP_GAIN},
    filters::{Aggregation, FullBandwidth, MinRtt, Rounds, WindowedMax},
    losses::{Circumstances, Losses, Sending},
    share::Share,
};
use super::{AckSummary, Acked, CongestionEvent, Controller, window_initial};
use crate::delivery::{Lost, Sample};

/// What is left of a bound after congestion.
const BETA: f64 = 0.7;

/// Least window in packets.
const PACKETS_MIN: u64 = 4;

/// Sent a little below what the model says, so that queues drain.
const PACING_MARGIN: f64 = 0.99;

/// What the share of the window that is left to others is.
const HEADROOM: f64 = 0.15;

/// The same while we have most of the path and a queue shows that we are not alone.
const HEADROOM_AMPLE: f64 = 0.3;

/// How long a flight as small as half of the model's lasts, to see the empty path.
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);

/// Rounds in which at half the rate the queue of start-up is gone, if nobody else fills it.
const DRAIN_ROUNDS_MAX: u64 = 3;

/// The phases of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Doubling until the path shows no more.
    Startup,
    /// Emptying the queue that start-up left.
    Drain,
    /// A little less than the path carries, for the queue of the last probe.
    Down,
    /// What the path carries.
    Cruise,
    /// A full pipe before a probe.
    Refill,
    /// A little more than the path carries.
    Up,
    /// So little that the path is seen empty.
    ProbeRtt,
}

impl Phase {
    /// As logs have it.
    fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Drain => "drain",
            Self::Down => "probe_bw_down",
            Self::Cruise => "probe_bw_cruise",
            Self::Refill => "probe_bw_refill",
            Self::Up => "probe_bw_up",
            Self::ProbeRtt => "probe_rtt",
        }
    }

    fn pacing_gain(self) -> f64 {
        match self {
            Self::Startup => 2.77,
            Self::Drain => 0.5,
            Self::Down => 0.9,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 1.0,
            Self::Up => UP_GAIN,
        }
    }

    fn window_gain(self) -> f64 {
        match self {
            Self::Startup | Self::Drain | Self::Down | Self::Cruise | Self::Refill => 2.0,
            Self::Up => 2.25,
            Self::ProbeRtt => 0.5,
        }
    }

    fn is_probe_bw(self) -> bool {
        match self {
            Self::Down | Self::Cruise | Self::Refill | Self::Up => true,
            Self::Startup | Self::Drain | Self::ProbeRtt => false,
        }
    }

    /// Whether more than was shown is being tried: losses then are the probe's own doing.
    fn is_probing(self) -> bool {
        match self {
            Self::Startup | Self::Refill | Self::Up => true,
            Self::Drain | Self::Down | Self::Cruise | Self::ProbeRtt => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Bbr {
    packet_size: u64,
    phase: Phase,
    window: u64,
    /// Bytes a second.
    pacing_rate: u64,
    /// Before there is a sample: by the first round trip.
    has_sample: bool,
    max_bw: WindowedMax,
    min_rtt: MinRtt,
    rounds: Rounds,
    full: FullBandwidth,
    aggregation: Aggregation,
    losses: Losses,
    cycle: Cycle,
    share: Share,
    /// Bytes under way above which the path was seen to lose; a long-term bound.
    inflight_hi: u64,
    /// Short-term bounds, since losses were last seen.
    bw_lo: u64,
    inflight_lo: u64,
    probe_rtt: ProbeRtt,
    /// The round in which draining began.
    drain_round: u64,
    /// Sending begins again after a pause.
    is_restarting: bool,
    /// Live media travels beside, and the queue is ours alone.
    is_polite: bool,
    /// Rounds of start-up in a row that have shown a queue then.
    queue_in_startup: u8,
}

/// A look at the empty path.
#[derive(Debug, Default)]
struct ProbeRtt {
    until: Option<Instant>,
    is_round_over: bool,
    window_before: u64,
    /// The shortest round trip in it.
    rtt: Option<Duration>,
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "windows and rates are positive and far below 2^52"
)]
fn scaled(value: u64, by: f64) -> u64 {
    (value as f64 * by) as u64
}

impl Bbr {
    /// `seed` spreads the probes of connections that begin together.
    pub(super) fn new(packet_size: u64, seed: u64) -> Self {
        Self {
            packet_size,
            phase: Phase::Startup,
            window: window_initial(packet_size),
            pacing_rate: u64::MAX,
            has_sample: false,
            max_bw: WindowedMax::new(2),
            min_rtt: MinRtt::default(),
            rounds: Rounds::default(),
            full: FullBandwidth::default(),
            aggregation: Aggregation::default(),
            losses: Losses::default(),
            cycle: Cycle::new(seed),
            share: Share::new(),
            inflight_hi: u64::MAX,
            bw_lo: u64::MAX,
            inflight_lo: u64::MAX,
            probe_rtt: ProbeRtt::default(),
            drain_round: 0,
            is_restarting: false,
            is_polite: false,
            queue_in_startup: 0,
        }
    }

    fn window_min(&self) -> u64 {
        PACKETS_MIN * self.packet_size
    }

    /// Bytes a second that the path is taken to carry.
    fn bw(&self) -> u64 {
        self.max_bw.get().min(self.bw_lo)
    }

    /// So many times what fills the path.
    fn bdp(&self, bw: u64, gain: f64) -> u64 {
        self.product(bw, self.min_rtt.model(), gain)
    }

    fn product(&self, bw: u64, rtt: Option<Duration>, gain: f64) -> u64 {
        let Some(rtt) = rtt else { return window_initial(self.packet_size) };
        let bytes = u128::from(bw) * rtt.as_nanos() / 1_000_000_000;
        scaled(u64::try_from(bytes).unwrap_or(u64::MAX), gain)
    }

    /// Bytes under way that keep the path busy although packets leave in trains.
    fn inflight(&self, bw: u64, gain: f64) -> u64 {
        self.quantized(self.bdp(bw, gain))
    }

    fn quantized(&self, bytes: u64) -> u64 {
        // A train for the sender, one for the receiver, one on the way.
        let trains = 3 * self.send_quantum();
        let extra = if self.phase == Phase::Up { 2 * self.packet_size } else { 0 };
        bytes.max(trains).max(self.window_min()).saturating_add(extra)
    }

    /// What leaves at once: a millisecond's worth, at least two packets, at most 64 KiB.
    fn send_quantum(&self) -> u64 {
        (self.pacing_rate / 1_000).clamp(2 * self.packet_size, (64 << 10).max(2 * self.packet_size))
    }

    /// What is under way when the path is busy without a queue, lost packets included: less is
    /// left to others out of the buffer, not out of the pipe.
    fn full_pipe(&self) -> u64 {
        self.inflight(self.bw(), self.losses.compensation()).min(self.inflight_hi)
    }

    /// Whether others fill the queue, by what it holds or by what it loses.
    fn is_in_company(&self) -> bool {
        self.min_rtt.is_in_company() || self.losses.is_besieged()
    }

    fn inflight_with_headroom(&self) -> u64 {
        if self.inflight_hi == u64::MAX || self.is_in_company() {
            return self.inflight_hi;
        }
        let has_others_room = self.share.is_ample() && self.losses.sees_queue();
        let share = if has_others_room { HEADROOM_AMPLE } else { HEADROOM };
        let headroom = scaled(self.inflight_hi, share).max(self.packet_size);
        self.inflight_hi.saturating_sub(headroom).max(self.window_min())
    }

    fn update_model(&mut self, summary: &AckSummary, sample: &Sample) {
        self.rounds.on_sample(sample.prior_delivered, summary.delivered);
        if self.rounds.is_start {
            self.cycle.rounds_since_probe += 1;
        }
        let (min, sending, share) = (self.min_rtt.get(), self.sending(), self.share.get());
        let circumstances = Circumstances { min, sending, share };
        self.losses.on_sample(summary, sample, circumstances);
        if let Some(rate) = sample.rate
            && (rate >= self.max_bw.get() || !sample.is_app_limited)
        {
            self.max_bw.offer(self.cycle.count, rate);
        }
        if self.losses.is_round_over {
            self.adapt_lower_bounds();
            self.losses.begin_round();
        }
        let (bw, window) = (self.bw(), self.window);
        self.aggregation.on_acked(summary.now, sample.newly_acked, (bw, window), &self.rounds);
    }

    /// Whether losses that show now may be the doing of start-up or of a probe.
    fn sending(&self) -> Sending {
        let is_aftermath = self.phase == Phase::Drain || self.cycle.ack_phase == AckPhase::Stopping;
        if is_aftermath || self.phase.is_probing() { Sending::Probing } else { Sending::Steady }
    }

    /// Losses outside of probes mean that the path carries less for now.
    fn adapt_lower_bounds(&mut self) {
        if self.sending() == Sending::Probing || !self.losses.is_congested(self.packet_size) {
            return;
        }
        let bw = if self.bw_lo == u64::MAX { self.max_bw.get() } else { self.bw_lo };
        let inflight = if self.inflight_lo == u64::MAX { self.window } else { self.inflight_lo };
        self.bw_lo = self.losses.bw_latest.max(scaled(bw, BETA));
        self.inflight_lo = self.losses.inflight_latest.max(scaled(inflight, BETA));
    }

    fn forget_lower_bounds(&mut self) {
        (self.bw_lo, self.inflight_lo) = (u64::MAX, u64::MAX);
    }

    fn update_phase(&mut self, summary: &AckSummary, sample: &Sample) {
        let looks_for_more = self.phase == Phase::Startup || self.phase == Phase::Up;
        // The handshake, which waits for answers, and the first window show nothing of the path.
        let has_begun = summary.delivered > window_initial(self.packet_size);
        if looks_for_more && has_begun && self.rounds.is_start {
            self.full.on_round(sample);
        }
        self.check_startup_done(summary);
        if self.phase == Phase::Drain && self.is_drained(summary) {
            self.start_down(summary);
        }
        if self.full.is_reached {
            self.advance_cycle(summary, sample);
        }
        let is_stale = self.min_rtt.on_sample(summary.now, summary.rtt);
        // Beside those who do not mind losses we know whose queue it is.
        let is_doubtful = self.min_rtt.was_long() && !self.losses.is_besieged();
        self.check_probe_rtt(summary, is_stale || is_doubtful);
        if sample.delivered > 0 {
            self.is_restarting = false;
        }
    }

    /// What start-up has left in the queue is gone, or should be: the rest is others'.
    fn is_drained(&self, summary: &AckSummary) -> bool {
        summary.in_flight <= self.inflight(self.bw(), 1.0)
            || self.rounds.count >= self.drain_round + DRAIN_ROUNDS_MAX
    }

    fn check_startup_done(&mut self, summary: &AckSummary) {
        if self.phase != Phase::Startup {
            return;
        }
        if self.rounds.is_start && self.losses.is_start_up_over(self.packet_size) {
            self.full.is_reached = true;
            let bdp = self.bdp(self.bw(), 1.0);
            self.inflight_hi = bdp.max(self.losses.inflight_latest).max(self.window_min());
        }
        if self.full.is_reached {
            self.phase = Phase::Drain;
            self.drain_round = self.rounds.count;
            self.rounds.begin(summary.delivered);
        }
    }

    fn check_probe_rtt(&mut self, summary: &AckSummary, is_stale: bool) {
        if self.phase != Phase::ProbeRtt && is_stale && !self.is_restarting {
            self.probe_rtt = ProbeRtt { window_before: self.window, ..ProbeRtt::default() };
            self.phase = Phase::ProbeRtt;
            self.cycle.ack_phase = AckPhase::Stopping;
            self.rounds.begin(summary.delivered);
        }
        if self.phase == Phase::ProbeRtt {
            self.stay_in_probe_rtt(summary);
        }
    }

    fn stay_in_probe_rtt(&mut self, summary: &AckSummary) {
        match self.probe_rtt.until {
            None if summary.in_flight <= self.probe_rtt_window() => {
                self.probe_rtt.until = Some(summary.now + PROBE_RTT_TIME);
                self.probe_rtt.is_round_over = false;
                self.rounds.begin(summary.delivered);
            }
            None => {}
            Some(until) => {
                let rtt = self.probe_rtt.rtt.map_or(summary.rtt, |rtt| rtt.min(summary.rtt));
                self.probe_rtt.rtt = Some(rtt);
                self.probe_rtt.is_round_over |= self.rounds.is_start;
                if self.probe_rtt.is_round_over && summary.now > until {
                    self.leave_probe_rtt(summary);
                }
            }
        }
    }

    fn leave_probe_rtt(&mut self, summary: &AckSummary) {
        self.min_rtt.on_look(summary.now, self.probe_rtt.rtt);
        self.window = self.window.max(self.probe_rtt.window_before);
        self.forget_lower_bounds();
        self.losses.relent();
        if self.full.is_reached {
            self.start_down(summary);
            self.phase = Phase::Cruise;
            if self.min_rtt.is_in_company() {
                self.start_refill(summary);
            }
        } else {
            self.phase = Phase::Startup;
        }
    }

    fn probe_rtt_window(&self) -> u64 {
        let gain = Phase::ProbeRtt.window_gain();
        self.product(self.bw(), self.min_rtt.get(), gain).max(self.window_min())
    }

    fn pacing_gain(&self) -> f64 {
        let gain = match self.phase {
            Phase::Up => self.cycle.daring.gain(),
            phase => phase.pacing_gain(),
        };
        self.polite_gain(gain)
    }

    fn set_pacing_rate(&mut self, rtt: Duration) {
        if !self.has_sample {
            // The first round trip is all that is known (draft §5.6.2).
            let nanos = rtt.as_nanos().max(1);
            let rate = u128::from(self.window) * 1_000_000_000 / nanos;
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            self.pacing_rate = scaled(rate, Phase::Startup.pacing_gain());
        }
        let bw = self.bw();
        if bw == 0 || bw == u64::MAX {
            return;
        }
        let gain = self.pacing_gain() * PACING_MARGIN * self.losses.compensation();
        let rate = scaled(bw, gain).max(self.packet_size).max(self.polite_floor());
        let may_fall = self.full.is_reached || self.is_polite;
        if may_fall || rate > self.pacing_rate || !self.has_sample {
            self.pacing_rate = rate.max(if self.has_sample { 0 } else { self.pacing_rate });
        }
        self.has_sample = true;
    }

    fn set_window(&mut self, summary: &AckSummary, newly_acked: u64) {
        let bdp = self.bdp(self.bw(), self.phase.window_gain());
        let max = self.quantized(bdp.saturating_add(self.aggregation.extra()));
        if self.full.is_reached {
            self.window = (self.window + newly_acked).min(max);
        } else if self.window < max || summary.delivered < window_initial(self.packet_size) {
            self.window += newly_acked;
        }
        self.window = self.window.max(self.window_min());
        if self.phase == Phase::ProbeRtt {
            self.window = self.window.min(self.probe_rtt_window());
        }
        let bound = match self.phase {
            Phase::Down | Phase::Refill | Phase::Up => self.inflight_hi,
            Phase::Cruise | Phase::ProbeRtt => self.inflight_with_headroom().max(self.full_pipe()),
            Phase::Startup | Phase::Drain => u64::MAX,
        };
        self.window = self.window.min(bound.min(self.inflight_lo).max(self.window_min()));
        self.window = self.polite_window(self.window);
    }
}

impl Controller for Bbr {
    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        (self.pacing_rate < u64::MAX).then_some(self.pacing_rate)
    }

    fn phase(&self) -> &'static str {
        self.phase.name()
    }

    fn is_starting(&self) -> bool {
        self.phase == Phase::Startup
    }

    fn on_packet_size(&mut self, packet_size: u64) {
        self.packet_size = packet_size;
        self.window = self.window.max(self.window_min());
    }

    fn on_sent_after_pause(&mut self, now: Instant) {
        self.is_restarting = true;
        self.aggregation.restart(now);
    }

    /// Everything is done once for an acknowledgement, in [`Self::on_ack`].
    fn on_acked(&mut self, _acked: &Acked<'_>) {}

    fn on_ack(&mut self, summary: &AckSummary) {
        let Some(sample) = &summary.sample else { return };
        self.update_model(summary, sample);
        self.mind_manners(summary, sample);
        self.update_phase(summary, sample);
        self.losses.end_sample(sample);
        self.set_pacing_rate(summary.rtt);
        self.set_window(summary, sample.newly_acked);
    }

    fn on_lost(&mut self, now: Instant, lost: &Lost, delivered: u64) {
        self.losses.on_lost(lost);
        self.react_to_loss(now, lost, delivered);
    }

    fn on_congestion(&mut self, _now: Instant, event: &CongestionEvent) {
        self.losses.on_mark(event.is_mark);
        if event.is_persistent {
            self.window = self.window_min();
        }
    }
}
