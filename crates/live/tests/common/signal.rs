//! Sound to send.

use std::f32::consts::TAU;

use portolan_live::FRAME_SAMPLES;

/// A tone without end.
pub(crate) fn tone(hertz: f32) -> impl FnMut() -> Vec<f32> {
    let mut phase = 0.0_f32;
    move || {
        (0..FRAME_SAMPLES)
            .map(|_| {
                phase = (phase + hertz / 48_000.0).fract();
                (phase * TAU).sin() * 0.4
            })
            .collect()
    }
}

/// Something like a voice: a pitch that wanders, harmonics, four syllables a second, and a second
/// of pause after every three.
pub(crate) fn voice() -> impl FnMut() -> Vec<f32> {
    let (mut phase, mut sample) = (0.0_f32, 0_u32);
    move || {
        (0..FRAME_SAMPLES)
            .map(|_| {
                let time = sample as f32 / 48_000.0;
                sample += 1;
                let pitch = 140.0 + 25.0 * (time * 1.7).sin() + 10.0 * (time * 5.1).cos();
                phase = (phase + pitch / 48_000.0).fract();
                let harmonics = [(1.0, 0.5), (2.0, 0.3), (3.0, 0.2), (5.0, 0.12), (9.0, 0.05)];
                let sound: f32 =
                    harmonics.iter().map(|(times, size)| (phase * times * TAU).sin() * size).sum();
                let syllable = (time * 4.0 * TAU / 2.0).sin().abs().sqrt();
                let talking = if time % 4.0 < 3.0 { 1.0 } else { 0.0 };
                sound * syllable * talking * 0.5
            })
            .collect()
    }
}

/// How many of the pieces of 5 ms are not this tone: its part is less than nine tenths of their
/// power, or they are much weaker than they should be. Neighbours count once.
pub(crate) fn glitches(pcm: &[f32], hertz: f32) -> usize {
    let pieces = pcm.chunks_exact(240);
    let bad: Vec<_> = pieces.map(|piece| !is_tone(piece, hertz)).collect();
    let runs = bad.iter().zip(std::iter::once(&false).chain(&bad));
    runs.filter(|(now, before)| **now && !**before).count()
}

fn is_tone(piece: &[f32], hertz: f32) -> bool {
    let [mut sine, mut cosine, mut power] = [0.0_f32; 3];
    let [mut ss, mut cc, mut sc] = [0.0_f32; 3];
    for (index, sample) in piece.iter().enumerate() {
        let (s, c) = (index as f32 * hertz * TAU / 48_000.0).sin_cos();
        sine += sample * s;
        cosine += sample * c;
        power += sample * sample;
        ss += s * s;
        cc += c * c;
        sc += s * c;
    }
    // Least squares of a·sin + b·cos.
    let det = ss * cc - sc * sc;
    let (a, b) = ((sine * cc - cosine * sc) / det, (cosine * ss - sine * sc) / det);
    let explained = a * sine + b * cosine;
    power > 0.02 * piece.len() as f32 && explained > 0.9 * power
}
