//! The two datagrams of a live stream, as WIRE.md has them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// First byte of a datagram with audio.
pub const KIND_AUDIO: u8 = 0x01;

/// First byte of a receiver's report.
pub const KIND_REPORT: u8 = 0x02;

/// The longest Opus frame (RFC 6716 §3.2.1): 1,275 bytes with its first byte.
pub const PAYLOAD_MAX: usize = 1_275;

/// Bytes of an audio datagram before its Opus frame.
pub const AUDIO_HEADER: usize = 14;

const VERSION: u8 = 1;
const VERSION_SHIFT: u32 = 5;
const SPURT: u8 = 0b001;
const SILENT: u8 = 0b010;
const REPORT_BODY: usize = 14;

/// A stream's number among those of one connection; who opens the stream chooses it.
pub type StreamNumber = u32;

/// What an audio datagram says about its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Moment {
    /// One of many.
    #[default]
    Talking,
    /// The first after a pause: the receiver may begin it when it likes.
    Spurt,
    /// The last before a pause: nothing follows until somebody speaks.
    Silent,
}

/// Twenty milliseconds of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    /// Which stream it belongs to.
    pub stream: StreamNumber,
    /// Counts the beginnings of this stream: numbers and times of another epoch say nothing.
    pub epoch: u8,
    /// Its place in the talk.
    pub moment: Moment,
    /// Loudness below the loudest possible, 0 to 127 dB (RFC 6464 §3).
    pub level: u8,
    /// One more for each datagram, modulo 2¹⁶.
    pub sequence: u16,
    /// When its first sample was taken, in samples of 48 kHz, modulo 2³².
    pub timestamp: u32,
    /// An Opus frame of 20 ms.
    pub payload: Bytes,
}

/// What a receiver tells the sender, once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Which stream it speaks of.
    pub stream: StreamNumber,
    /// And which beginning of it.
    pub epoch: u8,
    /// The highest sequence number that has come.
    pub highest: u16,
    /// How long ago that came, in units of 100 µs.
    pub held: u16,
    /// Frames that should have come since the last report.
    pub expected: u16,
    /// Those of them that did not.
    pub lost: u16,
    /// Those that came when their time had passed.
    pub late: u16,
    /// How unevenly frames come (RFC 3550 §6.4.1), in units of 100 µs.
    pub jitter: u16,
    /// How long a frame waits before it is heard, in milliseconds.
    pub buffer: u16,
}

/// What a live stream's datagram is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datagram {
    /// From the sender.
    Audio(Audio),
    /// From the receiver.
    Report(Report),
}

/// Why bytes are no datagram of a live stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("a datagram of live audio ends after {length} bytes, {needed} are needed")]
    Short {
        /// Bytes there are.
        length: usize,
        /// Bytes there must be.
        needed: usize,
    },
    /// Something else.
    #[error("kind {0:#04x} is not live audio (0x01) and not a report (0x02)")]
    Kind(u8),
    /// From the future.
    #[error("version {0} of live audio is not known, 1 is; one of the two programs is too old")]
    Version(u8),
    /// More than Opus makes of 20 ms.
    #[error("an Opus frame of {0} bytes, 1275 at most")]
    Long(usize),
    /// Two things that exclude each other.
    #[error("a frame says that it is the first and the last of a talk")]
    Moment,
}

impl Datagram {
    /// Reads a datagram; what is unknown to this version is refused, and bytes beyond a report are
    /// left for later ones.
    ///
    /// # Errors
    /// [`DecodeError`] for everything that WIRE.md does not describe.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        match bytes.first() {
            Some(&KIND_AUDIO) => Audio::decode(bytes.clone()).map(Self::Audio),
            Some(&KIND_REPORT) => Report::decode(bytes).map(Self::Report),
            Some(&other) => Err(DecodeError::Kind(other)),
            None => Err(DecodeError::Short { length: 0, needed: 1 }),
        }
    }
}

impl Audio {
    fn decode(mut bytes: Bytes) -> Result<Self, DecodeError> {
        let needed = AUDIO_HEADER + 1;
        if bytes.len() < needed {
            return Err(DecodeError::Short { length: bytes.len(), needed });
        }
        bytes.advance(1);
        let stream = bytes.get_u32();
        let head = bytes.get_u8();
        let moment = moment(head)?;
        let (epoch, level) = (bytes.get_u8(), bytes.get_u8() & 0x7f);
        let (sequence, timestamp) = (bytes.get_u16(), bytes.get_u32());
        if bytes.len() > PAYLOAD_MAX {
            return Err(DecodeError::Long(bytes.len()));
        }
        Ok(Self { stream, epoch, moment, level, sequence, timestamp, payload: bytes })
    }

    /// The bytes of it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(AUDIO_HEADER + self.payload.len());
        bytes.put_u8(KIND_AUDIO);
        bytes.put_u32(self.stream);
        let flag = match self.moment {
            Moment::Talking => 0,
            Moment::Spurt => SPURT,
            Moment::Silent => SILENT,
        };
        bytes.put_u8(VERSION << VERSION_SHIFT | flag);
        bytes.put_u8(self.epoch);
        bytes.put_u8(self.level);
        bytes.put_u16(self.sequence);
        bytes.put_u32(self.timestamp);
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }
}

fn moment(head: u8) -> Result<Moment, DecodeError> {
    version(head)?;
    match (head & SPURT != 0, head & SILENT != 0) {
        (false, false) => Ok(Moment::Talking),
        (true, false) => Ok(Moment::Spurt),
        (false, true) => Ok(Moment::Silent),
        (true, true) => Err(DecodeError::Moment),
    }
}

fn version(head: u8) -> Result<(), DecodeError> {
    match head >> VERSION_SHIFT {
        VERSION => Ok(()),
        other => Err(DecodeError::Version(other)),
    }
}

impl Report {
    fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let needed = 6 + REPORT_BODY + 1;
        if bytes.len() < needed {
            return Err(DecodeError::Short { length: bytes.len(), needed });
        }
        let mut bytes = &bytes[1..];
        let stream = bytes.get_u32();
        version(bytes.get_u8())?;
        Ok(Self {
            stream,
            epoch: bytes.get_u8(),
            highest: bytes.get_u16(),
            held: bytes.get_u16(),
            expected: bytes.get_u16(),
            lost: bytes.get_u16(),
            late: bytes.get_u16(),
            jitter: bytes.get_u16(),
            buffer: bytes.get_u16(),
        })
    }

    /// The bytes of it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(7 + REPORT_BODY);
        bytes.put_u8(KIND_REPORT);
        bytes.put_u32(self.stream);
        bytes.put_u8(VERSION << VERSION_SHIFT);
        bytes.put_u8(self.epoch);
        let body = [
            self.highest,
            self.held,
            self.expected,
            self.lost,
            self.late,
            self.jitter,
            self.buffer,
        ];
        body.into_iter().for_each(|field| bytes.put_u16(field));
        bytes.freeze()
    }

    /// The share of frames that were of no use, 0 to 1: lost or late.
    #[must_use]
    pub fn loss(&self) -> f64 {
        if self.expected == 0 {
            return 0.0;
        }
        let useless = f64::from(self.lost) + f64::from(self.late);
        (useless / f64::from(self.expected)).min(1.0)
    }
}
