//! The two halves of a QUIC stream.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use portolan_transport::{Priority, ReadError, RecvHalf, SendHalf, StreamCode, WriteError};
use quinn::VarInt;
use tokio::io::ReadBuf;

use crate::{connection::Inner, outbox::Outbox, reason::number};

/// The sending half; it keeps the connection alive.
pub(crate) struct QuicSend {
    outbox: Arc<Outbox>,
    connection: Arc<Inner>,
}

impl QuicSend {
    pub(crate) fn new(
        stream: quinn::SendStream,
        priority: Priority,
        connection: Arc<Inner>,
    ) -> Self {
        Self { outbox: Outbox::new(stream, priority, connection.courier()), connection }
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
        self.outbox.poll_write(cx, bytes).map_err(|error| self.explain(error))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        // What is gathered goes out as soon as the task yields, before which nothing can.
        Poll::Ready(Ok(()))
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        if let Some(reason) = self.connection.gone() {
            return Err(WriteError::Closed(reason));
        }
        if let Some(code) = self.outbox.stopped() {
            return Err(WriteError::Stopped(StreamCode(number(code))));
        }
        self.outbox.finish().map_err(|error| self.explain(error))
    }

    fn reset(&mut self, code: StreamCode) {
        self.outbox.reset(code);
    }
}

impl Drop for QuicSend {
    fn drop(&mut self) {
        self.outbox.leave();
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
