//! How much of the path is ours, from what a probe changes.
//!
//! In a queue that all share, who has the share `a` of what is under way gets that share of the
//! rate. More of ours under way raises our rate, at the cost of the others': `rho` times as much
//! brings `rho / (1 + a (rho - 1))` times the rate. Who is alone gets nothing but a longer queue
//! (`a` is 1); where there is room, or where others have nearly all, the rate grows as much as the
//! flight (`a` is 0).

use crate::delivery::Sample;

/// The least growth of the flight that tells anything.
const GROWTH_LEAST: f64 = 1.03;

/// Share of the path below which we are not alone on it.
const SHARED: f64 = 0.7;

/// Share above which a little more can be left to others.
const AMPLE: f64 = 0.6;

/// Share of a new probe in the estimate.
const WEIGHT: f64 = 0.5;

/// Samples of a time.
#[derive(Debug, Default, Clone, Copy)]
struct Mean {
    in_flight: f64,
    rate: f64,
    count: f64,
}

impl Mean {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn add(&mut self, in_flight: u64, rate: u64) {
        self.in_flight += in_flight as f64;
        self.rate += rate as f64;
        self.count += 1.0;
    }

    fn get(&self) -> Option<(f64, f64)> {
        (self.count > 0.0).then(|| (self.in_flight / self.count, self.rate / self.count))
    }
}

/// What a sample is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Packets that were sent just before a probe.
    Before,
    Probe,
}

#[derive(Debug)]
pub(super) struct Share {
    before: Mean,
    during: Mean,
    estimate: f64,
}

impl Share {
    /// Nobody else has been noticed.
    pub(super) fn new() -> Self {
        Self { before: Mean::default(), during: Mean::default(), estimate: 1.0 }
    }

    /// A probe begins.
    pub(super) fn begin(&mut self) {
        (self.before, self.during) = (Mean::default(), Mean::default());
    }

    pub(super) fn on_sample(&mut self, of: Of, sample: &Sample) {
        let Some(rate) = sample.rate else { return };
        match of {
            Of::Before => self.before.add(sample.in_flight_then, rate),
            Of::Probe => self.during.add(sample.in_flight_then, rate),
        }
    }

    /// A probe is over.
    pub(super) fn conclude(&mut self) {
        let (Some(before), Some(during)) = (self.before.get(), self.during.get()) else { return };
        self.begin();
        let (rho, growth) = (during.0 / before.0, during.1 / before.1);
        if rho < GROWTH_LEAST || growth <= 0.0 {
            return;
        }
        let share = ((rho / growth - 1.0) / (rho - 1.0)).clamp(0.0, 1.0);
        self.estimate += WEIGHT * (share - self.estimate);
    }

    /// Whether others have a part of the path that is worth asking for.
    pub(super) fn is_shared(&self) -> bool {
        self.estimate < SHARED
    }

    /// Whether we have more than our part, if there is anyone else.
    pub(super) fn is_ample(&self) -> bool {
        self.estimate > AMPLE
    }

    /// From 0 to 1.
    pub(super) fn get(&self) -> f64 {
        self.estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(in_flight_then: u64, rate: u64) -> Sample {
        Sample {
            rate: Some(rate),
            delivered: 0,
            prior_delivered: 0,
            lost: 0,
            in_flight_then,
            is_app_limited: false,
            newly_acked: 0,
        }
    }

    /// The estimate after probes in a queue of which others have so many bytes, on a path of 1 MB/s.
    fn estimate(ours: u64, others: u64) -> f64 {
        let mut share = Share::new();
        let rate = |ours: u64| 1_000_000 * ours / (ours + others);
        for _ in 0..8 {
            share.begin();
            for (of, in_flight) in [(Of::Before, ours), (Of::Probe, ours * 5 / 4)] {
                share.on_sample(of, &sample(in_flight, rate(in_flight)));
            }
            share.conclude();
        }
        share.get()
    }

    #[test]
    fn what_a_probe_brings_tells_how_much_is_ours() {
        for (ours, others) in [(100_000, 0), (75_000, 25_000), (50_000, 50_000), (10_000, 90_000)] {
            let (is, estimate) = (ours as f64 / (ours + others) as f64, estimate(ours, others));
            assert!((estimate - is).abs() < 0.02, "{estimate}, is {is}");
        }
    }

    #[test]
    fn a_probe_that_could_not_send_more_tells_nothing() {
        let mut share = Share::new();
        share.on_sample(Of::Before, &sample(50_000, 500_000));
        share.on_sample(Of::Probe, &sample(50_500, 900_000));
        share.conclude();
        assert!(share.get() >= 1.0);
    }
}
