//! Bytes over time.

use std::time::{Duration, Instant};

const MEBIBYTE: f64 = (1_u64 << 20) as f64;

/// How long and how much is measured, whichever is over first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// From the first byte.
    pub(crate) time: Duration,
    /// The grain of the curve.
    pub(crate) bin: Duration,
    /// So that a link without a limit ends too.
    pub(crate) bytes_max: u64,
}

/// The first part of a window, in which a transfer becomes fast, is not in its rate: as in real
/// time.
const LEAD_PART: u32 = 4;

/// Counts what arrives within a window that the first byte opens.
#[derive(Debug)]
pub(crate) struct Meter {
    window: Window,
    opened: Option<Instant>,
    /// When the first part was over, and how much had come by then.
    fast: Option<(Instant, u64)>,
    last: Option<Instant>,
    total: u64,
    bins: Vec<u64>,
    over: bool,
}

impl Meter {
    pub(crate) fn new(window: Window) -> Self {
        Self {
            window,
            opened: None,
            fast: None,
            last: None,
            total: 0,
            bins: Vec::new(),
            over: false,
        }
    }

    /// Looks at the clock, also while nothing comes.
    pub(crate) fn on_time(&mut self, now: Instant) {
        let Some(opened) = self.opened else { return };
        let lead_over = opened + self.window.time / LEAD_PART;
        let enough = self.total >= self.window.bytes_max / u64::from(LEAD_PART);
        if self.fast.is_none() && (enough || now >= lead_over) {
            self.fast = Some((now.min(lead_over), self.total));
        }
        self.over |= now >= opened + self.window.time;
    }

    pub(crate) fn add(&mut self, now: Instant, bytes: usize) {
        self.on_time(now);
        if self.over {
            return;
        }
        let opened = *self.opened.get_or_insert(now);
        let bin = (now - opened).as_nanos() / self.window.bin.as_nanos().max(1);
        let bin = usize::try_from(bin).unwrap_or(usize::MAX);
        if self.bins.len() <= bin {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += bytes as u64;
        self.total += bytes as u64;
        self.last = Some(now);
        self.on_time(now);
        self.over |= self.total >= self.window.bytes_max;
    }

    /// When the window closes, once it is open.
    pub(crate) fn closes(&self) -> Option<Instant> {
        Some(self.opened? + self.window.time)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Bytes a second; `None` when nothing came, or all of it at once.
    fn rate(&self) -> Option<f64> {
        let (fast, before) = self.fast?;
        let closes = self.opened? + self.elapsed()?;
        let seconds = closes.saturating_duration_since(fast).as_secs_f64();
        (seconds > 0.0 && self.total > 0).then(|| (self.total - before) as f64 / seconds)
    }

    pub(crate) fn mebibytes_a_second(&self) -> Option<f64> {
        Some(self.rate()? / MEBIBYTE)
    }

    pub(crate) fn megabits_a_second(&self) -> Option<f64> {
        Some(megabits(self.rate()?))
    }

    /// The window's length, or the time that its bytes took if they ended it.
    fn elapsed(&self) -> Option<Duration> {
        let by_bytes = self.total >= self.window.bytes_max;
        let taken = self.last?.saturating_duration_since(self.opened?);
        Some(if by_bytes { taken } else { self.window.time })
    }

    /// Seconds from the first byte and Mbit/s since the point before; silence is a zero.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let bin = self.window.bin.as_secs_f64();
        let elapsed = self.elapsed().unwrap_or_default().as_secs_f64();
        let whole = (1..).take_while(|number| f64::from(*number) * bin <= elapsed + 1e-9);
        let bytes = self.bins.iter().copied().chain(std::iter::repeat(0));
        let points = whole.zip(bytes);
        points.map(|(end, bytes)| (f64::from(end) * bin, megabits(bytes as f64 / bin))).collect()
    }
}

fn megabits(bytes_a_second: f64) -> f64 {
    bytes_a_second * 8.0 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::simulation::start;

    const MEGABYTE: usize = 1_000_000;

    fn meter(seconds: u64, bytes_max: u64) -> Meter {
        let time = Duration::from_secs(seconds);
        Meter::new(Window { time, bin: Duration::from_secs(1), bytes_max })
    }

    fn at(seconds: f64) -> Instant {
        start() + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_time_in_which_a_transfer_becomes_fast_is_not_in_its_rate() {
        let mut meter = meter(8, u64::MAX);
        meter.add(at(1.0), 1);
        for second in 4..9 {
            meter.add(at(f64::from(second)), MEGABYTE);
        }
        assert!(!meter.is_over());
        meter.on_time(at(9.0));
        assert!(meter.is_over());
        // Five megabytes in the last six of eight seconds.
        assert_eq!(meter.megabits_a_second(), Some(5.0 * 8.0 / 6.0));
    }

    #[test]
    fn silence_is_a_zero_in_the_curve() {
        let mut meter = meter(4, u64::MAX);
        meter.add(at(0.0), MEGABYTE);
        meter.add(at(2.5), MEGABYTE);
        meter.on_time(at(4.0));
        assert_eq!(meter.curve(), [(1.0, 8.0), (2.0, 0.0), (3.0, 8.0), (4.0, 0.0)]);
    }

    #[test]
    fn enough_bytes_close_the_window() {
        let mut meter = meter(100, 4_000_000);
        for second in 0..5 {
            meter.add(at(f64::from(second)), MEGABYTE);
        }
        assert!(meter.is_over());
        assert_eq!(meter.megabits_a_second(), Some(8.0));
    }

    #[test]
    fn bytes_that_come_all_at_once_have_no_rate() {
        let mut meter = meter(1, 2);
        meter.add(at(0.0), 2);
        assert!(meter.is_over());
        assert_eq!(meter.megabits_a_second(), None);
    }
}
