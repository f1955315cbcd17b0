//! What the emulator counts of itself.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::{Health, Lateness};

/// Lateness is told apart up to here, to three digits.
const LATENESS_MAX: Duration = Duration::from_secs(60);

/// Counters since the start, or since they were last reset.
#[derive(Debug)]
pub(super) struct Meter {
    /// In nanoseconds.
    lateness: Histogram<u64>,
    health: Health,
}

impl Meter {
    pub(super) fn new(realtime: bool) -> Self {
        let highest = u64::try_from(LATENESS_MAX.as_nanos()).unwrap_or(u64::MAX);
        let lateness = Histogram::new_with_bounds(1, highest, 3)
            .unwrap_or_else(|_| unreachable!("the bounds are constants that a histogram can have"));
        Self { lateness, health: Health { realtime, ..Health::default() } }
    }

    pub(super) fn reset(&mut self) {
        self.lateness.reset();
        self.health = Health { realtime: self.health.realtime, ..Health::default() };
    }

    pub(super) fn on_read(&mut self, packets: u64) {
        self.health.packets_read += packets;
    }

    pub(super) fn on_written(&mut self, packets: u64, late: Duration) {
        self.health.packets_written += packets;
        let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.lateness.saturating_record_n(late, packets);
    }

    pub(super) fn on_overrun(&mut self, packets: u64) {
        self.health.overrun += packets;
    }

    pub(super) fn on_write_error(&mut self) {
        self.health.write_errors += 1;
    }

    pub(super) fn on_malformed(&mut self) {
        self.health.malformed += 1;
    }

    pub(super) fn health(&self) -> Health {
        let at = |quantile| Duration::from_nanos(self.lateness.value_at_quantile(quantile));
        let lateness = if self.lateness.is_empty() {
            Lateness::default()
        } else {
            Lateness { p50: at(0.5), p99: at(0.99), max: at(1.0) }
        };
        Health { lateness, ..self.health.clone() }
    }
}
