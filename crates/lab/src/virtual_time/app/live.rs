//! A flow of messages with a clock, such as audio.

use std::time::{Duration, Instant};

use bytes::Bytes;
use portolan_mux::Priority;

use super::line::{Duty, Line, Order};
use crate::virtual_time::{
    machine::Machine,
    simulation::{App, start},
};

/// From one message to the next: 50 a second.
pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

/// Bytes of a message: what Opus makes of 20 ms at 40 kbit/s.
const SIZE: u32 = 100;

/// How long one waits for stragglers after the last message.
const GRACE: Duration = Duration::from_secs(5);

/// How the messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As messages, sent once.
    Once,
    /// As messages, repaired until so much time has passed.
    Until(Duration),
    /// One after the other on a stream.
    Stream,
}

/// The sending side of a live flow.
#[derive(Debug)]
pub(crate) struct Live {
    way: Way,
    messages: u32,
    sent: u32,
    begun: Option<Instant>,
    line: Option<Line>,
    over: bool,
}

impl Live {
    pub(crate) fn new(way: Way, messages: u32) -> Self {
        Self { way, messages, sent: 0, begun: None, line: None, over: false }
    }

    /// When the next message is due, or after the last one, when nobody waits any longer.
    fn next(&self) -> Option<Instant> {
        let due = self.begun? + INTERVAL * self.sent;
        Some(if self.sent < self.messages { due } else { due + GRACE })
    }

    fn send(&mut self, now: Instant, machine: &mut dyn Machine) {
        let message = message(now);
        match self.way {
            Way::Once => machine.send_message(now, message, None),
            Way::Until(lifetime) => machine.send_message(now, message, Some(lifetime)),
            Way::Stream => {
                if let Some(line) = &mut self.line {
                    line.say(&message);
                }
            }
        }
        self.sent += 1;
    }
}

impl App for Live {
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine) {
        self.begun.get_or_insert(now);
        if self.way == Way::Stream && self.line.is_none() {
            let order = Order { duty: Duty::Clock, unit: SIZE };
            self.line = Line::open(machine, order, Priority::Live);
        }
        while self.next().is_some_and(|due| due <= now) && !self.over {
            if self.sent < self.messages {
                self.send(now, machine);
            } else {
                self.over = true;
            }
        }
        if let Some(line) = &mut self.line {
            line.flush(machine);
        }
    }

    fn wake(&self) -> Option<Instant> {
        self.next().filter(|_| !self.over)
    }

    fn is_done(&self) -> bool {
        self.over
    }
}

/// A message that says when it was sent.
fn message(now: Instant) -> Bytes {
    let nanos = u64::try_from((now - start()).as_nanos()).unwrap_or(u64::MAX);
    let mut bytes = nanos.to_be_bytes().to_vec();
    bytes.resize(SIZE as usize, 0);
    Bytes::from(bytes)
}
