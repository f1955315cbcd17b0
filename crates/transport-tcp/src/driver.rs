//! The task that moves frames between the machine and the carrier.

use std::{
    future::{Future, poll_fn},
    io::{self, Write},
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
    io::{AsyncBufRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_rustls::TlsStream;

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

/// Plaintext of one record of TLS (RFC 8446 §5.1). Frames do not reach from one into the next, so
/// that the other side can take them from where they were decrypted.
const RECORD: usize = 16 << 10;

/// Records that are read before the other direction gets its turn.
const READS: usize = 32;

/// Time for the other side to take our farewell and say its own.
const FAREWELL: Duration = Duration::from_secs(3);

/// The task that moves frames between the machine and the carrier, until the connection is gone.
pub(crate) struct Driver<S> {
    host: Arc<Host>,
    carrier: TlsStream<Counted<S>>,
    /// The beginning of a frame that was cut.
    incoming: BytesMut,
    /// The plaintext of one record.
    outgoing: Vec<u8>,
    batch: Batch,
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
        mut carrier: TlsStream<Counted<S>>,
        incoming: BytesMut,
        heartbeat: Heartbeat,
    ) -> Self {
        // What it is given at once is bounded by the batch.
        match &mut carrier {
            TlsStream::Client(tls) => tls.get_mut().1.set_buffer_limit(None),
            TlsStream::Server(tls) => tls.get_mut().1.set_buffer_limit(None),
        }
        let timer = Box::pin(sleep_until(Instant::now()));
        Self {
            host,
            carrier,
            incoming,
            outgoing: Vec::new(),
            batch: Batch::new(Instant::now()),
            sent: Vec::new(),
            heartbeat,
            timer,
        }
    }

    /// Runs until the connection is gone and the farewells are said, which takes a bounded time.
    ///
    /// Boxed, because a task would hold what it is given once more for each step that moves it.
    pub(crate) async fn run(mut self: Box<Self>) {
        let end = match self.take_rest() {
            Ok(()) => poll_fn(|cx| self.poll_end(cx)).await,
            Err(end) => end,
        };
        self.host.end(end.reason());
        if let Some(last) = end.farewell() {
            // In vain after all: the other side learns it from its own clock.
            let _ = timeout(FAREWELL, Box::pin(self.say_farewell(last))).await;
        }
    }

    /// Handles what came after the greeting.
    fn take_rest(&mut self) -> Result<(), End> {
        let rest = std::mem::take(&mut self.incoming);
        let shared = (&*self.host, &mut self.heartbeat);
        take_bytes(shared, Instant::now(), &mut self.incoming, &rest)
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
            let record = match Pin::new(&mut self.carrier).poll_fill_buf(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok([])) => {
                    return Err(End::Lost("the other side ended it without a farewell".to_owned()));
                }
                Poll::Ready(Ok(record)) => record,
                Poll::Ready(Err(error)) => return Err(End::Lost(carrier_failed(&error))),
            };
            self.heartbeat.on_heard(now);
            let len = record.len();
            let shared = (&*self.host, &mut self.heartbeat);
            take_bytes(shared, now, &mut self.incoming, record)?;
            Pin::new(&mut self.carrier).consume(len);
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Gives the carrier what there is to send, batch by batch.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        loop {
            match self.drain(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(self.broken(cx, now, &error)),
            }
            if !self.next_batch(now).map_err(|error| End::Lost(carrier_failed(&error)))? {
                return Ok(());
            }
        }
    }

    /// Writes out what is encrypted.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.batch.is_empty() && !self.carrier.get_ref().1.wants_write() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.carrier).poll_flush(cx)
    }

    /// Encrypts the next frames, record by record; answers whether there are any.
    fn next_batch(&mut self, now: Instant) -> io::Result<bool> {
        self.batch.on_taken(now);
        let session = self.heartbeat.poll_frames(now, &mut self.outgoing);
        self.host.counters().session_frames_sent.fetch_add(session, Relaxed);
        while self.batch.has_room() && self.next_record(now) {
            encrypt(&mut self.carrier, &self.outgoing)?;
            self.batch.on_given(self.outgoing.len());
            self.outgoing.clear();
        }
        if self.batch.is_empty() {
            if self.outgoing.capacity() > KEEP {
                self.outgoing = Vec::new();
                self.sent = Vec::new();
            }
            return Ok(false);
        }
        self.heartbeat.on_sent(now);
        Ok(true)
    }

    /// Fills one record with frames; answers whether there are any.
    fn next_record(&mut self, now: Instant) -> bool {
        let mut state = self.host.lock();
        let State { mux, waiters, .. } = &mut *state;
        if mux.wants_to_send() {
            let room = RECORD - self.outgoing.len();
            mux.poll_frames(now.into_std(), &mut self.outgoing, room, &mut self.sent);
            // A byte stream loses nothing: what it was given has arrived, or the connection ends.
            self.sent.drain(..).for_each(|frame| mux.on_acked(now.into_std(), &frame));
        }
        let woken = waiters.dispatch(mux, self.host.signals());
        drop(state);
        woken.wake();
        !self.outgoing.is_empty()
    }

    /// The carrier takes no more; the other side's farewell may still wait to be read.
    fn broken(&mut self, cx: &mut Context<'_>, now: Instant, error: &io::Error) -> End {
        match self.read(cx, now) {
            Ok(()) => End::Lost(carrier_failed(error)),
            Err(end) => end,
        }
    }

    /// Finishes the batch under way, says `last`, and waits for the other side's end.
    async fn say_farewell(mut self: Box<Self>, last: Last) {
        let mut rest = Vec::new();
        if let Last::Words { cause, reason } = &last {
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
            let mut scratch = vec![0; RECORD];
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

/// Encrypts one record, which waits in the session until it is written.
fn encrypt<S>(carrier: &mut TlsStream<S>, record: &[u8]) -> io::Result<()> {
    match carrier {
        TlsStream::Client(tls) => tls.get_mut().1.writer().write_all(record),
        TlsStream::Server(tls) => tls.get_mut().1.writer().write_all(record),
    }
}

/// Handles the whole frames in `bytes`, and keeps the beginning of one that is cut.
fn take_bytes(
    shared: (&Host, &mut Heartbeat),
    now: Instant,
    kept: &mut BytesMut,
    bytes: &[u8],
) -> Result<(), End> {
    if kept.is_empty() {
        let used = take_frames(shared, now, bytes)?;
        kept.extend_from_slice(bytes.get(used..).unwrap_or_default());
        return Ok(());
    }
    kept.extend_from_slice(bytes);
    let used = take_frames(shared, now, kept)?;
    kept.advance(used);
    if kept.is_empty() {
        *kept = BytesMut::new();
    }
    Ok(())
}

/// Handles the whole frames in `bytes`; answers how many bytes those are.
fn take_frames(
    (host, heartbeat): (&Host, &mut Heartbeat),
    now: Instant,
    bytes: &[u8],
) -> Result<usize, End> {
    let mut left = Reader::new(bytes);
    let mut state = host.lock();
    let result = loop {
        let mut reader = left.clone();
        let Ok(kind) = reader.varint() else { break Ok(()) };
        let taken = if is_session_frame(kind) {
            host.counters().session_frames_received.fetch_add(1, Relaxed);
            take_session(heartbeat, &mut state, now, kind, &mut reader)
        } else {
            take_stream(&mut state, now, kind, &mut reader)
        };
        match taken {
            Ok(true) => left = reader,
            Ok(false) => break Ok(()),
            Err(end) => break Err(end),
        }
    };
    let State { mux, waiters, .. } = &mut *state;
    let woken = waiters.dispatch(mux, host.signals());
    drop(state);
    woken.wake();
    result.map(|()| bytes.len() - left.remaining())
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
            if let Some(round_trip) = heartbeat.on_pong(now, number) {
                state.rtt = Some(round_trip.smoothed);
                state.mux.on_round_trip(round_trip.shortest);
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
