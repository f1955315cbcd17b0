//! What the tests of this crate share.

#![allow(dead_code, clippy::allow_attributes, reason = "not every test uses everything")]

use std::path::PathBuf;

use portolan_media::{Decoder, Source};

/// Where a fixture is.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Everything that is left of a source.
pub(crate) fn rest(source: &mut dyn Source) -> Vec<f32> {
    let (mut all, mut samples) = (Vec::new(), vec![0.0; 4096]);
    loop {
        match source.read(&mut samples).unwrap() {
            0 => return all,
            count => all.extend_from_slice(&samples[..count]),
        }
    }
}

/// A fixture, and everything in it.
pub(crate) fn decoded(name: &str) -> (Decoder, Vec<f32>) {
    let mut decoder = portolan_media::open_file(&fixture(name)).unwrap();
    let samples = rest(&mut decoder);
    (decoder, samples)
}

/// One channel of interleaved sound.
pub(crate) fn channel(samples: &[f32], channels: usize, which: usize) -> Vec<f64> {
    samples.iter().skip(which).step_by(channels).map(|&sample| f64::from(sample)).collect()
}

/// What the fixtures have on the left and on the right, at 48 kHz.
#[expect(clippy::cast_precision_loss, reason = "a second and a half")]
pub(crate) fn tone(frames: usize) -> [Vec<f64>; 2] {
    use std::f64::consts::TAU;

    let times = || (0..frames).map(|n| n as f64 / 48_000.0);
    let left = times().map(|t| 0.35 * (TAU * 440.0 * t).sin());
    let right = times().map(|t| 0.25 * (TAU * (100.0 * t + 1900.0 / 3.0 * t * t)).sin());
    [left.collect(), right.collect()]
}

/// Power of a signal over the power of what differs from it, in dB.
pub(crate) fn snr(signal: &[f64], heard: &[f64]) -> f64 {
    let power: f64 = signal.iter().map(|s| s * s).sum();
    let noise: f64 = signal.iter().zip(heard).map(|(s, h)| (s - h) * (s - h)).sum();
    10.0 * (power / noise.max(1e-30)).log10()
}
