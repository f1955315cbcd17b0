//! Beside live media: no more under way than fills the path.
//!
//! What is sent has its order inside of the connection, so that a frame of audio never waits for a
//! file there. In the queue of the bottleneck it does: BBR lets twice of what fills the path be
//! under way, for the sake of acknowledgements that come in bursts, and asks for more until a queue
//! shows. As long as messages with a deadline travel on the connection, that ends: the window is
//! the pipe and a little, and start-up is slower and over with the first queue that stays. A file
//! pays for it with some of its rate where the network is uneven.
//!
//! Where others fill the queue nothing of that would make it shorter, so all stays as it is.

use std::time::Duration;

use super::{Bbr, Phase, UP_GAIN};
use crate::{
    congestion::{AckSummary, window_initial},
    delivery::Sample,
};

/// How much of what fills the path may be under way.
const WINDOW_GAIN: f64 = 1.1;

/// What round trips are longer on an uneven path than the shortest: without it there would be too
/// little under way to keep the rate.
const UNEVEN: Duration = Duration::from_millis(8);

/// How much faster start-up becomes from round to round, and how much may be under way then.
const STARTUP_GAIN: f64 = 1.5;

/// Rounds of start-up in a row that show a queue, after which it is over.
const QUEUE_ROUNDS: u8 = 2;

impl Bbr {
    /// Hears whether live media travels beside.
    pub(super) fn mind_manners(&mut self, ack: &AckSummary, sample: &Sample) {
        self.is_polite = ack.is_live && !self.is_in_company();
        // The few packets of a talk alone show an uneven path, and no queue.
        let is_filling = self.is_polite && self.phase == Phase::Startup && !sample.is_app_limited;
        self.queue_in_startup = match is_filling && self.losses.sees_queue() {
            true if self.rounds.is_start => self.queue_in_startup + 1,
            true => self.queue_in_startup,
            false => 0,
        };
        self.full.is_reached |= self.queue_in_startup >= QUEUE_ROUNDS;
    }

    /// What the rate is multiplied by, of `gain`: start-up makes no more queue than it must to see
    /// one.
    pub(super) fn polite_gain(&self, gain: f64) -> f64 {
        match self.is_polite && self.phase == Phase::Startup {
            true => gain.min(STARTUP_GAIN),
            false => gain,
        }
    }

    /// Bytes a second below which start-up never goes: a talk alone must not find itself limited,
    /// or it would end start-up.
    pub(super) fn polite_floor(&self) -> u64 {
        let window = u128::from(window_initial(self.packet_size));
        let rtt = self.min_rtt.get().map_or(0, |rtt| rtt.as_nanos()).max(1);
        match self.is_polite && self.phase == Phase::Startup {
            true => u64::try_from(window * 1_000_000_000 / rtt).unwrap_or(u64::MAX),
            false => 0,
        }
    }

    /// Bytes that may be under way, of `window`.
    pub(super) fn polite_window(&self, window: u64) -> u64 {
        let uneven = self.product(self.bw(), Some(UNEVEN), 1.0);
        let most = match self.phase {
            Phase::Startup => {
                self.inflight(self.bw(), STARTUP_GAIN).max(window_initial(self.packet_size))
            }
            Phase::Drain | Phase::Down | Phase::Cruise | Phase::Refill => {
                self.inflight(self.bw(), WINDOW_GAIN).saturating_add(uneven)
            }
            Phase::Up => self.inflight(self.bw(), UP_GAIN).saturating_add(uneven),
            Phase::ProbeRtt => window,
        };
        if self.is_polite { window.min(most) } else { window }
    }
}
