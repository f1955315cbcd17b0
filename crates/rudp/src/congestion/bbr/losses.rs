//! What losses mean: congestion, or a path that loses by itself.

use std::time::Duration;

use super::siege::Siege;
use crate::{
    congestion::AckSummary,
    delivery::{Lost, Sample},
};

/// Share of loss that is congestion when a queue is seen (the draft's threshold), on top of what
/// the path loses by itself.
const LOSS_WITH_QUEUE: f64 = 0.02;

/// Share of loss that is congestion although no queue is seen: the buffer must be tiny.
pub(super) const LOSS_WITHOUT_QUEUE: f64 = 0.15;

/// A round whose shortest trip is an eighth longer than that of the empty path, and a millisecond,
/// shows a queue.
const QUEUE_SHARE: u32 = 8;
const QUEUE_LEAST: Duration = Duration::from_millis(1);

/// Packets that a round of start-up must lose before that says anything (the draft's
/// `BBRStartupFullLossCnt`): of its first dozen chance may take most.
const LOSSES_OF_START_UP: u64 = 6;

/// Share of a new round in what is known of the path's own losses.
const AMBIENT_WEIGHT: f64 = 1.0 / 8.0;

/// The same while there is a queue, of a round in which we have not tried for more: losses that go
/// on then are the doing of others who do not mind them, and yielding to those ends nowhere.
const AMBIENT_WEIGHT_IN_QUEUE: f64 = 1.0 / 32.0;

/// Share of loss that is congestion beside someone who does not mind losses: he makes them.
const LOSS_BESIEGED: f64 = 0.3;

/// Steady rounds in a row with a queue after which it is others'.
const QUEUE_ROUNDS: u32 = 8;

/// Whether losses may be what we have done ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// No more than the path was shown to carry.
    Steady,
    /// More was tried, now or a round ago.
    Probing,
}

/// What the model knows while a round ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// The shortest round trip.
    pub(super) min: Option<Duration>,
    pub(super) sending: Sending,
    /// How much of the path is ours, from 0 to 1.
    pub(super) share: f64,
}

/// Losses, rates and round trips, in rounds of their own.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// The last sample ended a round.
    pub(super) is_round_over: bool,
    /// The best of the round.
    pub(super) bw_latest: u64,
    pub(super) inflight_latest: u64,
    ends_at: u64,
    lost: u64,
    acked: u64,
    is_marked: bool,
    /// The shortest round trip of the round.
    rtt: Option<Duration>,
    /// The rounds of the last two said: there is a queue.
    sees_queue: bool,
    /// Steady rounds in a row of which that is true.
    queue_rounds: u32,
    /// What the last full round lost, and what arrived or was lost in it.
    last_lost: u64,
    last_sent: u64,
    was_marked: bool,
    /// What is lost when there is no queue.
    ambient: f64,
    siege: Siege,
}

impl Losses {
    pub(super) fn on_lost(&mut self, lost: &Lost) {
        self.lost += lost.bytes;
    }

    pub(super) fn on_mark(&mut self, is_mark: bool) {
        self.is_marked |= is_mark;
    }

    pub(super) fn on_sample(
        &mut self,
        ack: &AckSummary,
        sample: &Sample,
        circumstances: Circumstances,
    ) {
        self.bw_latest = self.bw_latest.max(sample.rate.unwrap_or_default());
        self.inflight_latest = self.inflight_latest.max(sample.delivered);
        self.acked += sample.newly_acked;
        self.rtt = Some(self.rtt.map_or(ack.rtt, |rtt| rtt.min(ack.rtt)));
        self.is_round_over = sample.prior_delivered >= self.ends_at;
        if self.is_round_over {
            self.ends_at = ack.delivered;
            self.conclude(circumstances);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of a round are far below 2^52")]
    fn conclude(&mut self, Circumstances { min, sending, share: of_path }: Circumstances) {
        (self.last_lost, self.last_sent) = (self.lost, self.lost + self.acked);
        self.was_marked = self.is_marked;
        self.sees_queue = match (self.rtt, min) {
            (Some(rtt), Some(min)) => rtt > min + (min / QUEUE_SHARE).max(QUEUE_LEAST),
            (Some(_) | None, _) => false,
        };
        self.queue_rounds = match sending {
            Sending::Steady if self.sees_queue => self.queue_rounds + 1,
            Sending::Steady | Sending::Probing => 0,
        };
        let weight = match sending {
            Sending::Steady | Sending::Probing if !self.sees_queue => AMBIENT_WEIGHT,
            Sending::Steady => AMBIENT_WEIGHT_IN_QUEUE,
            Sending::Probing => 0.0,
        };
        if self.last_sent > 0 {
            let share = self.last_lost as f64 / self.last_sent as f64;
            let ambient = self.ambient + weight * (share - self.ambient);
            self.ambient = ambient.min(LOSS_WITHOUT_QUEUE);
            if sending == Sending::Steady {
                self.siege.on_steady_round(self.sees_queue && share > LOSS_WITH_QUEUE, of_path);
            }
        }
    }

    /// A new round begins.
    pub(super) fn begin_round(&mut self) {
        (self.lost, self.acked, self.is_marked, self.rtt) = (0, 0, false, None);
    }

    /// After everyone has looked at the sample.
    pub(super) fn end_sample(&mut self, sample: &Sample) {
        if self.is_round_over {
            self.bw_latest = sample.rate.unwrap_or_default();
            self.inflight_latest = sample.delivered;
        }
    }

    /// What was seen in a probe is not held against what follows.
    pub(super) fn forget(&mut self) {
        self.begin_round();
        (self.bw_latest, self.inflight_latest) = (0, 0);
    }

    /// The share of loss above which a path is congested.
    fn threshold(&self) -> f64 {
        match (self.siege.is_on(), self.sees_queue) {
            (true, _) => LOSS_BESIEGED,
            (false, true) => LOSS_WITH_QUEUE + self.ambient,
            (false, false) => LOSS_WITHOUT_QUEUE,
        }
    }

    /// How much more must be sent for as much to arrive as the model says the path delivers. Not
    /// into a queue: there it would only wait.
    pub(super) fn compensation(&self) -> f64 {
        if self.sees_queue { 1.0 } else { 1.0 / (1.0 - self.ambient) }
    }

    /// Whether the round that has just ended lost too much, or was marked.
    pub(super) fn is_congested(&self, packet_size: u64) -> bool {
        let round = Flight { lost: self.last_lost, sent: self.last_sent, packet_size };
        self.was_marked || round.loses_more_than(self.threshold())
    }

    /// Whether the queue stays although we ask for no more than we have.
    pub(super) fn is_queue_others(&self) -> bool {
        self.queue_rounds >= QUEUE_ROUNDS
    }

    /// The rounds with a queue are counted anew.
    pub(super) fn forget_queue(&mut self) {
        self.queue_rounds = 0;
    }

    /// Whether someone beside us goes on whatever is lost.
    pub(super) fn is_besieged(&self) -> bool {
        self.siege.is_on()
    }

    /// Takes losses for congestion again, until they are seen not to be.
    pub(super) fn relent(&mut self) {
        self.siege.relent();
    }

    /// Whether every round trip of the last round was that of a queue.
    pub(super) fn sees_queue(&self) -> bool {
        self.sees_queue
    }

    /// Whether a router has marked packets of this round or the last.
    pub(super) fn was_marked(&self) -> bool {
        self.is_marked || self.was_marked
    }

    /// Whether start-up has met the end of the path: what is lost there is lost in a full queue.
    pub(super) fn is_start_up_over(&self, packet_size: u64) -> bool {
        let round = Flight { lost: self.last_lost, sent: self.last_sent, packet_size };
        let are_enough = self.last_lost >= LOSSES_OF_START_UP * packet_size;
        self.was_marked || are_enough && round.loses_more_than(LOSS_WITHOUT_QUEUE)
    }

    /// Whether so much of a flight was lost that it was too long.
    pub(super) fn is_too_much(&self, flight: &Flight) -> bool {
        flight.loses_more_than(self.threshold())
    }
}

/// Packets that were sent together, and what became of them; in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) lost: u64,
    pub(super) sent: u64,
    pub(super) packet_size: u64,
}

impl Flight {
    /// Whether it lost so many packets that chance alone, at this share of loss, would hardly do
    /// it: two standard deviations of the binomial distribution above the mean. A few packets show
    /// little.
    #[expect(clippy::cast_precision_loss, reason = "a flight is far below 2^52 bytes")]
    fn loses_more_than(&self, share: f64) -> bool {
        let packets = |bytes: u64| bytes as f64 / self.packet_size as f64;
        let mean = packets(self.sent) * share;
        packets(self.lost) > mean + 2.0 * (mean * (1.0 - share)).sqrt()
    }
}
