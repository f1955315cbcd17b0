//! A frame made shorter or longer without a change of pitch.
//!
//! Sound repeats itself after a period of its pitch. Where it does, one period can be left out or
//! said twice, with one faded into the other (overlap and add of waveforms that are alike). A few
//! milliseconds at a time bring the delay where it should be, and make up for clocks that differ.

/// The shortest period that is looked for: 2.5 ms, 400 Hz, or several of a higher pitch.
const PERIOD_MIN: usize = 120;

/// The longest: 10 ms, half a frame.
const PERIOD_MAX: usize = 480;

/// Sound of this power or less (-50 dB) may be cut anywhere.
const QUIET: f32 = 1e-5;

/// The first look is at every fourth period and sample.
const COARSE: usize = 4;

/// Which way, by at most how many samples, and how alike two periods must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wish {
    pub(crate) change: Change,
    pub(crate) samples_max: usize,
    pub(crate) likeness: f32,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Shorter,
    Longer,
}

/// Changes the frame that begins at `start` of `pcm` and is its end; by how many samples of each
/// channel. Nothing happens where the sound does not repeat itself.
pub(crate) fn stretch(pcm: &mut Vec<f32>, start: usize, channels: usize, wish: Wish) -> usize {
    let Some(frame) = pcm.get(start..) else { return 0 };
    let mono = mix(frame, channels);
    let Some(period) = period(&mono, wish) else { return 0 };
    let (from, length) = (start, period * channels);
    match wish.change {
        Change::Shorter => {
            fade(pcm, from, from + length, length, channels);
            pcm.drain(from + length..from + 2 * length);
        }
        Change::Longer => {
            let said: Vec<f32> = pcm[from..from + length].to_vec();
            pcm.splice(from + length..from + length, said);
            // What follows the first period fades into its repetition.
            let again = from + 2 * length;
            fade_into(pcm, again, from + length, length, channels);
        }
    }
    period
}

/// One channel, from all.
fn mix(frame: &[f32], channels: usize) -> Vec<f32> {
    frame.chunks_exact(channels.max(1)).map(|samples| samples.iter().sum()).collect()
}

/// The period after which the sound is most like itself.
fn period(mono: &[f32], wish: Wish) -> Option<usize> {
    let longest = PERIOD_MAX.min(wish.samples_max).min(mono.len() / 2);
    if longest < PERIOD_MIN {
        return None;
    }
    let power: f32 = mono.iter().map(|sample| sample * sample).sum();
    if power <= QUIET * mono.len() as f32 {
        return Some(longest);
    }
    let best = |periods: &mut dyn Iterator<Item = usize>, step| {
        let rated = periods.map(|period| (likeness(mono, period, step), period));
        rated.max_by(|one, other| one.0.total_cmp(&other.0))
    };
    let (_, near) = best(&mut (PERIOD_MIN..=longest).step_by(COARSE), COARSE)?;
    let (low, high) = ((near - COARSE).max(PERIOD_MIN), (near + COARSE).min(longest));
    let (likeness, period) = best(&mut (low..=high), 1)?;
    (likeness >= wish.likeness).then_some(period)
}

/// How much half a frame is like what comes a period later: 1 is the same.
fn likeness(mono: &[f32], period: usize, step: usize) -> f32 {
    let later = mono.get(period..).unwrap_or_default();
    let [mut both, mut first, mut second] = [0.0_f32; 3];
    for (one, other) in mono.iter().zip(later).take(PERIOD_MAX).step_by(step) {
        both += one * other;
        first += one * one;
        second += other * other;
    }
    let size = (first * second).sqrt();
    if size > 0.0 { both / size } else { 0.0 }
}

/// The samples at `from` become, little by little, those at `to`.
fn fade(pcm: &mut [f32], from: usize, to: usize, length: usize, channels: usize) {
    let steps = (length / channels.max(1)).max(1) as f32;
    for index in 0..length {
        let share = (index / channels.max(1)) as f32 / steps;
        let Some(target) = pcm.get(to + index).copied() else { return };
        if let Some(sample) = pcm.get_mut(from + index) {
            *sample += (target - *sample) * share;
        }
    }
}

/// The samples at `into` begin as those at `from` and become, little by little, themselves.
fn fade_into(pcm: &mut [f32], from: usize, into: usize, length: usize, channels: usize) {
    let steps = (length / channels.max(1)).max(1) as f32;
    for index in 0..length {
        let share = (index / channels.max(1)) as f32 / steps;
        let Some(source) = pcm.get(from + index).copied() else { return };
        if let Some(sample) = pcm.get_mut(into + index) {
            *sample = source + (*sample - source) * share;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    fn tone(hertz: f32, length: usize) -> Vec<f32> {
        (0..length).map(|at| (at as f32 * hertz * TAU / 48_000.0).sin() * 0.5).collect()
    }

    /// The largest step from one sample to the next.
    fn roughest(pcm: &[f32]) -> f32 {
        pcm.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_tone_becomes_shorter_and_longer_without_a_step() {
        for hertz in [110.0, 200.0, 440.0, 1_000.0, 3_300.0] {
            for change in [Change::Shorter, Change::Longer] {
                let mut pcm = tone(hertz, 3 * 960);
                let natural = roughest(&pcm);
                pcm.truncate(2 * 960);
                let wish = Wish { change, samples_max: 480, likeness: 0.9 };
                let by = stretch(&mut pcm, 960, 1, wish);
                assert!(by >= PERIOD_MIN, "{hertz} Hz {change:?}");
                let length = match change {
                    Change::Shorter => 2 * 960 - by,
                    Change::Longer => 2 * 960 + by,
                };
                assert_eq!(pcm.len(), length);
                assert!(roughest(&pcm) < 1.2 * natural, "{hertz} Hz {change:?} by {by}");
            }
        }
    }

    #[test]
    fn left_and_right_stay_together() {
        let mono = tone(300.0, 960);
        let mut pcm: Vec<f32> = mono.iter().flat_map(|sample| [*sample, -0.5 * *sample]).collect();
        let wish = Wish { change: Change::Shorter, samples_max: 480, likeness: 0.9 };
        let by = stretch(&mut pcm, 0, 2, wish);
        assert_eq!(pcm.len(), 2 * (960 - by));
        assert!(pcm.chunks(2).all(|pair| (pair[0] * -0.5 - pair[1]).abs() < 1e-6));
    }

    #[test]
    fn noise_is_left_alone_and_silence_is_cut_anywhere() {
        let mut state = 1_u32;
        let mut noise: Vec<f32> = (0..960)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect();
        let wish = Wish { change: Change::Shorter, samples_max: 400, likeness: 0.8 };
        assert_eq!(stretch(&mut noise, 0, 1, wish), 0);
        assert_eq!(stretch(&mut vec![0.0; 960], 0, 1, wish), 400);
    }
}
