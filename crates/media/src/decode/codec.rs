//! Packets to samples: Opus by its own decoder, everything else by symphonia's.

use ropus::{Channels, DecodeMode, Decoder as OpusDecoder};
use symphonia::{
    core::{
        codecs::audio::{
            AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known::CODEC_ID_OPUS,
        },
        errors::Error,
        formats::Track,
        packet::Packet,
    },
    default::get_codecs,
};

use crate::{DecodeError, RATE};

/// Channels that a file may have.
const CHANNELS_MAX: usize = 8;
/// Samples of a channel in the longest packet of Opus: 120 ms (RFC 6716, section 3.2.5).
const OPUS_PACKET: usize = 5760;

/// Decodes packets.
pub(super) enum Codec {
    Opus(Box<Opus>),
    Other { decoder: Box<dyn AudioDecoder>, samples: Vec<f32> },
}

pub(super) struct Opus {
    decoder: OpusDecoder,
    channels: usize,
    samples: Vec<f32>,
}

impl Codec {
    pub(super) fn new(
        parameters: &AudioCodecParameters,
        channels: usize,
    ) -> Result<Self, DecodeError> {
        if !(1..=CHANNELS_MAX).contains(&channels) {
            let (value, max) = (channels as u64, CHANNELS_MAX as u64);
            return Err(DecodeError::OutOfBounds { what: "channels of", value, max });
        }
        if parameters.codec == CODEC_ID_OPUS {
            return Opus::new(channels).map(|opus| Self::Opus(Box::new(opus)));
        }
        // What lies before and behind the sound is cut by number, the same for every format.
        let options = AudioDecoderOptions::default().gapless(false);
        let decoder = get_codecs()
            .make_audio_decoder(parameters, &options)
            .map_err(|error| DecodeError::Unsupported(error.to_string()))?;
        Ok(Self::Other { decoder, samples: Vec::new() })
    }

    /// The codec's name for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Opus(_) => "opus",
            Self::Other { decoder, .. } => decoder.codec_info().short_name,
        }
    }

    /// The number of the first sample that is sound: Opus counts what it needs to begin
    /// (RFC 7845, section 4.2), the others count from the sound on.
    pub(super) fn origin(&self, track: &Track) -> i64 {
        match self {
            Self::Opus(_) => i64::from(track.delay.unwrap_or(0)),
            Self::Other { .. } => 0,
        }
    }

    pub(super) fn reset(&mut self) {
        match self {
            Self::Opus(opus) => {
                if let Ok(fresh) = Opus::new(opus.channels) {
                    **opus = fresh;
                }
            }
            Self::Other { decoder, .. } => decoder.reset(),
        }
    }

    /// Decodes a packet into `out`, as one or two channels; says their rate.
    pub(super) fn decode(
        &mut self,
        packet: &Packet,
        out: &mut Vec<f32>,
        channels: u16,
    ) -> Result<u32, Error> {
        out.clear();
        match self {
            Self::Opus(opus) => {
                let count = opus.channels;
                mix_down(opus.decode(&packet.data)?, count, channels, out);
                Ok(RATE)
            }
            Self::Other { decoder, samples } => {
                let buffer = decoder.decode(packet)?;
                let (rate, count) = (buffer.spec().rate(), buffer.spec().channels().count());
                if buffer.is_empty() {
                    return Ok(0);
                }
                buffer.copy_to_vec_interleaved(samples);
                mix_down(samples, count, channels, out);
                Ok(rate)
            }
        }
    }
}

impl Opus {
    fn new(channels: usize) -> Result<Self, DecodeError> {
        let layout = match channels {
            1 => Channels::Mono,
            2 => Channels::Stereo,
            more => {
                let (value, max) = (more as u64, 2);
                return Err(DecodeError::OutOfBounds { what: "Opus channels of", value, max });
            }
        };
        let decoder = OpusDecoder::new(RATE, layout)
            .map_err(|error| DecodeError::Unsupported(format!("{error:?}")))?;
        Ok(Self { decoder, channels, samples: vec![0.0; OPUS_PACKET * channels] })
    }

    fn decode(&mut self, packet: &[u8]) -> Result<&[f32], Error> {
        if packet.is_empty() {
            return Err(Error::DecodeError("an empty packet of Opus"));
        }
        let decoded = self.decoder.decode_float(packet, &mut self.samples, DecodeMode::Normal);
        let frames = decoded.map_err(|_| Error::DecodeError("a broken packet of Opus"))?;
        Ok(self.samples.get(..frames * self.channels).unwrap_or_default())
    }
}

/// Brings any number of channels to one or two. Of more than two, in the order front left, front
/// right, center, low frequencies, and pairs behind: center and pairs go to both sides 3 dB lower
/// (as ITU-R BS.775 has it), low frequencies are left out, and all is scaled so as not to clip.
fn mix_down(samples: &[f32], from: usize, to: u16, out: &mut Vec<f32>) {
    const LESS: f32 = std::f32::consts::FRAC_1_SQRT_2;
    match (from, to) {
        (0..=2, to) => {
            crate::mix(samples, u16::try_from(from).unwrap_or(2), to, out);
        }
        (_, 1) => out.extend(samples.chunks_exact(from).map(|frame| {
            #[expect(clippy::cast_precision_loss, reason = "at most eight channels")]
            let count = from as f32;
            frame.iter().sum::<f32>() / count
        })),
        (_, _) => {
            for frame in samples.chunks_exact(from) {
                let (mut sides, mut weights) = ([0.0_f32; 2], [0.0_f32; 2]);
                for (channel, &sample) in frame.iter().enumerate() {
                    let (one, both) = (channel % 2..channel % 2 + 1, 0..2);
                    let (to, gain) = match (channel, from) {
                        (0 | 1, _) => (one, 1.0),
                        (2, 3 | 5..) => (both, LESS),
                        (3, 6..) => continue,
                        (_, _) => (one, LESS),
                    };
                    for side in to {
                        sides[side] += sample * gain;
                        weights[side] += gain;
                    }
                }
                out.extend(sides.iter().zip(weights).map(|(side, weight)| side / weight.max(1.0)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mix_down;

    #[test]
    fn many_channels_become_two_that_do_not_clip_and_keep_their_sides() {
        for from in 3..=8 {
            let mut out = Vec::new();
            mix_down(&vec![1.0; from], from, 2, &mut out);
            assert_eq!(out.len(), 2);
            assert!(out.iter().all(|side| (0.99..1.01).contains(side)), "{from}: {out:?}");
            let mut left = vec![0.0; from];
            left[0] = 1.0;
            out.clear();
            mix_down(&left, from, 2, &mut out);
            assert!(out[0] > 0.25 && out[1] == 0.0, "{from}: {out:?}");
        }
    }
}
