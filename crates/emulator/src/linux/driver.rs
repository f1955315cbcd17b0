//! The one thread: reads what hosts send, and writes what arrives for them when it is due.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError},
    },
    time::{Duration, Instant},
};

use portolan_netsim::{Arrival, InterfaceId, World, topology::Happening};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    thread::set_current_timer_slack,
};

use super::{
    device::{self, Device, FRAME_MAX},
    hands::{Answer, Job},
    meter::Meter,
    sys,
};
use crate::{
    ApplyError, Counters, Health, Options, Realtime,
    packet::{Fragments, Frame, Malformed, Piece, Run, Transport},
};

/// Packets that are read from one device before the others, and what is due, have their turn; the
/// last of them may be the first of a super-packet.
const BATCH: u16 = 128;

/// Packets under way at once; more are dropped. At 1,500 bytes they hold 750 MiB: 10 Gbit/s for
/// 600 ms.
const UNDER_WAY_MAX: usize = 1 << 19;

/// What others want of the thread.
pub(super) enum Command {
    /// Make something happen.
    Apply(Box<Happening>, Answer),
    /// How is it going?
    Health(SyncSender<Health>),
    /// What has the model counted?
    Counters(SyncSender<Counters>),
    /// Count anew, and say when that is so.
    Reset(SyncSender<()>),
    /// End.
    Stop,
}

/// What the thread is given.
pub(super) struct Driver {
    pub(super) world: World<Piece>,
    pub(super) devices: Vec<Device>,
    pub(super) options: Options,
    pub(super) commands: Receiver<Command>,
    /// Readable when there is a command.
    pub(super) wake: Arc<OwnedFd>,
    pub(super) jobs: SyncSender<Job>,
}

/// Reads the clock that packets are timed by.
pub(super) fn clock() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the emulator is where real time meets the model"
    )]
    Instant::now()
}

/// Lets the driver run until it is told to stop.
pub(super) fn run(driver: Driver) {
    let realtime = match driver.options.realtime {
        Realtime::Ask => sys::go_realtime().is_ok(),
        Realtime::Never => false,
    };
    // The kernel rounds sleeps of ordinary threads by 50 µs otherwise; it serves without, too.
    let _ = set_current_timer_slack(std::num::NonZeroU64::new(1));
    let mut running = Running::new(driver, realtime);
    while running.turn().is_continue() {}
}

/// A driver under way.
struct Running {
    world: World<Piece>,
    devices: Vec<Device>,
    by_interface: HashMap<InterfaceId, usize>,
    /// For each device, what may still grow before it is written.
    held: Vec<Option<Run>>,
    fragments: Fragments,
    options: Options,
    commands: Receiver<Command>,
    wake: Arc<OwnedFd>,
    jobs: SyncSender<Job>,
    meter: Meter,
    input: Vec<u8>,
    output: Vec<u8>,
}

type Flow = std::ops::ControlFlow<()>;

impl Running {
    fn new(driver: Driver, realtime: bool) -> Self {
        let Driver { world, devices, options, commands, wake, jobs } = driver;
        Self {
            by_interface: devices.iter().enumerate().map(|(at, device)| (device.id, at)).collect(),
            held: devices.iter().map(|_| None).collect(),
            fragments: Fragments::default(),
            meter: Meter::new(realtime),
            input: vec![0; FRAME_MAX],
            output: Vec::with_capacity(FRAME_MAX),
            world,
            devices,
            options,
            commands,
            wake,
            jobs,
        }
    }

    /// Writes what is due, sleeps until there is something to do, reads.
    fn turn(&mut self) -> Flow {
        while let Some(arrival) = self.world.poll_delivery(clock()) {
            self.take(arrival);
        }
        self.hand_on_changes();
        self.release();
        let ready = self.sleep();
        if ready.woken {
            self.obey()?;
        }
        for device in ready.devices {
            self.read(device);
        }
        Flow::Continue(())
    }

    /// A packet has arrived: it joins the one before it, or that one leaves.
    fn take(&mut self, arrival: Arrival<Piece>) {
        let Some(&at) = self.by_interface.get(&arrival.interface) else { return };
        let next = Run::new(arrival.at, arrival.packet, arrival.flipped_bit);
        let Some(mut run) = self.held[at].take() else {
            self.held[at] = Some(next);
            return;
        };
        match run.join(next) {
            None => self.held[at] = Some(run),
            Some(next) => {
                self.write(at, &run);
                self.held[at] = Some(next);
            }
        }
    }

    /// Writes what cannot or may not wait for more.
    fn release(&mut self) {
        let next = self.world.poll_timeout();
        for at in 0..self.held.len() {
            let Some(run) = self.held[at].take() else { continue };
            let until = run.due + self.options.merge_within;
            if run.can_grow() && next.is_some_and(|next| next <= until) {
                self.held[at] = Some(run);
            } else {
                self.write(at, &run);
            }
        }
    }

    fn write(&mut self, at: usize, run: &Run) {
        match self.devices[at].write(run, &mut self.output) {
            Ok(()) => {
                let late = clock().saturating_duration_since(run.due);
                self.meter.on_written(run.len(), late);
            }
            Err(error) => {
                tracing::debug!(%error, device = self.devices[at].name, "a packet was refused");
                self.meter.on_write_error();
            }
        }
    }

    fn hand_on_changes(&mut self) {
        while let Some(change) = self.world.poll_change() {
            if self.jobs.try_send(Job::Change(change)).is_err() {
                tracing::error!("a change of the world did not reach its host");
            }
        }
    }

    /// Sleeps until something can be read or is due.
    fn sleep(&self) -> Ready {
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = Vec::with_capacity(self.devices.len() + 1);
        fds.push(readable(self.wake.as_fd()));
        fds.extend(self.devices.iter().map(|device| readable(device.fd())));
        let wait = self.world.poll_timeout().map(|at| self.rest(at));
        if let Err(error) = poll(&mut fds, wait.as_ref())
            && error != rustix::io::Errno::INTR
        {
            tracing::error!(%error, "devices cannot be waited for");
        }
        // An error is only told, and only taken away, by reading.
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let woken = fds.first().is_some_and(is_ready);
        let devices = fds.iter().skip(1).enumerate();
        let devices = devices.filter(|(_, fd)| is_ready(fd)).map(|(at, _)| at).collect();
        Ready { woken, devices }
    }

    /// How long to sleep until then.
    fn rest(&self, until: Instant) -> Timespec {
        let rest = until.saturating_duration_since(clock());
        let rest = if rest < self.options.spin { Duration::ZERO } else { rest };
        Timespec::try_from(rest).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
    }

    fn obey(&mut self) -> Flow {
        let mut count = [0; 8];
        // What it says is of no interest; that it is taken away is.
        let _ = rustix::io::read(&self.wake, &mut count);
        loop {
            match self.commands.try_recv() {
                Ok(Command::Apply(what, answer)) => self.apply(&what, answer),
                Ok(Command::Health(answer)) => drop(answer.try_send(self.meter.health())),
                Ok(Command::Counters(answer)) => drop(answer.try_send(Counters::of(&self.world))),
                Ok(Command::Reset(answer)) => {
                    self.meter.reset();
                    let _ = answer.try_send(());
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Flow::Break(()),
                Err(TryRecvError::Empty) => return Flow::Continue(()),
            }
        }
    }

    fn apply(&mut self, what: &Happening, answer: Answer) {
        let now = clock();
        if let Err(error) = self.world.apply(now, what) {
            let _ = answer.try_send(Err(ApplyError::World(error)));
            return;
        }
        self.hand_on_changes();
        // Dropping the answer says that the emulator has stopped.
        let _ = self.jobs.try_send(Job::Answer(answer, now));
    }

    fn read(&mut self, at: usize) {
        let mut taken = 0_u16;
        while taken < BATCH {
            match self.devices[at].read(&mut self.input) {
                Ok(Some(bytes)) => {
                    let frame = device::frame(bytes);
                    taken = taken.saturating_add(self.on_frame(at, frame).max(1));
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, device = self.devices[at].name, "nothing can be read");
                    return;
                }
            }
        }
    }

    /// Sends what a host has sent; as how many packets.
    fn on_frame(&mut self, at: usize, frame: Result<Option<Frame>, Malformed>) -> u16 {
        match frame {
            Ok(Some(frame)) if frame.layout().transport != Transport::LinkTalk => {
                self.send(at, &Arc::new(frame))
            }
            Ok(_) => 0,
            Err(error) => {
                tracing::debug!(%error, "a packet could not be understood");
                self.meter.on_malformed();
                0
            }
        }
    }

    fn send(&mut self, at: usize, frame: &Arc<Frame>) -> u16 {
        let ports = self.fragments.ports(frame);
        let (now, from) = (clock(), self.devices[at].id);
        let segments = frame.segments();
        self.meter.on_read(segments.into());
        if self.world.under_way() >= UNDER_WAY_MAX {
            self.meter.on_overrun(segments.into());
            return segments;
        }
        for index in 0..segments {
            if let Ok(packet) = frame.packet(index, ports) {
                self.world.send(now, from, packet);
            }
        }
        segments
    }
}

/// What can be read.
struct Ready {
    woken: bool,
    devices: Vec<usize>,
}

/// Wakes the driver that sleeps on `wake`.
pub(super) fn wake(wake: &OwnedFd) -> io::Result<()> {
    rustix::io::write(wake, &1_u64.to_ne_bytes())?;
    Ok(())
}
