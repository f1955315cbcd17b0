//! What a sender learns from reports: how much to protect, and how much to say.

use std::ops::RangeInclusive;

use crate::datagram::Report;

/// Below this share of loss the rate grows, above the other it shrinks: the loss-based half of
/// Google's congestion control (draft-ietf-rmcat-gcc-02 §6).
const LOSS_LOW: f64 = 0.02;
const LOSS_HIGH: f64 = 0.10;
const GROWTH: f64 = 1.05;

/// How slowly a past loss is forgotten: by this factor a report.
const FORGETTING: f64 = 0.9;

/// Frames that a report must speak of before it is believed: below, chance has the word.
const FRAMES_MIN: u16 = 10;

/// The rate and the protection in force.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Adaptation {
    bounds: RangeInclusive<u32>,
    bitrate: f64,
    loss: f64,
}

impl Adaptation {
    /// Begins with the highest rate.
    pub(crate) fn new(bounds: RangeInclusive<u32>) -> Self {
        let bitrate = f64::from(*bounds.end());
        Self { bounds, bitrate, loss: 0.0 }
    }

    pub(crate) fn on_report(&mut self, report: &Report) {
        if report.expected < FRAMES_MIN {
            return;
        }
        let loss = report.loss();
        self.loss = loss.max(self.loss * FORGETTING);
        if loss < LOSS_LOW {
            self.bitrate *= GROWTH;
        } else if loss > LOSS_HIGH {
            self.bitrate *= 1.0 - 0.5 * loss;
        }
        let (low, high) = (f64::from(*self.bounds.start()), f64::from(*self.bounds.end()));
        self.bitrate = self.bitrate.clamp(low, high);
    }

    /// Bits a second.
    #[expect(clippy::cast_possible_truncation, reason = "between two u32")]
    #[expect(clippy::cast_sign_loss, reason = "between two u32")]
    pub(crate) const fn bitrate(&self) -> u32 {
        self.bitrate as u32
    }

    /// The loss to protect against, percent.
    #[expect(clippy::cast_possible_truncation, reason = "a share of 100")]
    #[expect(clippy::cast_sign_loss, reason = "a share of 100")]
    pub(crate) fn loss_percent(&self) -> u8 {
        (self.loss * 100.0).round().clamp(0.0, 100.0) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lost: u16) -> Report {
        Report { expected: 50, lost, ..Report::default() }
    }

    #[test]
    fn heavy_loss_halves_the_rate_within_seconds_and_its_end_brings_it_back() {
        let mut adaptation = Adaptation::new(12_000..=32_000);
        (0..10).for_each(|_| adaptation.on_report(&report(10)));
        assert_eq!(adaptation.bitrate(), 12_000);
        assert_eq!(adaptation.loss_percent(), 20);
        (0..30).for_each(|_| adaptation.on_report(&report(0)));
        assert_eq!(adaptation.bitrate(), 32_000);
        assert!(adaptation.loss_percent() <= 1);
    }

    #[test]
    fn a_moderate_loss_is_protected_against_at_the_same_rate() {
        let mut adaptation = Adaptation::new(12_000..=32_000);
        (0..10).for_each(|_| adaptation.on_report(&report(3)));
        assert_eq!((adaptation.bitrate(), adaptation.loss_percent()), (32_000, 6));
    }

    #[test]
    fn few_frames_prove_nothing() {
        let mut adaptation = Adaptation::new(12_000..=32_000);
        adaptation.on_report(&Report { expected: 4, lost: 4, ..Report::default() });
        assert_eq!((adaptation.bitrate(), adaptation.loss_percent()), (32_000, 0));
    }
}
