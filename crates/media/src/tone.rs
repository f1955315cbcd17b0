//! Sound that is computed.

use std::f64::consts::TAU;

use crate::{RATE, Source, SourceError};

/// How loud a test tone is: -12 dBFS.
const LEVEL: f64 = 0.25;

/// A sine wave on one channel.
///
/// Its phase is computed from the number of the sample, so that it never drifts.
#[derive(Debug, Clone)]
pub struct Tone {
    frequency: f64,
    at: u64,
    end: u64,
}

impl Tone {
    /// A tone of `frequency` Hz for `frames` samples.
    #[must_use]
    pub fn new(frequency: f64, frames: u64) -> Self {
        Self { frequency, at: 0, end: frames }
    }

    /// The sample of that number.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a sample is a 32-bit float")]
    #[expect(clippy::cast_precision_loss, reason = "exact for thousands of years")]
    pub fn sample(&self, at: u64) -> f32 {
        let turns = self.frequency * (at as f64) / f64::from(RATE);
        (LEVEL * (TAU * turns.fract()).sin()) as f32
    }
}

impl Source for Tone {
    fn channels(&self) -> u16 {
        1
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, SourceError> {
        let count = room(out, self.end - self.at);
        for (number, sample) in (self.at..).zip(out.iter_mut().take(count)) {
            *sample = self.sample(number);
        }
        self.at += count as u64;
        Ok(count)
    }
}

/// Nothing, for a while.
#[derive(Debug, Clone)]
pub struct Silence {
    left: u64,
}

impl Silence {
    /// Silence for `frames` samples.
    #[must_use]
    pub fn new(frames: u64) -> Self {
        Self { left: frames }
    }
}

impl Source for Silence {
    fn channels(&self) -> u16 {
        1
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, SourceError> {
        let count = room(out, self.left);
        out.iter_mut().take(count).for_each(|sample| *sample = 0.0);
        self.left -= count as u64;
        Ok(count)
    }
}

fn room(out: &[f32], left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(out.len())
}

#[cfg(test)]
mod tests {
    use super::{Silence, Tone};
    use crate::Source;

    #[test]
    fn a_tone_crosses_zero_twice_a_period_and_ends_when_it_should() {
        let mut tone = Tone::new(440.0, 48_000);
        let mut samples = vec![0.0; 100_000];
        assert_eq!(tone.read(&mut samples).unwrap(), 48_000);
        let heard = &samples[..48_000];
        let crossings = heard.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
        assert!((439..=440).contains(&crossings), "{crossings}");
        let loudest = heard.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
        assert!((0.249..=0.25).contains(&loudest), "{loudest}");
        assert_eq!(tone.read(&mut samples).unwrap(), 0);
    }

    #[test]
    fn silence_is_silent_and_ends() {
        let mut silence = Silence::new(10);
        let mut samples = [1.0; 8];
        assert_eq!(silence.read(&mut samples).unwrap(), 8);
        assert_eq!(samples, [0.0; 8]);
        assert_eq!(
            (silence.read(&mut samples).unwrap(), silence.read(&mut samples).unwrap()),
            (2, 0)
        );
    }
}
