//! A talk in virtual time.

use std::time::{Duration, Instant};

use portolan_mux::Priority;
use portolan_netsim::topology::Duplex;

use super::{
    app::{Duty, Line, Order, drain},
    machine::{Machine, Stream},
    simulation::{App, Ending, Scene, Simulation},
    subject::Subject,
};
use crate::audio::{BESIDE_AFTER, Beside, Ear, Plan, Speaker, Talked};

/// How long the connection may take, and how long the end may come after the time.
const SPARE: Duration = Duration::from_secs(20);

/// Lets one side speak to the other over a link; `until` is how long a frame is repaired.
///
/// # Errors
/// When the two were not connected, or not to the end.
pub(crate) fn talk(
    subject: &Subject,
    link: Duplex,
    seed: u64,
    plan: &Plan,
    until: Option<Duration>,
) -> Result<Talked, String> {
    let scene = Scene { link, outages: &[], seed };
    let mut mouth = Mouth { speaker: Speaker::new(plan), until, beside: plan.beside, line: None };
    let mut listener = Listener { ear: Ear::new(plan), streams: Vec::new() };
    let mut simulation = Simulation::new(subject, &scene, &mut mouth, &mut listener);
    let ending = simulation.run(plan.time + SPARE);
    let bytes = simulation.client_wire_bytes();
    match ending {
        Ending::Done => {}
        Ending::TimeOver { .. } => return Err("nothing was heard in time".to_owned()),
        Ending::Closed(why) => return Err(format!("the connection was lost: {why}")),
        Ending::Stuck => return Err("too much happens: the link has no limit".to_owned()),
    }
    let begun = mouth.speaker.begun().ok_or("nothing was said")?;
    Ok(Talked { heard: listener.ear.into_heard(), begun, bytes, doubt: None })
}

struct Mouth {
    speaker: Speaker,
    until: Option<Duration>,
    beside: Beside,
    line: Option<Line>,
}

impl App for Mouth {
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine) {
        let has_begun = |begun| begun + BESIDE_AFTER <= now;
        if self.beside == Beside::Bulk && self.speaker.begun().is_some_and(has_begun) {
            self.pour(machine);
        }
        while let Some(report) = machine.recv_message() {
            self.speaker.on_datagram(now, &report);
        }
        loop {
            if let Some(bytes) = self.speaker.speak(now) {
                machine.send_message(now, bytes, self.until);
            }
            // In a pause there is no datagram although a frame was due.
            if self.speaker.due().is_none_or(|due| due > now) {
                return;
            }
        }
    }

    fn wake(&self) -> Option<Instant> {
        self.speaker.due()
    }
}

impl Mouth {
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

struct Listener {
    ear: Ear,
    streams: Vec<Stream>,
}

impl App for Listener {
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine) {
        while let Some(stream) = machine.accept() {
            self.streams.push(stream);
        }
        for stream in &self.streams {
            drain(machine, *stream, |_| {});
        }
        while let Some(bytes) = machine.recv_message() {
            self.ear.on_datagram(now, &bytes);
        }
        while self.ear.due().is_some_and(|due| due <= now) {
            if let Some(report) = self.ear.listen(now) {
                machine.send_message(now, report, None);
            }
        }
    }

    fn wake(&self) -> Option<Instant> {
        self.ear.due()
    }

    fn is_done(&self) -> bool {
        self.ear.is_over()
    }
}
