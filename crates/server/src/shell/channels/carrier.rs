//! The task that moves datagrams from one client to the other.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use portolan_datagram_io::{
    Batch, HEADER, LaneSocket, Received, RelayFrame, Transmit, data_header,
};

use super::{
    Channels,
    table::{Place, Refusal, Route, Waiting},
};
use crate::shell::{clock, hub::Hub};

/// Trains that go out before the socket is read again.
const TRAINS_PER_TURN: usize = 32;

/// One train on its way in.
struct Train<'a> {
    from: Place,
    bytes: &'a mut [u8],
    stride: usize,
}

impl Channels {
    /// Serves `socket` until the runtime ends; owned by the server's tasks.
    pub(in crate::shell) async fn run(self: Arc<Self>, hub: Arc<Hub>, socket: Arc<LaneSocket>) {
        let mut batch = Batch::new();
        loop {
            let is_blocked = self.lock().is_waiting();
            let is_up = tokio::select! {
                received = socket.recv(&mut batch) => {
                    let now = clock::now().instant;
                    batch.for_each(|train| self.on_train((now, &hub), &socket, train));
                    received.is_ok()
                }
                writable = socket.writable(), if is_blocked => writable.is_ok(),
            };
            if !is_up {
                return;
            }
            self.send_waiting(&hub, &socket);
            // A flood must not keep this thread.
            tokio::task::yield_now().await;
        }
    }

    /// Datagrams of one address: those next to each other on one channel go on together.
    fn on_train(&self, (now, hub): (Instant, &Hub), socket: &LaneSocket, train: Received<'_>) {
        let Received { from, local_ip, bytes, stride, .. } = train;
        let from = Place { addr: from, local_ip };
        let mut rest = bytes;
        while !rest.is_empty() {
            let first = rest.get(..stride.min(rest.len())).unwrap_or_default();
            match RelayFrame::decode(first) {
                Some(RelayFrame::Data { channel, .. }) => {
                    let (run, after) = rest.split_at_mut(run_length(rest, stride));
                    let train = Train { from, bytes: run, stride };
                    if let Err(refusal) = self.carry((now, hub), socket, (channel, train)) {
                        self.counts.refuse(refusal, run.len().div_ceil(stride));
                    }
                    rest = after;
                }
                Some(RelayFrame::Bind { channel, counter }) => {
                    self.on_binding(socket, from, (channel, counter), first);
                    rest = rest.split_at_mut(first.len()).1;
                }
                Some(RelayFrame::Bound { .. }) | None => {
                    self.counts.refuse(Refusal::Unknown, 1);
                    rest = rest.split_at_mut(first.len()).1;
                }
            }
        }
    }

    fn on_binding(&self, socket: &LaneSocket, from: Place, named: (u64, u64), frame: &[u8]) {
        let answer = self.lock().bind(from, named, frame);
        match answer {
            // One that the socket has no room for is asked for again.
            Ok(answer) => drop(socket.try_send(&transmit(from, &answer, answer.len()))),
            Err(refusal) => self.counts.refuse(refusal, 1),
        }
    }

    /// Sends a run of datagrams of one channel on.
    fn carry(
        &self,
        (now, hub): (Instant, &Hub),
        socket: &LaneSocket,
        (number, train): (u64, Train<'_>),
    ) -> Result<(), Refusal> {
        let Train { from, bytes, stride } = train;
        let size = (bytes.len(), bytes.len().div_ceil(stride));
        let Route { to, number: other, is_behind } =
            self.lock().admit(now, (from.addr, number), size)?;
        for datagram in bytes.chunks_mut(stride) {
            if let Some(header) = datagram.get_mut(..HEADER) {
                header.copy_from_slice(&data_header(other));
            }
        }
        let sent =
            if is_behind { 0 } else { socket.try_send(&transmit(to, bytes, stride)).unwrap_or(0) };
        self.count(hub, sent, stride);
        match bytes.get(sent..) {
            None | Some([]) => Ok(()),
            Some(rest) => {
                let waiting = Waiting { to, bytes: rest.to_vec(), segment: stride };
                self.lock().keep(number, waiting)
            }
        }
    }

    /// Gives those whose datagrams wait a train each.
    fn send_waiting(&self, hub: &Hub, socket: &LaneSocket) {
        for _ in 0..TRAINS_PER_TURN {
            let Some((number, waiting)) = self.lock().next_waiting() else { return };
            let Waiting { to, bytes, segment } = &waiting;
            let sent = socket.try_send(&transmit(*to, bytes, *segment)).unwrap_or(0);
            self.count(hub, sent, *segment);
            if sent < bytes.len() {
                let rest = bytes.get(sent..).unwrap_or_default().to_vec();
                self.lock().put_back(number, Waiting { bytes: rest, ..waiting });
                return;
            }
        }
    }

    fn count(&self, hub: &Hub, bytes: usize, stride: usize) {
        self.counts.carried.fetch_add(bytes.div_ceil(stride.max(1)) as u64, Relaxed);
        self.counts.bytes.fetch_add(bytes as u64, Relaxed);
        hub.relay_bytes.fetch_add(bytes as u64, Relaxed);
    }
}

/// Bytes of the datagrams at the start of a train that have the same header as the first.
fn run_length(bytes: &[u8], stride: usize) -> usize {
    let header = bytes.get(..HEADER);
    let same = bytes.chunks(stride).take_while(|datagram| datagram.get(..HEADER) == header);
    same.map(<[u8]>::len).sum()
}

fn transmit(to: Place, contents: &[u8], segment: usize) -> Transmit<'_> {
    let Place { addr, local_ip } = to;
    let destination: SocketAddr = addr;
    let segment_size = (contents.len() > segment).then_some(segment);
    Transmit { destination, ecn: None, contents, segment_size, src_ip: local_ip }
}
