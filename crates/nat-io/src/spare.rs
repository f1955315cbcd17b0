//! The many sockets of birthday probing.

use std::{
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
};

use portolan_datagram_io::{Lane, LaneSocket, RecvMeta, SharedSockets};
use portolan_nat::SocketId;

/// Checks are short; what is longer is none.
const BUFFER: usize = 4096;

/// Sockets with ports of their own, numbered from 1.
#[derive(Debug)]
pub(crate) struct SpareSockets {
    sockets: Vec<(SocketId, Arc<LaneSocket>)>,
    buffer: Vec<u8>,
}

impl SpareSockets {
    pub(crate) fn new() -> Self {
        Self { sockets: Vec::new(), buffer: vec![0; BUFFER] }
    }

    /// Opens up to `count` on the address that `like` is bound to; returns their numbers.
    pub(crate) fn open(
        &mut self,
        from: &SharedSockets,
        like: SocketAddr,
        count: u16,
    ) -> Vec<SocketId> {
        // A dual-stack address stays one; the port is any.
        let ip = match like.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ip => ip,
        };
        for number in 1..=count {
            // The system's bound on open files is ours too.
            let Ok(socket) = from.open(SocketAddr::new(ip, 0), Lane::Stun) else { break };
            self.sockets.push((SocketId(number), socket));
        }
        self.sockets.iter().map(|(id, _)| *id).collect()
    }

    pub(crate) fn get(&self, socket: SocketId) -> Option<&Arc<LaneSocket>> {
        self.sockets.iter().find(|(id, _)| *id == socket).map(|(_, socket)| socket)
    }

    /// Closes all but this one.
    pub(crate) fn keep(&mut self, used: Option<SocketId>) -> Vec<SocketId> {
        let is_used = |id: SocketId| Some(id) == used;
        let closed = self.sockets.iter().map(|(id, _)| *id).filter(|id| !is_used(*id)).collect();
        self.sockets.retain(|(id, _)| is_used(*id));
        closed
    }

    /// Waits for a datagram of any of them.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(SocketId, SocketAddr, Vec<u8>)> {
        for (id, socket) in &self.sockets {
            let mut meta = [RecvMeta::default()];
            let mut buffers = [IoSliceMut::new(&mut self.buffer)];
            if let Poll::Ready(Ok(1)) = socket.poll_recv(cx, &mut buffers, &mut meta) {
                let bytes = self.buffer.get(..meta[0].len.min(meta[0].stride)).unwrap_or_default();
                return Poll::Ready((*id, meta[0].addr, bytes.to_vec()));
            }
        }
        Poll::Pending
    }
}
