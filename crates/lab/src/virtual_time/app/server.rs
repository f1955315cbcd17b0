//! The answering side of every workload: each stream says what it is to be answered with.

use std::time::{Duration, Instant};

use super::{
    line::{Duty, Order, drain, pour},
    meter::{Meter, Window},
};
use crate::virtual_time::{
    machine::{Machine, Stream},
    simulation::{App, start},
};

/// Longer than any simulation.
const UNMEASURED: Duration = Duration::from_secs(365 * 24 * 3600);

/// The answering side, and what it has noted.
#[derive(Debug)]
pub(crate) struct Server {
    /// Of what it was to swallow.
    pub(crate) meter: Meter,
    /// How long each message was under way.
    pub(crate) delays: Vec<Duration>,
    /// As many messages are expected.
    messages: usize,
    streams: Vec<Served>,
}

#[derive(Debug)]
struct Served {
    stream: Stream,
    order: Option<Order>,
    /// Of an order, or of a unit that says when it was sent.
    head: Vec<u8>,
    /// Bytes of the unit that is coming in.
    taken: u64,
    /// Bytes that are still to be answered.
    owed: u64,
}

impl Server {
    /// One that measures what it swallows within `window`.
    pub(crate) fn new(window: Window) -> Self {
        Self { meter: Meter::new(window), delays: Vec::new(), messages: 0, streams: Vec::new() }
    }

    /// One that is content when so many messages have come.
    pub(crate) fn of_messages(messages: usize) -> Self {
        Self { messages, ..Self::default() }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new(Window { time: UNMEASURED, bin: UNMEASURED, bytes_max: u64::MAX })
    }
}

impl App for Server {
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine) {
        while let Some(stream) = machine.accept() {
            self.streams.push(Served::new(stream));
        }
        let mut swallowed = 0;
        for served in &mut self.streams {
            swallowed += served.read(now, machine, &mut self.delays);
            served.answer(machine);
        }
        while let Some(message) = machine.recv_message() {
            self.delays.extend(delay(now, &message));
        }
        if swallowed > 0 {
            self.meter.add(now, swallowed);
        }
        self.meter.on_time(now);
    }

    fn wake(&self) -> Option<Instant> {
        self.meter.closes()
    }

    fn is_done(&self) -> bool {
        self.meter.is_over() || self.messages > 0 && self.delays.len() >= self.messages
    }
}

impl Served {
    fn new(stream: Stream) -> Self {
        Self { stream, order: None, head: Vec::new(), taken: 0, owed: 0 }
    }

    /// Reads what has come; answers how much of it was to be swallowed.
    fn read(
        &mut self,
        now: Instant,
        machine: &mut dyn Machine,
        delays: &mut Vec<Duration>,
    ) -> usize {
        let mut swallowed = 0;
        drain(machine, self.stream, |bytes| {
            let rest = self.take_order(bytes);
            match self.order.map(|order| order.duty) {
                Some(Duty::Swallow) => swallowed += rest.len(),
                Some(Duty::Echo | Duty::Confirm) => self.count(rest.len()),
                Some(Duty::Clock) => self.note(now, rest, delays),
                Some(Duty::Pour) | None => {}
            }
        });
        swallowed
    }

    /// Reads the order, if it is still to come; answers what is after it.
    fn take_order<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.order.is_some() {
            return bytes;
        }
        let missing = (Order::LEN - self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(missing);
        self.head.extend_from_slice(head);
        if let Ok(order) = <[u8; Order::LEN]>::try_from(&*self.head) {
            self.order = Some(Order::decode(order));
            self.head.clear();
        }
        rest
    }

    fn unit(&self) -> u64 {
        self.order.map_or(u64::MAX, |order| u64::from(order.unit.max(1)))
    }

    fn count(&mut self, bytes: usize) {
        let reply = match self.order.map(|order| order.duty) {
            Some(Duty::Confirm) => 1,
            _ => self.unit(),
        };
        self.taken += bytes as u64;
        self.owed += self.taken / self.unit() * reply;
        self.taken %= self.unit();
    }

    fn note(&mut self, now: Instant, bytes: &[u8], delays: &mut Vec<Duration>) {
        self.head.extend_from_slice(bytes);
        let unit = usize::try_from(self.unit()).unwrap_or(usize::MAX);
        while self.head.len() >= unit {
            delays.extend(delay(now, &self.head));
            self.head.drain(..unit);
        }
    }

    fn answer(&mut self, machine: &mut dyn Machine) {
        match self.order.map(|order| order.duty) {
            Some(Duty::Pour) => {
                pour(machine, self.stream, u64::MAX);
            }
            Some(Duty::Echo | Duty::Confirm) => {
                self.owed -= pour(machine, self.stream, self.owed);
            }
            Some(Duty::Swallow | Duty::Clock) | None => {}
        }
    }
}

/// How long a message was under way that begins with the time at which it was sent.
fn delay(now: Instant, message: &[u8]) -> Option<Duration> {
    let sent = Duration::from_nanos(u64::from_be_bytes(*message.first_chunk()?));
    Some((now - start()).saturating_sub(sent))
}
