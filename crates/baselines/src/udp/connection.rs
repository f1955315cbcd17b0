//! One connection: a stream with credit, and messages.

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::{
    port::{DATAGRAM_MAX, Port},
    protection::{Protection, Side},
    wire::{HEADER, Header, Kind, POSITION, integer},
};

/// The least that a datagram costs of the credit, however short: so much does the system count
/// for it in a socket's buffer.
const COST_MIN: usize = 768;

/// Trains that wait for their reader. Credit keeps far below.
const TRAINS_MAX: usize = 4096;

/// Messages that wait for their reader; more push out the oldest.
const MESSAGES_MAX: usize = 4096;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    remote: SocketAddr,
    id: u32,
    side: Side,
    protection: Arc<Protection>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the next datagram.
    number: u64,
    incoming: Incoming,
    outgoing: Outgoing,
    messages: VecDeque<Bytes>,
    message_reader: Option<Waker>,
    /// The other side has dropped the connection.
    gone: bool,
}

#[derive(Default)]
struct Incoming {
    trains: VecDeque<Train>,
    position: u64,
    end: Option<u64>,
    spent: u64,
    granted: u64,
    reader: Option<Waker>,
}

#[derive(Default)]
struct Outgoing {
    position: u64,
    spent: u64,
    credit: u64,
    ended: bool,
    writer: Option<Waker>,
}

/// Datagrams of one connection that arrived together.
pub(crate) struct Train {
    buffer: Vec<u8>,
    /// What has not been opened yet.
    closed: Range<usize>,
    stride: usize,
    /// What has been opened and not been read yet.
    open: Range<usize>,
}

/// What a writer has sent.
struct Part {
    taken: usize,
    cost: u64,
    segments: u64,
}

impl Train {
    pub(crate) fn new(buffer: Vec<u8>, length: usize, stride: usize) -> Self {
        Self { buffer, closed: 0..length, stride, open: 0..0 }
    }
}

fn cost(payload: usize) -> u64 {
    payload.max(COST_MIN) as u64
}

fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}

fn missing() -> io::Error {
    let what = "a datagram is missing, and nothing is repaired here: measure where nothing is lost";
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("gone", &self.gone).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(
        remote: SocketAddr,
        id: u32,
        side: Side,
        protection: Arc<Protection>,
    ) -> Self {
        Self { remote, id, side, protection, state: Mutex::default() }
    }

    pub(crate) fn key(&self) -> (SocketAddr, u32) {
        (self.remote, self.id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of a stream that one datagram carries.
    fn payload_max(&self) -> usize {
        DATAGRAM_MAX - HEADER - POSITION - self.protection.tag()
    }

    /// Appends one datagram to `out`.
    fn write(&self, out: &mut Vec<u8>, header: (Kind, u64), body: [&[u8]; 2]) {
        let (kind, number) = header;
        let header = Header { kind, connection: self.id, number };
        let start = out.len();
        header.encode(out);
        body.iter().for_each(|part| out.extend_from_slice(part));
        self.protection.seal(self.side, header, out, start);
    }

    /// Sends a datagram that is not of the stream.
    fn send_control(
        &self,
        port: &Port,
        state: &mut State,
        kind: Kind,
        body: &[u8],
    ) -> io::Result<()> {
        let number = state.number;
        state.number += 1;
        port.send(self.remote, None, |out| self.write(out, (kind, number), [body, &[]]))
    }

    /// Says what the other side may send: hello or its answer. If it gets lost, it is said again.
    pub(crate) fn greet(&self, port: &Port) {
        let state = &mut *self.state();
        state.incoming.granted = state.incoming.granted.max(port.first_share());
        let granted = state.incoming.granted.to_be_bytes();
        let kind = match self.side {
            Side::Client => Kind::Hello,
            Side::Server => Kind::Welcome,
        };
        let _ = self.send_control(port, state, kind, &granted);
    }

    /// Resolves when the other side has answered.
    pub(crate) fn poll_answered(&self, cx: &Context<'_>) -> Poll<()> {
        let outgoing = &mut self.state().outgoing;
        if outgoing.credit > 0 {
            return Poll::Ready(());
        }
        outgoing.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn on_credit(&self, credit: u64) {
        let outgoing = &mut self.state().outgoing;
        if credit > outgoing.credit {
            outgoing.credit = credit;
            wake(&mut outgoing.writer);
        }
    }

    pub(crate) fn on_data(&self, train: Train) {
        let incoming = &mut self.state().incoming;
        if incoming.trains.len() < TRAINS_MAX {
            incoming.trains.push_back(train);
            wake(&mut incoming.reader);
        }
    }

    pub(crate) fn on_control(&self, port: &Port, header: Header, datagram: &mut [u8]) {
        let from = self.side.other();
        let Some(body) = self.protection.open(from, header, datagram) else { return };
        let body = &datagram[body];
        match header.kind {
            Kind::Hello if self.side == Side::Server => self.greet(port),
            Kind::Hello | Kind::Data => {}
            Kind::Welcome | Kind::Credit => self.on_credit(integer(body).unwrap_or_default()),
            Kind::End => self.on_end(integer(body)),
            Kind::Message => self.on_message(Bytes::copy_from_slice(body)),
            Kind::Bye => self.on_bye(),
        }
    }

    fn on_end(&self, end: Option<u64>) {
        let incoming = &mut self.state().incoming;
        incoming.end = end;
        wake(&mut incoming.reader);
    }

    fn on_message(&self, message: Bytes) {
        let state = &mut *self.state();
        if state.messages.len() >= MESSAGES_MAX {
            state.messages.pop_front();
        }
        state.messages.push_back(message);
        wake(&mut state.message_reader);
    }

    fn on_bye(&self) {
        let state = &mut *self.state();
        state.gone = true;
        wake(&mut state.incoming.reader);
        wake(&mut state.outgoing.writer);
        wake(&mut state.message_reader);
    }

    /// Fills `buf` with what has arrived.
    pub(crate) fn poll_read(
        &self,
        port: &Port,
        cx: &Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &mut *self.state();
        let before = buf.filled().len();
        while buf.remaining() > 0 && self.read_some(port, &mut state.incoming, buf)? {}
        let incoming = &mut state.incoming;
        if buf.filled().len() > before || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match incoming.end {
            Some(end) if end == incoming.position => Poll::Ready(Ok(())),
            Some(_) => Poll::Ready(Err(missing())),
            None if state.gone => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => {
                incoming.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether there was anything to read.
    fn read_some(
        &self,
        port: &Port,
        incoming: &mut Incoming,
        buf: &mut ReadBuf<'_>,
    ) -> io::Result<bool> {
        let Some(train) = incoming.trains.front_mut() else { return Ok(false) };
        if train.open.is_empty() {
            if train.closed.is_empty() {
                if let Some(train) = incoming.trains.pop_front() {
                    port.recycle(train.buffer);
                }
                return Ok(true);
            }
            self.open_next(train, &mut incoming.position, &mut incoming.spent)?;
        }
        let length = train.open.len().min(buf.remaining());
        let (now, _) = train.buffer[train.open.clone()].split_at(length);
        buf.put_slice(now);
        train.open.start += length;
        Ok(true)
    }

    fn open_next(&self, train: &mut Train, position: &mut u64, spent: &mut u64) -> io::Result<()> {
        let start = train.closed.start;
        let end = train.closed.end.min(start + train.stride);
        train.closed.start = end;
        let datagram = &mut train.buffer[start..end];
        let header = Header::decode(datagram).ok_or_else(missing)?;
        let body = self.protection.open(self.side.other(), header, datagram);
        let body = body.filter(|body| body.len() >= POSITION).ok_or_else(missing)?;
        if integer(&datagram[body.clone()]) != Some(*position) {
            return Err(missing());
        }
        train.open = start + body.start + POSITION..start + body.end;
        *position += train.open.len() as u64;
        *spent += cost(train.open.len());
        Ok(())
    }

    /// Grants what has been read, when that is half of what there is.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it is due and cannot be sent now.
    pub(crate) fn grant(&self, port: &Port) -> io::Result<()> {
        let state = &mut *self.state();
        let share = port.share();
        let limit = state.incoming.spent + share;
        if limit < state.incoming.granted + share / 2 {
            return Ok(());
        }
        self.send_control(port, state, Kind::Credit, &limit.to_be_bytes())?;
        state.incoming.granted = limit;
        Ok(())
    }

    /// Sends as much of `bytes` as one train and the credit hold.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the socket takes nothing now; what the system says.
    pub(crate) fn poll_write(
        &self,
        port: &Port,
        cx: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.state();
        if state.gone || state.outgoing.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let credit = state.outgoing.credit - state.outgoing.spent;
        let part = self.part(bytes.len(), credit, port.segments_max());
        if part.taken == 0 && !bytes.is_empty() {
            state.outgoing.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if part.taken > 0 {
            self.send_part(port, state, &bytes[..part.taken], part.segments)?;
        }
        state.outgoing.position += part.taken as u64;
        state.outgoing.spent += part.cost;
        Poll::Ready(Ok(part.taken))
    }

    /// How much of `length` bytes goes into one train.
    fn part(&self, length: usize, credit: u64, segments_max: usize) -> Part {
        let mut part = Part { taken: 0, cost: 0, segments: 0 };
        for _ in 0..segments_max {
            let payload = (length - part.taken).min(self.payload_max());
            if payload == 0 || part.cost + cost(payload) > credit {
                break;
            }
            part.taken += payload;
            part.cost += cost(payload);
            part.segments += 1;
        }
        part
    }

    fn send_part(
        &self,
        port: &Port,
        state: &mut State,
        bytes: &[u8],
        segments: u64,
    ) -> io::Result<()> {
        let mut number = state.number;
        // Even if the socket takes nothing: a number is a nonce, and the next bytes are others.
        state.number += segments;
        let mut position = state.outgoing.position;
        let segment = (segments > 1).then_some(DATAGRAM_MAX);
        port.send(self.remote, segment, |out| {
            for payload in bytes.chunks(self.payload_max()) {
                self.write(out, (Kind::Data, number), [&position.to_be_bytes(), payload]);
                number += 1;
                position += payload.len() as u64;
            }
        })
    }

    /// Ends our half of the stream.
    ///
    /// # Errors
    /// As for [`Self::poll_write`].
    pub(crate) fn end(&self, port: &Port) -> io::Result<()> {
        let state = &mut *self.state();
        if state.gone || state.outgoing.ended {
            return Ok(());
        }
        let end = state.outgoing.position.to_be_bytes();
        self.send_control(port, state, Kind::End, &end)?;
        state.outgoing.ended = true;
        Ok(())
    }

    /// Tells the other side that nobody is here any more, if it can be told now.
    pub(crate) fn leave(&self, port: &Port) {
        let state = &mut *self.state();
        let _ = self.send_control(port, state, Kind::Bye, &[]);
        state.gone = true;
    }

    /// Sends a message; if the socket takes nothing now, it is lost.
    pub(crate) fn send_message(&self, port: &Port, message: &[u8]) -> io::Result<()> {
        let max = DATAGRAM_MAX - HEADER - self.protection.tag();
        if message.len() > max {
            let what = format!("{} bytes do not fit a message of {max}", message.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let state = &mut *self.state();
        match self.send_control(port, state, Kind::Message, message) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(crate) fn poll_message(&self, cx: &Context<'_>) -> Poll<io::Result<Bytes>> {
        let state = &mut *self.state();
        match state.messages.pop_front() {
            Some(message) => Poll::Ready(Ok(message)),
            None if state.gone => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => {
                state.message_reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
