//! A pause, and how fast the connection is after it.

use std::time::{Duration, Instant};

use portolan_mux::Priority;

use super::line::{Duty, Line, Order, drain};
use crate::virtual_time::{machine::Machine, simulation::App};

/// The pause.
const IDLE: Duration = Duration::from_secs(2);

/// Bytes of each burst.
const BURST: u32 = 1 << 20;

/// Sends bursts that are confirmed, pauses, and sends one more.
#[derive(Debug, Default)]
pub(crate) struct Burster {
    /// How long bursts follow one another before the pause; the last one ends in its own time.
    fast: Duration,
    connected: Option<Instant>,
    line: Option<Line>,
    phase: Phase,
    /// From the beginning of the burst after the pause until its confirmation.
    pub(crate) took: Option<Duration>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Phase {
    #[default]
    New,
    Fast,
    Idle(Instant),
    Last(Instant),
}

impl Burster {
    pub(crate) fn new(fast: Duration) -> Self {
        Self { fast, ..Self::default() }
    }

    fn burst(&mut self, phase: Phase) {
        if let Some(line) = &mut self.line {
            line.say_zeros(u64::from(BURST));
            self.phase = phase;
        }
    }

    fn on_confirmed(&mut self, now: Instant) {
        match self.phase {
            Phase::Fast if self.connected.is_some_and(|connected| now < connected + self.fast) => {
                self.burst(Phase::Fast);
            }
            Phase::Fast => self.phase = Phase::Idle(now + IDLE),
            Phase::Last(begun) => self.took = Some(now - begun),
            Phase::New | Phase::Idle(_) => {}
        }
    }
}

impl App for Burster {
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine) {
        self.connected.get_or_insert(now);
        if self.line.is_none() {
            let order = Order { duty: Duty::Confirm, unit: BURST };
            self.line = Line::open(machine, order, Priority::Bulk);
        }
        let mut confirmed = 0;
        if let Some(line) = &mut self.line {
            drain(machine, line.stream, |bytes| confirmed += bytes.len());
        }
        if confirmed > 0 {
            self.on_confirmed(now);
        }
        match self.phase {
            Phase::New => self.burst(Phase::Fast),
            Phase::Idle(until) if until <= now => self.burst(Phase::Last(now)),
            Phase::Fast | Phase::Idle(_) | Phase::Last(_) => {}
        }
        if let Some(line) = &mut self.line {
            line.flush(machine);
        }
    }

    fn wake(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle(until) => Some(until),
            Phase::New | Phase::Fast | Phase::Last(_) => None,
        }
    }

    fn is_done(&self) -> bool {
        self.took.is_some()
    }
}
