//! Reliable, ordered byte streams.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{ReadError, WriteError};

/// Why one side of a stream was abandoned: a number of the application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamCode(pub u32);

impl StreamCode {
    /// The handle was dropped before the end.
    pub const DROPPED: Self = Self(0);
}

/// What a transport provides for the sending side of a stream; see [`SendStream`].
pub trait SendHalf: Send + Sync + Unpin {
    /// Takes some of `bytes`, or waits until the stream has room.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8])
    -> Poll<Result<usize, WriteError>>;

    /// Sends what is held back, if the transport holds anything back.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>>;

    /// Marks the end. What was written before is still delivered.
    fn finish(&mut self) -> Result<(), WriteError>;

    /// Abandons the stream: what was not delivered may never be.
    fn reset(&mut self, code: StreamCode);
}

/// What a transport provides for the receiving side of a stream; see [`RecvStream`].
pub trait RecvHalf: Send + Sync + Unpin {
    /// Reads some bytes into `buffer`; none were added and it is ready: the end.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), ReadError>>;

    /// Asks the remote to send no more; what it sent is thrown away.
    fn stop(&mut self, code: StreamCode);
}

/// The sending side of a stream: tokio's `AsyncWrite`, plus [`finish`](Self::finish) and
/// [`reset`](Self::reset).
///
/// A write waits while the reader is slow; what has been accepted and not been read is bounded by
/// [`Limits`](crate::Limits) on both sides. `shutdown` is `finish`. Dropped before either, the
/// stream is reset with [`StreamCode::DROPPED`], so that a reader never mistakes half a file for
/// a whole one. Writes are cancel safe in the sense of `AsyncWrite`.
pub struct SendStream {
    half: Box<dyn SendHalf>,
    ended: bool,
}

impl SendStream {
    /// Wraps a transport's half.
    #[must_use]
    pub fn new(half: impl SendHalf + 'static) -> Self {
        Self { half: Box::new(half), ended: false }
    }

    /// Marks the end: the remote reads everything before it, then end of file.
    ///
    /// # Errors
    /// [`WriteError`] when the remote has stopped reading, the stream was ended before or the
    /// connection is gone.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        if self.ended {
            return Err(WriteError::Ended);
        }
        self.half.finish()?;
        self.ended = true;
        Ok(())
    }

    /// Abandons the stream: the remote's reads fail with [`ReadError::Reset`].
    pub fn reset(&mut self, code: StreamCode) {
        if !self.ended {
            self.ended = true;
            self.half.reset(code);
        }
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(WriteError::Ended.into()));
        }
        self.half.poll_write(cx, bytes).map_err(Into::into)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.half.poll_flush(cx).map_err(Into::into)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.finish().map_err(Into::into))
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        self.reset(StreamCode::DROPPED);
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// The receiving side of a stream: tokio's `AsyncRead`, plus [`stop`](Self::stop).
///
/// Dropped before the end, the remote is told to stop with [`StreamCode::DROPPED`]. Reads are
/// cancel safe.
pub struct RecvStream {
    half: Box<dyn RecvHalf>,
    ended: bool,
    // Kept so that a failed stream never looks like a finished one to a second read.
    failed: Option<ReadError>,
}

impl RecvStream {
    /// Wraps a transport's half.
    #[must_use]
    pub fn new(half: impl RecvHalf + 'static) -> Self {
        Self { half: Box::new(half), ended: false, failed: None }
    }

    /// Asks the remote to send no more: its writes fail with [`WriteError::Stopped`].
    pub fn stop(&mut self, code: StreamCode) {
        if !self.ended {
            self.ended = true;
            self.half.stop(code);
        }
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(error.clone().into()));
        }
        if self.ended || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let poll = self.half.poll_read(cx, buffer);
        match &poll {
            Poll::Ready(Ok(())) => self.ended = buffer.filled().len() == before,
            Poll::Ready(Err(error)) => {
                self.ended = true;
                self.failed = Some(error.clone());
            }
            Poll::Pending => {}
        }
        poll.map_err(Into::into)
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.stop(StreamCode::DROPPED);
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}
