//! The two halves of a stream.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use portolan_transport::{ReadError, RecvHalf, SendHalf, StreamCode, WriteError};
use tokio::io::ReadBuf;

use crate::{connection::Handle, link::StreamId};

pub(crate) struct MemSend {
    pub(crate) handle: Arc<Handle>,
    pub(crate) id: StreamId,
}

impl SendHalf for MemSend {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        let Handle { link, side } = &*self.handle;
        link.poll(cx, |state| match state.closed(*side) {
            Some(reason) => Some(Err(WriteError::Closed(reason))),
            None => state.write(*side, self.id, bytes),
        })
    }

    /// Nothing is ever held back.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        Poll::Ready(Ok(()))
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        let Handle { link, side } = &*self.handle;
        link.change(|state| match state.closed(*side) {
            Some(reason) => Err(WriteError::Closed(reason)),
            None => state.finish(*side, self.id),
        })
    }

    fn reset(&mut self, code: StreamCode) {
        let Handle { link, side } = &*self.handle;
        link.change(|state| state.reset(*side, self.id, code));
    }
}

pub(crate) struct MemRecv {
    pub(crate) handle: Arc<Handle>,
    pub(crate) id: StreamId,
}

impl RecvHalf for MemRecv {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), ReadError>> {
        let Handle { link, side } = &*self.handle;
        link.poll(cx, |state| match state.closed(*side) {
            Some(reason) => Some(Err(ReadError::Closed(reason))),
            None => state.read(*side, self.id, buffer),
        })
    }

    fn stop(&mut self, code: StreamCode) {
        let Handle { link, side } = &*self.handle;
        link.change(|state| state.stop(*side, self.id, code));
    }
}
