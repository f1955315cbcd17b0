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

use portolan_mux::{Side, Violation};
use thiserror::Error;

use super::{Connection, State, receive::Circumstances};
use crate::{
    ConnectionId, Event, PathEvent, Route, Timer, Transmit,
    challenge::Challenge,
    event::Notice,
    frame::{PATH_FRAME_LEN, put_path_challenge, put_path_response},
    ids::RemoteId,
    packet::{DATAGRAM_MIN, Draft, KeyPhase, Level, TAG_LEN},
    path::{AMPLIFICATION_MAX, Path},
};

/// Padded packets by which a client that has moved gives its server room to answer.
pub(super) const PADDED: u8 = 2;

/// Paths besides the one in use, and the proof that is still missing for that one.
#[derive(Debug, Default)]
pub(super) struct Standby {
    /// The remote has yet to show that it receives where it seems to be now.
    challenge: Option<Challenge>,
    /// Where it showed that it was before.
    previous: Option<Previous>,
    /// A path that one side tries beside the one in use.
    candidate: Option<Candidate>,
}

/// A path that was left, to go back to.
#[derive(Debug)]
struct Previous {
    route: Route,
    remote: RemoteId,
    addressed_as: ConnectionId,
    number: u32,
    in_flight: u64,
    /// All that was known of it; `None`: it still applies, as only the port has changed.
    path: Option<Path>,
    /// The remote is asked once whether it is still there (RFC 9000 §9.3.3).
    question_is_due: bool,
}

#[derive(Debug)]
struct Candidate {
    route: Route,
    remote: RemoteId,
    challenge: Challenge,
    /// What the remote has asked there.
    answer: Option<[u8; 8]>,
    /// How long the remote's first answer took.
    works: Option<Duration>,
    received: u64,
    sent: u64,
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

/// A datagram that tries a path.
struct Letter {
    route: Route,
    id: ConnectionId,
    answer: Option<[u8; 8]>,
    question: Option<[u8; 8]>,
    size_max: usize,
    padding: Padding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    None,
    /// As long as every path must carry, so that it is known to (RFC 9000 §8.2.1).
    Full,
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

    /// Whether a packet means that the remote is elsewhere now: only the newest says so, and only
    /// if it does more than to try the path (RFC 9000 §9.3).
    pub(super) fn follow(&mut self, when: &Circumstances) {
        let may_follow = self.side == Side::Server && self.is_confirmed;
        if !may_follow || !matches!(self.state, State::Established) {
            return;
        }
        if self.previous().is_some_and(|previous| previous.route == when.route) {
            self.go_back(when.now);
            return;
        }
        let candidate = self.take_candidate(when.route);
        let is_deliberate = when.destination != self.names.addressed_as;
        let name = match &candidate {
            Some(candidate) => Some(candidate.remote),
            None if is_deliberate => self.remote_ids.take(),
            None => None,
        };
        let left = self.names.remote_number;
        self.leave(when.now, when.route, is_deliberate);
        self.names.addressed_as = when.destination;
        if let Some(name) = name {
            self.call_remote(name);
        }
        self.retire_unused(left);
        match candidate {
            Some(Candidate { received, sent, .. }) => self.path.count(received, sent),
            None => self.path.on_received(when.size),
        }
        match candidate.and_then(|candidate| candidate.works) {
            Some(rtt) => self.on_path_proved(when.now, Some(rtt)),
            None => self.demand_proof(when.now),
        }
        self.begin_anew(when.now);
    }

    /// Puts the path in use aside, to go back to if the remote has proved to be there, and begins
    /// one to `route`.
    fn leave(&mut self, now: Instant, route: Route, is_deliberate: bool) {
        let is_proved = self.path.is_validated;
        let mut previous = Previous {
            route: self.path.route,
            remote: self.names.remote_id(),
            addressed_as: self.names.addressed_as,
            number: self.path.number,
            in_flight: self.path.in_flight,
            path: None,
            question_is_due: true,
        };
        if !is_deliberate && self.path.route.is_same_host(&route) {
            // A translator's doing: the same way, under another port (RFC 9000 §9.4).
            self.recovery.paths += 1;
            self.path.rebind(route, self.recovery.paths);
        } else {
            let fresh = self.fresh_path(now, route);
            previous.path = Some(std::mem::replace(&mut self.path, fresh));
        }
        let standby = self.standby.get_or_insert_default();
        match &mut standby.previous {
            // The one just left was not proved: what was before it stays the way back.
            Some(proved) if !is_proved => {
                proved.path = proved.path.take().or(previous.path);
            }
            before => *before = Some(previous),
        }
    }

    fn demand_proof(&mut self, now: Instant) {
        let challenge = Challenge::new(now, self.validation_delay());
        self.standby.get_or_insert_default().challenge = Some(challenge);
    }

    /// Everything that is under way may be lost with the old path.
    fn begin_anew(&mut self, now: Instant) {
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

    /// The remote has not proved to be where it seemed to be, or is heard where it was.
    fn go_back(&mut self, now: Instant) {
        let Some(standby) = &mut self.standby else { return };
        standby.challenge = None;
        let Some(previous) = standby.previous.take() else { return };
        let left = self.names.remote_number;
        if let Some(path) = previous.path {
            self.path = path;
        }
        self.path.rebind(previous.route, previous.number);
        self.path.in_flight = previous.in_flight;
        self.path.is_validated = true;
        self.names.addressed_as = previous.addressed_as;
        if left != previous.remote.number {
            self.call_remote(previous.remote);
        }
        self.retire_unused(left);
        self.begin_anew(now);
    }

    /// A packet that was sent on another path is acknowledged or lost.
    pub(super) fn on_packet_of_other_path(&mut self, number: u32, size: u64) {
        let standby = self.standby.as_mut();
        let previous = standby.and_then(|standby| standby.previous.as_mut());
        if let Some(previous) = previous.filter(|previous| previous.number == number) {
            previous.in_flight = previous.in_flight.saturating_sub(size);
        }
    }

    pub(super) fn on_path_challenge(
        &mut self,
        when: &Circumstances,
        data: [u8; 8],
    ) -> Result<(), Violation> {
        if when.route == self.path.route {
            // Goes with an acknowledgement, which shows that we are here and nowhere else.
            self.pending.path_response = Some(data);
            self.heartbeat.on_rebound();
            return Ok(());
        }
        if self.candidate_at(when.route).is_none() && self.side == Side::Server {
            self.admit_candidate(when);
        }
        if let Some(candidate) = self.candidate_at(when.route) {
            candidate.answer = Some(data);
        }
        Ok(())
    }

    /// A client tries another path: it is answered there, and asked for proof at once.
    fn admit_candidate(&mut self, when: &Circumstances) {
        if !self.is_confirmed {
            return;
        }
        let challenge = Challenge::new(when.now, self.validation_delay());
        let Some(remote) = self.remote_ids.take() else { return };
        self.drop_candidate();
        let mut candidate = Candidate::new(when.route, remote, challenge);
        candidate.received = when.size as u64;
        self.standby.get_or_insert_default().candidate = Some(candidate);
        self.update_path_timer();
    }

    pub(super) fn on_path_response(
        &mut self,
        now: Instant,
        data: [u8; 8],
    ) -> Result<(), Violation> {
        let side = self.side;
        let Some(standby) = &mut self.standby else { return Ok(()) };
        let asked = standby.challenge.as_ref().and_then(|challenge| challenge.answered(data));
        if let Some(asked) = asked {
            self.on_path_proved(now, Some(now.saturating_duration_since(asked)));
        } else if let Some(candidate) = &mut standby.candidate
            && candidate.works.is_none()
            && let Some(asked) = candidate.challenge.answered(data)
        {
            candidate.works = Some(now.saturating_duration_since(asked));
            let works = PathEvent::Works(candidate.route);
            self.events.extend((side == Side::Client).then_some(Event::Path(works)));
        }
        self.update_path_timer();
        Ok(())
    }

    /// The remote receives where it is now: there is no way back any more.
    fn on_path_proved(&mut self, now: Instant, rtt: Option<Duration>) {
        self.path.is_validated = true;
        if let Some(rtt) = rtt.filter(|_| self.path.rtt.first_sample().is_none()) {
            self.path.rtt.on_sample(now, rtt, Duration::ZERO);
        }
        if let Some(standby) = &mut self.standby {
            standby.challenge = None;
            if let Some(previous) = standby.previous.take() {
                self.retire_unused(previous.remote.number);
            }
        }
        self.update_loss_timer(now);
    }

    /// A datagram came from elsewhere than the path in use.
    pub(super) fn on_received_elsewhere(&mut self, route: Route, bytes: usize) {
        if let Some(candidate) = self.candidate_at(route) {
            candidate.received += bytes as u64;
        }
    }

    pub(super) fn on_path_timeout(&mut self, now: Instant) {
        let Some(standby) = &mut self.standby else { return };
        let is_over = standby.challenge.as_ref().is_some_and(|challenge| challenge.is_over(now));
        let fails = |candidate: &mut Candidate| {
            candidate.works.is_none() && candidate.challenge.is_over(now)
        };
        if let Some(candidate) = standby.candidate.take_if(fails) {
            let event = PathEvent::Fails(candidate.route);
            self.events.extend((self.side == Side::Client).then_some(Event::Path(event)));
            self.retire(candidate.remote.number);
        }
        if is_over {
            self.go_back(now);
        }
        // A question that is due is asked with the next packet, which sets the timer again.
        let next = self.standby.as_ref().and_then(|standby| standby.deadline());
        self.timers.set_or_stop(Timer::Path, next.filter(|at| *at > now));
    }

    fn update_path_timer(&mut self) {
        let at = self.standby.as_ref().and_then(|standby| standby.deadline());
        if self.standby.as_ref().is_some_and(|standby| standby.is_empty()) {
            self.standby = None;
        }
        self.timers.set_or_stop(Timer::Path, at.filter(|_| !self.is_closed()));
    }

    /// What must go out besides the ordinary: questions and answers of paths, one datagram each.
    pub(super) fn transmit_path(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.standby.as_ref()?;
        let letter = self
            .challenge_letter(now)
            .or_else(|| self.candidate_letter(now))
            .or_else(|| self.question_letter())?;
        let is_sent = self.put_letter(now, buf, &letter);
        self.update_path_timer();
        is_sent.then(|| self.address(buf, &letter))
    }

    /// To the path in use, which has yet to be proved.
    fn challenge_letter(&mut self, now: Instant) -> Option<Letter> {
        let size_max = self.path.amplification_budget();
        let challenge = self.standby.as_mut()?.challenge.as_mut()?;
        if !challenge.is_due(now) {
            return None;
        }
        let data = self.secrets.draw(&self.integrity);
        challenge.on_sent(now, data);
        let is_new = self.path.rtt.first_sample().is_none();
        Some(Letter {
            route: self.path.route,
            id: self.names.remote,
            answer: None,
            question: Some(data),
            size_max,
            padding: if is_new { Padding::Full } else { Padding::None },
        })
    }

    fn candidate_letter(&mut self, now: Instant) -> Option<Letter> {
        let side = self.side;
        let candidate = self.standby.as_mut()?.candidate.as_mut()?;
        let asks = candidate.works.is_none() && candidate.challenge.is_due(now);
        if !asks && candidate.answer.is_none() {
            return None;
        }
        let question = asks.then(|| self.secrets.draw(&self.integrity));
        if let Some(data) = question {
            candidate.challenge.on_sent(now, data);
        }
        Some(Letter {
            route: candidate.route,
            id: candidate.remote.id,
            answer: candidate.answer.take(),
            question,
            size_max: candidate.budget(side),
            padding: Padding::Full,
        })
    }

    /// To where the remote was before it seemed to move.
    fn question_letter(&mut self) -> Option<Letter> {
        let previous = self.standby.as_mut()?.previous.as_mut()?;
        if !std::mem::take(&mut previous.question_is_due) {
            return None;
        }
        Some(Letter {
            route: previous.route,
            id: previous.remote.id,
            answer: None,
            // Nobody waits for the answer: that a packet comes from there says it all.
            question: Some(self.secrets.draw(&self.integrity)),
            size_max: usize::MAX,
            padding: Padding::None,
        })
    }

    /// Fills a datagram; answers whether it may be sent. Nothing in it is repeated when it is
    /// lost, so it is not remembered.
    fn put_letter(&mut self, now: Instant, buf: &mut Vec<u8>, letter: &Letter) -> bool {
        if letter.size_max < LETTER_MIN || !self.can_seal(Level::Data) || !self.renew_keys(now) {
            return false;
        }
        let space = &self.spaces[Level::Data];
        let phase = self.data_keys.as_ref().map_or(KeyPhase::Even, crate::keys::DataKeys::phase);
        let draft = Draft::data(buf, letter.id, phase, space.next_number, space.largest_acked);
        if let Some(data) = letter.answer {
            put_path_response(buf, data);
        }
        if let Some(data) = letter.question {
            put_path_challenge(buf, data);
        }
        let end = letter.size_max.min(DATAGRAM_MIN.into()) - TAG_LEN;
        // The remote may need another name of ours to answer there.
        self.put_new_ids(buf, end);
        if letter.padding == Padding::Full {
            buf.resize(buf.len().max(end), 0);
        }
        self.seal(&draft, buf);
        true
    }

    fn address(&mut self, buf: &[u8], letter: &Letter) -> Transmit {
        if letter.route == self.path.route {
            return self.transmit_of(buf, None);
        }
        self.stats.bytes_sent += buf.len() as u64;
        if let Some(candidate) = self.candidate_at(letter.route) {
            candidate.sent += buf.len() as u64;
        }
        let Route { socket, remote } = letter.route;
        Transmit { socket, destination: remote, size: buf.len(), segment_size: None, ecn: None }
    }

    fn fresh_path(&mut self, now: Instant, route: Route) -> Path {
        self.recovery.paths += 1;
        let number = self.recovery.paths;
        let seed = self.names.local.seed().wrapping_add(number.into());
        let mut path = Path::new(now, route, &self.config, seed);
        path.number = number;
        path.discovery.limit(self.remote.packet_max);
        path
    }

    /// How long an answer on a path that nothing is known of may take (RFC 9000 §8.2.4).
    fn validation_delay(&self) -> Duration {
        let unknown = crate::rtt::Rtt::new(self.config.initial_rtt).probe_delay();
        self.probe_delay(Level::Data).max(unknown)
    }

    fn call_remote(&mut self, name: RemoteId) {
        self.names.remote = name.id;
        self.names.remote_number = name.number;
        self.names.reset_token = name.token;
        self.notify(Notice::ResetToken(name.token));
    }

    pub(super) fn retire(&mut self, number: u64) {
        self.remote_ids.retire(number);
        self.pending.names = true;
    }

    /// Gives a name up unless it is the one in use, or of the path to go back to.
    fn retire_unused(&mut self, number: u64) {
        let is_kept = self.previous().is_some_and(|kept| kept.remote.number == number);
        if number != self.names.remote_number && !is_kept {
            self.retire(number);
        }
    }

    fn drop_candidate(&mut self) {
        let dropped = self.standby.as_mut().and_then(|standby| standby.candidate.take());
        if let Some(candidate) = dropped {
            self.retire(candidate.remote.number);
        }
    }

    fn take_candidate(&mut self, route: Route) -> Option<Candidate> {
        let standby = self.standby.as_mut()?;
        standby.candidate.take_if(|candidate| candidate.route == route)
    }

    fn candidate_at(&mut self, route: Route) -> Option<&mut Candidate> {
        let candidate = self.standby.as_mut()?.candidate.as_mut()?;
        (candidate.route == route).then_some(candidate)
    }

    fn previous(&self) -> Option<&Previous> {
        self.standby.as_ref()?.previous.as_ref()
    }
}

/// Bytes that a datagram with a question and an answer takes at least.
const LETTER_MIN: usize = 1 + ConnectionId::LEN + 4 + 2 * PATH_FRAME_LEN + TAG_LEN;

impl Standby {
    fn is_empty(&self) -> bool {
        self.challenge.is_none() && self.previous.is_none() && self.candidate.is_none()
    }

    fn deadline(&self) -> Option<Instant> {
        let tried = self.candidate.as_ref().filter(|candidate| candidate.works.is_none());
        let tried = tried.map(|candidate| candidate.challenge.deadline());
        tried.into_iter().chain(self.challenge.as_ref().map(Challenge::deadline)).min()
    }
}

impl Candidate {
    fn new(route: Route, remote: RemoteId, challenge: Challenge) -> Self {
        Self { route, remote, challenge, answer: None, works: None, received: 0, sent: 0 }
    }

    /// Bytes that may be sent there now: who only claims an address gets three times what came
    /// from it (RFC 9000 §8.1); one that our host has named is the remote's.
    fn budget(&self, side: Side) -> usize {
        let budget = (self.received * AMPLIFICATION_MAX).saturating_sub(self.sent);
        match side {
            Side::Server if self.works.is_none() => usize::try_from(budget).unwrap_or(usize::MAX),
            Side::Client | Side::Server => usize::MAX,
        }
    }
}
