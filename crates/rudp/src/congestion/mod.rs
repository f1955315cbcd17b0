//! How much may be in flight.

mod bbr;
mod cubic;
mod fixed;
mod hystart;
mod new_reno;

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    Congestion,
    delivery::{Lost, Sample},
    rtt::Rtt,
};

/// Decides how much may be in flight; one a path.
pub(crate) trait Controller: fmt::Debug + Send {
    /// Bytes that may be in flight.
    fn window(&self) -> u64;

    /// Bytes a second at which packets leave; `None`: the window, spread over a round trip.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }

    /// What it is doing, in a word of the field.
    fn phase(&self) -> &'static str;

    /// The window at which slow start ends, where there is one and it is known.
    fn slow_start_threshold(&self) -> Option<u64> {
        None
    }

    /// Whether it still looks for what the path can carry, and needs to hear of every packet.
    fn is_starting(&self) -> bool;

    /// Packets are this long from now on.
    fn on_packet_size(&mut self, packet_size: u64);

    /// A packet was acknowledged.
    fn on_acked(&mut self, acked: &Acked<'_>);

    /// An acknowledgement was read to its end, its packets and the losses that it shows included.
    fn on_ack(&mut self, _ack: &AckSummary) {}

    /// A packet was lost, after so many bytes had been delivered.
    fn on_lost(&mut self, _now: Instant, _lost: &Lost, _delivered: u64) {}

    /// A packet that was declared lost has arrived after all; it was sent at that time.
    fn on_late(&mut self, _sent: Instant) {}

    /// Packets were lost, or a router said that it is congested: once for all that is noticed
    /// together.
    fn on_congestion(&mut self, now: Instant, event: &CongestionEvent);

    /// The application has something to send again, and nothing is under way.
    fn on_sent_after_pause(&mut self, _now: Instant) {}
}

/// One packet that was acknowledged.
#[derive(Debug)]
pub(crate) struct Acked<'a> {
    pub(crate) now: Instant,
    /// When the packet was sent.
    pub(crate) sent: Instant,
    pub(crate) bytes: u64,
    /// The window was not used up: what arrived says nothing about a larger one (RFC 9002 §7.8).
    pub(crate) is_app_limited: bool,
    pub(crate) rtt: &'a Rtt,
}

/// What one acknowledgement has told.
#[derive(Debug)]
pub(crate) struct AckSummary {
    pub(crate) now: Instant,
    /// The round trip of its newest packet.
    pub(crate) rtt: Duration,
    /// Bytes delivered since the start.
    pub(crate) delivered: u64,
    /// Bytes still under way.
    pub(crate) in_flight: u64,
    /// The window was used up before it came.
    pub(crate) is_window_limited: bool,
    /// Messages with a deadline travel on the same connection.
    pub(crate) is_live: bool,
    pub(crate) sample: Option<Sample>,
}

/// Loss or a mark.
#[derive(Debug)]
pub(crate) struct CongestionEvent {
    /// When the newest of the lost packets was sent.
    pub(crate) sent: Instant,
    /// Nothing arrived for so long that all that was learnt is void (RFC 9002 §7.6).
    pub(crate) is_persistent: bool,
    /// A router has marked packets; nothing is lost.
    pub(crate) is_mark: bool,
}

/// A controller for packets of `packet_size` bytes; what it does by chance comes from `seed`.
pub(crate) fn controller(which: Congestion, packet_size: u64, seed: u64) -> Box<dyn Controller> {
    match which {
        Congestion::Bbr => Box::new(bbr::Bbr::new(packet_size, seed)),
        Congestion::Cubic => Box::new(cubic::Cubic::new(packet_size)),
        Congestion::NewReno => Box::new(new_reno::NewReno::new(packet_size)),
        Congestion::FixedRate(rate) => Box::new(fixed::FixedRate::new(packet_size, rate)),
    }
}

/// RFC 9002 §7.2.
fn window_initial(packet_size: u64) -> u64 {
    (10 * packet_size).min((2 * packet_size).max(14_720))
}

/// RFC 9002 §7.2.
fn window_min(packet_size: u64) -> u64 {
    2 * packet_size
}

/// What an algorithm does that grows to a threshold first, as logs have it (RFC 9002 §7.3).
fn loss_based_phase(is_below_threshold: bool) -> &'static str {
    if is_below_threshold { "slow_start" } else { "congestion_avoidance" }
}

/// The part that all loss based algorithms share: one reaction a round trip (RFC 9002 §7.3.2).
#[derive(Debug, Default)]
struct Recovery {
    started: Option<Instant>,
    /// When the reaction before was.
    before: Option<Instant>,
    /// Packets lost in this one that have not arrived after all.
    lost: u32,
    /// Nothing but losses has caused it.
    is_undoable: bool,
}

impl Recovery {
    /// Whether a packet of that time belongs to a loss that has been answered.
    fn covers(&self, sent: Instant) -> bool {
        self.started.is_some_and(|started| sent <= started)
    }

    /// Whether the event is answered already; if not, it is from now on.
    fn answers(&mut self, now: Instant, event: &CongestionEvent) -> bool {
        let is_answered = self.covers(event.sent);
        if !is_answered {
            *self = Self { started: Some(now), before: self.started, lost: 0, is_undoable: true };
        }
        self.is_undoable &= !event.is_mark && !event.is_persistent;
        is_answered
    }

    /// A packet was lost, of the event just answered.
    fn on_lost(&mut self) {
        self.lost += 1;
    }

    /// A packet of that time was only late; answers whether all that were lost since the last
    /// reaction have arrived now, so that there was no congestion (RFC 9438 §4.9).
    fn on_late(&mut self, sent: Instant) -> bool {
        let is_older = self.before.is_some_and(|before| sent <= before);
        if !self.covers(sent) || is_older || self.lost == 0 {
            return false;
        }
        self.lost -= 1;
        let is_void = self.lost == 0 && self.is_undoable;
        if is_void {
            self.started = self.before.take();
        }
        is_void
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tests::epoch;

    const PACKET: u64 = 1200;

    /// BBR has tests of its own: it does not go by windows.
    const LOSS_BASED: [Congestion; 2] = [Congestion::Cubic, Congestion::NewReno];
    const ROUND: Duration = Duration::from_millis(50);

    /// A path on which a full window is acknowledged every round trip.
    struct Model {
        controller: Box<dyn Controller>,
        now: Instant,
        rtt: Rtt,
    }

    impl Model {
        fn new(which: Congestion) -> Self {
            let mut rtt = Rtt::new(ROUND);
            rtt.on_sample(epoch(), ROUND, Duration::ZERO);
            Self { controller: controller(which, PACKET, 1), now: epoch() + ROUND, rtt }
        }

        fn round(&mut self, is_app_limited: bool) {
            let sent = self.now;
            self.now += ROUND;
            for _ in 0..self.controller.window() / PACKET {
                let now = self.now;
                let rtt = &self.rtt;
                let acked = Acked { now, sent, bytes: PACKET, is_app_limited, rtt };
                self.controller.on_acked(&acked);
            }
        }

        fn lose(&mut self, is_persistent: bool) {
            let event = CongestionEvent { sent: self.now, is_persistent, is_mark: false };
            self.now += ROUND;
            self.controller.on_congestion(self.now, &event);
        }
    }

    #[test]
    fn slow_start_doubles_the_window_every_round() {
        for which in LOSS_BASED {
            let mut model = Model::new(which);
            let before = model.controller.window();
            model.round(false);
            assert_eq!(model.controller.window(), 2 * before, "{which:?}");
        }
    }

    #[test]
    fn an_idle_application_does_not_grow_the_window() {
        for which in LOSS_BASED {
            let mut model = Model::new(which);
            let before = model.controller.window();
            (0..10).for_each(|_| model.round(true));
            assert_eq!(model.controller.window(), before, "{which:?}");
        }
    }

    #[test]
    fn losses_of_one_round_count_once() {
        for which in LOSS_BASED {
            let mut model = Model::new(which);
            (0..5).for_each(|_| model.round(false));
            let event = CongestionEvent { sent: model.now, is_persistent: false, is_mark: false };
            model.controller.on_congestion(model.now, &event);
            let once = model.controller.window();
            model.controller.on_congestion(model.now + ROUND / 2, &event);
            assert_eq!(model.controller.window(), once, "{which:?}");
        }
    }

    /// Packets that were sent now are lost a round later, and as many of them arrive after all.
    fn lose_and_find(model: &mut Model, is_mark: bool, lost: u32, late: u32) {
        let sent = model.now;
        model.now += ROUND;
        let event = CongestionEvent { sent, is_persistent: false, is_mark };
        model.controller.on_congestion(model.now, &event);
        let one = Lost { bytes: PACKET, in_flight_then: 0, lost_since: 0, is_app_limited: false };
        (0..lost).for_each(|_| model.controller.on_lost(model.now, &one, 0));
        (0..late).for_each(|_| model.controller.on_late(sent));
    }

    #[test]
    fn losses_that_were_all_only_late_change_nothing() {
        for which in LOSS_BASED {
            let mut model = Model::new(which);
            (0..5).for_each(|_| model.round(false));
            let before = model.controller.window();
            lose_and_find(&mut model, false, 3, 3);
            assert_eq!(model.controller.window(), before, "{which:?}");
            assert!(model.controller.is_starting(), "{which:?}");
            lose_and_find(&mut model, false, 1, 0);
            assert!(model.controller.window() < before, "{which:?}: one that is real counts");
        }
    }

    #[test]
    fn one_real_loss_or_a_mark_is_answered_whatever_else_was_late() {
        for which in LOSS_BASED {
            for (is_mark, late) in [(false, 2), (true, 3)] {
                let mut model = Model::new(which);
                (0..5).for_each(|_| model.round(false));
                let before = model.controller.window();
                lose_and_find(&mut model, is_mark, 3, late);
                assert!(model.controller.window() < before, "{which:?}");
                assert!(!model.controller.is_starting(), "{which:?}");
            }
        }
    }

    #[test]
    fn persistent_congestion_leaves_the_smallest_window() {
        for which in LOSS_BASED {
            let mut model = Model::new(which);
            (0..5).for_each(|_| model.round(false));
            model.lose(true);
            assert_eq!(model.controller.window(), 2 * PACKET, "{which:?}");
        }
    }

    #[test]
    fn no_series_of_losses_brings_the_window_below_two_packets() {
        for which in LOSS_BASED {
            let mut model = Model::new(which);
            (0..40).for_each(|_| model.lose(false));
            assert_eq!(model.controller.window(), 2 * PACKET, "{which:?}");
        }
    }

    #[test]
    fn cubic_returns_to_the_window_of_the_loss_and_rests_there() {
        let mut model = Model::new(Congestion::Cubic);
        (0..8).for_each(|_| model.round(false));
        let at_loss = model.controller.window();
        model.lose(false);
        assert_eq!(model.controller.window(), at_loss * 7 / 10);
        // K = cbrt(W_max * 0.3 / 0.4) (RFC 9438 §4.2).
        let k = (at_loss as f64 / PACKET as f64 * 0.75).cbrt();
        let rounds = (1..).find(|&rounds| ROUND.as_secs_f64() * f64::from(rounds) >= k);
        let rounds = usize::try_from(rounds.expect("it comes")).expect("it is small");
        let windows: Vec<u64> = (0..2 * rounds)
            .map(|_| {
                model.round(false);
                model.controller.window()
            })
            .collect();
        let near = |window: u64| window.abs_diff(at_loss) < at_loss / 20;
        assert!(near(windows[rounds]), "{} of {at_loss} after K", windows[rounds]);
        assert!(windows[2 * rounds - 1] > at_loss * 11 / 10, "it goes on to probe for more");
    }

    #[test]
    fn new_reno_grows_by_a_packet_a_round_after_a_loss() {
        let mut model = Model::new(Congestion::NewReno);
        (0..4).for_each(|_| model.round(false));
        model.lose(false);
        model.now += ROUND;
        let before = model.controller.window();
        model.round(false);
        let grown = model.controller.window() - before;
        assert!((PACKET - 20..=PACKET).contains(&grown), "{grown}");
    }
}
