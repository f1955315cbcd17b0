//! Finds a path between two peers, and watches it (RFC 8445, RFC 7675).

mod birthday;
mod choice;
mod event;
mod inbound;
mod outbound;
mod pair;
mod timers;

pub use birthday::Mapping;
pub use event::{
    AgentStats, Deadline, Event, FailReason, LostReason, Path, Reason, SocketId, Transmit,
};
pub use inbound::Handled;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use rand_chacha::{
    ChaCha12Rng,
    rand_core::{RngCore, SeedableRng},
};
use thiserror::Error;

use self::{
    birthday::Birthday,
    inbound::Answer,
    pair::{Pair, Seen, State},
};
use crate::{
    candidate::{Candidate, Loopback, Unreachable, canonical, check_remote},
    credentials::{Credentials, Role},
    limits::{Limits, Timing},
    stun::TransactionId,
};

/// Which families a socket sends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Families {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both, by dual stack.
    Both,
}

impl Families {
    const fn include(self, address: SocketAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Both => true,
        }
    }
}

/// What an agent is made of.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Which end of the introduction.
    pub role: Role,
    /// Our name and key.
    pub local: Credentials,
    /// Theirs.
    pub remote: Credentials,
    /// All chance comes from here: unguessable bytes, but in tests.
    pub seed: [u8; 32],
    /// Bounds.
    pub limits: Limits,
    /// Times.
    pub timing: Timing,
    /// Whether the other one may be on this machine.
    pub loopback: Loopback,
}

impl AgentConfig {
    /// One end of the introduction that this ticket belongs to, with the default bounds and times.
    #[must_use]
    pub fn new(role: Role, ticket: &[u8], seed: [u8; 32]) -> Self {
        Self {
            role,
            local: Credentials::derive(ticket, role),
            remote: Credentials::derive(ticket, role.other()),
            seed,
            limits: Limits::default(),
            timing: Timing::default(),
            loopback: Loopback::Refused,
        }
    }
}

/// Why a candidate was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CandidateError {
    /// Nobody can or may be reached there.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// There are enough.
    #[error("no more than {0} candidates are tried")]
    TooMany(usize),
}

/// Finds a path between two peers who were introduced to each other, and watches it.
///
/// Both ends run one. Each is told the other's candidates and sends *checks* to them from its
/// sockets, at a steady pace, until an authentic answer comes back: then the pair of addresses
/// works in both directions. What opens the hole in one translator is what the other one drops.
/// The controlling end chooses the best working pair, and both are told [`Event::Nominated`].
///
/// It has the five verbs of every machine here: one input, then drain [`Self::poll_transmit`] and
/// [`Self::poll_event`], then read [`Self::poll_timeout`].
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    random: ChaCha12Rng,
    tie_breaker: u64,
    sockets: Vec<(SocketId, Families)>,
    candidates: Vec<Candidate>,
    pairs: Vec<Pair>,
    triggered: VecDeque<usize>,
    answers: VecDeque<Answer>,
    events: VecDeque<Event>,
    birthday: Birthday,
    /// When trying began.
    started: Instant,
    /// When the last check went out that was not triggered.
    paced: Option<Instant>,
    /// The first pair has worked.
    first_worked: Option<Instant>,
    /// The pair that the controlling end asks for.
    chosen: Option<usize>,
    /// The pair that both use.
    selected: Option<usize>,
    /// The count of the latest nomination.
    nomination: u32,
    is_failed: bool,
    stats: AgentStats,
}

impl Agent {
    /// An agent that knows nobody's address yet.
    #[must_use]
    pub fn new(config: AgentConfig, now: Instant) -> Self {
        let mut random = ChaCha12Rng::from_seed(config.seed);
        Self {
            tie_breaker: random.next_u64(),
            random,
            config,
            sockets: Vec::new(),
            candidates: Vec::new(),
            pairs: Vec::new(),
            triggered: VecDeque::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            birthday: Birthday::new(),
            started: now,
            paced: None,
            first_worked: None,
            chosen: None,
            selected: None,
            nomination: 0,
            is_failed: false,
            stats: AgentStats::default(),
        }
    }

    /// Adds a socket from which checks are sent.
    pub fn add_socket(&mut self, now: Instant, socket: SocketId, families: Families) {
        self.sockets.push((socket, families));
        for candidate in self.candidates.clone() {
            self.pair_up(now, socket, candidate);
        }
    }

    /// Adds one of the sockets that [`Event::SocketsWanted`] asked for.
    pub fn add_birthday_socket(&mut self, socket: SocketId) {
        if self.birthday.sockets.len() < usize::from(self.config.limits.birthday_sockets) {
            self.birthday.sockets.push(socket);
        }
    }

    /// A socket is gone; what used it is lost.
    pub fn remove_socket(&mut self, now: Instant, socket: SocketId) {
        self.sockets.retain(|(id, _)| *id != socket);
        self.birthday.sockets.retain(|id| *id != socket);
        for index in 0..self.pairs.len() {
            if self.pairs[index].socket == socket {
                self.pairs[index].state = State::Failed;
                self.pairs[index].next_at = None;
            }
        }
        if self.selected.is_some_and(|index| self.pairs[index].socket == socket) {
            self.lose(now, LostReason::SocketClosed);
        }
    }

    /// Adds an address at which the other one says it can be reached. It is untrusted: what never
    /// answers gets a handful of small checks.
    ///
    /// # Errors
    /// [`CandidateError`] when it is no peer's, or one too many.
    pub fn add_remote(&mut self, now: Instant, candidate: Candidate) -> Result<(), CandidateError> {
        let candidate = Candidate { address: canonical(candidate.address), ..candidate };
        check_remote(candidate.address, self.config.loopback)?;
        if self.candidates.iter().any(|known| known.address == candidate.address) {
            return Ok(());
        }
        if self.candidates.len() >= self.config.limits.candidates {
            return Err(CandidateError::TooMany(self.config.limits.candidates));
        }
        self.candidates.push(candidate);
        if self.is_failed || self.candidates.len() == 1 {
            (self.started, self.is_failed) = (now, false);
        }
        for (socket, families) in self.sockets.clone() {
            if families.include(candidate.address) {
                self.pair_up(now, socket, candidate);
            }
        }
        Ok(())
    }

    /// How the translators map, by each side's own measurement.
    pub const fn set_mapping(&mut self, local: Mapping, remote: Mapping) {
        (self.birthday.local, self.birthday.remote) = (local, remote);
    }

    /// The server has seen the other one at this address in a connection, so birthday probing
    /// cannot hit a stranger there.
    pub const fn vouch(&mut self, ip: IpAddr) {
        self.birthday.vouched = Some(ip.to_canonical());
    }

    /// Our addresses are others now: everything is tried anew.
    pub fn network_changed(&mut self, now: Instant) {
        if self.selected.is_some() {
            self.lose(now, LostReason::NetworkChanged);
        } else {
            self.try_all_again(now);
        }
    }

    /// The path that both use now.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.selected.map(|index| self.path_of(index))
    }

    /// What was done so far.
    #[must_use]
    pub const fn stats(&self) -> AgentStats {
        self.stats
    }

    /// Takes the next piece of news.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn path_of(&self, index: usize) -> Path {
        let Pair { socket, remote, kind, mapped, rtt, .. } = self.pairs[index];
        Path { socket, remote, kind, mapped, rtt }
    }

    fn pair_up(&mut self, now: Instant, socket: SocketId, candidate: Candidate) {
        let Candidate { kind, address: remote, priority } = candidate;
        let seen = Seen { socket, remote, kind, priority };
        match self.pair(socket, remote) {
            // A check was quicker than the introduction: now it is known what the address is.
            Some(index) => (self.pairs[index].kind, self.pairs[index].priority) = (kind, priority),
            None => {
                self.insert(now, seen);
            }
        }
    }

    fn pair(&self, socket: SocketId, remote: SocketAddr) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.is_between(socket, remote))
    }

    /// Adds a pair; a failed one makes room. `None`: there is none.
    fn insert(&mut self, now: Instant, seen: Seen) -> Option<usize> {
        let pair = Pair::new(seen, now, self.config.timing.first_wait);
        if self.pairs.len() < self.config.limits.pairs {
            self.pairs.push(pair);
            return Some(self.pairs.len() - 1);
        }
        let failed = |pair: &Pair| pair.state == State::Failed && !pair.is_triggered;
        let index = self.pairs.iter().position(failed)?;
        self.pairs[index] = pair;
        Some(index)
    }

    fn trigger(&mut self, index: usize) {
        if !self.pairs[index].is_triggered {
            self.pairs[index].is_triggered = true;
            self.triggered.push_back(index);
        }
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < self.config.limits.events {
            self.events.push_back(event);
        }
    }

    fn transaction(&mut self) -> TransactionId {
        let mut bytes = [0; 12];
        self.random.fill_bytes(&mut bytes);
        TransactionId(bytes)
    }
}

/// A moment to begin tests at.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
pub(crate) fn tests_start() -> Instant {
    Instant::now()
}
