//! The receiving half of a stream.

use std::task::{Context, Poll};

use portolan_mux::{ReadError as MuxReadError, StreamId};
use portolan_transport::{ReadError, RecvHalf, StreamCode};
use tokio::io::ReadBuf;

use crate::{MuxHandle, MuxHost};

pub(crate) struct MuxRecv<H: MuxHost> {
    handle: MuxHandle<H>,
    id: StreamId,
    /// A waker of ours may be with the waiters.
    waits: bool,
}

impl<H: MuxHost> MuxRecv<H> {
    pub(crate) fn new(handle: MuxHandle<H>, id: StreamId) -> Self {
        Self { handle, id, waits: false }
    }
}

impl<H: MuxHost> RecvHalf for MuxRecv<H> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), ReadError>> {
        let id = self.id;
        let mut replaced = None;
        let (poll, tells) = self.handle.host().with(|mux, waiters| {
            let read = mux.read_with(id, buffer.remaining(), |slice| buffer.put_slice(slice));
            let poll = match (read, waiters.reason()) {
                (Ok(_), _) => Poll::Ready(Ok(())),
                (Err(MuxReadError::Reset(code)), _) => {
                    Poll::Ready(Err(ReadError::Reset(StreamCode(code))))
                }
                (Err(MuxReadError::Blocked | MuxReadError::UnknownStream), Some(reason)) => {
                    Poll::Ready(Err(ReadError::Closed(reason.clone())))
                }
                (Err(MuxReadError::Blocked), None) => {
                    replaced = waiters.read_later(id, cx.waker());
                    Poll::Pending
                }
                // Stopped by us: the handle above asks no more.
                (Err(MuxReadError::UnknownStream), None) => {
                    Poll::Ready(Err(ReadError::Reset(StreamCode::DROPPED)))
                }
            };
            (poll, mux.wants_to_send())
        });
        drop(replaced);
        self.waits |= poll.is_pending();
        if tells && poll.is_ready() {
            self.handle.host().wake_driver();
        }
        poll
    }

    fn stop(&mut self, code: StreamCode) {
        let id = self.id;
        self.handle.host().with(|mux, _| mux.stop(id, code.0));
        self.handle.host().wake_driver();
    }
}

impl<H: MuxHost> Drop for MuxRecv<H> {
    fn drop(&mut self) {
        if self.waits {
            let id = self.id;
            drop(self.handle.host().with(|_, waiters| waiters.forget_reader(id)));
        }
    }
}
