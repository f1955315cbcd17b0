//! How long messages take, one by one, in virtual time.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use portolan_mux::Priority;

use super::{
    app::{Duty, INTERVAL, Line, Order, drain},
    machine::{Machine, Stream},
    simulation::{App, Ending, Scene, Simulation},
    subject::Subject,
};
use crate::audio::{BESIDE_AFTER, Beside};

/// Bytes of a message: a frame of voice with everything around it.
const LENGTH: usize = 80;

/// How long the connection may take.
const SPARE: Duration = Duration::from_secs(20);

/// How long the last messages may.
const LAST: Duration = Duration::from_secs(2);

/// Sends a message every 20 ms for `time`, each once or repaired until its time has passed, and says
/// how long each took; those that were lost did not arrive.
///
/// # Errors
/// When the two were not connected, or not to the end.
pub(crate) fn trace(
    subject: &Subject,
    scene: &Scene<'_>,
    (time, until, beside): (Duration, Option<Duration>, Beside),
) -> Result<Vec<Option<Duration>>, String> {
    let messages = usize::try_from(time.as_millis() / INTERVAL.as_millis()).unwrap_or(usize::MAX);
    let mut teller = Teller { beside, until, line: None, begun: None, said: 0, messages };
    let mut listener =
        Listener { arrivals: vec![None; messages], end: None, is_over: false, streams: Vec::new() };
    let mut simulation = Simulation::new(subject, scene, &mut teller, &mut listener);
    match simulation.run(time + SPARE) {
        Ending::Done => {}
        Ending::TimeOver { .. } => return Err("nothing was heard in time".to_owned()),
        Ending::Closed(why) => return Err(format!("the connection was lost: {why}")),
        Ending::Stuck => return Err("too much happens: the link has no limit".to_owned()),
    }
    let begun = teller.begun.ok_or("nothing was said")?;
    let took = |(number, arrival): (usize, &Option<Instant>)| {
        let sent = begun + INTERVAL * u32::try_from(number).unwrap_or(u32::MAX);
        arrival.map(|arrival| arrival.saturating_duration_since(sent))
    };
    Ok(listener.arrivals.iter().enumerate().map(took).collect())
}

struct Teller {
    beside: Beside,
    until: Option<Duration>,
    line: Option<Line>,
    begun: Option<Instant>,
    said: usize,
    messages: usize,
}

impl Teller {
    fn due(&self) -> Option<Instant> {
        let begun = self.begun?;
        let said = u32::try_from(self.said).unwrap_or(u32::MAX);
        (self.said < self.messages).then(|| begun + INTERVAL * said)
    }

    fn pour(&mut self, machine: &mut dyn Machine) {
        if self.line.is_none() {
            let order = Order { duty: Duty::Swallow, unit: 1 };
            self.line = Line::open(machine, order, Priority::Bulk);
            if let Some(line) = &mut self.line {
                line.say_zeros(u64::MAX);
            }
        }
        if let Some(line) = &mut self.line {
            line.flush(machine);
        }
    }
}

impl App for Teller {
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine) {
        let has_begun = |begun| begun + BESIDE_AFTER <= now;
        if self.beside == Beside::Bulk && self.begun.is_some_and(has_begun) {
            self.pour(machine);
        }
        self.begun.get_or_insert(now);
        while self.due().is_some_and(|due| due <= now) {
            let mut message = BytesMut::zeroed(LENGTH - 8);
            message.put_u64(self.said as u64);
            machine.send_message(now, message.freeze(), self.until);
            self.said += 1;
        }
    }

    fn wake(&self) -> Option<Instant> {
        self.due()
    }
}

struct Listener {
    arrivals: Vec<Option<Instant>>,
    /// When nothing more is expected.
    end: Option<Instant>,
    is_over: bool,
    streams: Vec<Stream>,
}

impl Listener {
    fn on_message(&mut self, now: Instant, message: &Bytes) {
        let number = message.last_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let number = number.and_then(|number| usize::try_from(number).ok());
        let all = INTERVAL * u32::try_from(self.arrivals.len()).unwrap_or(u32::MAX);
        self.end.get_or_insert(now + all + LAST);
        if let Some(arrival) = number.and_then(|number| self.arrivals.get_mut(number)) {
            arrival.get_or_insert(now);
        }
    }
}

impl App for Listener {
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine) {
        while let Some(stream) = machine.accept() {
            self.streams.push(stream);
        }
        for stream in &self.streams {
            drain(machine, *stream, |_| {});
        }
        while let Some(message) = machine.recv_message() {
            self.on_message(now, &message);
        }
        self.is_over = self.end.is_some_and(|end| end <= now);
    }

    fn wake(&self) -> Option<Instant> {
        self.end.filter(|_| !self.is_over)
    }

    fn is_done(&self) -> bool {
        self.is_over
    }
}
