//! The two halves of a connection's stream.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use portolan_subject::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    connection::Connection,
    port::{Endpoint, Port},
};

/// What a connection's owners hold; the last one to go takes leave.
pub(crate) struct Handle {
    endpoint: Arc<Endpoint>,
    pub(crate) connection: Arc<Connection>,
}

impl Handle {
    pub(crate) fn new(endpoint: &Arc<Endpoint>, connection: Arc<Connection>) -> Self {
        Self { endpoint: Arc::clone(endpoint), connection }
    }

    pub(crate) fn port(&self) -> &Arc<Port> {
        &self.endpoint.port
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connection.leave(self.port());
        self.port().remove(&self.connection);
    }
}

/// The stream of `handle`'s connection.
pub(crate) fn stream(handle: &Arc<Handle>) -> Stream {
    let read = ReadHalf { handle: Arc::clone(handle), full: SocketFull::default() };
    let write = WriteHalf { handle: Arc::clone(handle), full: SocketFull::default() };
    Stream { read: Box::new(read), write: Box::new(write), keep: Box::new(()) }
}

/// The wait for a socket that takes nothing now. Each half waits by itself: a tokio socket wakes
/// one poller only, but every future.
#[derive(Default)]
struct SocketFull(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl SocketFull {
    /// Calls `send` until it does not block.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        port: &Arc<Port>,
        mut send: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        loop {
            if let Some(wait) = &mut self.0 {
                ready!(wait.as_mut().poll(cx));
                self.0 = None;
            }
            match ready!(send(cx)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0 = Some(Box::pin(port.writable()));
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

struct ReadHalf {
    handle: Arc<Handle>,
    full: SocketFull,
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { handle, full } = self.get_mut();
        let (port, connection) = (handle.port(), &handle.connection);
        let read = connection.poll_read(port, cx, buf);
        // Not granted now is granted with the next read, to which the socket wakes us.
        match full.poll(cx, port, |_| Poll::Ready(connection.grant(port))) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => read,
        }
    }
}

struct WriteHalf {
    handle: Arc<Handle>,
    full: SocketFull,
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { handle, full } = self.get_mut();
        let (port, connection) = (handle.port(), &handle.connection);
        full.poll(cx, port, |cx| connection.poll_write(port, cx, bytes))
    }

    /// Whatever is written has left.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { handle, full } = self.get_mut();
        let (port, connection) = (handle.port(), &handle.connection);
        full.poll(cx, port, |_| Poll::Ready(connection.end(port)))
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // A full socket loses the end: nothing is repaired here.
        let _ = self.handle.connection.end(self.handle.port());
    }
}
