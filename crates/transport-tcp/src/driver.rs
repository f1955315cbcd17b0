//! The task that moves frames between the machine and the carrier.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use portolan_mux::{
    Reader, SentFrame, Violation, ViolationCode,
    frame::{Close, CloseCause, DecodeError, Frame, Session, is_session_frame},
};
use portolan_mux_io::MuxHost;
use portolan_transport::{ByteStream, CloseCode, CloseReason};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_rustls::TlsStream;
use tokio_util::io::poll_read_buf;

use crate::{
    batch::Batch,
    counted::Counted,
    error::carrier_failed,
    greeting::words,
    heartbeat::Heartbeat,
    host::{Host, State},
};

/// Bytes that a quiet connection may keep for its next frames.
const KEEP: usize = 2 << 10;

/// Room for reading: a few records of TLS.
const READ: usize = 64 << 10;

/// Reads before the other direction gets its turn.
const READS: usize = 16;

/// Time for the other side to take our farewell and say its own.
const FAREWELL: Duration = Duration::from_secs(3);

/// The task that moves frames between the machine and the carrier, until the connection is gone.
pub(crate) struct Driver<S> {
    host: Arc<Host>,
    carrier: TlsStream<Counted<S>>,
    incoming: BytesMut,
    outgoing: Vec<u8>,
    /// How much of `outgoing` the carrier has taken.
    written: usize,
    batch: Batch,
    must_flush: bool,
    sent: Vec<SentFrame>,
    heartbeat: Heartbeat,
    timer: Pin<Box<Sleep>>,
}

/// Why the driver stops.
#[derive(Debug)]
enum End {
    /// This side closed.
    Local { code: CloseCode, reason: String },
    /// The other side closed.
    Remote(CloseReason),
    /// The other side broke a rule.
    Violation(Violation),
    /// Nothing was heard for too long.
    TimedOut,
    /// The carrier failed or ended.
    Lost(String),
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl<S: ByteStream> Driver<S> {
    /// `incoming` came after the greeting.
    pub(crate) fn new(
        host: Arc<Host>,
        carrier: TlsStream<Counted<S>>,
        incoming: BytesMut,
        heartbeat: Heartbeat,
    ) -> Self {
        let timer = Box::pin(sleep_until(Instant::now()));
        Self {
            host,
            carrier,
            incoming,
            outgoing: Vec::new(),
            written: 0,
            batch: Batch::new(Instant::now()),
            must_flush: false,
            sent: Vec::new(),
            heartbeat,
            timer,
        }
    }

    /// Runs until the connection is gone and the farewells are said, which takes a bounded time.
    ///
    /// Boxed, because a task would hold what it is given once more for each step that moves it.
    pub(crate) async fn run(mut self: Box<Self>) {
        let end = match self.take_frames(Instant::now()) {
            Ok(()) => poll_fn(|cx| self.poll_end(cx)).await,
            Err(end) => end,
        };
        self.host.end(end.reason());
        if let Some(last) = end.farewell() {
            // In vain after all: the other side learns it from its own clock.
            let _ = timeout(FAREWELL, Box::pin(self.say_farewell(last))).await;
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.host.driver().register(cx.waker());
        match self.step(cx) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let now = Instant::now();
        self.read(cx, now)?;
        if let Some((code, reason)) = self.host.lock().farewell.take() {
            return Err(End::Local { code, reason });
        }
        if self.heartbeat.on_time(now) {
            self.host.lock().mux.on_quiet();
        }
        self.write(cx, now)?;
        self.watch(cx, now)
    }

    /// Sleeps until the heartbeat wants the clock again.
    fn watch(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        if self.heartbeat.is_dead(now) {
            return Err(End::TimedOut);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            self.timer.as_mut().reset(self.heartbeat.deadline(now));
        }
        Ok(())
    }

    /// Handles what has arrived.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        for _ in 0..READS {
            self.incoming.reserve(READ / 4);
            match poll_read_buf(Pin::new(&mut self.carrier), cx, &mut self.incoming) {
                Poll::Pending => {
                    if self.incoming.is_empty() {
                        self.incoming = BytesMut::new();
                    }
                    return Ok(());
                }
                Poll::Ready(Ok(0)) => {
                    return Err(End::Lost("the other side ended it without a farewell".to_owned()));
                }
                Poll::Ready(Ok(_)) => {
                    self.heartbeat.on_heard(now);
                    self.take_frames(now)?;
                }
                Poll::Ready(Err(error)) => return Err(End::Lost(carrier_failed(&error))),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Handles the whole frames in what has arrived.
    fn take_frames(&mut self, now: Instant) -> Result<(), End> {
        let total = self.incoming.len();
        let mut left = Reader::new(&self.incoming);
        let mut state = self.host.lock();
        let result = loop {
            let mut reader = left.clone();
            let Ok(kind) = reader.varint() else { break Ok(()) };
            let taken = if is_session_frame(kind) {
                self.host.counters().session_frames_received.fetch_add(1, Relaxed);
                take_session(&mut self.heartbeat, &mut state, now, kind, &mut reader)
            } else {
                take_stream(&mut state, now, kind, &mut reader)
            };
            match taken {
                Ok(true) => left = reader,
                Ok(false) => break Ok(()),
                Err(end) => break Err(end),
            }
        };
        let woken = {
            let State { mux, waiters, .. } = &mut *state;
            waiters.dispatch(mux, self.host.signals())
        };
        drop(state);
        woken.wake();
        let used = total - left.remaining();
        self.incoming.advance(used);
        result
    }

    /// Gives the carrier what there is to send, batch by batch.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        loop {
            if self.written == self.outgoing.len() && !self.next_batch(now) {
                return self.flush(cx, now);
            }
            let rest = &self.outgoing[self.written..];
            match Pin::new(&mut self.carrier).poll_write(cx, rest) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(written)) => {
                    self.written += written;
                    self.must_flush = true;
                    self.heartbeat.on_sent(now);
                }
                Poll::Ready(Err(error)) => return Err(self.broken(cx, now, &error)),
            }
        }
    }

    /// Takes the next frames; answers whether there are any.
    fn next_batch(&mut self, now: Instant) -> bool {
        self.batch.on_taken(now, self.written);
        self.outgoing.clear();
        self.written = 0;
        let session = self.heartbeat.poll_frames(now, &mut self.outgoing);
        self.host.counters().session_frames_sent.fetch_add(session, Relaxed);
        let mut state = self.host.lock();
        let State { mux, waiters, .. } = &mut *state;
        if mux.wants_to_send() {
            mux.poll_frames(now.into_std(), &mut self.outgoing, self.batch.max(), &mut self.sent);
            // A byte stream loses nothing: what it was given has arrived, or the connection ends.
            self.sent.drain(..).for_each(|frame| mux.on_acked(now.into_std(), &frame));
        }
        let woken = waiters.dispatch(mux, self.host.signals());
        drop(state);
        woken.wake();
        if self.outgoing.is_empty() && self.outgoing.capacity() > KEEP {
            self.outgoing = Vec::new();
            self.sent = Vec::new();
        }
        !self.outgoing.is_empty()
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        if !self.must_flush && !self.carrier.get_ref().1.wants_write() {
            return Ok(());
        }
        match Pin::new(&mut self.carrier).poll_flush(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.must_flush = false;
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(self.broken(cx, now, &error)),
        }
    }

    /// The carrier takes no more; the other side's farewell may still wait to be read.
    fn broken(&mut self, cx: &mut Context<'_>, now: Instant, error: &std::io::Error) -> End {
        match self.read(cx, now) {
            Ok(()) => End::Lost(carrier_failed(error)),
            Err(end) => end,
        }
    }

    /// Finishes the batch under way, says `last`, and waits for the other side's end.
    async fn say_farewell(mut self: Box<Self>, last: Last) {
        let mut rest = Vec::new();
        if let Last::Words { cause, reason } = &last {
            rest.extend_from_slice(&self.outgoing[self.written..]);
            Session::Close(Close { cause: *cause, reason: reason.as_bytes() }).encode(&mut rest);
            self.host.counters().session_frames_sent.fetch_add(1, Relaxed);
        }
        self.incoming = BytesMut::new();
        let (mut reader, mut writer) = tokio::io::split(self.carrier);
        let say = async {
            if writer.write_all(&rest).await.is_ok() {
                let _ = writer.shutdown().await;
            }
        };
        // Read on while writing, so that two sides that close at once do not wait for each other,
        // and to the end, because an end with unread bytes would take the farewell with it.
        let hear = async {
            let mut scratch = vec![0; READ / 4];
            while let Ok(1..) = reader.read(&mut scratch).await {}
        };
        tokio::join!(say, hear);
    }
}

/// The last thing to do on the carrier.
#[derive(Debug)]
enum Last {
    /// Say why.
    Words { cause: CloseCause, reason: String },
    /// The other side has said why: just end.
    Nothing,
}

impl End {
    fn reason(&self) -> CloseReason {
        match self {
            Self::Local { code, reason } => {
                CloseReason::Local { code: *code, reason: reason.clone() }
            }
            Self::Remote(reason) => reason.clone(),
            Self::Violation(violation) => CloseReason::Lost {
                detail: format!("the other side broke the protocol: {violation}"),
            },
            Self::TimedOut => CloseReason::TimedOut,
            Self::Lost(detail) => CloseReason::Lost { detail: detail.clone() },
        }
    }

    fn farewell(self) -> Option<Last> {
        match self {
            Self::Local { code, reason } => {
                Some(Last::Words { cause: CloseCause::Application(code.0), reason })
            }
            Self::Violation(violation) => Some(Last::Words {
                cause: CloseCause::Violation(violation.code.number()),
                reason: violation.detail.to_owned(),
            }),
            Self::Remote(_) => Some(Last::Nothing),
            Self::TimedOut | Self::Lost(_) => None,
        }
    }
}

/// Takes a frame of a stream; answers whether it was whole.
fn take_stream(
    state: &mut State,
    now: Instant,
    kind: u64,
    reader: &mut Reader<'_>,
) -> Result<bool, End> {
    match Frame::decode(kind, reader) {
        Ok(frame) => {
            state.mux.on_frame(now.into_std(), frame)?;
            Ok(true)
        }
        Err(DecodeError::Incomplete) => Ok(false),
        Err(DecodeError::Violation(violation)) => Err(violation.into()),
    }
}

/// Takes a frame of the session; answers whether it was whole.
fn take_session(
    heartbeat: &mut Heartbeat,
    state: &mut State,
    now: Instant,
    kind: u64,
    reader: &mut Reader<'_>,
) -> Result<bool, End> {
    match Session::decode(kind, reader) {
        Ok(Session::Ping(number)) => heartbeat.on_ping(number),
        Ok(Session::Pong(number)) => {
            if let Some(rtt) = heartbeat.on_pong(now, number) {
                state.rtt = Some(rtt);
                state.mux.on_round_trip(rtt);
            }
        }
        Ok(Session::Close(close)) => return Err(End::Remote(reason_of(&close))),
        Ok(Session::Greeting(_)) => {
            let code = ViolationCode::ProtocolViolation;
            return Err(Violation::new(code, "a greeting a second time").into());
        }
        Err(DecodeError::Incomplete) => return Ok(false),
        Err(DecodeError::Violation(violation)) => return Err(violation.into()),
    }
    Ok(true)
}

fn reason_of(close: &Close<'_>) -> CloseReason {
    match close.cause {
        CloseCause::Application(code) => {
            CloseReason::Remote { code: CloseCode(code), reason: CloseReason::words(close.reason) }
        }
        CloseCause::Violation(_) => CloseReason::Lost {
            detail: format!("the other side says that we broke the protocol: {}", words(close)),
        },
    }
}
