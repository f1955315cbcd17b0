//! One end of a connection.

use std::{fmt, future::poll_fn, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_transport::{
    AcceptStreamError, CloseCode, CloseReason, Connection, ConnectionStats, Lifetime,
    OpenStreamError, Path, PathKind, PeerId, Priority, RecvDatagramError, RecvStream,
    SendDatagramError, SendStream,
};

use crate::{
    link::{Link, Side, StreamId},
    stream::{MemRecv, MemSend},
};

pub(crate) struct MemConnection {
    handle: Arc<Handle>,
}

/// What the connection and its streams hold on to; the last one closes the connection.
pub(crate) struct Handle {
    pub(crate) link: Arc<Link>,
    pub(crate) side: Side,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.link.close(self.side, CloseCode::DROPPED, "");
    }
}

impl MemConnection {
    pub(crate) fn new(link: Arc<Link>, side: Side) -> Self {
        Self { handle: Arc::new(Handle { link, side }) }
    }

    fn halves(&self, id: StreamId) -> (SendStream, RecvStream) {
        let send = MemSend { handle: Arc::clone(&self.handle), id };
        let recv = MemRecv { handle: Arc::clone(&self.handle), id };
        (SendStream::new(send), RecvStream::new(recv))
    }
}

#[async_trait]
impl Connection for MemConnection {
    async fn open_stream(
        &self,
        _priority: Priority,
    ) -> Result<(SendStream, RecvStream), OpenStreamError> {
        let Handle { link, side } = &*self.handle;
        poll_fn(|cx| {
            link.poll(cx, |state| match state.closed(*side) {
                Some(reason) => Some(Err(OpenStreamError::Closed(reason))),
                None => state.open(*side).map(|id| Ok(self.halves(id))),
            })
        })
        .await
    }

    async fn accept_stream(&self) -> Result<(SendStream, RecvStream), AcceptStreamError> {
        let Handle { link, side } = &*self.handle;
        poll_fn(|cx| {
            link.poll(cx, |state| match state.closed(*side) {
                Some(reason) => Some(Err(AcceptStreamError::Closed(reason))),
                None => state.accept(*side).map(|id| Ok(self.halves(id))),
            })
        })
        .await
    }

    fn send_datagram(&self, payload: Bytes, lifetime: Lifetime) -> Result<(), SendDatagramError> {
        let Handle { link, side } = &*self.handle;
        link.change(|state| match state.closed(*side) {
            Some(reason) => Err(SendDatagramError::Closed(reason)),
            None => state.send_datagram(*side, payload, lifetime),
        })
    }

    async fn recv_datagram(&self) -> Result<Bytes, RecvDatagramError> {
        let Handle { link, side } = &*self.handle;
        poll_fn(|cx| {
            link.poll(cx, |state| match state.recv_datagram(*side) {
                Some(payload) => Some(Ok(payload)),
                None => state.closed(*side).map(|reason| Err(RecvDatagramError::Closed(reason))),
            })
        })
        .await
    }

    fn max_datagram_size(&self) -> usize {
        self.handle.link.look(|state| state.datagram_max(self.handle.side))
    }

    fn remote_id(&self) -> PeerId {
        self.handle.link.peer(self.handle.side.other()).0
    }

    fn remote_addr(&self) -> SocketAddr {
        self.handle.link.peer(self.handle.side.other()).1
    }

    fn path(&self) -> Path {
        let local = self.handle.link.peer(self.handle.side).1;
        Path { kind: PathKind::Memory, local, remote: self.remote_addr() }
    }

    fn stats(&self) -> ConnectionStats {
        self.handle.link.look(|state| state.stats(self.handle.side))
    }

    fn close(&self, code: CloseCode, reason: &str) {
        self.handle.link.close(self.handle.side, code, reason);
    }

    async fn closed(&self) -> CloseReason {
        let Handle { link, side } = &*self.handle;
        poll_fn(|cx| link.poll(cx, |state| state.closed(*side))).await
    }
}

impl fmt::Debug for MemConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemConnection").field(&self.path()).finish()
    }
}
