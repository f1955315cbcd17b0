//! The two halves of a QUIC stream.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use portolan_transport::{ReadError, RecvHalf, SendHalf, StreamCode, WriteError};
use quinn::VarInt;
use tokio::io::ReadBuf;

use crate::{connection::Inner, reason::number};

/// The sending half; it keeps the connection alive.
pub(crate) struct QuicSend {
    stream: quinn::SendStream,
    connection: Arc<Inner>,
}

impl QuicSend {
    pub(crate) fn new(stream: quinn::SendStream, connection: Arc<Inner>) -> Self {
        Self { stream, connection }
    }

    fn explain(&self, error: quinn::WriteError) -> WriteError {
        match error {
            quinn::WriteError::Stopped(code) => WriteError::Stopped(StreamCode(number(code))),
            quinn::WriteError::ConnectionLost(error) => {
                WriteError::Closed(self.connection.close_reason(&error))
            }
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => {
                WriteError::Ended
            }
        }
    }

    /// Whether the reader has asked us to stop; quinn's `finish` does not say.
    fn stopped(&self) -> Option<StreamCode> {
        let mut asked = Box::pin(self.stream.stopped());
        match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Some(code))) => Some(StreamCode(number(code))),
            Poll::Ready(Ok(None) | Err(_)) | Poll::Pending => None,
        }
    }
}

impl SendHalf for QuicSend {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes).map_err(|error| self.explain(error))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        // quinn holds nothing back.
        Poll::Ready(Ok(()))
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        if let Some(reason) = self.connection.gone() {
            return Err(WriteError::Closed(reason));
        }
        if let Some(code) = self.stopped() {
            return Err(WriteError::Stopped(code));
        }
        self.stream.finish().map_err(|_| WriteError::Ended)
    }

    fn reset(&mut self, code: StreamCode) {
        // A stream that has ended already has nothing to abandon.
        let _ = self.stream.reset(VarInt::from_u32(code.0));
    }
}

/// The receiving half; it keeps the connection alive.
pub(crate) struct QuicRecv {
    stream: quinn::RecvStream,
    connection: Arc<Inner>,
}

impl QuicRecv {
    pub(crate) fn new(stream: quinn::RecvStream, connection: Arc<Inner>) -> Self {
        Self { stream, connection }
    }

    fn explain(&self, error: quinn::ReadError) -> ReadError {
        match error {
            quinn::ReadError::Reset(code) => ReadError::Reset(StreamCode(number(code))),
            quinn::ReadError::ConnectionLost(error) => {
                ReadError::Closed(self.connection.close_reason(&error))
            }
            // Not reachable in order: reads after `stop`, unordered reads and 0-RTT are not ours.
            quinn::ReadError::ClosedStream
            | quinn::ReadError::IllegalOrderedRead
            | quinn::ReadError::ZeroRttRejected => ReadError::Reset(StreamCode::DROPPED),
        }
    }
}

impl RecvHalf for QuicRecv {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), ReadError>> {
        self.stream.poll_read_buf(cx, buffer).map_err(|error| self.explain(error))
    }

    fn stop(&mut self, code: StreamCode) {
        // A stream that has ended already has nobody to tell.
        let _ = self.stream.stop(VarInt::from_u32(code.0));
    }
}
