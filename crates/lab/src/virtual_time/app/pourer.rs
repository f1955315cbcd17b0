//! Bulk transfers.

use std::time::Instant;

use portolan_mux::Priority;

use super::{
    line::{Duty, Line, Order, drain},
    meter::{Meter, Window},
};
use crate::virtual_time::{machine::Machine, simulation::App};

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the server, which measures.
    Up,
    /// From the server to the client, which measures.
    Down,
}

/// The asking side of a bulk transfer.
#[derive(Debug)]
pub(crate) struct Pourer {
    direction: Direction,
    streams: usize,
    lines: Vec<Line>,
    /// Of what came down.
    pub(crate) meter: Meter,
}

impl Pourer {
    pub(crate) fn new(direction: Direction, streams: usize, window: Window) -> Self {
        Self { direction, streams, lines: Vec::new(), meter: Meter::new(window) }
    }

    fn open(&mut self, machine: &mut dyn Machine) {
        let duty = match self.direction {
            Direction::Up => Duty::Swallow,
            Direction::Down => Duty::Pour,
        };
        let order = Order { duty, unit: 1 };
        while self.lines.len() < self.streams
            && let Some(mut line) = Line::open(machine, order, Priority::Bulk)
        {
            if self.direction == Direction::Up {
                line.say_zeros(u64::MAX);
            }
            self.lines.push(line);
        }
    }
}

impl App for Pourer {
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine) {
        self.open(machine);
        let mut read = 0;
        for line in &mut self.lines {
            line.flush(machine);
            drain(machine, line.stream, |bytes| read += bytes.len());
        }
        if read > 0 {
            self.meter.add(now, read);
        }
        self.meter.on_time(now);
    }

    fn wake(&self) -> Option<Instant> {
        self.meter.closes()
    }

    fn is_done(&self) -> bool {
        self.meter.is_over()
    }
}
