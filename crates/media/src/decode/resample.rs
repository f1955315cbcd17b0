//! From a file's rate to ours.

use std::collections::VecDeque;

use rubato::{Fft, FixedSync, Resampler as _, audioadapter_buffers::direct::InterleavedSlice};

use crate::RATE;

/// Samples of a channel that are converted at once, about.
const CHUNK: usize = 1024;

/// Converts the rate, without delay and with exactly as much sound as comes in.
pub(super) struct Resampler {
    inner: Fft<f32>,
    channels: usize,
    rate: u32,
    waiting: Vec<f32>,
    made: Vec<f32>,
    /// Samples of a channel that came in and went out.
    fed: u64,
    given: u64,
    /// Samples of a channel that are delay and still to be left out.
    delay: usize,
}

impl Resampler {
    /// None, where nothing is to be converted.
    pub(super) fn between(rate: u32, channels: u16) -> Option<Self> {
        if rate == RATE {
            return None;
        }
        let channels = usize::from(channels);
        let inner =
            Fft::new(rate as usize, RATE as usize, CHUNK, channels, FixedSync::Input).ok()?;
        let made = vec![0.0; inner.output_frames_max() * channels];
        let delay = inner.output_delay();
        let (waiting, fed, given) = (Vec::new(), 0, 0);
        Some(Self { inner, channels, rate, waiting, made, fed, given, delay })
    }

    pub(super) fn reset(&mut self) {
        self.inner.reset();
        self.waiting.clear();
        (self.fed, self.given, self.delay) = (0, 0, self.inner.output_delay());
    }

    /// Where to begin so that the sample `at` of what comes out is as if all had been converted
    /// from the beginning: a sample of the file that falls together with one of ours, early enough
    /// for the filter, and how many samples of ours lie between.
    pub(super) fn start_before(&self, at: u64) -> (u64, usize) {
        let shared = gcd(self.rate, RATE);
        let (theirs, ours) = (u64::from(self.rate / shared), u64::from(RATE / shared));
        let history = 2 * self.inner.output_delay() as u64;
        let steps = at.saturating_sub(history) / ours;
        (steps * theirs, usize::try_from(at - steps * ours).unwrap_or(usize::MAX))
    }

    pub(super) fn push(&mut self, samples: &[f32], out: &mut VecDeque<f32>) {
        self.fed += (samples.len() / self.channels) as u64;
        self.waiting.extend_from_slice(samples);
        self.convert(out, u64::MAX);
    }

    /// Brings out what is still inside.
    pub(super) fn finish(&mut self, out: &mut VecDeque<f32>) {
        let due = (self.fed * u64::from(RATE)).div_ceil(u64::from(self.rate));
        while self.given < due {
            let wanted = self.inner.input_frames_next() * self.channels;
            self.waiting.resize(wanted.max(self.waiting.len()), 0.0);
            if !self.convert(out, due) {
                return;
            }
        }
    }

    /// Converts what fills whole chunks, up to `due` samples of a channel in all. False: nothing.
    fn convert(&mut self, out: &mut VecDeque<f32>, due: u64) -> bool {
        let mut used = 0;
        loop {
            let frames = self.inner.input_frames_next();
            let Some(chunk) = self.waiting.get(used..used + frames * self.channels) else { break };
            let room = self.made.len() / self.channels;
            let Ok(input) = InterleavedSlice::new(chunk, self.channels, frames) else { break };
            let Ok(mut output) = InterleavedSlice::new_mut(&mut self.made, self.channels, room)
            else {
                break;
            };
            let Ok((taken, made)) = self.inner.process_into_buffer(&input, &mut output, None)
            else {
                break;
            };
            used += taken * self.channels;
            let skipped = self.delay.min(made);
            self.delay -= skipped;
            let left = usize::try_from(due.saturating_sub(self.given)).unwrap_or(usize::MAX);
            let count = (made - skipped).min(left);
            let heard = self.made.get(skipped * self.channels..(skipped + count) * self.channels);
            out.extend(heard.unwrap_or_default());
            self.given += count as u64;
        }
        self.waiting.drain(..used);
        used > 0
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, f64::consts::TAU};

    use super::Resampler;

    /// A sine at `rate`, and what becomes of it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a test")]
    fn resampled(rate: u32, frames: u64, tolerance: f64) -> Vec<f32> {
        let wave = |n: u64, rate: f64| (TAU * 997.0 * n as f64 / rate).sin() as f32 * 0.5;
        let input: Vec<f32> = (0..frames).map(|n| wave(n, f64::from(rate))).collect();
        let mut resampler = Resampler::between(rate, 1).unwrap();
        let mut out = VecDeque::new();
        for piece in input.chunks(1000) {
            resampler.push(piece, &mut out);
        }
        resampler.finish(&mut out);
        let out: Vec<f32> = out.into();
        let inside = 2000..out.len().saturating_sub(2000);
        let error = inside.clone().map(|n| f64::from(out[n] - wave(n as u64, 48_000.0)).powi(2));
        let rms = (error.sum::<f64>() / inside.len() as f64).sqrt();
        assert!(rms < tolerance, "{rate} Hz: rms of the error is {rms}");
        out
    }

    #[test]
    fn every_usual_rate_keeps_the_wave_in_its_place_and_the_length_to_the_sample() {
        for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 88_200, 96_000, 192_000] {
            let frames = u64::from(rate) / 2 + 7;
            let expected = (frames * 48_000).div_ceil(u64::from(rate));
            assert_eq!(resampled(rate, frames, 1e-4).len() as u64, expected, "{rate}");
        }
    }

    #[test]
    fn a_rate_that_nobody_uses_is_at_most_half_a_sample_late() {
        resampled(44_101, 44_101, 0.03);
    }
}
