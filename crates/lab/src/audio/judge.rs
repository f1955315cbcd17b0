//! What the sink has written, beside what was spoken.

use std::{
    f32::consts::TAU,
    time::{Duration, Instant},
};

use portolan_live::{FRAME, SAMPLE_RATE, mos, r_factor};

use super::{
    source::{HERTZ, Source},
    talk::Heard,
};

/// What Opus holds back at the sender.
const LOOKAHEAD: Duration = Duration::from_micros(6_500);

/// Samples of a piece in which a tone is looked for: 5 ms.
const PIECE: usize = SAMPLE_RATE as usize / 200;

/// How a talk has gone. Shares are of all sound, pauses apart, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) played: f64,
    pub(crate) repaired: f64,
    pub(crate) concealed: f64,
    /// Of frames: those that came when their time had passed.
    pub(crate) late: f64,
    /// From mouth to ear.
    pub(crate) delay_mean: Duration,
    pub(crate) delay_p95: Duration,
    /// Times a minute at which it is not the tone that was spoken; of a tone only.
    pub(crate) glitches: Option<f64>,
    pub(crate) mos: f64,
    /// What the speaker's side has sent on the network, bits a second.
    pub(crate) rate: f64,
}

/// Judges what was `heard` of a `source` that began at `begun`; `bytes` were sent for it.
pub(crate) fn judge(source: Source, heard: &Heard, begun: Instant, bytes: u64) -> Verdict {
    let stats = heard.stats;
    let sound = (stats.played + stats.repaired + stats.concealed).max(1) as f64;
    let [played, repaired, concealed] =
        [stats.played, stats.repaired, stats.concealed].map(|frames| frames as f64 / sound);
    let late = (stats.late + stats.delayed) as f64 / (stats.received + stats.lost).max(1) as f64;
    let (delay_mean, delay_p95) = delays(heard, begun);
    let minutes = heard.pcm.len() as f64 / f64::from(SAMPLE_RATE) / 60.0;
    let gap = stats.concealed as f64 / stats.gaps.max(1) as f64;
    let burst = (gap * (1.0 - concealed)).max(1.0);
    Verdict {
        played,
        repaired,
        concealed,
        late,
        delay_mean,
        delay_p95,
        glitches: (source == Source::Tone).then(|| glitches(&heard.pcm) as f64 / minutes),
        mos: mos(r_factor(delay_mean, concealed, burst)),
        rate: bytes as f64 * 8.0 / (minutes * 60.0),
    }
}

/// The mean and the 95th percentile from mouth to ear. A frame is sent when its last sample has
/// been spoken.
fn delays(heard: &Heard, begun: Instant) -> (Duration, Duration) {
    let delay = |(at, spoken): &(Instant, i64)| {
        let spoken = Duration::from_micros(u64::try_from(spoken * 125 / 6).unwrap_or_default());
        at.saturating_duration_since(begun + spoken) + FRAME + LOOKAHEAD
    };
    let mut delays: Vec<_> = heard.moments.iter().map(delay).collect();
    delays.sort_unstable();
    let count = u32::try_from(delays.len()).unwrap_or(u32::MAX).max(1);
    let mean = delays.iter().sum::<Duration>() / count;
    let p95 = delays.get(delays.len() * 95 / 100).copied().unwrap_or_default();
    (mean, p95)
}

/// How often pieces begin that are not the tone, once it is there.
fn glitches(pcm: &[f32]) -> usize {
    let pieces = pcm.chunks_exact(PIECE).map(is_tone);
    let heard: Vec<_> = pieces.skip_while(|good| !good).collect();
    heard.windows(2).filter(|pair| pair[0] && !pair[1]).count()
}

/// Whether nine tenths of the power are the tone's, and it is nearly as loud as it was.
fn is_tone(piece: &[f32]) -> bool {
    let [mut sine, mut cosine, mut power] = [0.0_f32; 3];
    let [mut ss, mut cc, mut sc] = [0.0_f32; 3];
    for (index, sample) in piece.iter().enumerate() {
        let (s, c) = (index as f32 * HERTZ * TAU / SAMPLE_RATE as f32).sin_cos();
        sine += sample * s;
        cosine += sample * c;
        power += sample * sample;
        ss += s * s;
        cc += c * c;
        sc += s * c;
    }
    // Least squares of a·sin + b·cos.
    let determinant = ss * cc - sc * sc;
    let a = (sine * cc - cosine * sc) / determinant;
    let b = (cosine * ss - sine * sc) / determinant;
    power > 0.02 * piece.len() as f32 && a * sine + b * cosine > 0.9 * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::source::Generator;

    fn tone(frames: usize) -> Vec<f32> {
        let mut generator = Generator::new(Source::Tone);
        (0..frames).flat_map(|_| generator.frame()).collect()
    }

    #[test]
    fn a_tone_has_no_glitch_and_each_hole_is_one() {
        let mut pcm = tone(100);
        assert_eq!(glitches(&pcm), 0);
        pcm[10_000..10_600].fill(0.0);
        pcm[50_000..53_000].fill(0.0);
        assert_eq!(glitches(&pcm), 2);
    }

    #[test]
    fn silence_before_the_tone_is_no_glitch_and_another_tone_is() {
        let mut pcm = vec![0.0; 4_800];
        pcm.extend(tone(50));
        assert_eq!(glitches(&pcm), 0);
        for (index, sample) in pcm[20_000..20_480].iter_mut().enumerate() {
            *sample = (index as f32 * 0.2).sin() * 0.4;
        }
        assert_eq!(glitches(&pcm), 1);
    }

    #[test]
    fn delay_is_from_the_first_sample_of_a_frame_to_the_ear() {
        let begun = crate::bench::clock::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let moments = vec![(at(100), 48 * 50), (at(120), 48 * 70)];
        let heard = Heard { moments, ..Heard::default() };
        let (mean, p95) = delays(&heard, begun);
        assert_eq!((mean, p95), (Duration::from_micros(76_500), Duration::from_micros(76_500)));
    }
}
