//! Every format against the sound that went into it and against what another decoder gives.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs, time::Duration};

use portolan_media::{Decoder, Seeking, Source, frames_in, open_file};
use support::{channel, decoded, fixture, rest, snr, tone};

/// A format, its codec's word, and what it may lose: the least SNR in dB against the sound that
/// went in, and against ffmpeg's decoder.
struct Format {
    file: &'static str,
    codec: &'static str,
    frames: usize,
    /// Samples that the codec adds in front and the file does not tell of.
    late: usize,
    snr: f64,
    reference: Option<f64>,
}

const FRAMES: usize = 72_000;

const FORMATS: &[Format] = &[
    format("tone.flac", "flac", 80.0, None),
    format("tone.mp3", "mp3", 20.0, Some(80.0)),
    format("tone.ogg", "vorbis", 20.0, Some(80.0)),
    format("tone.opus", "opus", 20.0, Some(60.0)),
    format("tone.m4a", "aac", 20.0, Some(80.0)),
    // Bare AAC tells neither its delay nor its length: whole frames of 1024, the first of which
    // is the encoder's.
    Format { frames: 73_728, late: 1024, ..format("tone.aac", "aac", 20.0, Some(80.0)) },
];

const fn format(
    file: &'static str,
    codec: &'static str,
    snr: f64,
    reference: Option<f64>,
) -> Format {
    Format { file, codec, frames: FRAMES, late: 0, snr, reference }
}

#[test]
fn every_format_has_its_length_to_the_sample_and_the_wave_in_its_place() {
    for format in FORMATS {
        let file = format.file;
        let (decoder, samples) = decoded(file);
        assert_eq!(decoder.channels(), 2, "{file}");
        assert_eq!(samples.len(), format.frames * 2, "{file}");
        for (which, signal) in tone(FRAMES).iter().enumerate() {
            let heard = channel(&samples, 2, which);
            let snr = snr(signal, &heard[format.late..]);
            println!("{file} channel {which}: SNR {snr:.1} dB");
            assert!(snr > format.snr, "{file} channel {which}: {snr:.1} dB");
        }
    }
}

#[test]
fn every_lossy_format_sounds_as_another_decoder_makes_it() {
    for format in FORMATS {
        let (file, Some(least)) = (format.file, format.reference) else { continue };
        let bytes = fs::read(fixture(&format!("{file}.ref"))).unwrap();
        let reference: Vec<f64> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f64::from(f32::from_le_bytes(*bytes)))
            .collect();
        let (_, samples) = decoded(file);
        let heard: Vec<f64> = samples.iter().step_by(211).map(|&s| f64::from(s)).collect();
        assert!(reference.len() >= heard.len(), "{file}: ours is longer");
        let snr = snr(&reference[..heard.len()], &heard);
        println!("{file}: SNR against ffmpeg {snr:.1} dB");
        assert!(snr > least, "{file}: {snr:.1} dB");
    }
}

#[test]
fn every_format_tells_its_title_length_and_rate() {
    for format in FORMATS {
        let decoder = open_file(&fixture(format.file)).unwrap();
        let info = decoder.info();
        assert_eq!(info.codec, format.codec, "{}", format.file);
        assert_eq!(info.channels, 2, "{}", format.file);
        let rate = if format.file == "tone.flac" { 44_100 } else { 48_000 };
        assert_eq!(info.rate, rate, "{}", format.file);
        // Bare AAC has nowhere to put its tags.
        if format.file != "tone.aac" {
            assert_eq!(info.title.as_deref(), Some("Tone"), "{}", format.file);
            assert_eq!(info.artist.as_deref(), Some("Portolan"), "{}", format.file);
            assert_eq!(info.album.as_deref(), Some("Fixtures"), "{}", format.file);
        }
        let length = info.duration.unwrap();
        assert_eq!(frames_in(length), format.frames as u64, "{}", format.file);
    }
}

#[test]
fn a_seek_lands_on_the_sample() {
    for format in FORMATS {
        let file = format.file;
        let (_, whole) = decoded(file);
        for seeking in [Seeking::Exact, Seeking::Quick] {
            let input = fs::File::open(fixture(file)).unwrap();
            let mut decoder = Decoder::open(Box::new(input), seeking).unwrap();
            for to in [1000, 0, 700, 333, 1499] {
                let to = Duration::from_millis(to);
                assert_eq!(decoder.seek(to).unwrap(), to);
                assert_eq!(decoder.position(), to);
                let heard = rest(&mut decoder);
                let expected = &whole[usize::try_from(frames_in(to)).unwrap() * 2..];
                assert_eq!(heard.len(), expected.len(), "{file} from {to:?}");
                let signal: Vec<_> = expected.iter().map(|&s| f64::from(s)).collect();
                let heard: Vec<_> = heard.iter().map(|&s| f64::from(s)).collect();
                // Opus remembers more than it is given again, and AAC draws its noise anew.
                let least = match format.codec {
                    "opus" => 35.0,
                    "aac" => 60.0,
                    _ => 100.0,
                };
                let snr = snr(&signal, &heard);
                println!("{file} {seeking:?} from {to:?}: SNR {snr:.1} dB");
                assert!(snr > least, "{file} {seeking:?} from {to:?}: {snr:.1} dB");
            }
        }
    }
}

#[test]
fn a_seek_behind_the_end_is_the_end_and_another_goes_back() {
    for format in FORMATS {
        let mut decoder = open_file(&fixture(format.file)).unwrap();
        decoder.seek(Duration::from_secs(3600)).unwrap();
        assert_eq!(rest(&mut decoder).len(), 0, "{}", format.file);
        decoder.seek(Duration::ZERO).unwrap();
        assert_eq!(rest(&mut decoder).len(), format.frames * 2, "{}", format.file);
    }
}

#[test]
fn other_rates_and_more_channels_become_ours() {
    let (decoder, samples) = decoded("tone-8k.wav");
    assert_eq!((decoder.channels(), samples.len()), (1, 24_000));
    let [left, _] = tone(24_000);
    let snr_of = |signal: &[f64], heard: &[f64]| snr(&signal[500..11_500], &heard[500..11_500]);
    let heard = channel(&samples, 1, 0);
    assert!(snr_of(&left, &heard) > 70.0, "{}", snr_of(&left, &heard));

    let (decoder, samples) = decoded("tone-5.1.flac");
    assert_eq!((decoder.channels(), decoder.info().channels), (2, 6));
    assert_eq!(samples.len(), 24_000);
    // Only front left and right sound; room is left for the others.
    let room = 1.0 + 2.0 * std::f64::consts::FRAC_1_SQRT_2;
    for (which, signal) in tone(12_000).iter().enumerate() {
        let heard: Vec<_> = channel(&samples, 2, which).iter().map(|s| s * room).collect();
        assert!(snr_of(signal, &heard) > 70.0, "{which}: {}", snr_of(signal, &heard));
    }
}

#[test]
fn a_wav_file_that_we_write_is_read_back_to_the_bit() {
    use portolan_media::{Sink, WavSink};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.wav");
    let (_, samples) = decoded("tone.ogg");
    let mut sink = Box::new(WavSink::create(&path, 2).unwrap());
    samples.chunks(1000).for_each(|some| sink.write(some).unwrap());
    sink.finish().unwrap();
    let again = rest(&mut open_file(&path).unwrap());
    assert!(samples == again, "what was written is not what is read");
}
