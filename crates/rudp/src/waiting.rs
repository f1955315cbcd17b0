//! What keeps a connection from sending, and for how long.

use std::time::{Duration, Instant};

/// For how long sending waited for what, since the start.
///
/// Counted up to the last time that the connection was looked at: with a heartbeat, seconds ago at
/// most. What is left of the connection's life went by between a permission to send and the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waited {
    /// The application had nothing to send.
    pub for_application: Duration,
    /// The remote's windows of streams were used up: it reads too slowly, or they are too small.
    pub for_remote: Duration,
    /// As much was in flight as the congestion control allows.
    pub for_window: Duration,
    /// The pacer spread packets over time.
    pub for_pacer: Duration,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    Nothing,
    Application,
    Remote,
    Window,
    Pacer,
}

/// The clock behind [`Waited`]: it looks at the time only when the reason changes.
#[derive(Debug)]
pub(crate) struct Waiting {
    reason: WaitsFor,
    since: Instant,
    /// Up to `since`.
    waited: Waited,
    newest: Instant,
}

impl Waiting {
    pub(crate) fn new(now: Instant) -> Self {
        Self { reason: WaitsFor::Nothing, since: now, waited: Waited::default(), newest: now }
    }

    /// From `now` on, sending waits for `reason`.
    #[inline]
    pub(crate) fn is_for(&mut self, now: Instant, reason: WaitsFor) {
        self.newest = now;
        if reason != self.reason {
            self.waited = self.so_far();
            self.since = now;
            self.reason = reason;
        }
    }

    /// Up to the last look.
    pub(crate) fn so_far(&self) -> Waited {
        let mut waited = self.waited;
        let more = self.newest.saturating_duration_since(self.since);
        match self.reason {
            WaitsFor::Nothing => {}
            WaitsFor::Application => waited.for_application += more,
            WaitsFor::Remote => waited.for_remote += more,
            WaitsFor::Window => waited.for_window += more,
            WaitsFor::Pacer => waited.for_pacer += more,
        }
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::epoch;

    #[test]
    fn every_wait_is_counted_for_its_own_reason() {
        let ms = Duration::from_millis;
        let mut waiting = Waiting::new(epoch());
        let steps = [
            (10, WaitsFor::Application),
            (13, WaitsFor::Window),
            (13, WaitsFor::Pacer),
            (18, WaitsFor::Nothing),
            (40, WaitsFor::Remote),
            (45, WaitsFor::Remote),
            (47, WaitsFor::Application),
            (50, WaitsFor::Application),
        ];
        for (at, reason) in steps {
            waiting.is_for(epoch() + ms(at), reason);
        }
        let expected = Waited {
            for_application: ms(3 + 3),
            for_remote: ms(7),
            for_window: ms(0),
            for_pacer: ms(5),
        };
        assert_eq!(waiting.so_far(), expected);
    }
}
