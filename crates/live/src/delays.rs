//! How long frames take, and how long it is worth waiting for them.
//!
//! The clocks of two machines differ by an unknown amount, so that only differences count: a
//! frame's *lag* is when it came less when it was spoken, in microseconds beyond some constant.
//! The smallest lag is that of a frame that was never held up. The *line* is the lag of the slowest
//! but one in a hundred: who plays everything along it is late for one frame in a hundred, and no
//! smaller line does that. It needs no estimate of the constant, nor of the drift of a clock: both
//! are in all lags alike. A line beyond that one trades delay for the few frames that are slower
//! still; whether that is worth it, the rating of G.107 says.

use std::time::Duration;

use crate::quality::r_factor;

/// Lags that are remembered: twenty seconds of talk, of which ten frames may be slower than the
/// line.
const LAGS_MAX: usize = 1_024;

/// The share of frames that the line is for.
const IN_TIME: f64 = 0.99;

/// The share of frames that are worth waiting for where they carry copies of others.
const MOSTLY: f64 = 0.9;

/// Frames until the line is looked for again.
const EVERY: usize = 5;

/// Three seconds of talk, in which a path shows that it has become shorter.
const RECENT: usize = 150;

/// Shorter by so much and steadily: what was before says nothing about now.
const SHORTER_MICROS: i64 = 10_000;

/// From mouth to ear beside the way and the line: a frame, the codec, half a portion of the sink.
const ELSEWHERE: Duration = Duration::from_micros(20_000 + 6_500 + 5_000);

/// With fewer lags than this nobody knows much.
const FEW: usize = 50;

/// What is added then.
const UNKNOWN_MICROS: i64 = 20_000;

/// Sixteenth part of each difference, as RFC 3550 §6.4.1 has it.
const JITTER_SHARE: f64 = 16.0;

/// The lags of the last frames.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    /// A ring once it is full; `at` is the oldest then.
    lags: Vec<i64>,
    at: usize,
    sorted: Vec<i64>,
    slower: Vec<i64>,
    since: usize,
    base: i64,
    line: i64,
    rated: i64,
    mostly: i64,
    /// One way on the network, as far as anybody knows.
    way: Duration,
    last: Option<i64>,
    jitter: f64,
}

impl Delays {
    /// Notes the lag of a frame.
    pub(crate) fn on_lag(&mut self, lag: i64) {
        self.on_jitter(lag);
        if self.lags.len() < LAGS_MAX {
            self.lags.push(lag);
        } else if let Some(oldest) = self.lags.get_mut(self.at) {
            *oldest = lag;
            self.at = (self.at + 1) % LAGS_MAX;
        }
        self.since += 1;
        if self.since >= EVERY || self.lags.len() < FEW {
            self.since = 0;
            self.look();
        }
    }

    fn on_jitter(&mut self, lag: i64) {
        if let Some(last) = self.last.replace(lag) {
            self.jitter += ((lag - last).abs() as f64 - self.jitter) / JITTER_SHARE;
        }
    }

    fn look(&mut self) {
        self.forget_a_longer_path();
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.lags);
        self.base = self.sorted.iter().copied().min().unwrap_or_default();
        let unknown = if self.lags.len() < FEW { UNKNOWN_MICROS } else { 0 };
        if let Some(slowest) = self.quantile(IN_TIME) {
            self.line = slowest + unknown;
            self.rated = self.best_rated(slowest) + unknown;
        }
        if let Some(mostly) = self.quantile(MOSTLY) {
            self.mostly = mostly;
        }
    }

    /// Of the lags from `slowest` on the one that is rated best: waiting for it costs delay, and
    /// not waiting those that are slower.
    fn best_rated(&mut self, slowest: i64) -> i64 {
        self.slower.clear();
        self.slower.extend(self.sorted.iter().copied().filter(|lag| *lag >= slowest));
        self.slower.sort_unstable();
        let count = self.sorted.len().max(1) as f64;
        let rate = |(index, lag): (usize, &i64)| {
            let late = (self.slower.len() - 1 - index) as f64 / count;
            let line = Duration::from_micros(u64::try_from(lag - self.base).unwrap_or_default());
            (r_factor(self.way + line + ELSEWHERE, late, 1.0), *lag)
        };
        let rated = self.slower.iter().enumerate().map(rate);
        rated.max_by(|one, other| one.0.total_cmp(&other.0)).map_or(slowest, |(_, lag)| lag)
    }

    fn quantile(&mut self, share: f64) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "a share of a length")]
        #[expect(clippy::cast_sign_loss, reason = "a share of a length")]
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        let rank = rank.checked_sub(1).filter(|rank| *rank < self.sorted.len())?;
        Some(*self.sorted.select_nth_unstable(rank).1)
    }

    /// Every recent lag is far below the line, and the fastest beats all before: the path has
    /// changed, and the older lags with it.
    fn forget_a_longer_path(&mut self) {
        let count = self.lags.len();
        if count < 2 * RECENT {
            return;
        }
        let of_age = |age: usize| self.lags.get((self.at + count - 1 - age) % count).copied();
        let slowest = (0..RECENT).filter_map(of_age).max().unwrap_or(i64::MAX);
        if slowest + SHORTER_MICROS > self.line {
            return;
        }
        let fastest = (0..RECENT).filter_map(of_age).min().unwrap_or(i64::MAX);
        let before = (RECENT + 2 * EVERY..count).filter_map(of_age).min();
        if before.is_some_and(|before| fastest + SHORTER_MICROS <= before) {
            self.lags = (0..RECENT).rev().filter_map(of_age).collect();
            self.at = 0;
        }
    }

    /// The lag of a frame that nothing held up.
    pub(crate) const fn base(&self) -> i64 {
        self.base
    }

    /// The lag that all but one in a hundred keep.
    pub(crate) const fn line(&self) -> i64 {
        self.line
    }

    /// The lag at or beyond the line at which delay and lateness together are rated best.
    pub(crate) const fn rated(&self) -> i64 {
        self.rated
    }

    pub(crate) const fn set_way(&mut self, way: Duration) {
        self.way = way;
    }

    /// The lag that nine in ten keep.
    pub(crate) const fn mostly(&self) -> i64 {
        self.mostly
    }

    /// How unevenly frames come, in microseconds.
    pub(crate) const fn jitter(&self) -> f64 {
        self.jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_slowest_but_one_in_a_hundred() {
        let mut delays = Delays::default();
        (0..1_000).for_each(|lag| delays.on_lag(1_000_000 + (lag * 7 % 1_000) * 10));
        assert_eq!(delays.base(), 1_000_000);
        assert_eq!(delays.line(), 1_009_890);
    }

    #[test]
    fn a_few_slow_frames_are_worth_a_little_delay_and_not_a_lot() {
        for (slow, rated) in [(60_000, 60_000), (900_000, 10_000)] {
            let mut delays = Delays::default();
            (0..1_000)
                .for_each(|frame| delays.on_lag(if frame % 200 == 7 { slow } else { 10_000 }));
            assert_eq!((delays.line(), delays.rated()), (10_000, rated));
        }
    }

    #[test]
    fn where_the_way_is_long_already_delay_is_dearer() {
        let mut delays = Delays::default();
        delays.set_way(Duration::from_millis(250));
        (0..1_000).for_each(|frame| delays.on_lag(if frame % 200 == 7 { 60_000 } else { 10_000 }));
        assert_eq!(delays.rated(), 10_000);
    }

    #[test]
    fn a_longer_path_is_followed_within_a_quarter_of_a_second() {
        let mut delays = Delays::default();
        (0..1_000).for_each(|_| delays.on_lag(0));
        (0..15).for_each(|_| delays.on_lag(50_000));
        assert_eq!(delays.line(), 50_000);
    }

    #[test]
    fn a_shorter_path_is_believed_after_three_seconds() {
        let mut delays = Delays::default();
        (0..1_000).for_each(|_| delays.on_lag(80_000));
        (0..140).for_each(|_| delays.on_lag(20_000));
        assert_eq!(delays.line(), 80_000);
        (0..20).for_each(|_| delays.on_lag(20_000));
        assert_eq!((delays.base(), delays.line()), (20_000, 20_000));
    }

    #[test]
    fn seldom_spikes_are_remembered_although_all_is_quiet_between_them() {
        let mut delays = Delays::default();
        for frame in 0..1_000 {
            delays.on_lag(if frame % 250 < 8 { 90_000 } else { 5_000 });
        }
        assert_eq!(delays.line(), 90_000);
    }
}
