//! Questions and answers, one at a time.

use std::time::{Duration, Instant};

use portolan_mux::Priority;

use super::line::{Duty, Line, Order, drain};
use crate::virtual_time::{machine::Machine, simulation::App};

/// What else the connection does while it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Nothing.
    None,
    /// A bulk stream up that has run for so long when the first question is asked.
    Bulk(Duration),
}

/// The asking side of round trips.
#[derive(Debug)]
pub(crate) struct Asker {
    unit: u32,
    questions: usize,
    load: Load,
    /// When it was connected.
    pub(crate) connected: Option<Instant>,
    /// How long each answer took.
    pub(crate) times: Vec<Duration>,
    line: Option<Line>,
    bulk: Option<Line>,
    asked: Option<Instant>,
    read: usize,
}

impl Asker {
    pub(crate) fn new(unit: u32, questions: usize, load: Load) -> Self {
        Self {
            unit,
            questions,
            load,
            connected: None,
            times: Vec::new(),
            line: None,
            bulk: None,
            asked: None,
            read: 0,
        }
    }

    fn begins(&self) -> Option<Instant> {
        let lead = match self.load {
            Load::None => Duration::ZERO,
            Load::Bulk(lead) => lead,
        };
        Some(self.connected? + lead)
    }

    fn open(&mut self, machine: &mut dyn Machine) {
        let unit = self.unit;
        if self.line.is_none() {
            let order = Order { duty: Duty::Echo, unit };
            self.line = Line::open(machine, order, Priority::Interactive);
        }
        if self.bulk.is_none() && self.load != Load::None {
            let order = Order { duty: Duty::Swallow, unit };
            self.bulk = Line::open(machine, order, Priority::Bulk);
            if let Some(bulk) = &mut self.bulk {
                bulk.say_zeros(u64::MAX);
            }
        }
    }

    fn on_answer(&mut self, now: Instant) {
        if let Some(asked) = self.asked.filter(|_| self.read >= self.unit as usize) {
            self.times.push(now - asked);
            self.asked = None;
            self.read = 0;
        }
    }
}

impl App for Asker {
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine) {
        self.connected.get_or_insert(now);
        self.open(machine);
        if let Some(line) = &mut self.line {
            drain(machine, line.stream, |bytes| self.read += bytes.len());
        }
        self.on_answer(now);
        let may_ask = self.asked.is_none() && self.times.len() < self.questions;
        if may_ask
            && self.begins().is_some_and(|begins| begins <= now)
            && let Some(line) = &mut self.line
        {
            line.say_zeros(u64::from(self.unit));
            self.asked = Some(now);
        }
        // The question first: it must not wait for room that the bulk takes.
        for line in [&mut self.line, &mut self.bulk].into_iter().flatten() {
            line.flush(machine);
        }
    }

    fn wake(&self) -> Option<Instant> {
        self.begins().filter(|_| self.times.is_empty() && self.asked.is_none())
    }

    fn is_done(&self) -> bool {
        self.times.len() >= self.questions
    }
}
