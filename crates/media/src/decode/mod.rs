//! Audio files as sound.

mod codec;
mod info;
mod input;
mod mp4;
mod resample;

use std::{
    collections::VecDeque,
    fmt,
    io::{Read, SeekFrom},
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use symphonia::{
    core::{
        common::Limit,
        errors::{Error, SeekErrorKind},
        formats::{FormatOptions, FormatReader, SeekMode, SeekTo, Track, TrackType, probe::Hint},
        io::{MediaSourceStream, MediaSourceStreamOptions},
        meta::MetadataOptions,
        units::{TimeBase, Timestamp},
    },
    default::get_probe,
};

pub use self::info::Info;
pub use self::input::Input;
use self::{codec::Codec, input::Bytes, resample::Resampler};
use crate::{CHANNELS_MAX, DecodeError, RATE, Source, SourceError, duration_of, frames_in};

/// Rates that a file may have.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;
/// Packets that cannot be made out one after the other before the file is given up.
const BROKEN_MAX: u32 = 256;
/// What lies before the place of a seek and is decoded for the codec's memory: Opus wants 80 ms
/// (RFC 7845, section 4.6), MP3 and AAC a few frames.
const PREROLL: Duration = Duration::from_millis(120);
/// Symphonia's name of MP4, whose lengths are exact.
const MP4: &str = "isomp4";
/// Bytes of one tag; longer ones, such as pictures, are passed over.
const TAG_MAX: usize = 4 << 10;

/// How a place is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeking {
    /// Exactly, though an MP3 may have to be read from its beginning.
    Exact,
    /// With few reads, though in an MP3 of varying rate and without a table it is a guess: for
    /// files that are still arriving.
    Quick,
}

/// Decodes one file: a [`Source`] of one or two channels that can seek.
pub struct Decoder {
    format: Box<dyn FormatReader>,
    codec: Codec,
    seeking: Seeking,
    track: u32,
    base: TimeBase,
    /// Samples a second of a channel, in the file.
    rate: u32,
    channels: u16,
    /// The file's own numbers of the first sample that is sound and of the one behind the last.
    origin: i64,
    end: Option<i64>,
    /// The number of the sample that is due.
    next: i64,
    /// The packet before could not be decoded: what it held is silence.
    gap: bool,
    broken: u32,
    ended: bool,
    decoded: Vec<f32>,
    resampler: Option<Resampler>,
    ready: VecDeque<f32>,
    /// Converted samples that lie before the place of a seek.
    early: usize,
    /// Samples of a channel that were given, counted from the beginning of the sound.
    given: u64,
    info: Info,
}

impl Decoder {
    /// Looks what `input` is and makes ready to decode it from its beginning. Blocks on `input`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn open(mut input: Box<dyn Input>, seeking: Seeking) -> Result<Self, DecodeError> {
        let edit = mp4::edit(&mut *input)?;
        let options = MediaSourceStreamOptions::default();
        let is_plain = match seeking {
            Seeking::Exact => false,
            Seeking::Quick => is_adts(&mut *input)?,
        };
        let seekable = Arc::new(AtomicBool::new(!is_plain));
        let bytes = Bytes::new(input, Arc::clone(&seekable));
        let stream = MediaSourceStream::new(Box::new(bytes), options);
        let tags = MetadataOptions::default()
            .limit_tag_bytes(Limit::Maximum(TAG_MAX))
            .limit_visual_bytes(Limit::Maximum(TAG_MAX));
        survived(|| {
            let probe = get_probe();
            let format = probe.probe(&Hint::new(), stream, FormatOptions::default(), tags);
            let decoder = Self::with_format(format.map_err(not_audio)?, edit, seeking);
            seekable.store(true, Ordering::Relaxed);
            decoder
        })
    }

    fn with_format(
        mut format: Box<dyn FormatReader>,
        edit: Option<mp4::Edit>,
        seeking: Seeking,
    ) -> Result<Self, DecodeError> {
        let no_sound = || DecodeError::Unsupported("there is no sound in it".into());
        let track = format.default_track(TrackType::Audio).cloned().ok_or_else(no_sound)?;
        let parameters = track.codec_params.as_ref().and_then(|codec| codec.audio());
        let parameters = parameters.ok_or_else(no_sound)?.clone();
        let rate = bounded_rate(parameters.sample_rate.unwrap_or(RATE))?;
        let count = parameters.channels.as_ref().map_or(2, |channels| channels.count());
        let channels = if count == 1 { 1 } else { CHANNELS_MAX };
        let codec = Codec::new(&parameters, count)?;
        let container = format.format_info().short_name;
        let base = track.time_base.or_else(|| TimeBase::try_from_recip(rate)).unwrap_or_default();
        let (origin, end) = bounds(&track, codec.origin(&track), edit, ((base, rate), container));
        let mut info = Info::of(&mut *format, codec.name());
        info.gapless_from_tags(&mut *format);
        let (origin, end) = info.gapless.take().map_or((origin, end), |(first, last)| {
            (i64::from(first), Some(i64::from(first).saturating_add_unsigned(last)))
        });
        let frames = end.or_else(|| frames_told(&track, base, rate)).map(|end| end - origin);
        info.duration = frames.map(|frames| time_of(frames.max(0).unsigned_abs(), rate));
        (info.rate, info.channels) = (rate, u16::try_from(count).unwrap_or(u16::MAX));
        Ok(Self {
            format,
            codec,
            seeking,
            track: track.id,
            base,
            rate,
            channels,
            origin,
            end,
            next: origin,
            gap: false,
            broken: 0,
            ended: false,
            decoded: Vec::new(),
            resampler: Resampler::between(rate, channels),
            ready: VecDeque::new(),
            early: 0,
            given: 0,
            info,
        })
    }

    /// What the file says of itself.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Where the next sample belongs.
    #[must_use]
    pub fn position(&self) -> Duration {
        duration_of(self.given)
    }

    /// Goes to a place, or to the end if it is behind that. Says where that is.
    ///
    /// # Errors
    /// [`DecodeError::Seek`] when the file does not allow it, and where it stands is undefined;
    /// another seek may help.
    pub fn seek(&mut self, to: Duration) -> Result<Duration, DecodeError> {
        let to = self.info.duration.map_or(to, |duration| to.min(duration));
        let (behind, early) = match &self.resampler {
            Some(resampler) => resampler.start_before(frames_in(to)),
            None => (frames_in(to), 0),
        };
        let behind = i64::try_from(behind).unwrap_or(i64::MAX);
        let target = self.origin.saturating_add(behind);
        let preroll = i64::try_from(frames_of(PREROLL, self.rate)).unwrap_or_default();
        let from = target.saturating_sub(preroll).max(self.origin.min(0));
        let mode = match self.seeking {
            Seeking::Exact => SeekMode::Accurate,
            Seeking::Quick => SeekMode::Coarse,
        };
        let place = SeekTo::Timestamp { ts: self.timestamp(from), track_id: self.track };
        let format = &mut self.format;
        match survived(|| Ok(format.seek(mode, place)))? {
            Ok(_) => self.ended = false,
            Err(Error::SeekError(SeekErrorKind::OutOfRange)) => self.ended = true,
            Err(error) => return Err(DecodeError::Seek { to, why: error.to_string() }),
        }
        self.codec.reset();
        self.resampler.iter_mut().for_each(Resampler::reset);
        self.ready.clear();
        self.early = early.saturating_mul(usize::from(self.channels));
        (self.gap, self.broken) = (false, 0);
        (self.next, self.given) = (target, frames_in(to));
        Ok(to)
    }

    /// Decodes one packet more.
    fn step(&mut self) -> Result<(), DecodeError> {
        // Not to the very end of the file where that need not be: MP4's does not go back from there.
        if self.end.is_some_and(|end| self.next >= end) {
            return self.finish();
        }
        let packet = match self.format.next_packet() {
            Ok(Some(packet)) if packet.track_id == self.track => packet,
            Ok(Some(_)) => return Ok(()),
            // A chain of streams ends with its first.
            Ok(None) | Err(Error::ResetRequired) => return self.finish(),
            Err(error) => return self.on_broken_packet(&error),
        };
        let start = self.frame(packet.pts);
        match self.codec.decode(&packet, &mut self.decoded, self.channels) {
            Ok(0) => {}
            Ok(rate) => {
                self.set_rate(rate)?;
                self.broken = 0;
                self.place(start);
            }
            Err(Error::ResetRequired) => return self.finish(),
            Err(error) => {
                self.gap = true;
                return self.on_broken_packet(&error);
            }
        }
        Ok(())
    }

    /// Puts what was decoded where its number says.
    fn place(&mut self, start: i64) {
        let channels = usize::from(self.channels);
        let frames = i64::try_from(self.decoded.len() / channels).unwrap_or(i64::MAX);
        if std::mem::take(&mut self.gap) && start > self.next {
            let missing = (start - self.next).min(i64::from(self.rate));
            self.give(&vec![0.0; usize::try_from(missing).unwrap_or(0) * channels]);
        }
        let behind = start.saturating_add(frames);
        let last = self.end.map_or(behind, |end| behind.min(end));
        let first = self.next.max(start).clamp(self.origin, behind.max(self.origin));
        let within = |number: i64| {
            usize::try_from(number.saturating_sub(start).clamp(0, frames)).unwrap_or(0) * channels
        };
        let decoded = std::mem::take(&mut self.decoded);
        if let Some(heard) = decoded.get(within(first)..within(last)) {
            self.give(heard);
        }
        self.decoded = decoded;
        self.next = self.next.max(behind);
    }

    fn give(&mut self, samples: &[f32]) {
        match &mut self.resampler {
            Some(resampler) => resampler.push(samples, &mut self.ready),
            None => self.ready.extend(samples),
        }
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        self.ended = true;
        if let Some(resampler) = &mut self.resampler {
            resampler.finish(&mut self.ready);
        }
        Ok(())
    }

    fn on_broken_packet(&mut self, error: &Error) -> Result<(), DecodeError> {
        self.broken += 1;
        match error {
            Error::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                // Cut off: what is there was heard.
                self.finish()
            }
            Error::IoError(error) => {
                Err(std::io::Error::new(error.kind(), error.to_string()).into())
            }
            _ if self.broken > BROKEN_MAX => Err(DecodeError::Broken(error.to_string())),
            _ => {
                tracing::debug!(%error, "a packet of an audio file cannot be decoded");
                Ok(())
            }
        }
    }

    /// The file's header may have been wrong about the rate.
    fn set_rate(&mut self, rate: u32) -> Result<(), DecodeError> {
        if rate != self.rate {
            self.rate = bounded_rate(rate)?;
            self.resampler = Resampler::between(rate, self.channels);
        }
        Ok(())
    }

    fn frame(&self, at: Timestamp) -> i64 {
        scale(at.get(), (self.base, self.rate))
    }

    fn timestamp(&self, frame: i64) -> Timestamp {
        let ticks = i128::from(frame) * i128::from(self.base.denom.get());
        let unit = i128::from(self.base.numer.get()) * i128::from(self.rate);
        Timestamp::new(i64::try_from(ticks / unit.max(1)).unwrap_or(i64::MAX))
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Source for Decoder {
    fn channels(&self) -> u16 {
        self.channels
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, SourceError> {
        while self.ready.is_empty() && !self.ended {
            survived(|| self.step())?;
            let early = self.early.min(self.ready.len());
            self.ready.drain(..early);
            self.early -= early;
        }
        let unit = usize::from(self.channels);
        let count = out.len().min(self.ready.len()) / unit * unit;
        for (sample, ready) in out.iter_mut().zip(self.ready.drain(..count)) {
            *sample = ready;
        }
        self.given += (count / unit) as u64;
        Ok(count)
    }
}

/// Whether frames of AAC follow each other without anything that tells how many (ISO/IEC 13818-7,
/// section 6.2). Its demultiplexer would look at four places of the file to guess its length, each
/// of which takes a round trip where the file is still arriving; of a file that it takes for one
/// that can only be read in order, the beginning is enough. Leaves `input` at its beginning.
fn is_adts(input: &mut dyn Input) -> std::io::Result<bool> {
    let mut start = Vec::new();
    (&mut *input).take(2).read_to_end(&mut start)?;
    input.seek(SeekFrom::Start(0))?;
    Ok(matches!(start.as_slice(), [0xff, second] if second & 0xf6 == 0xf0))
}

/// A file that leads a decoder which is not ours into a bug of it is a broken file, and no reason
/// to fall.
fn survived<T>(work: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(DecodeError::Broken("no decoder can make it out".into())))
}

/// The first sample that is sound, and the one behind the last where that is certain.
fn bounds(
    track: &Track,
    origin: i64,
    edit: Option<mp4::Edit>,
    (scaled, container): ((TimeBase, u32), &str),
) -> (i64, Option<i64>) {
    if let Some(edit) = edit {
        let first = scale(edit.start, scaled);
        let length = edit.seconds(scaled.1);
        return (first, length.map(|length| first.saturating_add(length)));
    }
    // Without a word about padding the length may be an estimate; the end of the file is better.
    let is_exact = track.padding.is_some() || container == MP4;
    let told = frames_told(track, scaled.0, scaled.1).filter(|end| is_exact && *end > origin);
    (origin, told)
}

/// The number behind the last sample, as the file tells it.
fn frames_told(track: &Track, base: TimeBase, rate: u32) -> Option<i64> {
    let ticks = track.duration.map(|duration| duration.get()).or(track.num_frames)?;
    Some(scale(i64::try_from(ticks).ok()?, (base, rate)))
}

fn scale(ticks: i64, (base, rate): (TimeBase, u32)) -> i64 {
    let frames = i128::from(ticks) * i128::from(base.numer.get()) * i128::from(rate);
    i64::try_from(frames / i128::from(base.denom.get())).unwrap_or(i64::MAX)
}

fn bounded_rate(rate: u32) -> Result<u32, DecodeError> {
    match RATES.contains(&rate) {
        true => Ok(rate),
        false => {
            let (value, max) = (u64::from(rate), u64::from(*RATES.end()));
            Err(DecodeError::OutOfBounds { what: "a rate in Hz of", value, max })
        }
    }
}

fn time_of(frames: u64, rate: u32) -> Duration {
    let rate = u64::from(rate.max(1));
    Duration::from_secs(frames / rate) + Duration::from_nanos(frames % rate * 1_000_000_000 / rate)
}

fn frames_of(time: Duration, rate: u32) -> u64 {
    let rate = u64::from(rate);
    let part = (u64::from(time.subsec_nanos()) * rate + 500_000_000) / 1_000_000_000;
    time.as_secs().saturating_mul(rate).saturating_add(part)
}

fn not_audio(error: Error) -> DecodeError {
    match error {
        Error::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => error.into(),
        Error::IoError(_) => DecodeError::Unsupported("it ends too early".into()),
        other => DecodeError::Unsupported(other.to_string()),
    }
}
