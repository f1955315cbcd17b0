//! A client and a server on one link, in virtual time.

use std::{
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
    time::{Duration, Instant},
};

use portolan_netsim::{Delivery, Network, Where, topology::Duplex};

use super::{
    keys::{Keys, derive},
    machine::{Event, Machine, Train},
    subject::Subject,
};

/// Steps without time passing: a window of packets that arrive at once takes some thousands;
/// beyond, nothing limits the link.
const STEPS_AT_ONCE_MAX: u32 = 50_000;

/// Steps of one simulation: some gibibytes, and some seconds of real time.
const STEPS_MAX: u32 = 6_000_000;

/// What stands between client and server, and what happens to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// Up is from the client to the server.
    pub(crate) link: Duplex,
    /// Times in which nothing gets through.
    pub(crate) outages: &'a [Outage],
    /// Where all chance comes from.
    pub(crate) seed: u64,
}

/// A time in which nothing gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When it begins, from the start of each workload.
    pub from: Duration,
    /// How long it lasts.
    pub lasting: Duration,
}

/// What uses a connection.
pub(crate) trait App {
    /// Does what can be done now; called after everything that may have changed that.
    fn drive(&mut self, now: Instant, machine: &mut dyn Machine);

    /// When it wants to be driven although nothing happens.
    fn wake(&self) -> Option<Instant> {
        None
    }

    /// Whether it has all it wanted; the simulation ends with the first that has.
    fn is_done(&self) -> bool {
        false
    }
}

/// How a simulation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An application had all it wanted.
    Done,
    /// The time was over; with it, whether the two were connected at all.
    TimeOver {
        /// Whether the client was connected.
        connected: bool,
    },
    /// The connection was lost.
    Closed(String),
    /// Far too much happens, or something in no time again and again.
    Stuck,
}

/// The two ends and the network between them.
///
/// Computing takes no time here: what a machine has to say leaves in the moment of its cause.
pub(crate) struct Simulation<'a> {
    now: Instant,
    network: Network,
    ends: [End<'a>; 2],
    buffer: Vec<u8>,
    steps: u32,
    steps_at_once: u32,
}

struct End<'a> {
    address: SocketAddr,
    machine: Box<dyn Machine>,
    app: &'a mut dyn App,
    connected: bool,
    closed: Option<String>,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// The moment at which every simulation begins.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

impl<'a> Simulation<'a> {
    /// Both ends made, nothing sent.
    pub(crate) fn new(
        subject: &Subject,
        scene: &Scene<'_>,
        client: &'a mut dyn App,
        server: &'a mut dyn App,
    ) -> Self {
        let [of_client, of_server] = Keys::pair(derive(scene.seed, 1));
        let ends = [(of_client, client, 1), (of_server, server, 2)].map(|(keys, app, host)| End {
            address: SocketAddr::from(([10, 0, 0, host], 7275)),
            machine: subject.machine(&keys),
            app,
            connected: false,
            closed: None,
        });
        let [client, server] = [CLIENT, SERVER].map(|end| ends[end].address.ip());
        Self {
            now: start(),
            network: network(scene, client, server),
            ends,
            buffer: Vec::new(),
            steps: 0,
            steps_at_once: 0,
        }
    }

    /// Connects and lets both applications talk, for `time` at most.
    pub(crate) fn run(&mut self, time: Duration) -> Ending {
        let end = start() + time;
        let server = self.ends[SERVER].address;
        self.ends[CLIENT].machine.connect(self.now, server);
        self.settle(CLIENT);
        loop {
            if let Some(ending) = self.ending() {
                return ending;
            }
            let next = self.next_time().filter(|next| *next <= end);
            let Some(next) = next else {
                return Ending::TimeOver { connected: self.ends[CLIENT].connected };
            };
            self.step(next);
        }
    }

    fn ending(&self) -> Option<Ending> {
        if self.ends.iter().any(|end| end.app.is_done()) {
            return Some(Ending::Done);
        }
        if let Some(why) = self.ends.iter().find_map(|end| end.closed.as_ref()) {
            return Some(Ending::Closed(why.clone()));
        }
        let stuck = self.steps_at_once > STEPS_AT_ONCE_MAX || self.steps > STEPS_MAX;
        stuck.then_some(Ending::Stuck)
    }

    fn next_time(&mut self) -> Option<Instant> {
        let network = self.network.poll_timeout();
        self.ends.iter_mut().filter_map(End::next_time).chain(network).min()
    }

    /// Goes to `next` and lets happen what happens then.
    fn step(&mut self, next: Instant) {
        self.steps += 1;
        self.steps_at_once = if next > self.now { 0 } else { self.steps_at_once + 1 };
        self.now = self.now.max(next);
        if let Some(delivery) = self.network.poll_delivery(self.now) {
            self.deliver(delivery);
            return;
        }
        for end in [CLIENT, SERVER] {
            if self.ends[end].next_time().is_some_and(|at| at <= self.now) {
                self.ends[end].on_time(self.now);
                self.settle(end);
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let to = if delivery.to == self.ends[CLIENT].address { CLIENT } else { SERVER };
        let Delivery { from, ecn, bytes, .. } = delivery;
        self.ends[to].machine.handle_datagram(self.now, from, ecn, bytes);
        self.settle(to);
    }

    /// After every input: the application has its turn, then the network gets what there is.
    fn settle(&mut self, end: usize) {
        let Self { now, network, ends, buffer, .. } = self;
        let end = &mut ends[end];
        end.listen();
        if end.connected {
            end.app.drive(*now, &mut *end.machine);
        }
        while let Some(train) = end.machine.poll_transmit(*now, buffer) {
            send(network, *now, end.address, &train, buffer);
        }
        end.listen();
    }
}

impl End<'_> {
    fn next_time(&mut self) -> Option<Instant> {
        let app = self.app.wake().filter(|_| self.connected);
        self.machine.poll_timeout().into_iter().chain(app).min()
    }

    fn on_time(&mut self, now: Instant) {
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.machine.handle_timeout(now);
        }
    }

    fn listen(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Connected => self.connected = true,
                Event::Closed(why) => self.closed = Some(why),
            }
        }
    }
}

fn network(scene: &Scene<'_>, client: IpAddr, server: IpAddr) -> Network {
    let mut network = Network::new(derive(scene.seed, 0));
    network.set_link(Where::Between { from: client, to: server }, scene.link.up);
    network.set_link(Where::Between { from: server, to: client }, scene.link.down);
    for outage in scene.outages {
        network.schedule_blackhole(Where::Everywhere, start() + outage.from, outage.lasting);
    }
    network
}

/// Cuts a train into its datagrams and gives them to the network.
fn send(network: &mut Network, now: Instant, from: SocketAddr, train: &Train, bytes: &[u8]) {
    for datagram in bytes.chunks(train.segment.unwrap_or(bytes.len()).max(1)) {
        network.send(now, from, train.destination, datagram, train.ecn);
    }
}
