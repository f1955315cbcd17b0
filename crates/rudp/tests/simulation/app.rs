//! An application on one end of a connection: it follows the plan, driven by events alone, and
//! checks every byte that it reads.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use portolan_mux::{Event, Mux, Priority, ReadError, Side, StreamId, WriteError};

use crate::plan::{Ending, Plan};

/// Bytes that pass through the application at once.
const PIECE: usize = 8 * 1024;

/// What one application will do, apart from the plans of its streams.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// When it opens streams, in the order of time, counted from the connection's start.
    pub(crate) opens: VecDeque<(Duration, Priority)>,
    /// When it sends datagrams, how long they are, and for how long they may be repaired.
    pub(crate) datagrams: VecDeque<Message>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub(crate) after: Duration,
    pub(crate) size: usize,
    pub(crate) lifetime: Option<Duration>,
}

/// One end's application.
#[derive(Debug)]
pub(crate) struct App {
    seed: u64,
    side: Side,
    script: Script,
    started: Instant,
    can_open: bool,
    writing: BTreeMap<StreamId, Writing>,
    reading: BTreeMap<StreamId, Reading>,
    writable: BTreeSet<StreamId>,
    readable: BTreeSet<StreamId>,
    datagrams_sent: u32,
    datagrams_seen: BTreeSet<u32>,
}

#[derive(Debug)]
struct Writing {
    plan: Plan,
    written: u64,
    over: bool,
}

#[derive(Debug)]
struct Reading {
    plan: Plan,
    read: u64,
    /// A slow reader waits until then.
    pause: Option<Instant>,
    over: bool,
}

impl App {
    pub(crate) fn new(seed: u64, side: Side, script: Script, started: Instant) -> Self {
        Self {
            seed,
            side,
            script,
            started,
            can_open: true,
            writing: BTreeMap::new(),
            reading: BTreeMap::new(),
            writable: BTreeSet::new(),
            readable: BTreeSet::new(),
            datagrams_sent: 0,
            datagrams_seen: BTreeSet::new(),
        }
    }

    /// Does what is due and possible now.
    pub(crate) fn drive(&mut self, now: Instant, mux: &mut Mux) {
        while let Some(event) = mux.poll_event() {
            self.on_event(event, mux);
        }
        self.open_due(now, mux);
        self.send_due(now, mux);
        for id in std::mem::take(&mut self.writable) {
            self.write(id, mux);
        }
        for id in std::mem::take(&mut self.readable) {
            self.read(now, id, mux);
        }
    }

    /// When it wants to be driven again without an event.
    pub(crate) fn wake(&self) -> Option<Instant> {
        let open = self.script.opens.front().filter(|_| self.can_open).map(|(after, _)| *after);
        let message = self.script.datagrams.front().map(|message| message.after);
        let script = open.into_iter().chain(message).map(|after| self.started + after);
        let readers = self.readable.iter().filter_map(|id| self.reading.get(id)?.pause);
        script.chain(readers).min()
    }

    /// Whether all streams of both ends have come and all their directions have ended here, given
    /// how many the other end opens.
    pub(crate) fn is_done(&self, others: usize) -> bool {
        let own = |id: &&StreamId| id.initiator() == self.side;
        self.script.opens.is_empty()
            && self.script.datagrams.is_empty()
            && self.reading.keys().filter(|id| !own(id)).count() == others
            && self.writing.values().all(|writing| writing.over)
            && self.reading.values().all(|reading| reading.over)
    }

    /// What is not done yet, for the message of a failure.
    pub(crate) fn unfinished(&self) -> String {
        let writing = self.writing.iter().filter(|(_, writing)| !writing.over);
        let writing: Vec<_> =
            writing.map(|(id, w)| format!("{id:?} wrote {}/{}", w.written, w.plan.size)).collect();
        let reading = self.reading.iter().filter(|(_, reading)| !reading.over);
        let reading: Vec<_> =
            reading.map(|(id, r)| format!("{id:?} read {}/{}", r.read, r.plan.size)).collect();
        format!(
            "{:?}: {} to open, {} datagrams to send, {writing:?}, {reading:?}",
            self.side,
            self.script.opens.len(),
            self.script.datagrams.len()
        )
    }

    pub(crate) fn datagrams_sent(&self) -> u32 {
        self.datagrams_sent
    }

    pub(crate) fn datagrams_received(&self) -> usize {
        self.datagrams_seen.len()
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.reading.values().map(|reading| reading.read).sum()
    }

    fn on_event(&mut self, event: Event, mux: &mut Mux) {
        match event {
            Event::StreamOpened => {
                while let Some(id) = mux.accept() {
                    assert_ne!(id.initiator(), self.side, "accepted an own stream");
                    self.begin(id);
                    // Its first bytes may have been told of before.
                    self.readable.insert(id);
                }
            }
            Event::StreamsAvailable => self.can_open = true,
            Event::Readable(id) => drop(self.readable.insert(id)),
            Event::Writable(id) => drop(self.writable.insert(id)),
            Event::DatagramReceived => {
                while let Some(datagram) = mux.recv_datagram() {
                    self.check_datagram(&datagram);
                }
            }
        }
    }

    fn open_due(&mut self, now: Instant, mux: &mut Mux) {
        while self.can_open
            && let Some((after, priority)) = self.script.opens.front()
            && self.started + *after <= now
        {
            let Some(id) = mux.open(*priority) else {
                self.can_open = false;
                return;
            };
            self.script.opens.pop_front();
            self.begin(id);
        }
    }

    fn begin(&mut self, id: StreamId) {
        let plan = Plan::of(self.seed, id, self.side);
        let fresh = self.writing.insert(id, Writing { plan, written: 0, over: false }).is_none();
        assert!(fresh, "{id:?} came twice");
        self.writable.insert(id);
        let plan = Plan::of(self.seed, id, self.side.other());
        self.reading.insert(id, Reading { plan, read: 0, pause: None, over: false });
    }

    fn write(&mut self, id: StreamId, mux: &mut Mux) {
        let reader = Plan::of(self.seed, id, self.side).stop;
        let Some(writing) = self.writing.get_mut(&id).filter(|writing| !writing.over) else {
            return;
        };
        let plan = writing.plan;
        let mut piece = [0; PIECE];
        while writing.written < plan.size {
            let len = (plan.size - writing.written).min(PIECE as u64) as usize;
            plan.fill(writing.written, &mut piece[..len]);
            match mux.write(id, &piece[..len]) {
                Ok(0) => panic!("{id:?}: a write took nothing and did not say blocked"),
                Ok(written) => writing.written += written as u64,
                Err(WriteError::Blocked) => return,
                Err(error) => {
                    writing.over = true;
                    // Else the mux keeps the stream for us.
                    mux.reset(id, 0);
                    return check_stopped(id, error, reader);
                }
            }
        }
        writing.over = true;
        match plan.ending {
            Ending::Reset(code) => mux.reset(id, code),
            Ending::Finish => {
                if let Err(error) = mux.finish(id) {
                    mux.reset(id, 0);
                    check_stopped(id, error, reader);
                }
            }
        }
    }

    fn read(&mut self, now: Instant, id: StreamId, mux: &mut Mux) {
        let Some(reading) = self.reading.get_mut(&id).filter(|reading| !reading.over) else {
            return;
        };
        if reading.pause.is_some_and(|until| now < until) {
            self.readable.insert(id);
            return;
        }
        let mut piece = [0; PIECE];
        let mut at_once = reading.plan.read_at_once;
        while at_once > 0 {
            if reading.stops(id, mux) {
                return;
            }
            let len = at_once.min(reading.until_stop()).min(PIECE as u64) as usize;
            match mux.read(id, &mut piece[..len]) {
                Ok(read) => {
                    reading.check(id, &piece[..read]);
                    at_once -= read as u64;
                }
                Err(ReadError::Blocked) => return,
                Err(error) => reading.check_error(id, error),
            }
            if reading.over {
                return;
            }
        }
        reading.pause = Some(now + reading.plan.read_pause);
        self.readable.insert(id);
    }

    fn send_due(&mut self, now: Instant, mux: &mut Mux) {
        while let Some(message) = self.script.datagrams.front().copied()
            && self.started + message.after <= now
        {
            self.script.datagrams.pop_front();
            let number = self.datagrams_sent;
            let payload =
                datagram(self.seed, self.side, number, message.size.min(mux.datagram_max()));
            let expires = message.lifetime.map(|lifetime| now + lifetime);
            mux.send_datagram(now, payload, expires).expect("it is no longer than what fits");
            self.datagrams_sent += 1;
        }
    }

    fn check_datagram(&mut self, bytes: &[u8]) {
        let number = bytes.first_chunk::<4>().expect("datagrams are longer than their number");
        let number = u32::from_be_bytes(*number);
        let expected = datagram(self.seed, self.side.other(), number, bytes.len());
        assert_eq!(bytes, &expected[..], "datagram {number} was changed");
        assert!(self.datagrams_seen.insert(number), "datagram {number} came twice");
    }
}

impl Reading {
    /// Stops the stream where the plan says so.
    fn stops(&mut self, id: StreamId, mux: &mut Mux) -> bool {
        let Some((_, code)) = self.plan.stop.filter(|(offset, _)| self.read == *offset) else {
            return false;
        };
        mux.stop(id, code);
        self.over = true;
        true
    }

    fn until_stop(&self) -> u64 {
        self.plan.stop.map_or(u64::MAX, |(offset, _)| offset - self.read)
    }

    fn check(&mut self, id: StreamId, bytes: &[u8]) {
        let plan = &self.plan;
        if bytes.is_empty() {
            assert_eq!(plan.ending, Ending::Finish, "{id:?} ended, but was reset");
            assert_eq!(self.read, plan.size, "{id:?} ended too early");
            self.over = true;
            return;
        }
        let difference = plan.first_difference(self.read, bytes);
        assert_eq!(difference, None, "{id:?}: a wrong byte at this offset");
        self.read += bytes.len() as u64;
        assert!(self.read <= plan.size, "{id:?}: more bytes than were written");
    }

    fn check_error(&mut self, id: StreamId, error: ReadError) {
        match (error, self.plan.ending) {
            (ReadError::Reset(seen), Ending::Reset(code)) => assert_eq!(seen, code, "{id:?}"),
            (error, ending) => panic!("{id:?}: {error:?} after {} of {ending:?}", self.read),
        }
        self.over = true;
    }
}

fn check_stopped(id: StreamId, error: WriteError, planned: Option<(u64, u32)>) {
    match (error, planned) {
        (WriteError::Stopped(seen), Some((_, code))) => assert_eq!(seen, code, "{id:?}"),
        (error, planned) => panic!("{id:?}: {error:?}, but the reader's plan is {planned:?}"),
    }
}

/// The datagram with this number: its content depends on the number, the sender and its length.
fn datagram(seed: u64, side: Side, number: u32, size: usize) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    let key = seed.wrapping_mul(31) + side as u64 + u64::from(number) * 7 + size as u64;
    bytes.extend((4..size.max(4)).map(|offset| (key.wrapping_mul(offset as u64 | 1) >> 13) as u8));
    Bytes::from(bytes)
}
