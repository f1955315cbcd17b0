//! What a frame is.

use std::time::Duration;

/// Samples a second of each channel: what Opus works with, and everything here.
pub const SAMPLE_RATE: u32 = 48_000;

/// Samples of each channel in a frame.
pub const FRAME_SAMPLES: usize = 960;

/// The same in the unit of time stamps.
pub(crate) const FRAME_UNITS: u32 = 960;

/// How long a frame lasts.
pub const FRAME: Duration = Duration::from_millis(20);

/// The same in microseconds, the unit of all differences of time in here.
pub(crate) const FRAME_MICROS: i64 = 20_000;

/// One voice, or left and right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Channels {
    /// One.
    #[default]
    Mono,
    /// Two, interleaved.
    Stereo,
}

impl Channels {
    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Mono => 1,
            Self::Stereo => 2,
        }
    }

    /// One or two.
    #[must_use]
    pub const fn from_count(count: u16) -> Option<Self> {
        match count {
            1 => Some(Self::Mono),
            2 => Some(Self::Stereo),
            _ => None,
        }
    }
}

/// Samples as microseconds.
#[expect(clippy::cast_possible_wrap, reason = "a frame at most, or a count within a buffer")]
pub(crate) const fn micros_of(samples: usize) -> i64 {
    micros(samples as i64)
}

pub(crate) const fn micros(samples: i64) -> i64 {
    samples * 1_000 / 48
}

/// Microseconds as samples.
pub(crate) const fn samples(micros: i64) -> i64 {
    micros * 48 / 1_000
}

/// Loudness of samples below the loudest possible, 0 to 127 dB (RFC 6464 §3).
#[must_use]
pub fn level(pcm: &[f32]) -> u8 {
    let power: f32 = pcm.iter().map(|sample| sample * sample).sum();
    let mean = power / pcm.len().max(1) as f32;
    if mean <= 0.0 {
        return 127;
    }
    #[expect(clippy::cast_possible_truncation, reason = "clamped")]
    #[expect(clippy::cast_sign_loss, reason = "clamped")]
    let level = (-10.0 * mean.log10()).round().clamp(0.0, 127.0) as u8;
    level
}
