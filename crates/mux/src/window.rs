//! A receive window that grows with its use.

use std::time::{Duration, Instant};

/// Round trips below this let no window grow: the first one is enough there for 4 Gbit/s, and what
/// is measured is the computer's own hurry more than any distance.
pub(crate) const ROUND_TRIP_MIN: Duration = Duration::from_millis(2);

/// A window grows while more than one in this many of its bytes are consumed in a round trip. What
/// arrives behind a lost packet waits unread until it is sent again, and on a way with heavy loss
/// again and again: it needs many times what is under way on it, and while it has less, less is
/// consumed.
const SHARE: u128 = 8;

/// How many bytes may come that were not consumed: little at first, and as much as was promised to
/// an application that proves that it uses them.
///
/// Consumption is measured over at least one round trip and counted per round trip. Who reads
/// slowly, or much but seldom, stays at the first window, however much lies there to be read.
#[derive(Debug)]
pub(crate) struct Window {
    size: u32,
    promise: u32,
    measured: Option<Measure>,
}

/// From when, and from how many consumed bytes, consumption is measured.
#[derive(Debug, Clone, Copy)]
struct Measure {
    since: Instant,
    consumed: u64,
}

impl Window {
    /// Begins with `first` bytes, or with all that is promised if that is less.
    pub(crate) fn new(first: u32, promise: u32) -> Self {
        Self { size: first.min(promise), promise, measured: None }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.into()
    }

    /// What is left of it when the writer is told of more: seven eighths. On a long way it can
    /// then use that much of the window in each round trip; with half, no more than half.
    pub(crate) fn told_again_below(&self) -> u64 {
        u64::from(self.size - self.size / 8)
    }

    /// The writer is about to be told of more, after so many bytes were consumed in all: doubles
    /// the window if it stands in the way. Without a known round trip it stays as it is.
    pub(crate) fn on_tell(&mut self, now: Instant, consumed: u64, round_trip: Option<Duration>) {
        let Some(round_trip) = round_trip.filter(|&time| time >= ROUND_TRIP_MIN) else { return };
        let here = Measure { since: now, consumed };
        let start = *self.measured.get_or_insert(here);
        let elapsed = now.saturating_duration_since(start.since);
        if elapsed < round_trip {
            return;
        }
        self.measured = Some(here);
        let bytes = u128::from(consumed - start.consumed);
        if bytes * round_trip.as_nanos() * SHARE > u128::from(self.size) * elapsed.as_nanos() {
            self.size = self.size.saturating_mul(2).min(self.promise);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u32 = 1_000;
    const PROMISE: u32 = 6_000;
    const ROUND: Duration = Duration::from_millis(20);

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn epoch() -> Instant {
        Instant::now()
    }

    /// Consumes `bytes` at once every `period`, and tells of each; the size in the end.
    fn size_after(bytes: u64, period: Duration, round_trip: Option<Duration>) -> u64 {
        let mut window = Window::new(FIRST, PROMISE);
        let start = epoch();
        for count in 1..=100 {
            let now = start + period * count;
            window.on_tell(now, u64::from(count) * bytes, round_trip);
        }
        window.size()
    }

    #[test]
    fn a_fast_reader_makes_it_grow_to_eight_times_its_use_of_a_round_trip() {
        assert_eq!(size_after(300, ROUND, Some(ROUND)), 4_000);
        assert_eq!(size_after(30, ROUND / 10, Some(ROUND)), 4_000);
    }

    #[test]
    fn it_never_passes_the_promise() {
        assert_eq!(size_after(50_000, ROUND, Some(ROUND)), u64::from(PROMISE));
        assert_eq!(Window::new(FIRST, 10).size(), 10);
    }

    #[test]
    fn a_slow_reader_keeps_the_first_one() {
        assert_eq!(size_after(100, ROUND, Some(ROUND)), u64::from(FIRST));
    }

    #[test]
    fn a_reader_of_much_at_once_but_seldom_keeps_the_first_one() {
        assert_eq!(size_after(u64::from(FIRST), ROUND * 10, Some(ROUND)), u64::from(FIRST));
    }

    #[test]
    fn nothing_grows_on_short_ways_or_on_ways_of_unknown_length() {
        assert_eq!(size_after(50_000, ROUND, None), u64::from(FIRST));
        assert_eq!(size_after(50_000, ROUND, Some(ROUND_TRIP_MIN / 2)), u64::from(FIRST));
    }
}
