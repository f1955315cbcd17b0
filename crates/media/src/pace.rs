//! Time, for sinks that have none of their own.

use std::time::{Duration, Instant};

/// How fast a sink without a speed of its own takes samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// As fast as they are heard.
    RealTime,
    /// As fast as it can.
    Unpaced,
}

/// A clock that can be waited for.
pub trait Clock: Send {
    /// Time since some beginning.
    fn now(&self) -> Duration;

    /// Waits until that time.
    fn wait_until(&mut self, at: Duration);
}

/// The system's clock, from when it was made.
#[derive(Debug, Clone, Copy)]
pub struct WallClock(Instant);

impl WallClock {
    /// A clock that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where the clock comes in")]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for WallClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "what is waited for is time itself")]
    fn wait_until(&mut self, at: Duration) {
        std::thread::sleep(at.saturating_sub(self.now()));
    }
}
