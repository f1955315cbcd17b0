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

/// Counts what arrives within a window that the first byte opens.
#[derive(Debug)]
pub(crate) struct Meter {
    window: Window,
    opened: Option<Instant>,
    last: Option<Instant>,
    total: u64,
    bins: Vec<u64>,
    over: bool,
}

impl Meter {
    pub(crate) fn new(window: Window) -> Self {
        Self { window, opened: None, last: None, total: 0, bins: Vec::new(), over: false }
    }

    /// Looks at the clock, also while nothing comes.
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.over |= self.closes().is_some_and(|closes| now >= closes);
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
        self.over |= self.total >= self.window.bytes_max;
    }

    /// When the window closes, once it is open.
    pub(crate) fn closes(&self) -> Option<Instant> {
        Some(self.opened? + self.window.time)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Bytes a second; `None` when nothing came, or all of it at once.
    fn rate(&self) -> Option<f64> {
        let seconds = self.elapsed()?.as_secs_f64();
        (seconds > 0.0).then(|| self.total as f64 / seconds)
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
