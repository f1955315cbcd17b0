//! Both directions of a client's stream, moved by one task.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Bytes asked of the stream at once.
pub(crate) const READ_SIZE: usize = 16 << 10;

/// A stream whose writes wait in a buffer, so that a full way out never stops the reading.
pub(crate) struct Pipe {
    read: Box<dyn AsyncRead + Send + Unpin>,
    write: Box<dyn AsyncWrite + Send + Unpin>,
    /// What is to be written.
    pub(crate) out: BytesMut,
    is_flushed: bool,
}

impl Pipe {
    pub(crate) fn new(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self {
            read: Box::new(read),
            write: Box::new(write),
            out: BytesMut::new(),
            is_flushed: true,
        }
    }

    /// Waits for at most `limit` bytes and appends them; writes meanwhile. 0: the end. Cancel safe.
    pub(crate) async fn read(&mut self, into: &mut BytesMut, limit: usize) -> io::Result<usize> {
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = self.poll_write(cx) {
                return Poll::Ready(Err(error));
            }
            into.reserve(limit);
            // What was read is in the buffer when it is ready: nothing is lost with the future.
            pin!((&mut self.read).take(limit as u64).read_buf(into)).poll(cx)
        })
        .await
    }

    /// Waits until everything is written. Cancel safe.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            self.is_flushed = false;
            match Pin::new(&mut self.write).poll_write(cx, &self.out)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(length) => self.out.advance(length),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.is_flushed {
            match Pin::new(&mut self.write).poll_flush(cx)? {
                Poll::Ready(()) => self.is_flushed = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
