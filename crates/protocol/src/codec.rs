//! Frames: how messages stand on a byte stream.

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::{
    ErrorBody, ErrorCode, Limits, RequestId,
    table::{BodyReader, Table},
};

/// Bytes of a frame's length prefix.
const PREFIX: usize = 4;

/// How deeply the values of a body may nest; ours nest three deep.
const DEPTH: usize = 32;

/// Room that is made for a frame at once: a short text with its names fits.
const USUAL_FRAME: usize = 256;

/// What stands first in every frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<'a> {
    /// What the frame is.
    #[serde(rename = "type")]
    pub message_type: MessageType,
    /// Pairs request and answer; 0 for events.
    #[serde(default)]
    pub id: RequestId,
    /// Which request, reply or event, or the error's code.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageType {
    /// Wants an answer.
    Request,
    /// The answer that grants it.
    Answer,
    /// The answer that does not.
    Error,
    /// Wants nothing.
    Event,
}

/// A decoded frame of a stream on which `C` are asked, `R` answered and `E` told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<C, R, E> {
    /// A request.
    Request(RequestId, C),
    /// A granted request's answer.
    Answer(RequestId, R),
    /// A refused request's answer.
    Error(RequestId, ErrorBody),
    /// News.
    Event(E),
}

/// A table without entries, for streams on which nothing of the sort is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {}

impl Table for Nothing {
    const KINDS: &'static [&'static str] = &[];

    fn kind(&self) -> &'static str {
        match *self {}
    }

    fn serialize_body<S: serde::Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }

    fn read_body<R: BodyReader>(_kind: &str, _reader: R) -> Option<Result<Self, R::Error>> {
        None
    }
}

/// Why a frame or its content could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The length prefix is beyond the bound: the stream cannot be followed any further.
    #[error("a frame of {length} bytes was announced; {limit} are allowed")]
    FrameTooLarge {
        /// What the prefix says.
        length: u32,
        /// What is allowed.
        limit: u32,
    },
    /// The header is not one. The next frame may be.
    #[error("the frame's header cannot be read: {0}")]
    Header(String),
    /// The header is good, but this side does not know the kind. Answer
    /// [`ErrorCode::Unsupported`] to a request; skip anything else.
    #[error("{kind:?} is not supported")]
    UnknownKind {
        /// What the frame is.
        message_type: MessageType,
        /// To answer a request.
        id: RequestId,
        /// The kind, cut to 64 bytes; untrusted.
        kind: String,
    },
    /// The kind is known, the body is not one of its. Answer [`ErrorCode::BadRequest`] to a
    /// request.
    #[error("the body of {kind:?} cannot be read: {detail}")]
    Body {
        /// What the frame is.
        message_type: MessageType,
        /// To answer a request.
        id: RequestId,
        /// The kind.
        kind: String,
        /// What was wrong.
        detail: String,
    },
}

impl DecodeError {
    /// The answer that the sender of the frame is owed, if it was a request.
    #[must_use]
    pub fn answer(&self) -> Option<(RequestId, ErrorBody)> {
        let (message_type, id, code) = match self {
            Self::FrameTooLarge { .. } | Self::Header(_) => return None,
            Self::UnknownKind { message_type, id, .. } => {
                (*message_type, *id, ErrorCode::Unsupported)
            }
            Self::Body { message_type, id, .. } => (*message_type, *id, ErrorCode::BadRequest),
        };
        match message_type {
            MessageType::Request => Some((id, ErrorBody::new(code, self.to_string()))),
            MessageType::Answer | MessageType::Error | MessageType::Event => None,
        }
    }
}

/// A message does not fit into a frame; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a message of {length} bytes does not fit into a frame of {limit}; send less at once")]
pub struct EncodeError {
    /// What it would take.
    pub length: usize,
    /// What there is.
    pub limit: u32,
}

/// Appends `message` as one frame to `out`.
///
/// # Errors
/// [`EncodeError`] when it is larger than any receiver allows; `out` is as it was.
pub fn encode<C: Table, R: Table, E: Table>(
    message: &Message<C, R, E>,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.reserve(USUAL_FRAME);
    out.extend_from_slice(&[0; PREFIX]);
    match message {
        Message::Request(id, command) => write(out, MessageType::Request, *id, command),
        Message::Answer(id, reply) => write(out, MessageType::Answer, *id, reply),
        Message::Error(id, error) => write_error(out, *id, error),
        Message::Event(event) => write(out, MessageType::Event, RequestId(0), event),
    }
    let length = out.len() - start - PREFIX;
    let limit = Limits::V1.frame;
    match u32::try_from(length) {
        Ok(prefix) if prefix <= limit => {
            out[start..start + PREFIX].copy_from_slice(&prefix.to_be_bytes());
            Ok(())
        }
        Ok(_) | Err(_) => {
            out.truncate(start);
            Err(EncodeError { length, limit })
        }
    }
}

/// Decodes the content of one frame, without its length prefix.
///
/// # Errors
/// [`DecodeError`]; [`DecodeError::answer`] says what the sender is owed.
pub fn decode<C: Table, R: Table, E: Table>(frame: &[u8]) -> Result<Message<C, R, E>, DecodeError> {
    let mut values = rmp_serde::Deserializer::from_read_ref(frame);
    let header: Header<'_> =
        read_value(&mut values).map_err(|error| DecodeError::Header(error.to_string()))?;
    let body = Body { header: &header, values };
    let id = header.id;
    match header.message_type {
        MessageType::Request => body.read_from_table().map(|command| Message::Request(id, command)),
        MessageType::Answer => body.read_from_table().map(|reply| Message::Answer(id, reply)),
        MessageType::Error => body.read_error().map(|error| Message::Error(id, error)),
        MessageType::Event => body.read_from_table().map(Message::Event),
    }
}

/// Cuts a byte stream into frames, whatever the pieces in which it comes.
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: BytesMut,
    frame_max: u32,
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self::new(Limits::V1.frame)
    }
}

impl FrameBuffer {
    /// Accepts frames of at most `frame_max` bytes.
    #[must_use]
    pub fn new(frame_max: u32) -> Self {
        Self { bytes: BytesMut::new(), frame_max }
    }

    /// Where bytes from the stream are appended.
    ///
    /// The owner keeps it bounded by taking frames out before it appends more than one read.
    pub fn bytes_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Takes the next whole frame, without its prefix; `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`DecodeError::FrameTooLarge`], before anything is allocated for it; then the stream
    /// cannot be followed any further.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(prefix) = self.bytes.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix);
        if length > self.frame_max {
            return Err(DecodeError::FrameTooLarge { length, limit: self.frame_max });
        }
        let length = length as usize;
        if self.bytes.len() < PREFIX + length {
            self.bytes.reserve(PREFIX + length - self.bytes.len());
            return Ok(None);
        }
        self.bytes.advance(PREFIX);
        Ok(Some(self.bytes.split_to(length).freeze()))
    }

    /// Bytes that stand after the last frame taken; for streams that go on raw.
    #[must_use]
    pub fn into_rest(self) -> BytesMut {
        self.bytes
    }
}

fn write<T: Table>(out: &mut BytesMut, message_type: MessageType, id: RequestId, message: &T) {
    write_header(out, message_type, id, message.kind());
    let mut serializer = rmp_serde::Serializer::new(Appender(out)).with_struct_map();
    message.serialize_body(&mut serializer).expect("our own messages can be written to memory");
}

fn write_error(out: &mut BytesMut, id: RequestId, error: &ErrorBody) {
    write_header(out, MessageType::Error, id, error.code.as_str());
    let mut serializer = rmp_serde::Serializer::new(Appender(out)).with_struct_map();
    error.serialize(&mut serializer).expect("our own messages can be written to memory");
}

fn write_header(out: &mut BytesMut, message_type: MessageType, id: RequestId, kind: &str) {
    let header = Header { message_type, id, kind: Cow::Borrowed(kind) };
    let mut serializer = rmp_serde::Serializer::new(Appender(out)).with_struct_map();
    header.serialize(&mut serializer).expect("our own messages can be written to memory");
}

/// The values of one frame, read where they stand.
type Values<'a> = rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'a, [u8]>>;

fn read_value<'a, T: Deserialize<'a>>(
    values: &mut Values<'a>,
) -> Result<T, rmp_serde::decode::Error> {
    values.set_max_depth(DEPTH);
    T::deserialize(values)
}

/// The rest of a frame behind its header.
struct Body<'a> {
    header: &'a Header<'a>,
    values: Values<'a>,
}

impl Body<'_> {
    fn read_from_table<T: Table>(self) -> Result<T, DecodeError> {
        let header = self.header;
        T::read_body(&header.kind, self).unwrap_or_else(|| {
            Err(DecodeError::UnknownKind {
                message_type: header.message_type,
                id: header.id,
                kind: header.kind.chars().take(64).collect(),
            })
        })
    }

    fn read_error(self) -> Result<ErrorBody, DecodeError> {
        let code = ErrorCode::from_word(&self.header.kind);
        let body: ErrorBody = self.read()?;
        Ok(ErrorBody { code, ..body })
    }
}

impl BodyReader for Body<'_> {
    type Error = DecodeError;

    fn read<T: DeserializeOwned>(mut self) -> Result<T, DecodeError> {
        read_value(&mut self.values).map_err(|error| DecodeError::Body {
            message_type: self.header.message_type,
            id: self.header.id,
            kind: self.header.kind.chars().take(64).collect(),
            detail: error.to_string(),
        })
    }
}

/// `BytesMut` as `io::Write`; growing memory cannot fail.
struct Appender<'a>(&'a mut BytesMut);

impl std::io::Write for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
