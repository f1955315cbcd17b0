//! How well the emulator has kept its promises.

use std::time::Duration;

/// Later than this at the 99th percentile, and what was measured is not the network that was asked
/// for.
const LATENESS_MAX: Duration = Duration::from_millis(1);

/// How late packets left, compared with when the model had them arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lateness {
    /// Half of them no later than this.
    pub p50: Duration,
    /// 99 of 100 no later than this.
    pub p99: Duration,
    /// None later than this.
    pub max: Duration,
}

/// How well the emulator has kept its promises since its start, or since it was last told to begin
/// anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// How late packets left.
    pub lateness: Lateness,
    /// Packets that hosts sent, as they would be on the wire.
    pub packets_read: u64,
    /// Packets that hosts got, as they would be on the wire.
    pub packets_written: u64,
    /// Packets that devices dropped before the emulator could read them: it was too slow.
    pub device_dropped: u64,
    /// Packets that were dropped because too many were under way at once.
    pub overrun: u64,
    /// Packets that a host's kernel refused.
    pub write_errors: u64,
    /// Packets that could not be understood.
    pub malformed: u64,
    /// Whether its thread goes before all others.
    pub realtime: bool,
}

impl Health {
    /// Why figures measured through it should not be believed; `None`: they may be.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let mut doubts = Vec::new();
        if self.lateness.p99 > LATENESS_MAX {
            let late = self.lateness.p99.as_secs_f64() * 1000.0;
            doubts.push(format!("1 packet in 100 left {late:.1} ms late or later"));
        }
        for (count, what) in [
            (self.device_dropped, "came faster than the emulator could read them"),
            (self.overrun, "were more than can be under way at once"),
            (self.write_errors, "were refused by the receiver's kernel"),
            (self.malformed, "could not be understood"),
        ] {
            if count > 0 {
                doubts.push(format!("{count} packets {what}"));
            }
        }
        (!doubts.is_empty()).then(|| doubts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthy_emulator_leaves_no_doubt() {
        assert_eq!(Health::default().doubt(), None);
    }

    #[test]
    fn lateness_and_drops_are_doubts() {
        let lateness = Lateness { p99: Duration::from_micros(2500), ..Lateness::default() };
        let health = Health { lateness, device_dropped: 3, ..Health::default() };
        let doubt = health.doubt().unwrap();
        assert!(doubt.contains("2.5 ms"), "{doubt}");
        assert!(doubt.contains("3 packets came faster"), "{doubt}");
    }
}
