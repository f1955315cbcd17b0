//! The frames on the wire.
//!
//! Types `0x20..=0x37` carry streams and datagrams and belong to [`Mux`](crate::Mux):
//! [`Frame`]. Types `0x38..=0x3f` belong to the session as a whole and are handled by the carrier:
//! [`Session`]. Every type is one byte; every number a variable-length integer (RFC 9000 §16).
//!
//! ```text
//!   0x20 + 2 * class + end   STREAM           id, offset, length, bytes       (RFC 9000 §19.8)
//!   0x28                     RESET            id, code, final size                     (§19.4)
//!   0x29                     STOP             id, code                                 (§19.5)
//!   0x2a                     MAX_STREAM_DATA  id, bytes                               (§19.10)
//!   0x2b                     MAX_DATA         bytes                                    (§19.9)
//!   0x2c                     MAX_STREAMS      count                                   (§19.11)
//!   0x30                     DATAGRAM         length, bytes                      (RFC 9221 §4)
//!   0x31, 0x32               DATAGRAM         number, length, bytes; first copy, repeated copy
//!   0x33                     REPAIR           number, members, index, length, bytes
//!   0x38, 0x39               PING, PONG       number, returned as it came
//!   0x3a, 0x3b               CLOSE            code of the application, code of a violation; reason
//!   0x3c                     GREETING         version, idle milliseconds, parameters
//! ```
//!
//! The number of a message is written modulo 2^14: the receiver takes the nearest to the highest
//! that came, so that a message is two bytes longer for being numbered and never more.
//!
//! REPAIR carries parity number `index` of the group of `members` messages that begins with
//! `number`: what is said of it in `datagrams/code.rs`.
//!
//! A STREAM frame says the writer's class, so that the answer can travel in the same.

use thiserror::Error;

use crate::{
    Incomplete, Params, Priority, Reader, StreamId, VARINT_MAX, Violation, ViolationCode,
    datagrams::{MEMBERS_MAX, PARITIES_MAX},
    put_varint, varint_len,
};

/// Longest piece of a stream, datagram, reason or parameters in one frame, in bytes.
pub const PAYLOAD_MAX: usize = 64 << 10;

/// Longest frame in bytes: a type, three numbers, a length and the payload.
pub const FRAME_MAX: usize = 1 + 3 * 8 + 8 + PAYLOAD_MAX;

/// Longest frame in bytes that carries numbers only.
pub(crate) const NUMBERS_MAX: usize = 1 + 3 * 8;

/// Longest reason in bytes that a CLOSE carries.
pub const REASON_MAX: usize = 256;

/// The version of the session frames.
pub const VERSION: u64 = 1;

/// The numbers of messages are told apart by their rest modulo this: two bytes on the wire.
pub(crate) const SEQUENCE_SPACE: u64 = 1 << 14;

const MEMBERS: u64 = MEMBERS_MAX as u64;
const PARITIES: u64 = PARITIES_MAX as u64;

const STREAM: u64 = 0x20;
const STREAM_LAST: u64 = 0x27;
const RESET: u64 = 0x28;
const STOP: u64 = 0x29;
const MAX_STREAM_DATA: u64 = 0x2a;
const MAX_DATA: u64 = 0x2b;
const MAX_STREAMS: u64 = 0x2c;
const DATAGRAM: u64 = 0x30;
const DATAGRAM_FIRST: u64 = 0x31;
const DATAGRAM_REPEATED: u64 = 0x32;
const REPAIR: u64 = 0x33;
const PING: u64 = 0x38;
const PONG: u64 = 0x39;
const CLOSE_APPLICATION: u64 = 0x3a;
const CLOSE_VIOLATION: u64 = 0x3b;
const GREETING: u64 = 0x3c;

/// Why no frame could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Its bytes are not all there: on a byte stream wait for more, in a packet it is a violation.
    #[error("the frame is not complete")]
    Incomplete,
    /// No further bytes can make it valid.
    #[error(transparent)]
    Violation(#[from] Violation),
}

impl From<Incomplete> for DecodeError {
    fn from(Incomplete: Incomplete) -> Self {
        Self::Incomplete
    }
}

/// For carriers whose packets are whole: an incomplete frame is a violation.
impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Incomplete => {
                Self::new(ViolationCode::FrameEncoding, "a frame ends in the middle")
            }
            DecodeError::Violation(violation) => violation,
        }
    }
}

const fn malformed(detail: &'static str) -> DecodeError {
    DecodeError::Violation(Violation::new(ViolationCode::FrameEncoding, detail))
}

/// Whether `kind` is a [`Frame`].
#[must_use]
pub const fn is_stream_frame(kind: u64) -> bool {
    matches!(kind, 0x20..=0x37)
}

/// Whether `kind` is [`Frame::Stream`], a piece of a stream.
#[must_use]
pub const fn is_piece(kind: u8) -> bool {
    matches!(kind, 0x20..=0x27)
}

/// Whether `kind` is a [`Session`] frame.
#[must_use]
pub const fn is_session_frame(kind: u64) -> bool {
    matches!(kind, 0x38..=0x3f)
}

/// A frame of a stream, of a limit or of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A piece of a stream.
    Stream {
        /// Which stream.
        id: StreamId,
        /// The writer's class.
        priority: Priority,
        /// Offset of the first byte.
        offset: u64,
        /// The bytes.
        data: &'a [u8],
        /// Whether the stream ends after them.
        fin: bool,
    },
    /// The writer abandons the stream.
    Reset {
        /// Which stream.
        id: StreamId,
        /// Why.
        code: u32,
        /// Bytes sent until then.
        final_size: u64,
    },
    /// The reader wants no more.
    Stop {
        /// Which stream.
        id: StreamId,
        /// Why.
        code: u32,
    },
    /// The reader takes bytes of the stream up to this offset.
    MaxStreamData {
        /// Which stream.
        id: StreamId,
        /// The offset.
        max: u64,
    },
    /// The reader takes this many bytes of all streams together.
    MaxData {
        /// Bytes since the start.
        max: u64,
    },
    /// The reader takes this many streams.
    MaxStreams {
        /// Streams since the start.
        max: u64,
    },
    /// A message.
    Datagram {
        /// Its number, if it may come more than once.
        copy: Option<DatagramCopy>,
        /// The bytes.
        data: &'a [u8],
    },
    /// A parity over a group of messages, from which missing ones are computed.
    Repair {
        /// Which parity of which group.
        header: RepairHeader,
        /// The bytes.
        data: &'a [u8],
    },
}

/// Which parity of which group of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairHeader {
    /// The number of the group's first message, modulo 2^14.
    pub first: u64,
    /// Messages in the group, with numbers one after the other: 1 to 16.
    pub members: u8,
    /// Which of its parities: 0 to 2.
    pub index: u8,
}

/// Which copy of which numbered datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatagramCopy {
    /// The number, from 0, modulo 2^14.
    pub sequence: u64,
    /// Whether it was sent before.
    pub repeated: bool,
}

impl<'a> Frame<'a> {
    /// Reads what follows the type `kind`.
    ///
    /// # Errors
    /// [`DecodeError`] tells a frame that is not complete from one that never can be.
    pub fn decode(kind: u64, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match kind {
            STREAM..=STREAM_LAST => {
                let StreamFrame { id, priority, offset, data, fin } = decode_stream(kind, reader)?;
                Ok(Self::Stream { id, priority, offset, data, fin })
            }
            RESET => decode_reset(reader),
            STOP => Ok(Self::Stop { id: stream_id(reader)?, code: code(reader)? }),
            MAX_STREAM_DATA => {
                Ok(Self::MaxStreamData { id: stream_id(reader)?, max: reader.varint()? })
            }
            MAX_DATA => Ok(Self::MaxData { max: reader.varint()? }),
            MAX_STREAMS => decode_max_streams(reader),
            DATAGRAM => Ok(Self::Datagram { copy: None, data: payload(reader)? }),
            DATAGRAM_FIRST | DATAGRAM_REPEATED => {
                let repeated = kind == DATAGRAM_REPEATED;
                let copy = DatagramCopy { sequence: sequence(reader)?, repeated };
                Ok(Self::Datagram { copy: Some(copy), data: payload(reader)? })
            }
            REPAIR => decode_repair(reader),
            _ => Err(malformed("an unknown frame type")),
        }
    }

    /// Appends the wire form, type included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Stream { id, priority, offset, data, fin } => {
                put_stream_header(out, StreamHeader { id, priority, offset, len: data.len(), fin });
                out.extend_from_slice(data);
            }
            Self::Reset { id, code, final_size } => {
                put_numbers(out, RESET, &[id.0, code.into(), final_size]);
            }
            Self::Stop { id, code } => put_numbers(out, STOP, &[id.0, code.into()]),
            Self::MaxStreamData { id, max } => put_numbers(out, MAX_STREAM_DATA, &[id.0, max]),
            Self::MaxData { max } => put_numbers(out, MAX_DATA, &[max]),
            Self::MaxStreams { max } => put_numbers(out, MAX_STREAMS, &[max]),
            Self::Datagram { copy, data } => {
                put_datagram_header(out, copy, data.len());
                out.extend_from_slice(data);
            }
            Self::Repair { header, data } => {
                put_repair_header(out, header, data.len());
                out.extend_from_slice(data);
            }
        }
    }
}

/// All of a STREAM frame but its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamHeader {
    pub(crate) id: StreamId,
    pub(crate) priority: Priority,
    pub(crate) offset: u64,
    pub(crate) len: usize,
    pub(crate) fin: bool,
}

pub(crate) fn put_stream_header(out: &mut Vec<u8>, header: StreamHeader) {
    let kind = STREAM + 2 * header.priority.index() as u64 + u64::from(header.fin);
    put_numbers(out, kind, &[header.id.0, header.offset, header.len as u64]);
}

/// Bytes before the data in a STREAM frame of at most `len_max` bytes.
pub(crate) const fn stream_overhead(id: StreamId, offset: u64, len_max: usize) -> usize {
    1 + varint_len(id.0) + varint_len(offset) + varint_len(len_max as u64)
}

pub(crate) fn put_datagram_header(out: &mut Vec<u8>, copy: Option<DatagramCopy>, len: usize) {
    let len = len as u64;
    match copy {
        None => put_numbers(out, DATAGRAM, &[len]),
        Some(DatagramCopy { sequence, repeated: false }) => {
            put_numbers(out, DATAGRAM_FIRST, &[sequence, len]);
        }
        Some(DatagramCopy { sequence, repeated: true }) => {
            put_numbers(out, DATAGRAM_REPEATED, &[sequence, len]);
        }
    }
}

/// Bytes before the data in a DATAGRAM frame.
pub(crate) fn datagram_overhead(sequence: Option<u64>, len: usize) -> usize {
    1 + sequence.map_or(0, varint_len) + varint_len(len as u64)
}

/// Bytes before the data in a REPAIR frame, and the length that a parity has beyond the longest
/// message, at most.
pub(crate) const REPAIR_OVERHEAD_MAX: usize = 1 + 2 + 1 + 1 + 4 + 2;

pub(crate) fn put_repair_header(out: &mut Vec<u8>, header: RepairHeader, len: usize) {
    let RepairHeader { first, members, index } = header;
    put_numbers(out, REPAIR, &[first, members.into(), index.into(), len as u64]);
}

fn decode_repair<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    let first = sequence(reader)?;
    let header = match (reader.varint()?, reader.varint()?) {
        (members @ 1..=MEMBERS, index @ 0..PARITIES) => RepairHeader {
            first,
            members: u8::try_from(members).unwrap_or(u8::MAX),
            index: u8::try_from(index).unwrap_or(u8::MAX),
        },
        _ => return Err(malformed("a group of messages with too many members or parities")),
    };
    Ok(Frame::Repair { header, data: payload(reader)? })
}

/// A STREAM frame, for those who know that it is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamFrame<'a> {
    pub(crate) id: StreamId,
    pub(crate) priority: Priority,
    pub(crate) offset: u64,
    pub(crate) data: &'a [u8],
    pub(crate) fin: bool,
}

#[inline]
pub(crate) fn decode_stream<'a>(
    kind: u64,
    reader: &mut Reader<'a>,
) -> Result<StreamFrame<'a>, DecodeError> {
    let id = stream_id(reader)?;
    let offset = reader.varint()?;
    let data = payload(reader)?;
    if offset + data.len() as u64 > VARINT_MAX {
        return Err(malformed("a stream longer than can be numbered"));
    }
    let priority = match (kind - STREAM) / 2 {
        0 => Priority::Control,
        1 => Priority::Live,
        2 => Priority::Interactive,
        _ => Priority::Bulk,
    };
    Ok(StreamFrame { id, priority, offset, data, fin: kind & 1 == 1 })
}

fn decode_reset<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    let id = stream_id(reader)?;
    let code = code(reader)?;
    Ok(Frame::Reset { id, code, final_size: reader.varint()? })
}

fn decode_max_streams<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    match reader.varint()? {
        max if max <= StreamId::INDEX_MAX => Ok(Frame::MaxStreams { max }),
        _ => Err(malformed("more streams than can be numbered")),
    }
}

fn sequence(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match reader.varint()? {
        sequence if sequence < SEQUENCE_SPACE => Ok(sequence),
        _ => Err(malformed("the number of a message is above 2^14")),
    }
}

fn stream_id(reader: &mut Reader<'_>) -> Result<StreamId, DecodeError> {
    Ok(StreamId(reader.varint()?))
}

fn code(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(reader.varint()?).map_err(|_| malformed("a code above 32 bits"))
}

/// A length and its bytes; too long a length is known before the bytes have come.
fn payload<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    match reader.varint()? {
        len if len <= PAYLOAD_MAX as u64 => {
            let len = usize::try_from(len).map_err(|_| malformed("a payload too long"))?;
            Ok(reader.bytes(len)?)
        }
        _ => Err(malformed("a payload too long")),
    }
}

fn put_numbers(out: &mut Vec<u8>, kind: u64, numbers: &[u64]) {
    put_varint(out, kind);
    for &number in numbers {
        put_varint(out, number);
    }
}

/// A frame of the session as a whole; the carrier handles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session<'a> {
    /// Asks for a [`Self::Pong`] with the same number.
    Ping(u64),
    /// Answers a [`Self::Ping`].
    Pong(u64),
    /// Ends the connection.
    Close(Close<'a>),
    /// Opens the connection, first frame of each side on a byte stream.
    Greeting(Greeting),
}

/// The end of a connection: why, and in whose numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// Why.
    pub cause: CloseCause,
    /// Words for people, at most [`REASON_MAX`] bytes; not always UTF-8.
    pub reason: &'a [u8],
}

/// Whose number the code of a [`Close`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCause {
    /// The application's.
    Application(u32),
    /// The protocol's: a [`ViolationCode`] or a number that this version does not know.
    Violation(u64),
}

/// What each side says first on a byte stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// [`VERSION`].
    pub version: u64,
    /// Milliseconds of silence after which this side gives up.
    pub idle_ms: u64,
    /// What this side is ready to hold.
    pub params: Params,
}

impl<'a> Session<'a> {
    /// Reads what follows the type `kind`.
    ///
    /// A greeting of another version is read as far as its version, so that it can be named in
    /// the refusal.
    ///
    /// # Errors
    /// [`DecodeError`] tells a frame that is not complete from one that never can be.
    pub fn decode(kind: u64, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match kind {
            PING => Ok(Self::Ping(reader.varint()?)),
            PONG => Ok(Self::Pong(reader.varint()?)),
            CLOSE_APPLICATION => {
                let cause = CloseCause::Application(code(reader)?);
                Ok(Self::Close(Close { cause, reason: reason(reader)? }))
            }
            CLOSE_VIOLATION => {
                let cause = CloseCause::Violation(reader.varint()?);
                Ok(Self::Close(Close { cause, reason: reason(reader)? }))
            }
            GREETING => decode_greeting(reader),
            _ => Err(malformed("an unknown frame type")),
        }
    }

    /// Appends the wire form, type included; a reason is cut to [`REASON_MAX`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Ping(number) => put_numbers(out, PING, &[number]),
            Self::Pong(number) => put_numbers(out, PONG, &[number]),
            Self::Close(Close { cause, reason }) => {
                let reason = reason.get(..REASON_MAX).unwrap_or(reason);
                let (kind, code) = match cause {
                    CloseCause::Application(code) => (CLOSE_APPLICATION, code.into()),
                    CloseCause::Violation(code) => (CLOSE_VIOLATION, code),
                };
                put_numbers(out, kind, &[code, reason.len() as u64]);
                out.extend_from_slice(reason);
            }
            Self::Greeting(greeting) => {
                let mut body = Vec::with_capacity(64);
                put_varint(&mut body, greeting.idle_ms);
                greeting.params.encode(&mut body);
                put_numbers(out, GREETING, &[greeting.version, body.len() as u64]);
                out.extend_from_slice(&body);
            }
        }
    }
}

fn reason<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    match payload(reader)? {
        reason if reason.len() <= REASON_MAX => Ok(reason),
        _ => Err(malformed("a reason too long")),
    }
}

fn decode_greeting<'a>(reader: &mut Reader<'a>) -> Result<Session<'a>, DecodeError> {
    let version = reader.varint()?;
    let body = payload(reader)?;
    if version != VERSION {
        let greeting = Greeting { version, idle_ms: 0, params: Params::default() };
        return Ok(Session::Greeting(greeting));
    }
    let mut body = Reader::new(body);
    let idle_ms = body.varint().map_err(|_| malformed("a greeting that ends in the middle"))?;
    let params = Params::decode(body.rest())?;
    Ok(Session::Greeting(Greeting { version, idle_ms, params }))
}

#[cfg(test)]
mod tests;
