//! A receive window that grows with its use.

use std::time::{Duration, Instant};

/// Round trips below this let no window grow: the first one is enough there for 4 Gbit/s, and what
/// is measured is the computer's own hurry more than any distance.
pub(crate) const ROUND_TRIP_MIN: Duration = Duration::from_millis(2);

/// A window grows while more than one in this many of its bytes are consumed in a round trip. What
/// arrives behind a lost packet waits unread until it is sent again, and on a way with heavy loss
/// again and again: it needs many times what is under way on it, and while it has less, less is
/// consumed. And while the rate doubles in each round trip, what is consumed is that of two round
/// trips ago: a quarter.
const SHARE: u128 = 16;

/// Share of the first window after which consumption begins to be measured.
const MEASURED_AFTER: u32 = 64;

/// How many bytes may come that were not consumed: little at first, and as much as was promised to
/// an application that proves that it uses them.
///
/// Consumption is measured over at least one round trip and counted per round trip. Who reads
/// slowly, or much but seldom, stays at the first window, however much lies there to be read.
///
/// One thing makes it grow before that: half of it filled with what waits for a lost piece, while
/// the application has read all that could be read. Then it is the path that needs the room, and
/// until the piece has come nothing is consumed that could show it.
#[derive(Debug)]
pub(crate) struct Window {
    size: u32,
    promise: u32,
    measured: Option<Measure>,
    is_cramped: bool,
    /// The way is so short that the window does not grow.
    is_short: bool,
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
        Self {
            size: first.min(promise),
            promise,
            measured: None,
            is_cramped: false,
            is_short: false,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.into()
    }

    /// What is left of it when the writer is told of more: seven eighths. On a long way it can
    /// then use that much of the window in each round trip; with half, no more than half. The first
    /// time it is sooner, so that the next can already tell whether the window is large enough.
    ///
    /// On a short way three quarters are plenty, and what is told costs more than it is worth: a
    /// packet of its own, as a rule.
    pub(crate) fn told_again_below(&self) -> u64 {
        let used = match self.measured {
            _ if self.is_short => self.size / 4,
            Some(_) => self.size / 8,
            None => self.size / MEASURED_AFTER,
        };
        u64::from(self.size - used)
    }

    /// Notes that so many bytes wait for a lost piece, with nothing left to read before it; answers
    /// whether that is so much that the writer should be told of more.
    pub(crate) fn on_stalled(&mut self, waiting: u64) -> bool {
        self.is_cramped |= self.size < self.promise && waiting > self.size() / 2;
        self.is_cramped
    }

    /// The writer is about to be told of more, after so many bytes were consumed in all: doubles
    /// the window as often as it takes not to stand in the way. Without a known round trip it stays as it is.
    pub(crate) fn on_tell(&mut self, now: Instant, consumed: u64, round_trip: Option<Duration>) {
        self.is_short = round_trip.is_some_and(|time| time < ROUND_TRIP_MIN);
        let Some(round_trip) = round_trip.filter(|_| !self.is_short) else { return };
        let here = Measure { since: now, consumed };
        let start = *self.measured.get_or_insert(here);
        let elapsed = now.saturating_duration_since(start.since);
        if elapsed < round_trip {
            return;
        }
        self.measured = Some(here);
        if std::mem::take(&mut self.is_cramped) {
            self.double();
        }
        let bytes = u128::from(consumed - start.consumed);
        let wanted = bytes * round_trip.as_nanos() * SHARE / elapsed.as_nanos().max(1);
        while wanted > self.size.into() && self.size < self.promise {
            self.double();
        }
    }

    fn double(&mut self) {
        self.size = self.size.saturating_mul(2).min(self.promise);
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
    fn a_fast_reader_makes_it_grow_to_sixteen_times_its_use_of_a_round_trip() {
        assert_eq!(size_after(150, ROUND, Some(ROUND)), 4_000);
        assert_eq!(size_after(15, ROUND / 10, Some(ROUND)), 4_000);
    }

    #[test]
    fn it_never_passes_the_promise() {
        assert_eq!(size_after(50_000, ROUND, Some(ROUND)), u64::from(PROMISE));
        assert_eq!(Window::new(FIRST, 10).size(), 10);
    }

    #[test]
    fn what_waits_for_a_lost_piece_makes_it_grow_once_a_round_trip() {
        let mut window = Window::new(FIRST, PROMISE);
        let start = epoch();
        window.on_tell(start, 0, Some(ROUND));
        assert!(!window.on_stalled(u64::from(FIRST / 2)), "half of it is left");
        assert!(window.on_stalled(u64::from(FIRST / 2 + 1)));
        window.on_tell(start + ROUND / 2, 0, Some(ROUND));
        assert_eq!(window.size(), u64::from(FIRST), "too early to tell");
        window.on_tell(start + ROUND, 0, Some(ROUND));
        assert_eq!(window.size(), u64::from(2 * FIRST));
        window.on_tell(start + 2 * ROUND, 0, Some(ROUND));
        assert_eq!(window.size(), u64::from(2 * FIRST), "said once, it counts once");
    }

    #[test]
    fn a_slow_reader_keeps_the_first_one() {
        assert_eq!(size_after(50, ROUND, Some(ROUND)), u64::from(FIRST));
    }

    #[test]
    fn a_reader_of_much_at_once_but_seldom_keeps_the_first_one() {
        assert_eq!(size_after(u64::from(FIRST), ROUND * 20, Some(ROUND)), u64::from(FIRST));
    }

    #[test]
    fn on_a_short_way_the_writer_is_told_seldom() {
        let mut window = Window::new(FIRST, PROMISE);
        assert_eq!(window.told_again_below(), u64::from(FIRST - FIRST / 64), "not known yet");
        window.on_tell(epoch(), 100, Some(ROUND_TRIP_MIN / 2));
        assert_eq!(window.told_again_below(), u64::from(FIRST * 3 / 4));
        window.on_tell(epoch(), 200, Some(ROUND_TRIP_MIN));
        assert_eq!(window.told_again_below(), u64::from(FIRST - FIRST / 8), "it has grown long");
    }

    #[test]
    fn nothing_grows_on_short_ways_or_on_ways_of_unknown_length() {
        assert_eq!(size_after(50_000, ROUND, None), u64::from(FIRST));
        assert_eq!(size_after(50_000, ROUND, Some(ROUND_TRIP_MIN / 2)), u64::from(FIRST));
    }
}
