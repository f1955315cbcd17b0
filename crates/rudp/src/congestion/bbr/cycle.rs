//! The cycle that looks for more: down, cruise, refill, up (draft §5.3.3).

use std::time::{Duration, Instant};

use super::{BETA, Bbr, Phase, losses::Flight, scaled, share::Of};
use crate::{
    congestion::AckSummary,
    delivery::{Lost, Sample},
};

/// Rounds between two probes at most, for the sake of Reno's flows beside us.
const ROUNDS_MAX: u64 = 63;

/// Time between two probes, half as much again by chance.
const WAIT: Duration = Duration::from_secs(2);

/// The same beside those who go on until the queue is full, and do it about as often.
const WAIT_IN_COMPANY: Duration = Duration::from_millis(500);

/// How much faster than the model's a probe is.
pub(super) const UP_GAIN: f64 = 1.25;

/// The same until it has shown that there is more to have: what it makes of queue where there is
/// not stays below a fifth of a round trip.
const UP_GAIN_CAREFUL: f64 = 1.125;

/// A round trip longer by one in this many shows the queue of a careful probe.
const QUEUE_OF_PROBE: u32 = 16;

/// What acknowledgements tell of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckPhase {
    /// Nothing.
    Quiet,
    /// They are of packets from before it.
    Starting,
    /// They are of its own packets.
    Feedback,
    /// They are of its last packets.
    Stopping,
}

/// How much a probe tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Daring {
    /// A little: the path was empty before, and the queue that shows will be its own.
    Careful,
    /// There was more to have, and nobody else seems to be there to take it.
    Bold,
    /// Until the path or its buffer is full: others fill it too, and would push us out.
    Whole,
}

impl Daring {
    pub(super) fn gain(self) -> f64 {
        match self {
            Self::Careful => UP_GAIN_CAREFUL,
            Self::Bold | Self::Whole => UP_GAIN,
        }
    }
}

#[derive(Debug)]
pub(super) struct Cycle {
    /// Cycles so far: generations of the fastest rate.
    pub(super) count: u64,
    pub(super) rounds_since_probe: u64,
    pub(super) ack_phase: AckPhase,
    since: Option<Instant>,
    wait: Duration,
    pub(super) daring: Daring,
    /// Losses now are of a probe.
    is_sampling: bool,
    up_rounds: u32,
    up_acked: u64,
    /// Acknowledged bytes for each packet that the bound grows by.
    up_every: u64,
    chance: u64,
}

impl Cycle {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            count: 0,
            rounds_since_probe: 0,
            ack_phase: AckPhase::Quiet,
            since: None,
            wait: WAIT,
            daring: Daring::Whole,
            is_sampling: false,
            up_rounds: 0,
            up_acked: 0,
            up_every: u64::MAX,
            chance: seed,
        }
    }

    /// The next number of a small generator (splitmix64): enough to keep flows from probing in
    /// step.
    fn draw(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Waits for one to one and a half times as long.
    fn pick_wait(&mut self, least: Duration) {
        self.rounds_since_probe = self.draw() % 2;
        let millis = u64::try_from(least.as_millis()).unwrap_or(u64::MAX);
        self.wait = least + Duration::from_millis(self.draw() % (millis / 2).max(1));
    }
}

impl Bbr {
    pub(super) fn advance_cycle(&mut self, ack: &AckSummary, sample: &Sample) {
        self.forget_what_others_took();
        self.adapt_long_term_model(ack, sample);
        match self.phase {
            Phase::Startup | Phase::Drain | Phase::ProbeRtt => {}
            Phase::Down => {
                if self.is_time_to_probe(ack) {
                    self.start_refill(ack);
                } else if self.is_time_to_cruise(ack) {
                    self.phase = Phase::Cruise;
                }
            }
            Phase::Cruise => {
                if self.is_time_to_probe(ack) {
                    self.start_refill(ack);
                }
            }
            Phase::Refill => {
                if self.rounds.is_start {
                    self.start_up(ack, sample);
                }
            }
            Phase::Up => {
                if self.is_time_to_go_down(ack, sample) {
                    self.start_down(ack);
                }
            }
        }
    }

    pub(super) fn start_down(&mut self, ack: &AckSummary) {
        self.enter_down(ack.now, ack.delivered);
    }

    fn enter_down(&mut self, now: Instant, delivered: u64) {
        self.losses.forget();
        self.cycle.up_every = u64::MAX;
        let is_in_company = self.is_in_company() || self.share.is_shared();
        self.cycle.pick_wait(if is_in_company { WAIT_IN_COMPANY } else { WAIT });
        self.cycle.since = Some(now);
        self.cycle.ack_phase = AckPhase::Stopping;
        self.rounds.begin(delivered);
        self.phase = Phase::Down;
    }

    pub(super) fn start_refill(&mut self, ack: &AckSummary) {
        self.forget_lower_bounds();
        if self.losses.is_besieged() {
            // It was learnt from losses that others made.
            self.inflight_hi = u64::MAX;
        }
        (self.cycle.up_rounds, self.cycle.up_acked) = (0, 0);
        self.cycle.ack_phase = AckPhase::Quiet;
        self.rounds.begin(ack.delivered);
        self.phase = Phase::Refill;
    }

    fn start_up(&mut self, ack: &AckSummary, sample: &Sample) {
        self.cycle.is_sampling = true;
        self.share.begin();
        self.cycle.daring = if self.losses.sees_queue() { Daring::Whole } else { Daring::Careful };
        self.cycle.ack_phase = AckPhase::Starting;
        self.cycle.since = Some(ack.now);
        self.rounds.begin(ack.delivered);
        self.full.begin(sample.rate.unwrap_or_default());
        self.phase = Phase::Up;
        self.raise_slope();
    }

    fn is_time_to_probe(&self, ack: &AckSummary) -> bool {
        let since = self.cycle.since.unwrap_or(ack.now);
        let is_others_turn = self.losses.is_queue_others() && self.share.is_shared();
        let wait = if is_others_turn { WAIT_IN_COMPANY } else { self.cycle.wait };
        if ack.now.saturating_duration_since(since) > wait.min(self.cycle.wait) {
            return true;
        }
        // Reno would have grown by as much as it lost by then (draft §5.3.3.5.1).
        let reno_rounds = self.inflight(self.bw(), 1.0) / self.packet_size;
        self.cycle.rounds_since_probe >= reno_rounds.min(ROUNDS_MAX)
    }

    fn is_time_to_cruise(&self, ack: &AckSummary) -> bool {
        ack.in_flight <= self.inflight_with_headroom()
            && ack.in_flight <= self.inflight(self.max_bw.get(), 1.0)
    }

    fn is_time_to_go_down(&mut self, ack: &AckSummary, sample: &Sample) -> bool {
        if self.losses.was_marked() {
            return true;
        }
        if ack.is_window_limited && self.window >= self.inflight_hi {
            // The bound is in the way, not the path.
            self.full.begin(sample.rate.unwrap_or_default());
            return false;
        }
        self.full.is_reached_now || self.has_filled_the_pipe(ack)
    }

    /// Whether a probe of a path that was empty before has made a queue. If there were more to
    /// have, none would have shown. The draft sends a quarter more and waits for three rounds
    /// without growth, which costs everyone on the path most of a round trip of queue.
    fn has_filled_the_pipe(&mut self, ack: &AckSummary) -> bool {
        let Some(min) = self.min_rtt.get() else { return false };
        let since = self.cycle.since.unwrap_or(ack.now);
        let elapsed = ack.now.saturating_duration_since(since);
        match self.cycle.daring {
            Daring::Careful if elapsed <= min => false,
            Daring::Careful if ack.rtt > min + min / QUEUE_OF_PROBE => true,
            Daring::Careful => {
                if elapsed > 2 * min {
                    self.cycle.daring = Daring::Bold;
                }
                false
            }
            Daring::Bold => ack.in_flight >= self.inflight(self.max_bw.get(), UP_GAIN),
            Daring::Whole => false,
        }
    }

    /// The rate that was fastest once is not ours any more where others keep a queue that we do not
    /// make; who has most of the path gives it up without asking for more first.
    fn forget_what_others_took(&mut self) {
        if self.losses.is_queue_others() && !self.share.is_shared() {
            self.cycle.count += 1;
            self.losses.forget_queue();
        }
    }

    /// What the packets before a probe, and those of the probe, tell of the others.
    fn watch_share(&mut self, sample: &Sample) {
        match self.cycle.ack_phase {
            AckPhase::Starting => self.share.on_sample(Of::Before, sample),
            AckPhase::Feedback | AckPhase::Stopping => self.share.on_sample(Of::Probe, sample),
            AckPhase::Quiet => {}
        }
    }

    fn adapt_long_term_model(&mut self, ack: &AckSummary, sample: &Sample) {
        self.watch_share(sample);
        if self.rounds.is_start {
            match self.cycle.ack_phase {
                AckPhase::Starting => self.cycle.ack_phase = AckPhase::Feedback,
                AckPhase::Stopping => {
                    self.cycle.is_sampling = false;
                    self.cycle.ack_phase = AckPhase::Quiet;
                    self.share.conclude();
                    if self.phase.is_probe_bw() && !sample.is_app_limited {
                        self.cycle.count += 1;
                    }
                }
                AckPhase::Quiet | AckPhase::Feedback => {}
            }
        }
        let flight = self.flight(sample.lost, sample.in_flight_then);
        if self.losses.is_too_much(&flight) || self.inflight_hi == u64::MAX {
            return;
        }
        self.inflight_hi = self.inflight_hi.max(sample.in_flight_then);
        if self.phase == Phase::Up {
            self.raise_bound(ack, sample.newly_acked);
        }
    }

    /// Grows the bound while it is what limits the probe, faster from round to round.
    fn raise_bound(&mut self, ack: &AckSummary, newly_acked: u64) {
        if !ack.is_window_limited || self.window < self.inflight_hi {
            return;
        }
        self.cycle.up_acked += newly_acked;
        if self.cycle.up_acked >= self.cycle.up_every {
            let packets = self.cycle.up_acked / self.cycle.up_every;
            self.cycle.up_acked -= packets * self.cycle.up_every;
            self.inflight_hi = self.inflight_hi.saturating_add(packets * self.packet_size);
        }
        if self.rounds.is_start {
            self.raise_slope();
        }
    }

    fn raise_slope(&mut self) {
        let growth = 1_u64 << self.cycle.up_rounds;
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(30);
        self.cycle.up_every = (self.window / growth).max(1);
    }

    fn flight(&self, lost: u64, sent: u64) -> Flight {
        Flight { lost, sent, packet_size: self.packet_size }
    }

    /// A probe that has lost too much is over, and its flight was too long.
    pub(super) fn react_to_loss(&mut self, now: Instant, lost: &Lost, delivered: u64) {
        let flight = self.flight(lost.lost_since, lost.in_flight_then);
        if !self.cycle.is_sampling || !self.losses.is_too_much(&flight) {
            return;
        }
        self.cycle.is_sampling = false;
        if !lost.is_app_limited {
            let target = self.inflight(self.bw(), 1.0).min(self.window);
            let before = lost.in_flight_then.saturating_sub(lost.bytes);
            self.inflight_hi = before.max(scaled(target, BETA));
        }
        if self.phase == Phase::Up {
            self.enter_down(now, delivered);
        }
    }
}
