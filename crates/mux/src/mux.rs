//! The machine: all streams and datagrams of one connection.

mod receive;
mod run;
mod transmit;

pub use run::StreamRun;

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    mem::size_of,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    Config, DatagramTooLarge, Event, MuxStats, Params, Priority, ReadError, Side, StreamId,
    VARINT_MAX, Violation, ViolationCode, WriteError,
    datagrams::{DatagramReceiver, DatagramSender},
    frame::PAYLOAD_MAX,
    pages::SparePages,
    schedule::Schedule,
    send::Bounds,
    stream::Stream,
    window::{ROUND_TRIP_MIN, Window},
};

/// All streams and datagrams of one connection; see the crate's page.
///
/// The host calls one side at a time: after every call of the application side it asks
/// [`Self::wants_to_send`], after every call of the wire side it also drains
/// [`Self::poll_event`].
#[derive(Debug)]
pub struct Mux {
    side: Side,
    config: Config,
    /// What the remote is ready to hold; nothing is sent before it is known.
    remote: Option<Params>,
    streams: HashMap<StreamId, Box<Stream>, BuildHasherDefault<IdHasher>>,
    local: LocalStreams,
    accepting: RemoteStreams,
    send_credit: SendCredit,
    recv_credit: RecvCredit,
    /// How long the carrier's shortest round trip took.
    round_trip: Option<Duration>,
    /// What a stream takes from the application, as the way is now.
    send_bounds: Bounds,
    schedule: Schedule,
    datagrams_out: DatagramSender,
    datagrams_in: DatagramReceiver,
    /// When a datagram with a deadline was last queued.
    deadline_queued: Option<Instant>,
    /// Longest datagram that fits on the path, whatever the remote takes.
    path_datagram_max: usize,
    events: Events,
    /// Gaps in all streams together.
    gaps: usize,
    spare: SparePages,
    stats: MuxStats,
}

/// Streams that this side opens.
#[derive(Debug, Default)]
struct LocalStreams {
    opened: u64,
    max: u64,
    /// An open was refused: say when one can succeed.
    opener_waits: bool,
}

/// Streams that the remote opens.
#[derive(Debug)]
struct RemoteStreams {
    opened: u64,
    closed: u64,
    told: u64,
    to_accept: VecDeque<StreamId>,
    to_tell: bool,
}

/// What the remote lets us send on all streams together (RFC 9000 §4.1).
#[derive(Debug, Default)]
struct SendCredit {
    sent: u64,
    max: u64,
}

/// What we let the remote send on all streams together.
#[derive(Debug)]
struct RecvCredit {
    received: u64,
    consumed: u64,
    told: u64,
    to_tell: bool,
    window: Window,
}

#[derive(Debug, Default)]
struct Events {
    queue: VecDeque<Event>,
    stream_opened: bool,
    streams_available: bool,
    datagram_received: bool,
}

impl Mux {
    /// A machine with no stream, which holds at most what `config` says.
    #[must_use]
    pub fn new(side: Side, config: Config) -> Self {
        let window = Window::new(Config::CONNECTION_WINDOW_FIRST, config.connection_window);
        Self {
            side,
            config,
            remote: None,
            streams: HashMap::default(),
            local: LocalStreams::default(),
            accepting: RemoteStreams {
                opened: 0,
                closed: 0,
                told: config.streams.into(),
                to_accept: VecDeque::new(),
                to_tell: false,
            },
            send_credit: SendCredit::default(),
            recv_credit: RecvCredit {
                received: 0,
                consumed: 0,
                told: window.size(),
                to_tell: false,
                window,
            },
            round_trip: None,
            send_bounds: Bounds {
                buffer: config.send_buffer.min(Config::SEND_BUFFER_FIRST),
                queue: u32::MAX,
            },
            schedule: Schedule::default(),
            datagrams_out: DatagramSender::new(config.datagram_queue, config.redundancy_percent),
            datagrams_in: DatagramReceiver::new(config.datagram_queue),
            deadline_queued: None,
            path_datagram_max: PAYLOAD_MAX,
            events: Events::default(),
            gaps: 0,
            spare: SparePages::new(config.stream_window),
            stats: MuxStats::default(),
        }
    }

    /// What this side is ready to hold, for the remote.
    #[must_use]
    pub fn params(&self) -> Params {
        Params::of(&self.config)
    }

    /// Learns what the remote is ready to hold; nothing is sent before.
    ///
    /// # Errors
    /// [`ViolationCode::TransportParameter`] when it makes no sense or came before.
    pub fn on_params(&mut self, remote: Params) -> Result<(), Violation> {
        const CODE: ViolationCode = ViolationCode::TransportParameter;
        if self.remote.is_some() {
            return Err(Violation::new(CODE, "parameters a second time"));
        }
        if remote.streams > StreamId::INDEX_MAX {
            return Err(Violation::new(CODE, "more streams than can be numbered"));
        }
        self.remote = Some(remote);
        self.local.max = self.local.max.max(remote.streams);
        self.send_credit.max = self.send_credit.max.max(remote.connection_window);
        for (&id, stream) in &mut self.streams {
            stream.send.on_max_data(remote.stream_window);
            self.schedule.ready(id, stream);
        }
        if self.local.opened < self.local.max {
            self.events.push_streams_available();
        }
        Ok(())
    }

    /// Whether the remote's parameters are known.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.remote.is_some()
    }

    /// Opens a stream; `None` while the remote's limit is reached, and
    /// [`Event::StreamsAvailable`] follows.
    ///
    /// The remote learns of it from its first frame.
    pub fn open(&mut self, priority: Priority) -> Option<StreamId> {
        if self.local.opened >= self.local.max {
            self.local.opener_waits = true;
            return None;
        }
        let id = StreamId::new(self.side, self.local.opened);
        self.local.opened += 1;
        self.insert(id, priority);
        Some(id)
    }

    /// The next stream that the remote opened, in its order.
    pub fn accept(&mut self) -> Option<StreamId> {
        self.accepting.to_accept.pop_front()
    }

    /// Takes some of `bytes`.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] when the buffer is full, else why nothing can be written any more.
    pub fn write(&mut self, id: StreamId, bytes: &[u8]) -> Result<usize, WriteError> {
        let stream = self.streams.get_mut(&id).ok_or(WriteError::UnknownStream)?;
        let written = stream.send.write(bytes, self.send_bounds, &mut self.spare)?;
        self.stats.stream_bytes_queued += written as u64;
        self.schedule.ready(id, stream);
        Ok(written)
    }

    /// Reads what has arrived in order; 0 is the end, if `out` is not empty.
    ///
    /// # Errors
    /// [`ReadError::Blocked`] when nothing has arrived, else why nothing will.
    pub fn read(&mut self, id: StreamId, out: &mut [u8]) -> Result<usize, ReadError> {
        let mut filled = 0;
        self.read_with(id, out.len(), |slice| {
            out[filled..filled + slice.len()].copy_from_slice(slice);
            filled += slice.len();
        })
    }

    /// As [`Self::read`], but hands out slices, at most `max` bytes together, instead of copying.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_with(
        &mut self,
        id: StreamId,
        max: usize,
        take: impl FnMut(&[u8]),
    ) -> Result<usize, ReadError> {
        let stream = self.streams.get_mut(&id).ok_or(ReadError::UnknownStream)?;
        let result = stream.recv.read(max, &mut self.spare, take);
        match result {
            Ok(read) if read > 0 => {
                if stream.recv.wants_to_send() {
                    self.schedule.control(id, stream);
                }
                self.recv_credit.consume(read as u64);
            }
            Err(ReadError::Blocked) => {}
            Ok(_) | Err(ReadError::Reset(_) | ReadError::UnknownStream) => self.retire(id),
        }
        result
    }

    /// Marks the end; what was written before is still delivered.
    ///
    /// # Errors
    /// [`WriteError`] when the stream has ended before, on this side or by the remote's wish.
    pub fn finish(&mut self, id: StreamId) -> Result<(), WriteError> {
        let stream = self.streams.get_mut(&id).ok_or(WriteError::UnknownStream)?;
        stream.send.finish()?;
        self.schedule.ready(id, stream);
        Ok(())
    }

    /// Abandons the sending half: what was not delivered may never be.
    pub fn reset(&mut self, id: StreamId, code: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        self.stats.stream_bytes_queued -= stream.send.reset(code, &mut self.spare);
        self.schedule.control(id, stream);
        self.retire(id);
    }

    /// Wants no more of the receiving half; what was not read is thrown away.
    pub fn stop(&mut self, id: StreamId, code: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let gaps = stream.recv.gaps();
        let discarded = stream.recv.stop(code, &mut self.spare);
        self.gaps -= gaps - stream.recv.gaps();
        self.schedule.control(id, stream);
        self.recv_credit.consume(discarded);
        self.retire(id);
    }

    /// Queues a datagram: sent once, or repaired until `expires` and never sent later.
    ///
    /// When the queue is full the oldest is dropped and counted.
    ///
    /// # Errors
    /// [`DatagramTooLarge`] above [`Self::datagram_max`].
    pub fn send_datagram(
        &mut self,
        now: Instant,
        payload: Bytes,
        expires: Option<Instant>,
    ) -> Result<(), DatagramTooLarge> {
        let max = self.datagram_max();
        if payload.len() > max {
            return Err(DatagramTooLarge { size: payload.len(), max });
        }
        if expires.is_some_and(|expires| expires <= now) {
            self.stats.datagrams_expired += 1;
            return Ok(());
        }
        if expires.is_some() {
            self.deadline_queued = Some(now);
        }
        self.datagrams_out.push(payload, expires, &mut self.stats);
        Ok(())
    }

    /// When a datagram with a deadline was last queued: live media is under way.
    #[must_use]
    pub fn deadline_queued(&self) -> Option<Instant> {
        self.deadline_queued
    }

    /// The oldest datagram that has arrived and was not taken.
    pub fn recv_datagram(&mut self) -> Option<Bytes> {
        self.datagrams_in.pop()
    }

    /// The longest datagram in bytes that can be sent now.
    #[must_use]
    pub fn datagram_max(&self) -> usize {
        let remote = self.remote.map_or(0, |params| params.datagram_max);
        usize::try_from(remote).unwrap_or(usize::MAX).min(self.path_datagram_max)
    }

    /// Learns from the carrier how long a datagram may be to fit into an empty packet; longer ones
    /// in the queue are dropped when their turn comes.
    pub fn set_path_datagram_max(&mut self, max: usize) {
        self.path_datagram_max = max.min(PAYLOAD_MAX);
    }

    /// Learns from the carrier how long its shortest round trip took; windows grow only for who
    /// consumes much of them in that time, and not at all while it is unknown.
    ///
    /// The shortest, because what queues add is no reason to hold more.
    ///
    /// On short ways streams take no more ahead than [`Config::SEND_QUEUE_SHORT`]: the application
    /// is asked for more in time, and what it has just written is still in the processor's cache
    /// when it is sent.
    pub fn on_round_trip(&mut self, shortest: Duration) {
        self.round_trip = Some(shortest);
        self.send_bounds.queue =
            if shortest < ROUND_TRIP_MIN { Config::SEND_QUEUE_SHORT } else { u32::MAX };
        self.datagrams_out.on_round_trip(shortest);
    }

    /// Learns that the carrier loses packets, and how many bytes each costs beside its frames.
    /// Only then are copies of datagrams with a deadline sent in advance.
    pub fn set_packet_overhead(&mut self, bytes: usize) {
        self.datagrams_out.set_packet_overhead(bytes);
    }

    /// When [`Self::handle_timeout`] is to be called: a copy in advance of a datagram has found no
    /// packet to ride in.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.datagrams_out.poll_timeout()
    }

    /// The time has come that [`Self::poll_timeout`] named; there may be something to send.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.datagrams_out.handle_timeout(now);
    }

    /// Learns from the carrier how many bytes it may have under way. A stream takes four times as
    /// much from the application, so that there is always more to send while a lost piece, and all
    /// that was sent after it, is kept; within [`Config::SEND_BUFFER_MIN`] and
    /// [`Config::send_buffer`].
    pub fn on_congestion_window(&mut self, bytes: u64) {
        let wanted = u32::try_from(bytes.saturating_mul(4)).unwrap_or(u32::MAX);
        self.send_bounds.buffer = wanted.max(Config::SEND_BUFFER_MIN).min(self.config.send_buffer);
    }

    /// Learns from the carrier that nothing has been sent for a while: memory that was kept for
    /// the next bytes is given back.
    pub fn on_quiet(&mut self) {
        self.spare.clear();
    }

    /// What the application should look at next.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.queue.pop_front()?;
        match event {
            Event::StreamOpened => self.events.stream_opened = false,
            Event::StreamsAvailable => self.events.streams_available = false,
            Event::DatagramReceived => self.events.datagram_received = false,
            Event::Readable(_) | Event::Writable(_) => {}
        }
        Some(event)
    }

    /// Counters and queue lengths of this moment.
    #[must_use]
    pub fn stats(&self) -> MuxStats {
        self.stats
    }

    /// Bytes held now, bookkeeping included: what the remote sent, and what it has yet to receive.
    #[must_use]
    pub fn memory(&self) -> usize {
        let sent: usize = self.streams.values().map(|stream| stream.send.memory()).sum();
        sent + self.datagrams_out.memory() + self.memory_received()
    }

    /// Bytes held now because of what the remote sent; at most [`Config::memory_max`].
    #[must_use]
    pub fn memory_received(&self) -> usize {
        let entry = size_of::<StreamId>() + size_of::<Box<Stream>>() + 1;
        let received: usize = self.streams.values().map(|stream| stream.recv.memory()).sum();
        received
            + self.streams.len() * size_of::<Stream>()
            + self.streams.capacity() * entry
            + self.accepting.to_accept.capacity() * size_of::<StreamId>()
            + self.schedule.memory()
            + self.events.queue.capacity() * size_of::<Event>()
            + self.datagrams_in.memory()
            + self.spare.memory()
    }

    fn insert(&mut self, id: StreamId, priority: Priority) -> &mut Stream {
        let max_data = self.remote.map_or(0, |params| params.stream_window);
        let window = Window::new(Config::STREAM_WINDOW_FIRST, self.config.stream_window);
        let stream = Stream::new(priority, max_data, window);
        self.streams.entry(id).or_insert_with(|| Box::new(stream))
    }

    /// Forgets the stream if both directions are over; a stream of the remote frees a place.
    fn retire(&mut self, id: StreamId) {
        if !self.streams.get(&id).is_some_and(|stream| stream.is_over()) {
            return;
        }
        self.streams.remove(&id);
        if id.initiator() == self.side {
            return;
        }
        self.accepting.closed += 1;
        self.tell_places();
    }

    /// Tells a new limit of streams, once the remote has few left of those it knows of.
    fn tell_places(&mut self) {
        let limit = u64::from(self.config.streams);
        let is_news = self.accepting.closed + limit > self.accepting.told;
        // Half a limit in hand lets one frame speak for many streams.
        let is_needed = self.accepting.told - self.accepting.opened <= limit / 2;
        self.accepting.to_tell |= is_news && is_needed;
    }
}

impl RecvCredit {
    /// Bytes that make room for others; a new limit is told once a part of the window is used up.
    fn consume(&mut self, bytes: u64) {
        self.consumed += bytes;
        self.to_tell |= self.told - self.consumed <= self.window.told_again_below();
    }

    /// A stream has much that waits for a lost piece.
    fn on_stalled(&mut self) {
        self.to_tell |= self.window.on_stalled(self.received - self.consumed);
    }

    /// The raised limit to send; it counts as sent.
    fn poll_limit(&mut self, now: Instant, round_trip: Option<Duration>) -> u64 {
        self.to_tell = false;
        self.window.on_tell(now, self.consumed, round_trip);
        self.told = (self.consumed + self.window.size()).min(VARINT_MAX);
        self.told
    }
}

impl Events {
    fn push_stream_opened(&mut self) {
        if !std::mem::replace(&mut self.stream_opened, true) {
            self.queue.push_back(Event::StreamOpened);
        }
    }

    fn push_streams_available(&mut self) {
        if !std::mem::replace(&mut self.streams_available, true) {
            self.queue.push_back(Event::StreamsAvailable);
        }
    }

    fn push_datagram_received(&mut self) {
        if !std::mem::replace(&mut self.datagram_received, true) {
            self.queue.push_back(Event::DatagramReceived);
        }
    }
}

/// Stream numbers are dense and bounded by limits: spreading the low bits is enough.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
