//! Opus (RFC 6716), always in frames of 20 ms.

use ropus::{Application, Bitrate, DecodeMode, InbandFec, Signal};

use crate::{
    datagram::PAYLOAD_MAX,
    units::{Channels, FRAME_SAMPLES, SAMPLE_RATE},
};

/// How hard the encoder tries, of 10: beyond, the ear gains little and the processor pays.
const COMPLEXITY: u8 = 7;

/// The shortest piece that Opus conceals: 2.5 ms.
pub(crate) const PIECE: usize = 120;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Content {
    /// Speech: the codec protects against loss and pauses with the speaker.
    #[default]
    Voice,
    /// Everything else.
    Music,
}

/// The codec refused: a mistake of ours, as all that reaches it is checked before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Opus could not {what}: {why}")]
pub struct CodecError {
    what: &'static str,
    why: String,
}

fn refused<E: std::fmt::Debug>(what: &'static str) -> impl FnOnce(E) -> CodecError {
    move |error| CodecError { what, why: format!("{error:?}") }
}

/// A pause is at most this loud, in dB below the loudest possible: a steady tone looks like
/// background to the codec, and somebody means it to be heard.
const PAUSE_LEVEL: u8 = 40;

/// PCM to Opus.
pub(crate) struct Encoder {
    inner: ropus::Encoder,
    content: Content,
    buffer: Box<[u8; PAYLOAD_MAX]>,
}

impl Encoder {
    pub(crate) fn new(
        channels: Channels,
        content: Content,
        bitrate: u32,
    ) -> Result<Self, CodecError> {
        let (application, signal) = match content {
            Content::Voice => (Application::Voip, Signal::Voice),
            Content::Music => (Application::Audio, Signal::Music),
        };
        let inner = ropus::Encoder::builder(SAMPLE_RATE, of(channels), application)
            .signal(signal)
            .complexity(COMPLEXITY)
            .bitrate(Bitrate::Bits(bitrate))
            .inband_fec(InbandFec::Enabled)
            .build()
            .map_err(refused("begin to encode"))?;
        Ok(Self { inner, content, buffer: Box::new([0; PAYLOAD_MAX]) })
    }

    /// The frame for these samples: at most two bytes where there is nothing to hear.
    pub(crate) fn encode(&mut self, pcm: &[f32], level: u8) -> Result<&[u8], CodecError> {
        let may_pause = self.content == Content::Voice && level >= PAUSE_LEVEL;
        self.inner.set_dtx(may_pause).map_err(refused("pause"))?;
        let length = self.inner.encode_float(pcm, &mut self.buffer[..]);
        let length = length.map_err(refused("encode"))?;
        Ok(&self.buffer[..length])
    }

    pub(crate) fn set_bitrate(&mut self, bitrate: u32) -> Result<(), CodecError> {
        self.inner.set_bitrate(Bitrate::Bits(bitrate)).map_err(refused("change its rate"))
    }

    pub(crate) fn set_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        self.inner.set_packet_loss_perc(percent).map_err(refused("prepare for loss"))
    }

    /// Samples by which its output is behind its input.
    pub(crate) fn lookahead(&self) -> u32 {
        self.inner.lookahead()
    }
}

/// Opus to PCM.
pub(crate) struct Decoder {
    inner: ropus::Decoder,
    channels: Channels,
}

impl Decoder {
    pub(crate) fn new(channels: Channels) -> Result<Self, CodecError> {
        let inner = ropus::Decoder::new(SAMPLE_RATE, of(channels));
        Ok(Self { inner: inner.map_err(refused("begin to decode"))?, channels })
    }

    /// A frame; concealed when the codec finds nothing in it. Whether it found something.
    pub(crate) fn decode(&mut self, payload: &[u8], out: &mut Vec<f32>) -> bool {
        self.append(payload, DecodeMode::Normal, FRAME_SAMPLES, out)
    }

    /// The frame before the one with this payload, from the copy that this carries.
    pub(crate) fn repair(&mut self, next: &[u8], out: &mut Vec<f32>) -> bool {
        self.append(next, DecodeMode::Fec, FRAME_SAMPLES, out)
    }

    /// What could have come; `samples` are rounded up to pieces of 2.5 ms, a frame at most.
    pub(crate) fn conceal(&mut self, samples: usize, out: &mut Vec<f32>) {
        let samples = samples.next_multiple_of(PIECE).clamp(PIECE, FRAME_SAMPLES);
        self.append(&[], DecodeMode::Normal, samples, out);
    }

    fn append(
        &mut self,
        payload: &[u8],
        mode: DecodeMode,
        samples: usize,
        out: &mut Vec<f32>,
    ) -> bool {
        let before = out.len();
        out.resize(before + samples * self.channels.count(), 0.0);
        let made = self.inner.decode_float(payload, &mut out[before..], mode);
        made.is_ok_and(|made| made == samples)
    }
}

/// One frame of 20 ms, as its first byte says (RFC 6716 §3.1): nothing else is let in.
pub(crate) fn is_twenty_milliseconds(payload: &[u8]) -> bool {
    let Some(first) = payload.first() else { return false };
    let one_frame = first & 0b11 == 0;
    let length = match first >> 3 {
        config @ 0..=11 => config % 4 == 1,
        config @ 12..=15 => config % 2 == 1,
        config => config % 4 == 3,
    };
    one_frame && length && payload.len() <= PAYLOAD_MAX
}

/// Whether a frame carries a copy of the one before: the bit after those of voice activity
/// (RFC 6716 §4.2.3), which CELT alone does not have.
pub(crate) fn has_copy_of_last(payload: &[u8]) -> bool {
    let [first, second, ..] = payload else { return false };
    let silk = first >> 3 < 16;
    let stereo = first & 0b100 != 0;
    silk && (second & 0b0100_0000 != 0 || stereo && second & 0b0001_0000 != 0)
}

const fn of(channels: Channels) -> ropus::Channels {
    match channels {
        Channels::Mono => ropus::Channels::Mono,
        Channels::Stereo => ropus::Channels::Stereo,
    }
}
