//! Both ends of a connection in one value.
//!
//! Everything that two peers share is here behind one lock; the async shell takes the lock, makes
//! one call and lets go. Who has to wait leaves a waker, and whoever changes something wakes.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use portolan_transport::{
    CloseCode, CloseReason, ConnectionConfig, ConnectionStats, Lifetime, Limits, PeerId, ReadError,
    SendDatagramError, StreamCode, WriteError,
};
use tokio::io::ReadBuf;

/// The longest datagram; a queue that holds less allows less.
const DATAGRAM_MAX: usize = 1 << 16;

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// The one that dialled.
    Client,
    Server,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// A stream: who opened it, and how many that side had opened before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StreamId {
    opener: Side,
    index: u64,
}

pub(crate) struct Link {
    peers: [(PeerId, SocketAddr); 2],
    state: Mutex<State>,
}

pub(crate) struct State {
    closed: Option<(Side, CloseCode, String)>,
    ends: [End; 2],
    streams: HashMap<StreamId, [Pipe; 2]>,
    waiting: Vec<Waker>,
}

/// What belongs to one side.
struct End {
    limits: Limits,
    opened: u64,
    /// Streams open now that this side opened; the other side's limit bounds them.
    open: u32,
    /// Those of the opened streams that the other side has heard of.
    announced: u64,
    incoming: VecDeque<StreamId>,
    datagrams: VecDeque<Bytes>,
    datagram_bytes: usize,
    unread: usize,
    stats: ConnectionStats,
}

/// One direction of a stream.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    end: Option<PipeEnd>,
    stopped: Option<StreamCode>,
    /// The reader has seen the end, or wants no more.
    read_out: bool,
}

#[derive(Clone, Copy)]
enum PipeEnd {
    Finished,
    Reset(StreamCode),
}

impl Link {
    pub(crate) fn new(configs: [&ConnectionConfig; 2], addrs: [SocketAddr; 2]) -> Arc<Self> {
        let peer = |end: usize| (configs[end].identity.id(), addrs[end]);
        let ends = configs.map(|config| End::new(config.limits));
        let state = State { closed: None, ends, streams: HashMap::new(), waiting: Vec::new() };
        Arc::new(Self { peers: [peer(0), peer(1)], state: Mutex::new(state) })
    }

    pub(crate) fn peer(&self, side: Side) -> (PeerId, SocketAddr) {
        self.peers[side as usize]
    }

    pub(crate) fn side_at(&self, addr: SocketAddr) -> Side {
        if self.peers[0].1 == addr { Side::Client } else { Side::Server }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.look(|state| state.closed.is_some())
    }

    /// Ends the connection; the first call counts.
    pub(crate) fn close(&self, by: Side, code: CloseCode, reason: &str) {
        self.change(|state| {
            let reason = CloseReason::cut(reason).to_owned();
            state.closed.get_or_insert((by, code, reason));
            state.streams.clear();
        });
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes something, then wakes everyone who waits for anything: simple, and good enough
    /// where both ends are in one process.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, waiting) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (change(&mut state), std::mem::take(&mut state.waiting))
        };
        waiting.into_iter().for_each(Waker::wake);
        result
    }

    /// Tries `attempt`; while it is `None`, the task waits for the next change.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(&mut State) -> Option<T>,
    ) -> Poll<T> {
        let (result, waiting) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match attempt(&mut state) {
                Some(result) => (result, std::mem::take(&mut state.waiting)),
                None => {
                    if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                        state.waiting.push(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        };
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(result)
    }
}

impl State {
    /// Why the connection is gone, as `side` sees it.
    pub(crate) fn closed(&self, side: Side) -> Option<CloseReason> {
        let (by, code, reason) = self.closed.clone()?;
        Some(if by == side {
            CloseReason::Local { code, reason }
        } else {
            CloseReason::Remote { code, reason }
        })
    }

    pub(crate) fn open(&mut self, side: Side) -> Option<StreamId> {
        let allowed = self.end(side.other()).limits.streams;
        let end = self.end(side);
        if end.open >= allowed {
            return None;
        }
        let id = StreamId { opener: side, index: end.opened };
        end.opened += 1;
        end.open += 1;
        self.streams.insert(id, Default::default());
        Some(id)
    }

    pub(crate) fn accept(&mut self, side: Side) -> Option<StreamId> {
        self.end(side).incoming.pop_front()
    }

    /// `None` while the reader's windows are full.
    pub(crate) fn write(
        &mut self,
        side: Side,
        id: StreamId,
        bytes: &[u8],
    ) -> Option<Result<usize, WriteError>> {
        if bytes.is_empty() {
            return Some(Ok(0));
        }
        let Some(pipe) = self.pipe(id, side) else { return Some(Err(WriteError::Ended)) };
        if let Some(code) = pipe.stopped {
            return Some(Err(WriteError::Stopped(code)));
        }
        let queued = pipe.bytes.len();
        let reader = self.end(side.other());
        let stream_room = (reader.limits.stream_window as usize).saturating_sub(queued);
        let all_room = (reader.limits.connection_window as usize).saturating_sub(reader.unread);
        let size = bytes.len().min(stream_room).min(all_room);
        if size == 0 {
            return None;
        }
        reader.unread += size;
        self.pipe(id, side)?.bytes.extend(&bytes[..size]);
        self.count(side, size);
        self.announce(side, id);
        Some(Ok(size))
    }

    /// Marks the end of what `side` writes.
    pub(crate) fn finish(&mut self, side: Side, id: StreamId) -> Result<(), WriteError> {
        let pipe = self.pipe(id, side).ok_or(WriteError::Ended)?;
        if let Some(code) = pipe.stopped {
            return Err(WriteError::Stopped(code));
        }
        pipe.end = Some(PipeEnd::Finished);
        self.announce(side, id);
        Ok(())
    }

    /// Abandons what `side` writes, unread bytes too.
    pub(crate) fn reset(&mut self, side: Side, id: StreamId, code: StreamCode) {
        self.discard(side, id);
        if let Some(pipe) = self.pipe(id, side) {
            pipe.end = Some(PipeEnd::Reset(code));
        }
        self.announce(side, id);
        self.forget_if_over(id);
    }

    /// `None` while there is nothing; nothing added is the end.
    pub(crate) fn read(
        &mut self,
        side: Side,
        id: StreamId,
        buffer: &mut ReadBuf<'_>,
    ) -> Option<Result<(), ReadError>> {
        // Gone only when this side has read the end before.
        let Some(pipe) = self.pipe(id, side.other()) else { return Some(Ok(())) };
        if let Some(PipeEnd::Reset(code)) = pipe.end {
            pipe.read_out = true;
            self.forget_if_over(id);
            return Some(Err(ReadError::Reset(code)));
        }
        let before = buffer.remaining();
        while buffer.remaining() > 0 && !pipe.bytes.is_empty() {
            let run = pipe.bytes.as_slices().0;
            let size = run.len().min(buffer.remaining());
            buffer.put_slice(&run[..size]);
            pipe.bytes.drain(..size);
        }
        let size = before - buffer.remaining();
        if size == 0 {
            pipe.end?;
            pipe.read_out = true;
            self.forget_if_over(id);
        }
        self.end(side).unread -= size;
        Some(Ok(()))
    }

    /// `side` reads no more.
    pub(crate) fn stop(&mut self, side: Side, id: StreamId, code: StreamCode) {
        self.discard(side.other(), id);
        if let Some(pipe) = self.pipe(id, side.other()) {
            pipe.stopped = Some(code);
            pipe.read_out = true;
        }
        self.forget_if_over(id);
    }

    pub(crate) fn datagram_max(&self, side: Side) -> usize {
        DATAGRAM_MAX.min(self.ends[side.other() as usize].limits.datagram_queue as usize)
    }

    /// Queues at the receiver; the oldest ones go when the queue is full.
    pub(crate) fn send_datagram(
        &mut self,
        side: Side,
        payload: Bytes,
        lifetime: Lifetime,
    ) -> Result<(), SendDatagramError> {
        let (size, max) = (payload.len(), self.datagram_max(side));
        if size > max {
            return Err(SendDatagramError::TooLarge { size, max });
        }
        // Nothing waits here: only what has no time at all expires.
        if lifetime == Lifetime::Until(Duration::ZERO) {
            self.end(side).stats.datagrams_expired += 1;
            return Ok(());
        }
        self.count(side, size);
        self.end(side).stats.datagrams_sent += 1;
        self.end(side.other()).queue(payload);
        Ok(())
    }

    pub(crate) fn recv_datagram(&mut self, side: Side) -> Option<Bytes> {
        let end = self.end(side);
        let payload = end.datagrams.pop_front()?;
        end.datagram_bytes -= End::cost(&payload);
        Some(payload)
    }

    pub(crate) fn stats(&self, side: Side) -> ConnectionStats {
        self.ends[side as usize].stats
    }

    fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    fn pipe(&mut self, id: StreamId, writer: Side) -> Option<&mut Pipe> {
        self.streams.get_mut(&id).map(|pipes| &mut pipes[writer as usize])
    }

    fn discard(&mut self, writer: Side, id: StreamId) {
        let discarded =
            self.pipe(id, writer).map_or(0, |pipe| std::mem::take(&mut pipe.bytes).len());
        self.end(writer.other()).unread -= discarded;
    }

    /// The opener's first act makes the stream known, and those that it opened before.
    fn announce(&mut self, side: Side, id: StreamId) {
        if side != id.opener {
            return;
        }
        while self.end(side).announced <= id.index {
            let known = StreamId { opener: side, index: self.end(side).announced };
            self.end(side).announced += 1;
            self.end(side.other()).incoming.push_back(known);
        }
    }

    /// A stream that both sides have ended and read makes room for the next one.
    fn forget_if_over(&mut self, id: StreamId) {
        let over = |pipe: &Pipe| pipe.end.is_some() && pipe.read_out;
        if self.streams.get(&id).is_some_and(|pipes| pipes.iter().all(over)) {
            self.streams.remove(&id);
            self.end(id.opener).open -= 1;
        }
    }

    fn count(&mut self, sender: Side, size: usize) {
        let sent = &mut self.end(sender).stats;
        sent.bytes_sent += size as u64;
        sent.packets_sent += 1;
        let received = &mut self.end(sender.other()).stats;
        received.bytes_received += size as u64;
        received.packets_received += 1;
    }
}

impl End {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            opened: 0,
            open: 0,
            announced: 0,
            incoming: VecDeque::new(),
            datagrams: VecDeque::new(),
            datagram_bytes: 0,
            unread: 0,
            stats: ConnectionStats::default(),
        }
    }

    /// An empty message takes room too, else any number of them would fit.
    fn cost(payload: &Bytes) -> usize {
        payload.len() + size_of::<Bytes>()
    }

    fn queue(&mut self, payload: Bytes) {
        self.stats.datagrams_received += 1;
        self.datagram_bytes += Self::cost(&payload);
        self.datagrams.push_back(payload);
        while self.datagram_bytes > self.limits.datagram_queue as usize && self.datagrams.len() > 1
        {
            self.datagram_bytes -= self.datagrams.pop_front().as_ref().map_or(0, Self::cost);
            self.stats.datagrams_dropped += 1;
        }
    }
}
