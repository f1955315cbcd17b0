//! Frames of messages over asynchronous byte streams: the shell that server and peer share.
//!
//! [`FrameReader`] and [`FrameWriter`] move whole frames; what the frames mean is
//! `portolan-protocol`'s matter. A reader gives its stream back with
//! [`into_raw`](FrameReader::into_raw) where raw bytes follow the last frame.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use portolan_protocol::{DecodeError, EncodeError, FrameBuffer, Message, Table, decode, encode};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Bytes asked of the stream at once, by a reader to whom much comes …
const READ_MAX: usize = 16 << 10;

/// … and by one to whom little comes: most clients of a server are silent, and each holds this.
const READ_MIN: usize = 512;

/// Why no message could be read.
#[derive(Debug, Error)]
pub enum ReadMessageError {
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Stream(#[from] io::Error),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The stream ended between two frames, where a message was due.
    #[error("the stream ended where a message was due")]
    Ended,
    /// What came is not a message; [`DecodeError::answer`] says what the sender is owed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why a message could not be written.
#[derive(Debug, Error)]
pub enum WriteMessageError {
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Stream(#[from] io::Error),
    /// It is too large; nothing was written and the stream is as good as before.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Reads whole frames from a byte stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: FrameBuffer,
    /// Bytes asked of the stream at once now.
    read_size: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `stream`, with the bounds of version 1.
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: FrameBuffer::default(), read_size: READ_MIN }
    }

    /// Waits for the next frame; `None`: the stream has ended between two frames. Cancel safe.
    ///
    /// # Errors
    /// When the stream fails, ends inside a frame, or announces a frame beyond the bound.
    pub async fn next_frame(&mut self) -> Result<Option<Bytes>, ReadMessageError> {
        loop {
            if let Some(frame) = self.buffer.next_frame()? {
                return Ok(Some(frame));
            }
            let bytes = self.buffer.bytes_mut();
            if bytes.is_empty() {
                // What a burst needed is not held while nothing comes.
                *bytes = BytesMut::with_capacity(self.read_size);
            } else {
                bytes.reserve(self.read_size);
            }
            let count = self.stream.read_buf(bytes).await?;
            self.read_size = next_read_size(self.read_size, count);
            if count == 0 {
                let clean = self.buffer.bytes_mut().is_empty();
                return if clean { Ok(None) } else { Err(ReadMessageError::Truncated) };
            }
        }
    }

    /// Waits for the next message. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::next_frame`]; the end of the stream is [`ReadMessageError::Ended`]. After a
    /// [`DecodeError`] other than `FrameTooLarge` the next message can be read.
    pub async fn next_message<C: Table, A: Table, E: Table>(
        &mut self,
    ) -> Result<Message<C, A, E>, ReadMessageError> {
        let frame = self.next_frame().await?.ok_or(ReadMessageError::Ended)?;
        Ok(decode(&frame)?)
    }

    /// Gives the stream back where raw bytes follow: those already read come first.
    pub fn into_raw(self) -> RawReader<R> {
        RawReader { before: self.buffer.into_rest(), stream: self.stream }
    }
}

/// What to ask for after so much has come: more of those who filled it, less of the others.
fn next_read_size(size: usize, count: usize) -> usize {
    match count {
        _ if count >= size => (size * 2).min(READ_MAX),
        _ if count < size / 4 => (size / 2).max(READ_MIN),
        _ => size,
    }
}

/// The bytes behind the last frame of a stream.
#[derive(Debug)]
pub struct RawReader<R> {
    before: BytesMut,
    stream: R,
}

impl<R: AsyncRead + Unpin> RawReader<R> {
    /// Reads frames again, from where the raw bytes end.
    pub fn into_frames(self) -> FrameReader<R> {
        let mut buffer = FrameBuffer::default();
        *buffer.bytes_mut() = self.before;
        FrameReader { stream: self.stream, buffer, read_size: READ_MIN }
    }

    /// The stream, to abandon it.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.stream
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for RawReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.before.len().min(buffer.remaining());
        buffer.put_slice(&self.before[..length]);
        self.before.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// Writes whole frames to a byte stream.
#[derive(Debug)]
pub struct FrameWriter<W> {
    stream: W,
    buffer: BytesMut,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes to `stream`.
    pub fn new(stream: W) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Writes one message and flushes. Not cancel safe: half a frame may have gone.
    ///
    /// # Errors
    /// When the stream fails or the message does not fit into a frame.
    pub async fn send<C: Table, A: Table, E: Table>(
        &mut self,
        message: &Message<C, A, E>,
    ) -> Result<(), WriteMessageError> {
        self.push(message)?;
        self.flush().await
    }

    /// Encodes one message behind those that wait for [`Self::flush`].
    ///
    /// # Errors
    /// When the message does not fit into a frame; those before it are untouched.
    pub fn push<C: Table, A: Table, E: Table>(
        &mut self,
        message: &Message<C, A, E>,
    ) -> Result<(), EncodeError> {
        encode(message, &mut self.buffer)
    }

    /// Bytes that wait for [`Self::flush`].
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Writes everything that waits. Cancel safe: what was written is remembered.
    ///
    /// # Errors
    /// When the stream fails.
    pub async fn flush(&mut self) -> Result<(), WriteMessageError> {
        while !self.buffer.is_empty() {
            if self.stream.write_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
        }
        self.stream.flush().await?;
        Ok(())
    }

    /// Gives the stream back where raw bytes follow.
    pub fn into_inner(self) -> W {
        self.stream
    }

    /// The stream, to end it.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.stream
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::{Command, ControlMessage, Echo, RequestId};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{FrameReader, FrameWriter, READ_MAX, READ_MIN, ReadMessageError, next_read_size};

    fn echo(text: &str) -> ControlMessage {
        ControlMessage::Request(RequestId(1), Command::Echo(Echo { text: text.into() }))
    }

    #[test]
    fn a_reader_asks_for_more_while_more_comes_and_for_less_afterwards() {
        let mut size = READ_MIN;
        for _ in 0..10 {
            size = next_read_size(size, size);
        }
        assert_eq!(size, READ_MAX);
        assert_eq!(next_read_size(size, size / 2), size, "half full is as it should be");
        for _ in 0..10 {
            size = next_read_size(size, 1);
        }
        assert_eq!(size, READ_MIN);
    }

    #[tokio::test]
    async fn messages_arrive_whole_through_a_pipe_of_a_few_bytes() {
        let (alice, bob) = tokio::io::duplex(3);
        let writer = tokio::spawn(async move {
            let mut writer = FrameWriter::new(alice);
            for text in ["", "one", "two"] {
                writer.send(&echo(text)).await.unwrap();
            }
        });
        let mut reader = FrameReader::new(bob);
        for text in ["", "one", "two"] {
            let message: ControlMessage = reader.next_message().await.unwrap();
            assert_eq!(message, echo(text));
        }
        writer.await.unwrap();
        assert!(matches!(reader.next_frame().await, Ok(None)));
    }

    #[tokio::test]
    async fn raw_bytes_behind_a_frame_are_kept_and_frames_go_on_behind_them() {
        let (alice, bob) = tokio::io::duplex(1 << 16);
        let mut writer = FrameWriter::new(alice);
        writer.send(&echo("head")).await.unwrap();
        writer.get_mut().write_all(b"raw").await.unwrap();
        writer.send(&echo("tail")).await.unwrap();

        let mut reader = FrameReader::new(bob);
        let _: ControlMessage = reader.next_message().await.unwrap();
        let mut raw = reader.into_raw();
        let mut bytes = [0; 3];
        raw.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"raw");
        let message: ControlMessage = raw.into_frames().next_message().await.unwrap();
        assert_eq!(message, echo("tail"));
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_not_an_end() {
        let (mut alice, bob) = tokio::io::duplex(64);
        alice.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
        drop(alice);
        let result = FrameReader::new(bob).next_frame().await;
        assert!(matches!(result, Err(ReadMessageError::Truncated)), "{result:?}");
    }
}
