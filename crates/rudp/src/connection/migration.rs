//! Other paths to the same remote (RFC 9000 §9): its address changes, ours does, or the host
//! knows a better one.
//!
//! Only clients move, by themselves or because a translator on the way gave them another address;
//! servers follow. A server believes the newest packet that does more than try a path, sends there
//! at once (never more than three times what came from there), asks for proof, and goes back to
//! where the client was if none comes. A client tries a path beside the one in use
//! ([`Connection::probe_path`]) and takes it when it works ([`Connection::migrate_to`]), or says
//! that its own address is another now ([`Connection::local_address_changed`]).

use std::time::{Duration, Instant};

use portolan_mux::Side;
use thiserror::Error;

use super::{Connection, State};
use crate::{
    ConnectionId, Event, PathEvent, Route,
    challenge::Challenge,
    event::Notice,
    ids::RemoteId,
    packet::Level,
    path::{AMPLIFICATION_MAX, Path},
};

/// Padded packets by which a client that has moved gives its server room to answer.
pub(super) const PADDED: u8 = 2;

/// Paths besides the one in use, and the proof that is still missing for that one.
#[derive(Debug, Default)]
pub(super) struct Standby {
    /// The remote has yet to show that it receives where it seems to be now.
    pub(super) challenge: Option<Challenge>,
    /// Where it showed that it was before.
    pub(super) previous: Option<Previous>,
    /// A path that one side tries beside the one in use.
    pub(super) candidate: Option<Candidate>,
}

/// A path that was left, to go back to.
#[derive(Debug)]
pub(super) struct Previous {
    pub(super) route: Route,
    pub(super) remote: RemoteId,
    pub(super) addressed_as: ConnectionId,
    pub(super) number: u32,
    pub(super) in_flight: u64,
    /// All that was known of it; `None`: it still applies, as only the port has changed.
    pub(super) path: Option<Path>,
    /// The remote is asked once whether it is still there (RFC 9000 §9.3.3).
    pub(super) question_is_due: bool,
}

/// A path that is being tried.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) route: Route,
    pub(super) remote: RemoteId,
    pub(super) challenge: Challenge,
    /// What the remote has asked there.
    pub(super) answer: Option<[u8; 8]>,
    /// How long the remote's first answer took.
    pub(super) works: Option<Duration>,
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// Why a path cannot be tried or taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MigrationError {
    /// Servers stay where their clients found them.
    #[error("only the side that connected can change paths")]
    Server,
    /// Paths cannot be changed before the handshake is confirmed, nor after the end.
    #[error("the connection is not established, or has ended")]
    NotEstablished,
    /// The remote has told no further name by which it could be called there.
    #[error("the remote has not told a further connection id yet; try again after a round trip")]
    NoName,
    /// [`PathEvent::Works`] has not told that this path works.
    #[error("the path has not been found to work; probe it first")]
    NotProbed,
}

impl Connection {
    /// Tries another path to the remote, beside the one in use: [`PathEvent::Works`] or
    /// [`PathEvent::Fails`] tells the outcome. A path that was being tried is dropped for it.
    ///
    /// The way to change networks without a gap: open a socket on the new one, try it under
    /// another [`SocketId`](crate::SocketId), and move once it works. The remote's end of `route` may be another
    /// than now, where the same remote is behind two (a relay and itself).
    ///
    /// # Errors
    /// [`MigrationError`] when it cannot be tried now.
    pub fn probe_path(&mut self, now: Instant, route: Route) -> Result<(), MigrationError> {
        self.check_may_move()?;
        let remote = self.remote_ids.take().ok_or(MigrationError::NoName)?;
        let challenge = Challenge::new(now, self.validation_delay());
        self.drop_candidate();
        let standby = self.standby.get_or_insert_default();
        standby.candidate = Some(Candidate::new(route, remote, challenge));
        self.update_path_timer();
        Ok(())
    }

    /// Takes a path that [`PathEvent::Works`] has told of: everything goes there from now on, and
    /// what was learnt of the old path is forgotten (RFC 9000 §9.4).
    ///
    /// # Errors
    /// [`MigrationError`] when it is not known to work.
    pub fn migrate_to(&mut self, now: Instant, route: Route) -> Result<(), MigrationError> {
        self.check_may_move()?;
        let is_it = |tried: &mut Candidate| tried.route == route && tried.works.is_some();
        let tried = self.standby.as_mut().and_then(|standby| standby.candidate.take_if(is_it));
        let tried = tried.ok_or(MigrationError::NotProbed)?;
        self.start_on(now, route, Some(tried.remote));
        if let Some(rtt) = tried.works {
            self.path.rtt.on_sample(now, rtt, Duration::ZERO);
        }
        Ok(())
    }

    /// Our address is another now, and the old one leads nowhere: the socket was bound anew, or
    /// the interface has changed. The remote is told at once, under another name. Does nothing
    /// where paths cannot change: with servers, and before the handshake is confirmed.
    pub fn local_address_changed(&mut self, now: Instant) {
        if self.check_may_move().is_ok() {
            self.drop_candidate();
            let name = self.remote_ids.take();
            self.start_on(now, self.path.route, name);
        }
    }

    fn check_may_move(&self) -> Result<(), MigrationError> {
        let is_established = matches!(self.state, State::Established) && self.is_confirmed;
        match self.side {
            Side::Client if is_established => Ok(()),
            Side::Client => Err(MigrationError::NotEstablished),
            Side::Server => Err(MigrationError::Server),
        }
    }

    /// Begins to use a path of our own choice.
    fn start_on(&mut self, now: Instant, route: Route, name: Option<RemoteId>) {
        if let Some(name) = name {
            let old = self.names.remote_id();
            self.call_remote(name);
            self.retire(old.number);
        }
        let mut path = self.fresh_path(now, route);
        // The remote is known to want it; whether it can be reached shows in its answers.
        path.is_validated = true;
        self.path = path;
        self.pending.ping = true;
        self.pending.padded = PADDED;
        self.heartbeat.on_moved();
        self.begin_anew(now);
    }

    /// Everything that is under way may be lost with the old path.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.recovery.probe_count = 0;
        self.recovery.last_probe = Some(now);
        if !self.spaces[Level::Data].sent.is_empty() {
            self.spaces[Level::Data].probes = 2;
            self.repeat_oldest(now, Level::Data);
        }
        self.on_packet_size();
        self.mux.on_congestion_window(self.path.congestion.window());
        self.stats.path_changes += 1;
        self.tell_moved();
        self.update_path_timer();
        self.update_loss_timer(now);
    }

    fn tell_moved(&mut self) {
        self.watch_moved();
        let moved = Event::Path(PathEvent::Moved(self.path.route));
        match self.events.back_mut() {
            // Who makes us move to and fro fills no queue.
            Some(last @ Event::Path(PathEvent::Moved(_))) => *last = moved,
            _ => self.events.push_back(moved),
        }
    }

    pub(super) fn fresh_path(&mut self, now: Instant, route: Route) -> Path {
        self.recovery.paths += 1;
        let number = self.recovery.paths;
        let seed = self.names.local.seed().wrapping_add(number.into());
        let mut path = Path::new(now, route, &self.config, seed);
        path.number = number;
        path.discovery.limit(self.remote.packet_max);
        path
    }

    pub(super) fn call_remote(&mut self, name: RemoteId) {
        self.names.remote = name.id;
        self.names.remote_number = name.number;
        self.names.reset_token = name.token;
        self.notify(Notice::ResetToken(name.token));
    }

    pub(super) fn retire(&mut self, number: u64) {
        self.remote_ids.retire(number);
        self.pending.names = true;
    }

    pub(super) fn drop_candidate(&mut self) {
        let dropped = self.standby.as_mut().and_then(|standby| standby.candidate.take());
        if let Some(candidate) = dropped {
            self.retire(candidate.remote.number);
        }
    }
}

impl Standby {
    pub(super) fn is_empty(&self) -> bool {
        self.challenge.is_none() && self.previous.is_none() && self.candidate.is_none()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let tried = self.candidate.as_ref().filter(|candidate| candidate.works.is_none());
        let tried = tried.map(|candidate| candidate.challenge.deadline());
        tried.into_iter().chain(self.challenge.as_ref().map(Challenge::deadline)).min()
    }
}

impl Candidate {
    pub(super) fn new(route: Route, remote: RemoteId, challenge: Challenge) -> Self {
        Self { route, remote, challenge, answer: None, works: None, received: 0, sent: 0 }
    }

    /// Bytes that may be sent there now: who only claims an address gets three times what came
    /// from it (RFC 9000 §8.1); one that our host has named is the remote's.
    pub(super) fn budget(&self, side: Side) -> usize {
        let budget = (self.received * AMPLIFICATION_MAX).saturating_sub(self.sent);
        match side {
            Side::Server if self.works.is_none() => usize::try_from(budget).unwrap_or(usize::MAX),
            Side::Client | Side::Server => usize::MAX,
        }
    }
}
