//! One connection from its first packet to its end, judged.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_identity::{Expect, Identity};
use portolan_mux::{Side, ViolationCode};
use portolan_netsim::{Change, Link, Where};
use portolan_rudp::CloseReason;

use crate::{
    app::App,
    chance::Chance,
    forge::{Forger, THIEF},
    scenario::{BLACKHOLE, Cause, End, MTU_LEAST, Move, Scenario},
    world::{Session, World, start},
};

/// Virtual time after which a run counts as stuck.
const TIME_MAX: Duration = Duration::from_secs(2 * 3600);
const CODE: u32 = 42;
const REASON: &[u8] = b"that was all";

/// How a run ended, when all invariants held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Outcome {
    /// Closed by one side, seen by both; everything was delivered if it was to be.
    Clean,
    /// Closed by one side; the other had not heard of it when it gave up.
    Unheard,
    /// One side vanished, the other gave up and said so.
    Vanished,
    /// A side gave up on a silent network.
    TimedOut,
    /// There was never a connection, and the client said so.
    NoHandshake,
}

/// What a run tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    /// A number that differs when anything on the wire did.
    pub(crate) trace: u64,
    pub(crate) bytes: u64,
    pub(crate) datagrams_sent: u32,
    pub(crate) datagrams_received: usize,
    pub(crate) took: Duration,
}

/// Runs the scenario of this seed.
///
/// # Panics
/// When an invariant does not hold.
pub(crate) fn run(seed: u64, loss: f64) -> Report {
    let mut run = Run::new(Scenario::new(seed, loss));
    run.go();
    run.judge()
}

struct Run {
    scenario: Scenario,
    world: World,
    /// What is still to happen at a given time.
    alarms: Vec<(Instant, Alarm)>,
    ended: bool,
}

#[derive(Debug, Clone, Copy)]
enum Alarm {
    Close(Side),
    Vanish(Side),
    Move(Move),
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

impl Run {
    fn new(scenario: Scenario) -> Self {
        let mut world = World::new(scenario.seed);
        let mut chance = Chance::new(scenario.seed, 6);
        let [alice, bob] = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 7275)));
        let way =
            |from: SocketAddr, to: SocketAddr| Where::Between { from: from.ip(), to: to.ip() };
        world.network.set_link(way(alice, bob), scenario.links[0]);
        world.network.set_link(way(bob, alice), scenario.links[1]);
        if let Some(after) = scenario.narrows {
            for (index, place) in [way(alice, bob), way(bob, alice)].into_iter().enumerate() {
                let link = Link { mtu: MTU_LEAST, ..scenario.links[index] };
                world.network.schedule(start() + after, Change::Link(place, link));
            }
        }
        if let Some(after) = scenario.blackhole {
            world.network.schedule_blackhole(Where::Everywhere, start() + after, BLACKHOLE);
        }

        world.forger = scenario.is_attacked.then(|| Forger::new(scenario.seed));
        let [client, server] = [chance.seed(), chance.seed()].map(Identity::from_seed);
        let [of_client, of_server] = scenario.setups.map(|setup| Arc::new(setup.config()));
        world.add(alice, of_client, None, chance.seed());
        world.add(bob, of_server, Some(&server), chance.seed());
        world.connect(CLIENT, bob, &client, Expect::Id(server.id()));

        let mut run = Self { scenario, world, alarms: Vec::new(), ended: false };
        run.set_alarms();
        run
    }

    fn set_alarms(&mut self) {
        match self.scenario.end {
            End::Orderly(_) => {}
            End::Abrupt(side, after) => self.alarms.push((start() + after, Alarm::Close(side))),
            End::Vanish(side, after) => self.alarms.push((start() + after, Alarm::Vanish(side))),
        }
        let moves = self.scenario.moves.iter();
        self.alarms.extend(moves.map(|a_move| (start() + a_move.after, Alarm::Move(*a_move))));
        self.alarms.sort_by_key(|(at, _)| *at);
    }

    fn go(&mut self) {
        while !self.is_over() {
            let alarm = self.alarms.first().map(|(at, _)| *at);
            assert!(self.world.step(alarm), "nothing will ever happen: {}", self.world.state());
            assert!(self.world.elapsed() < TIME_MAX, "no end: {}", self.world.state());
            self.attach_apps();
            self.ring_alarms();
            self.end_in_order();
        }
    }

    fn is_over(&self) -> bool {
        let living = self.world.nodes.iter().filter(|node| !node.is_dead);
        living.flat_map(|node| &node.sessions).all(|session| session.connection.is_gone())
    }

    /// Gives every new connection its application.
    fn attach_apps(&mut self) {
        for (side, index) in [(Side::Client, CLIENT), (Side::Server, SERVER)] {
            let node = &mut self.world.nodes[index];
            let fresh = |session: &&mut Session| session.app.is_none() && session.is_up();
            let Some(session) = node.sessions.iter_mut().find(fresh) else { continue };
            let script = self.scenario.scripts[index].clone();
            let since = session.connected.unwrap_or_else(start);
            session.app = Some(App::new(self.scenario.seed, side, script, since));
            let apps = node.sessions.iter().filter(|session| session.app.is_some()).count();
            assert_eq!(apps, 1, "one handshake made two connections");
            self.world.drain(index);
        }
    }

    fn ring_alarms(&mut self) {
        let Some(&(at, alarm)) = self.alarms.first().filter(|(at, _)| *at <= self.world.now) else {
            return;
        };
        self.alarms.remove(0);
        match alarm {
            Alarm::Vanish(side) => self.world.nodes[side as usize].is_dead = true,
            // A server that the client has not reached yet has nothing to close.
            Alarm::Close(Side::Server)
                if !self.session(Side::Server).is_some_and(Session::is_up) =>
            {
                self.postpone(at, alarm);
            }
            Alarm::Close(side) => self.close(side),
            // Before the handshake is confirmed nobody is followed (RFC 9000 §9).
            Alarm::Move(_) if !self.is_confirmed() => self.postpone(at, alarm),
            Alarm::Move(a_move) => self.move_client(a_move),
        }
    }

    fn postpone(&mut self, at: Instant, alarm: Alarm) {
        self.alarms.push((at + Duration::from_millis(500), alarm));
        self.alarms.sort_by_key(|(at, _)| *at);
    }

    /// Whether both sides have confirmed the handshake, or the connection is over.
    fn is_confirmed(&self) -> bool {
        [Side::Client, Side::Server].iter().all(|side| {
            let session = self.session(*side);
            session.is_some_and(|session| {
                session.connection.is_confirmed() || session.closed.is_some()
            })
        })
    }

    fn move_client(&mut self, Move { seen_as, cause, .. }: Move) {
        let (now, host) = (self.world.now, self.world.nodes[CLIENT].address);
        self.world.network.apply(Change::Readdress { host, seen_as });
        if cause == Cause::Translator {
            return;
        }
        for session in &mut self.world.nodes[CLIENT].sessions {
            session.connection.local_address_changed(now);
        }
        self.world.drain(CLIENT);
    }

    fn end_in_order(&mut self) {
        let End::Orderly(side) = self.scenario.end else { return };
        if !self.ended && self.all_done() {
            self.close(side);
        }
    }

    fn close(&mut self, side: Side) {
        self.ended = true;
        let now = self.world.now;
        for session in &mut self.world.nodes[side as usize].sessions {
            session.connection.close(now, CODE, REASON);
        }
        self.world.drain(side as usize);
    }

    fn all_done(&self) -> bool {
        [(Side::Client, Side::Server), (Side::Server, Side::Client)].iter().all(|(side, other)| {
            let app = self.session(*side).and_then(|session| session.app.as_ref());
            app.is_some_and(|app| app.is_done(self.scenario.streams(*other)))
        })
    }

    /// The client's only session; of the server's the one with an application, or the first.
    fn session(&self, side: Side) -> Option<&Session> {
        let sessions = &self.world.nodes[side as usize].sessions;
        sessions.iter().find(|session| session.app.is_some()).or_else(|| sessions.first())
    }

    /// Checks what must hold at the end and names it.
    fn judge(&self) -> Report {
        let [client, server] = [Side::Client, Side::Server].map(|side| self.session(side));
        let client = client.expect("the client has its session from the start");
        let outcome = match self.scenario.end {
            End::Vanish(side, _) => self.judge_vanished(side),
            End::Orderly(side) | End::Abrupt(side, _) => self.judge_closed(side),
        };
        let apps = || [Some(client), server].into_iter().flatten().filter_map(|s| s.app.as_ref());
        let sent = apps().map(App::datagrams_sent).sum();
        let received = apps().map(App::datagrams_received).sum();
        assert!(received <= sent as usize, "more datagrams came than went");
        if let Some(thief) = self.world.nodes[SERVER].traffic.get(&THIEF) {
            assert!(thief.sent <= 3 * thief.received, "{thief:?} for who only repeats");
        }
        Report {
            outcome,
            trace: self.world.trace,
            bytes: apps().map(App::bytes_read).sum(),
            datagrams_sent: sent,
            datagrams_received: received,
            took: self.world.elapsed(),
        }
    }

    fn judge_closed(&self, closer: Side) -> Outcome {
        let [closer, other] = [closer, closer.other()].map(|side| self.session(side));
        let reason = |session: Option<&Session>| session.and_then(|s| s.closed.clone());
        let local = CloseReason::Local { code: CODE, reason: REASON.to_vec() };
        let remote = CloseReason::Remote { code: CODE, reason: REASON.to_vec() };
        match (reason(closer), reason(other)) {
            (Some(ours), Some(theirs)) if ours == local && theirs == remote => Outcome::Clean,
            (Some(ours), theirs) if ours == local => unheard(theirs),
            (ours, theirs) => gave_up(ours, theirs),
        }
    }

    fn judge_vanished(&self, gone: Side) -> Outcome {
        match self.session(gone.other()).map(|session| session.closed.clone()) {
            // The server had not heard of the client, and never will.
            None => Outcome::Vanished,
            Some(Some(CloseReason::TimedOut | CloseReason::HandshakeTimedOut)) => Outcome::Vanished,
            Some(other) => panic!("the other side vanished, and the reason is {other:?}"),
        }
    }
}

/// One side has closed: what the other may think that has not heard why.
fn unheard(reason: Option<CloseReason>) -> Outcome {
    match reason {
        None
        | Some(CloseReason::TimedOut | CloseReason::HandshakeTimedOut | CloseReason::Reset) => {
            Outcome::Unheard
        }
        // Before the handshake is over the application's words are not shown.
        Some(CloseReason::RemoteViolation { code, .. })
            if code == ViolationCode::Application.number() =>
        {
            Outcome::Clean
        }
        Some(reason) => panic!("closed by one side, and the other says {reason:?}"),
    }
}

/// Nobody closed: what the sides may say.
fn gave_up(one: Option<CloseReason>, other: Option<CloseReason>) -> Outcome {
    for reason in [&one, &other].into_iter().flatten() {
        match reason {
            CloseReason::TimedOut | CloseReason::HandshakeTimedOut | CloseReason::Reset => {}
            reason => panic!("nobody closed, and a side says {reason:?}"),
        }
    }
    match (one, other) {
        (None | Some(CloseReason::HandshakeTimedOut), _)
        | (_, None | Some(CloseReason::HandshakeTimedOut)) => Outcome::NoHandshake,
        _ => Outcome::TimedOut,
    }
}
