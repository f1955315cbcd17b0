//! The sending half of a stream.

use std::task::{Context, Poll};

use portolan_mux::{StreamId, WriteError as MuxWriteError};
use portolan_transport::{SendHalf, StreamCode, WriteError};

use crate::{MuxHandle, MuxHost, Waiters};

pub(crate) struct MuxSend<H: MuxHost> {
    handle: MuxHandle<H>,
    id: StreamId,
    /// A waker of ours may be with the waiters.
    waits: bool,
}

impl<H: MuxHost> MuxSend<H> {
    pub(crate) fn new(handle: MuxHandle<H>, id: StreamId) -> Self {
        Self { handle, id, waits: false }
    }
}

impl<H: MuxHost> SendHalf for MuxSend<H> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        let id = self.id;
        let mut replaced = None;
        let poll = self.handle.host().with(|mux, waiters| {
            if let Some(reason) = waiters.reason() {
                return Poll::Ready(Err(WriteError::Closed(reason.clone())));
            }
            match mux.write(id, bytes) {
                Ok(written) => Poll::Ready(Ok(written)),
                Err(MuxWriteError::Blocked) => {
                    replaced = waiters.write_later(id, cx.waker());
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(ended(error, waiters))),
            }
        });
        drop(replaced);
        match poll {
            Poll::Pending => self.waits = true,
            Poll::Ready(Ok(_)) => self.handle.host().wake_driver(),
            Poll::Ready(Err(_)) => {}
        }
        poll
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        // Nothing is held back: the driver sends what is written as soon as it may.
        Poll::Ready(Ok(()))
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        let id = self.id;
        self.handle.host().with(|mux, waiters| match waiters.reason() {
            Some(reason) => Err(WriteError::Closed(reason.clone())),
            None => mux.finish(id).map_err(|error| ended(error, waiters)),
        })?;
        self.handle.host().wake_driver();
        Ok(())
    }

    fn reset(&mut self, code: StreamCode) {
        let id = self.id;
        self.handle.host().with(|mux, _| mux.reset(id, code.0));
        self.handle.host().wake_driver();
    }
}

impl<H: MuxHost> Drop for MuxSend<H> {
    fn drop(&mut self) {
        if self.waits {
            let id = self.id;
            drop(self.handle.host().with(|_, waiters| waiters.forget_writer(id)));
        }
    }
}

fn ended(error: MuxWriteError, waiters: &Waiters) -> WriteError {
    match (error, waiters.reason()) {
        (_, Some(reason)) => WriteError::Closed(reason.clone()),
        (MuxWriteError::Stopped(code), None) => WriteError::Stopped(StreamCode(code)),
        (MuxWriteError::Ended | MuxWriteError::UnknownStream | MuxWriteError::Blocked, None) => {
            WriteError::Ended
        }
    }
}
