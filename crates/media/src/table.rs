//! The tables of sources and sinks: a word names a kind, and behind a colon what of it.

use std::{fs::File, path::Path};

use crate::{
    Decoder, Endless, OpenError, Paced, Pacing, RATE, Seeking, Silence, Sink, Source, Tone, Track,
    WallClock, WavSink,
    device::{play, record},
    raw::{RawSink, RawSource},
    sink::Null,
};

/// Frequencies that a test tone may have: what people hear.
const TONE_HZ: std::ops::RangeInclusive<f64> = 1.0..=20_000.0;
/// The longest that a tone or silence may be told to last: a year.
const SECONDS_MAX: f64 = 366.0 * 86_400.0;

/// One kind of source or sink.
#[derive(Debug)]
pub struct Kind<F> {
    /// The word before the colon.
    pub name: &'static str,
    /// What stands behind the colon; empty: nothing.
    pub argument: &'static str,
    /// For people.
    pub about: &'static str,
    open: F,
}

/// A kind of source.
pub type SourceKind = Kind<fn(&str) -> Result<Box<dyn Source>, OpenError>>;
/// A kind of sink.
pub type SinkKind = Kind<fn(&str, u16, Pacing) -> Result<Box<dyn Sink>, OpenError>>;

/// Every kind of source.
pub const SOURCES: &[SourceKind] = &[
    Kind { name: "device", argument: "", about: "the microphone", open: |_| record() },
    Kind {
        name: "file",
        argument: "FILE",
        about: "an audio file: MP3, FLAC, Ogg, Opus, WAV, AAC",
        open: file,
    },
    Kind { name: "wav", argument: "FILE", about: "the same", open: file },
    Kind {
        name: "pcm",
        argument: "FILE or -",
        about: "bare samples: 48 kHz, 16 bit little-endian, two channels; - is standard input",
        open: |word| Ok(Box::new(RawSource::open(word)?)),
    },
    Kind { name: "tone", argument: "HZ[:SECONDS]", about: "a test tone", open: tone },
    Kind { name: "silence", argument: "[SECONDS]", about: "nothing, for a while", open: silence },
];

/// Every kind of sink.
pub const SINKS: &[SinkKind] = &[
    Kind {
        name: "device",
        argument: "",
        about: "the loudspeaker",
        open: |_, channels, _| play(channels),
    },
    Kind {
        name: "wav",
        argument: "FILE",
        about: "a WAV file, made anew",
        open: |word, channels, pacing| {
            Ok(paced(WavSink::create(Path::new(word), channels)?, pacing))
        },
    },
    Kind {
        name: "pcm",
        argument: "FILE or -",
        about: "bare samples, as above; - is standard output",
        open: |word, channels, pacing| Ok(paced(RawSink::create(word, channels)?, pacing)),
    },
    Kind {
        name: "null",
        argument: "",
        about: "nobody hears it",
        open: |_, channels, pacing| Ok(paced(Null { channels }, pacing)),
    },
];

/// Opens what a word names.
///
/// # Errors
/// [`OpenError`], which says what could stand there.
pub fn open_source(word: &str) -> Result<Box<dyn Source>, OpenError> {
    let (kind, argument) = find(SOURCES, "source", word)?;
    (kind.open)(argument)
}

/// Opens what a word names, for that many channels. What has no speed of its own gets `pacing`.
///
/// # Errors
/// [`OpenError`], which says what could stand there.
pub fn open_sink(word: &str, channels: u16, pacing: Pacing) -> Result<Box<dyn Sink>, OpenError> {
    let (kind, argument) = find(SINKS, "sink", word)?;
    (kind.open)(argument, channels, pacing)
}

fn find<'a, F>(
    kinds: &'static [Kind<F>],
    what: &'static str,
    word: &'a str,
) -> Result<(&'static Kind<F>, &'a str), OpenError> {
    let (name, argument) = word.split_once(':').unwrap_or((word, ""));
    let Some(kind) = kinds.iter().find(|kind| kind.name == name) else {
        let known = kinds.iter().map(described).collect::<Vec<_>>().join(", ");
        return Err(OpenError::Unknown { word: word.to_owned(), what, known });
    };
    let (wants, optional) = (!kind.argument.is_empty(), kind.argument.starts_with('['));
    if argument.is_empty() && wants && !optional || !argument.is_empty() && !wants {
        let expected = if wants { kind.argument } else { "nothing behind it" };
        return Err(OpenError::Argument { word: word.to_owned(), expected });
    }
    Ok((kind, argument))
}

fn described<F>(kind: &Kind<F>) -> String {
    match kind.argument {
        "" => kind.name.to_owned(),
        argument => format!("{}:{argument}", kind.name),
    }
}

fn paced(sink: impl Sink + 'static, pacing: Pacing) -> Box<dyn Sink> {
    match pacing {
        Pacing::RealTime => Box::new(Paced::new(sink, WallClock::new())),
        Pacing::Unpaced => Box::new(sink),
    }
}

/// Opens what a word names as something that may be able to seek: files can.
///
/// # Errors
/// [`OpenError`], which says what could stand there.
pub fn open_track(word: &str) -> Result<Box<dyn Track>, OpenError> {
    match word.split_once(':') {
        Some(("file" | "wav", path)) if !path.is_empty() => {
            Ok(Box::new(open_file(Path::new(path))?))
        }
        Some(_) | None => Ok(Box::new(Endless::new(open_source(word)?))),
    }
}

/// Opens an audio file.
///
/// # Errors
/// [`OpenError::Io`] or [`OpenError::Decode`].
pub fn open_file(path: &Path) -> Result<Decoder, OpenError> {
    let file = File::open(path).map_err(|source| OpenError::Io { path: path.into(), source })?;
    Decoder::open(Box::new(file), Seeking::Exact)
        .map_err(|source| OpenError::Decode { path: path.into(), source })
}

fn file(path: &str) -> Result<Box<dyn Source>, OpenError> {
    Ok(Box::new(open_file(Path::new(path))?))
}

fn tone(argument: &str) -> Result<Box<dyn Source>, OpenError> {
    const EXPECTED: &str = "tone:HZ or tone:HZ:SECONDS, with 1 to 20000 Hz";
    let wrong = || OpenError::Argument { word: format!("tone:{argument}"), expected: EXPECTED };
    let (frequency, length) = match argument.split_once(':') {
        Some((frequency, seconds)) => (frequency, frames(seconds).ok_or_else(wrong)?),
        None => (argument, u64::MAX),
    };
    let frequency: f64 = frequency.parse().map_err(|_| wrong())?;
    match TONE_HZ.contains(&frequency) {
        true => Ok(Box::new(Tone::new(frequency, length))),
        false => Err(wrong()),
    }
}

fn silence(argument: &str) -> Result<Box<dyn Source>, OpenError> {
    let wrong = || OpenError::Argument {
        word: format!("silence:{argument}"),
        expected: "silence or silence:SECONDS",
    };
    let length = match argument {
        "" => u64::MAX,
        seconds => frames(seconds).ok_or_else(wrong)?,
    };
    Ok(Box::new(Silence::new(length)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked against its bounds before"
)]
fn frames(seconds: &str) -> Option<u64> {
    let seconds: f64 = seconds.parse().ok()?;
    let good = (0.0..=SECONDS_MAX).contains(&seconds);
    good.then(|| (seconds * f64::from(RATE)).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::{SINKS, SOURCES, open_sink, open_source};
    use crate::Pacing;

    #[test]
    fn a_wrong_word_is_told_what_could_stand_there() {
        let wrong = |word: &str| open_source(word).err().unwrap().to_string();
        assert!(wrong("radio").contains("tone:HZ[:SECONDS]"), "{}", wrong("radio"));
        for word in ["tone", "tone:loud", "tone:0", "tone:440:-1", "tone:nan", "device:2", "wav"] {
            assert!(wrong(word).contains("expected"), "{word}: {}", wrong(word));
        }
        assert!(wrong("file:/no/such").contains("/no/such"));
        let sink = open_sink("tone:440", 2, Pacing::Unpaced).err().unwrap().to_string();
        assert!(sink.contains("null"), "{sink}");
    }

    #[test]
    fn what_a_word_names_ends_when_it_says() {
        let mut samples = [0.0; 4096];
        for (word, expected) in [("tone:440:0.01", 480), ("silence:0.02", 960)] {
            let mut source = open_source(word).unwrap();
            let mut read = 0;
            loop {
                match source.read(&mut samples).unwrap() {
                    0 => break,
                    more => read += more,
                }
            }
            assert_eq!(read, expected, "{word}");
        }
    }

    #[test]
    fn names_are_there_once() {
        let sources: Vec<_> = SOURCES.iter().map(|kind| kind.name).collect();
        let sinks: Vec<_> = SINKS.iter().map(|kind| kind.name).collect();
        for names in [sources, sinks] {
            let mut once = names.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), names.len());
        }
    }
}
