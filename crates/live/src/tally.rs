//! What a receiver has counted, altogether and lately.

use std::collections::VecDeque;

use crate::{fifo::Made, units::FRAME_SAMPLES};

/// Seconds that [`crate::Quality`] looks back.
const SECONDS: usize = 5;

/// Counters that only grow; sound in samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) received: u64,
    pub(crate) expected: u64,
    pub(crate) late: u64,
    pub(crate) delayed: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    pub(crate) restarts: u64,
    pub(crate) played: u64,
    pub(crate) repaired: u64,
    pub(crate) concealed: u64,
    pub(crate) silence: u64,
    pub(crate) gaps: u64,
    pub(crate) shortened: u64,
    pub(crate) lengthened: u64,
    concealing: bool,
}

impl Tally {
    pub(crate) fn on_sound(&mut self, made: Made, samples: usize) {
        let samples = samples as u64;
        match made {
            Made::Played => self.played += samples,
            Made::Repaired => self.repaired += samples,
            Made::Concealed => self.concealed += samples,
            Made::Silence => self.silence += samples,
        }
        let concealing = made == Made::Concealed;
        self.gaps += u64::from(concealing && !self.concealing);
        self.concealing = concealing;
    }

    /// Frames that have not come.
    pub(crate) const fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    /// What was added since `before`.
    pub(crate) const fn since(&self, before: &Self) -> Self {
        Self {
            received: self.received - before.received,
            expected: self.expected - before.expected,
            late: self.late - before.late,
            delayed: self.delayed - before.delayed,
            duplicates: self.duplicates - before.duplicates,
            refused: self.refused - before.refused,
            restarts: self.restarts - before.restarts,
            played: self.played - before.played,
            repaired: self.repaired - before.repaired,
            concealed: self.concealed - before.concealed,
            silence: self.silence - before.silence,
            gaps: self.gaps - before.gaps,
            shortened: self.shortened - before.shortened,
            lengthened: self.lengthened - before.lengthened,
            concealing: self.concealing,
        }
    }

    /// How many times longer gaps are than those of independent losses of the same share
    /// (BurstR of G.107).
    pub(crate) fn burst(&self) -> f64 {
        let sound = self.played + self.repaired + self.concealed;
        if self.gaps == 0 || sound == 0 {
            return 1.0;
        }
        let frames = self.concealed as f64 / FRAME_SAMPLES as f64 / self.gaps as f64;
        let share = self.concealed as f64 / sound as f64;
        (frames * (1.0 - share)).max(1.0)
    }

    /// The share of sound, silence apart.
    pub(crate) fn share(&self, samples: u64) -> f64 {
        let sound = self.played + self.repaired + self.concealed;
        if sound == 0 { 0.0 } else { samples as f64 / sound as f64 }
    }
}

/// The tally of each of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Lately {
    ends: VecDeque<Tally>,
}

impl Lately {
    /// A second is over.
    pub(crate) fn on_second(&mut self, tally: &Tally) {
        if self.ends.len() > SECONDS {
            self.ends.pop_front();
        }
        self.ends.push_back(*tally);
    }

    /// What was added in the last seconds.
    pub(crate) fn of(&self, tally: &Tally) -> Tally {
        let default = Tally::default();
        tally.since(self.ends.front().unwrap_or(&default))
    }
}
