//! The one form of sound, and arithmetic with it.

use std::time::Duration;

/// Samples a second of each channel.
pub const RATE: u32 = 48_000;
/// Samples of a channel in a frame of 20 ms, the unit of live sound.
pub const FRAME: usize = 960;
/// One channel is mono; two are left and right, a sample of each in turn.
pub const CHANNELS_MAX: u16 = 2;

/// How long `frames` samples of one channel last.
#[must_use]
pub fn duration_of(frames: u64) -> Duration {
    let (seconds, rest) = (frames / u64::from(RATE), frames % u64::from(RATE));
    Duration::from_secs(seconds) + Duration::from_nanos(rest * 1_000_000_000 / u64::from(RATE))
}

/// How many samples of one channel lie within `duration`, rounded to the nearest.
#[must_use]
pub fn frames_in(duration: Duration) -> u64 {
    let rate = u64::from(RATE);
    let nanos = u64::from(duration.subsec_nanos()) * rate + 500_000_000;
    duration.as_secs().saturating_mul(rate).saturating_add(nanos / 1_000_000_000)
}

/// Appends `samples` of `from` channels to `out` as `to` channels: one is doubled, two become
/// their mean.
pub fn mix(samples: &[f32], from: u16, to: u16, out: &mut Vec<f32>) {
    match (from, to) {
        (1, 2) => out.extend(samples.iter().flat_map(|&sample| [sample, sample])),
        (2, 1) => out.extend(samples.as_chunks::<2>().0.iter().map(|[l, r]| (l + r) * 0.5)),
        (_, _) => out.extend_from_slice(samples),
    }
}

/// A sample as a 16-bit integer; what is too loud is clipped.
#[expect(clippy::cast_possible_truncation, reason = "clamped to the range before")]
pub(crate) fn to_i16(sample: f32) -> i16 {
    (sample * 32768.0).round().clamp(-32768.0, 32767.0) as i16
}

/// A 16-bit integer as a sample.
pub(crate) fn from_i16(sample: i16) -> f32 {
    f32::from(sample) / 32768.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{duration_of, frames_in, from_i16, mix, to_i16};

    #[test]
    fn time_and_samples_agree_over_days() {
        for frames in [0, 1, 959, 960, 48_000 * 3600 * 100 + 12_345] {
            assert_eq!(frames_in(duration_of(frames)), frames);
        }
        assert_eq!(duration_of(960), Duration::from_millis(20));
    }

    #[test]
    fn channels_are_doubled_or_averaged() {
        let mut out = Vec::new();
        mix(&[0.5, -0.5], 1, 2, &mut out);
        assert_eq!(out, [0.5, 0.5, -0.5, -0.5]);
        out.clear();
        mix(&[1.0, 0.0, 0.5, 0.5], 2, 1, &mut out);
        assert_eq!(out, [0.5, 0.5]);
    }

    #[test]
    fn integers_survive_and_what_is_too_loud_is_clipped() {
        for sample in [i16::MIN, -1, 0, 1, i16::MAX] {
            assert_eq!(to_i16(from_i16(sample)), sample);
        }
        assert_eq!((to_i16(2.0), to_i16(-2.0), to_i16(f32::NAN)), (i16::MAX, i16::MIN, 0));
    }
}
