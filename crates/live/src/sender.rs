//! PCM in, datagrams out.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    adapt::Adaptation,
    codec::{CodecError, Content, Encoder},
    datagram::{Audio, Datagram, DecodeError, Moment, Report, StreamNumber},
    units::{Channels, FRAME_SAMPLES, FRAME_UNITS, level},
};

/// Frames of which the time of sending is remembered: what a report can speak of.
const SENT_MAX: usize = 256;

/// Opus says so much and no more where there is nothing to hear.
const NOTHING: usize = 2;

/// In which frames of a pause it is said that one has begun: apart, so that a burst of losses does
/// not take all of them.
const FAREWELLS: [u32; 4] = [1, 2, 4, 8];

/// The same after a talk of one frame.
const SHORT_FAREWELLS: [u32; 2] = [1, 4];

/// How a stream is sent.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// Its number.
    pub stream: StreamNumber,
    /// Which beginning of it: another one each time, so that nothing old is taken for new.
    pub epoch: u8,
    /// What comes in.
    pub channels: Channels,
    /// What is in it.
    pub content: Content,
    /// Bits a second, at the worst and at the best.
    pub bitrate: RangeInclusive<u32>,
}

impl SenderConfig {
    /// A voice: 12 to 32 kbit/s, in pauses next to nothing.
    #[must_use]
    pub const fn voice(stream: StreamNumber, epoch: u8) -> Self {
        let (channels, content) = (Channels::Mono, Content::Voice);
        Self { stream, epoch, channels, content, bitrate: 12_000..=32_000 }
    }

    /// Music: 32 to 96 kbit/s in stereo, half of it in mono.
    #[must_use]
    pub const fn music(stream: StreamNumber, epoch: u8, channels: Channels) -> Self {
        let bitrate = match channels {
            Channels::Mono => 24_000..=64_000,
            Channels::Stereo => 32_000..=96_000,
        };
        Self { stream, epoch, channels, content: Content::Music, bitrate }
    }
}

/// A frame could not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Not 20 ms.
    #[error("a frame has {expected} samples (20 ms of 48 kHz in all channels), not {got}")]
    Length {
        /// What came.
        got: usize,
        /// What should.
        expected: usize,
    },
    /// The codec.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A report could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// It is no report.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It is sound.
    #[error("a sender was given audio, it takes reports")]
    Audio,
    /// It speaks of something else.
    #[error("a report of another stream or of an earlier beginning")]
    Other,
}

/// Makes datagrams of a stream of PCM.
///
/// The caller gives it a frame every 20 ms of the source's clock, and sends what it gets with a
/// deadline. Reports of the receiver come back through [`Self::handle_datagram`].
pub struct Sender {
    config: SenderConfig,
    encoder: Encoder,
    adaptation: Adaptation,
    sequence: u16,
    timestamp: u32,
    /// Frames in a row in which there was nothing to hear.
    silent: u32,
    /// Whether the last datagram began the talk that goes on.
    fresh: bool,
    sent: Box<[Option<(u16, Instant)>; SENT_MAX]>,
    round_trip: Option<Duration>,
    report: Option<Report>,
    stats: SenderStats,
}

/// What a sender has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderStats {
    /// Frames that came in.
    pub frames: u64,
    /// Datagrams that went out.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Reports that came back.
    pub reports: u64,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("config", &self.config)
            .field("sequence", &self.sequence)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// A sender that has sent nothing.
    ///
    /// # Errors
    /// When the codec refuses the rate.
    pub fn new(config: SenderConfig) -> Result<Self, CodecError> {
        let adaptation = Adaptation::new(config.bitrate.clone());
        let encoder = Encoder::new(config.channels, config.content, adaptation.bitrate())?;
        Ok(Self {
            config,
            encoder,
            adaptation,
            sequence: 0,
            timestamp: 0,
            silent: u32::MAX,
            fresh: false,
            sent: Box::new([None; SENT_MAX]),
            round_trip: None,
            report: None,
            stats: SenderStats::default(),
        })
    }

    /// The datagram for the next 20 ms of sound; `None` in a pause.
    ///
    /// # Errors
    /// When `pcm` is no frame, or the codec fails.
    pub fn send(&mut self, now: Instant, pcm: &[f32]) -> Result<Option<Bytes>, SendError> {
        let expected = FRAME_SAMPLES * self.config.channels.count();
        if pcm.len() != expected {
            return Err(SendError::Length { got: pcm.len(), expected });
        }
        let level = level(pcm);
        let payload = Bytes::copy_from_slice(self.encoder.encode(pcm, level)?);
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(FRAME_UNITS);
        self.stats.frames += 1;
        let Some(moment) = self.moment(payload.len()) else { return Ok(None) };
        let SenderConfig { stream, epoch, .. } = self.config;
        let sequence = self.sequence;
        let audio = Audio { stream, epoch, moment, level, sequence, timestamp, payload };
        Ok(Some(self.note(now, &audio)))
    }

    /// The place in the talk of a frame of this length; `None` when it says nothing new.
    ///
    /// In a pause Opus repeats the colour of the background now and then: that is a talk of one
    /// frame, and needs fewer farewells.
    fn moment(&mut self, length: usize) -> Option<Moment> {
        if length > NOTHING {
            let paused = self.silent > 0;
            self.fresh = paused;
            self.silent = 0;
            return Some(if paused { Moment::Spurt } else { Moment::Talking });
        }
        self.silent = self.silent.saturating_add(1);
        let farewells = if self.fresh { &SHORT_FAREWELLS[..] } else { &FAREWELLS };
        farewells.contains(&self.silent).then_some(Moment::Silent)
    }

    fn note(&mut self, now: Instant, audio: &Audio) -> Bytes {
        let place = usize::from(audio.sequence) % SENT_MAX;
        if let Some(sent) = self.sent.get_mut(place) {
            *sent = Some((audio.sequence, now));
        }
        self.sequence = audio.sequence.wrapping_add(1);
        let bytes = audio.encode();
        self.stats.datagrams += 1;
        self.stats.bytes += bytes.len() as u64;
        bytes
    }

    /// Takes a report of the receiver: rate and protection follow it from the next frame on.
    ///
    /// # Errors
    /// When it is none, or none of this stream; nothing has changed then.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &Bytes) -> Result<(), ReportError> {
        let report = match Datagram::decode(bytes)? {
            Datagram::Report(report) => report,
            Datagram::Audio(_) => return Err(ReportError::Audio),
        };
        if (report.stream, report.epoch) != (self.config.stream, self.config.epoch) {
            return Err(ReportError::Other);
        }
        self.on_report(now, &report);
        Ok(())
    }

    fn on_report(&mut self, now: Instant, report: &Report) {
        self.stats.reports += 1;
        self.report = Some(*report);
        self.adaptation.on_report(report);
        // The codec takes every rate within our bounds; if it did not, it would keep the last.
        let _ = self.encoder.set_bitrate(self.adaptation.bitrate());
        let _ = self.encoder.set_loss(self.adaptation.loss_percent());
        let sent = self.sent.get(usize::from(report.highest) % SENT_MAX).copied().flatten();
        if let Some((sequence, at)) = sent
            && sequence == report.highest
        {
            let held = Duration::from_micros(u64::from(report.held) * 100);
            self.round_trip = Some(now.saturating_duration_since(at).saturating_sub(held));
        }
    }

    /// Bits a second of now.
    #[must_use]
    pub const fn bitrate(&self) -> u32 {
        self.adaptation.bitrate()
    }

    /// The loss that the codec protects against now, percent.
    #[must_use]
    pub fn protection(&self) -> u8 {
        self.adaptation.loss_percent()
    }

    /// There and back, as the last report has it: from a frame's sending to the report's coming,
    /// less the time between them at the other side.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The last report.
    #[must_use]
    pub const fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> SenderStats {
        self.stats
    }

    /// By how much the codec holds sound back.
    #[must_use]
    pub fn lookahead(&self) -> Duration {
        Duration::from_micros(u64::from(self.encoder.lookahead()) * 1_000 / 48)
    }
}
