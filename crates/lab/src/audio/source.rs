//! What is spoken.

use std::f32::consts::TAU;

use portolan_live::FRAME_SAMPLES;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Source {
    /// 440 Hz without end: every flaw is seen
    Tone,
    /// From 200 to 2,000 Hz and back, every ten seconds
    Sweep,
    /// Harmonics that come in syllables, three seconds of every four
    Voice,
}

/// The pitch of [`Source::Tone`].
pub(crate) const HERTZ: f32 = 440.0;

const RATE: f32 = 48_000.0;

/// Harmonics of a voice and how strong they are.
const HARMONICS: [(f32, f32); 5] = [(1.0, 0.5), (2.0, 0.3), (3.0, 0.2), (5.0, 0.12), (9.0, 0.05)];

/// A source that is being heard.
#[derive(Debug)]
pub(crate) struct Generator {
    source: Source,
    phase: f32,
    sample: u32,
}

impl Generator {
    pub(crate) const fn new(source: Source) -> Self {
        Self { source, phase: 0.0, sample: 0 }
    }

    /// The next 20 ms.
    pub(crate) fn frame(&mut self) -> Vec<f32> {
        (0..FRAME_SAMPLES).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> f32 {
        let time = self.sample as f32 / RATE;
        self.sample = self.sample.wrapping_add(1);
        match self.source {
            Source::Tone => self.turn(HERTZ).sin() * 0.4,
            Source::Sweep => {
                let there = 1.0 - (time / 5.0 % 2.0 - 1.0).abs();
                self.turn(200.0 + 1_800.0 * there).sin() * 0.4
            }
            Source::Voice => self.voice(time),
        }
    }

    fn voice(&mut self, time: f32) -> f32 {
        let phase = self.turn(140.0 + 25.0 * (time * 1.7).sin() + 10.0 * (time * 5.1).cos());
        let sound: f32 = HARMONICS.iter().map(|(times, size)| (phase * times).sin() * size).sum();
        let syllable = (time * 2.0 * TAU).sin().abs().sqrt();
        let talking = if time % 4.0 < 3.0 { 0.5 } else { 0.0 };
        sound * syllable * talking
    }

    /// The angle after one more sample of this pitch.
    fn turn(&mut self, hertz: f32) -> f32 {
        self.phase = (self.phase + hertz / RATE).fract();
        self.phase * TAU
    }
}
