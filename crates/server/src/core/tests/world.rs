//! A core, a store that commits when it is told to, and clients that keep what they are told.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_identity::{Identity, PeerId};
use portolan_protocol::{
    Command, ErrorBody, ErrorCode, Event, Hello, Login, Name, Password, Reply, RequestId, Timestamp,
};

use crate::{
    config::{Limits, Rate, Relaying, Right, Rights, Timing},
    core::{
        Core, CoreConfig, Effect, HashTask, Hashed, HeartbeatPolicy, Input, Now, Proof, Registry,
        RegistryPolicy, Remote, SessionId, Token,
    },
    event_log::LogEntry,
    presence::Sighting,
    store::{MemoryStore, Operation, Outcome, PasswordHash, Store},
};

pub(super) type Answer = Result<Reply, ErrorBody>;

/// The registries of every world.
pub(super) const TRANSPORTS: [&str; 2] = ["one", "two"];

/// The server for whose users every world relays.
pub(super) fn issuer() -> Identity {
    Identity::from_seed([99; 32])
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Limits under which a test meets only the bounds that it sets.
pub(super) fn limits() -> Limits {
    let often = Rate { per_second: 1e9, burst: 1e9 };
    Limits {
        commands: often,
        broadcasts: often,
        requests: often,
        logins: often,
        group_messages: often,
        group_changes: often,
        passwords: often,
        guesses: often,
        address_logins: often,
        address_names: often,
        address_passwords: often,
        ..Limits::default()
    }
}

/// What one session was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) answers: BTreeMap<RequestId, Answer>,
    pub(super) events: VecDeque<Event>,
    pub(super) closed: Option<String>,
}

pub(super) struct World {
    pub(super) core: Core,
    pub(super) store: MemoryStore,
    pub(super) queue: VecDeque<(Token, Operation)>,
    /// Whether the store commits everything at once.
    pub(super) commits_at_once: bool,
    pub(super) told: BTreeMap<SessionId, Told>,
    pub(super) log: Vec<LogEntry>,
    pub(super) sightings: Vec<Sighting>,
    pub(super) shutdown: Option<String>,
    limits: Limits,
    broadcast: Right,
    now: Now,
    last_session: u64,
    last_request: u64,
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        Self::with_right(limits, Right::Everyone)
    }

    /// The same where not everyone may write to everyone.
    pub(super) fn with_right(limits: Limits, broadcast: Right) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any instant to count from")]
        let now = Now { instant: Instant::now(), wall: Timestamp(1_000_000) };
        let mut store = MemoryStore::new(1 << 20);
        Self {
            core: make_core(now, (limits, &broadcast), &mut store),
            broadcast,
            store,
            queue: VecDeque::new(),
            commits_at_once: true,
            told: BTreeMap::new(),
            log: Vec::new(),
            sightings: Vec::new(),
            shutdown: None,
            limits,
            now,
            last_session: 0,
            last_request: 0,
        }
    }

    /// Loses everything but what was committed, as `kill -9` does. So many operations were
    /// committed and nobody was told of them any more.
    pub(super) fn crash(&mut self, untold: usize) {
        for (_, operation) in self.queue.drain(..).take(untold).collect::<Vec<_>>() {
            self.store.apply(&[operation]).unwrap();
        }
        self.told.clear();
        self.core = make_core(self.now, (self.limits, &self.broadcast), &mut self.store);
    }

    /// Lets time pass, with every deadline in it.
    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now.instant + by;
        while let Some(deadline) = self.core.poll_timeout().filter(|next| next.at <= end) {
            self.set_now(deadline.at);
            let effects = self.core.handle_timeout(self.now);
            self.carry_out(effects);
        }
        self.set_now(end);
    }

    pub(super) fn times(&self) -> Now {
        self.now
    }

    pub(super) fn now(&self) -> Instant {
        self.now.instant
    }

    fn set_now(&mut self, to: Instant) {
        let passed = to.saturating_duration_since(self.now.instant);
        self.now.wall.0 += u64::try_from(passed.as_millis()).unwrap();
        self.now.instant = self.now.instant.max(to);
    }

    pub(super) fn handle(&mut self, input: Input) {
        let effects = self.core.handle(self.now, input);
        self.carry_out(effects);
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer { session, id, reply } => self.answered(session, id, Ok(reply)),
                Effect::Refuse { session, id, error } => self.answered(session, id, Err(error)),
                Effect::Tell { to, event } => {
                    for session in to {
                        self.told.entry(session).or_default().events.push_back(event.clone());
                    }
                }
                Effect::Close { session, reason, .. } => {
                    self.told.entry(session).or_default().closed = Some(reason);
                }
                Effect::Store { token, operation } => self.queue.push_back((token, operation)),
                Effect::Hash { token, task } => self.hash(token, task),
                Effect::Sighted(sighting) => self.sightings.push(sighting),
                Effect::Log(entry) => self.log.push(entry),
                Effect::Shutdown { reason, .. } => self.shutdown = Some(reason),
            }
        }
        if self.commits_at_once {
            self.commit(usize::MAX);
        }
    }

    fn answered(&mut self, session: SessionId, id: RequestId, answer: Answer) {
        let answers = &mut self.told.entry(session).or_default().answers;
        assert!(answers.insert(id, answer).is_none(), "a request was answered twice");
    }

    /// Commits up to so many operations that wait.
    pub(super) fn commit(&mut self, most: usize) {
        for _ in 0..most {
            let Some((token, operation)) = self.queue.pop_front() else { return };
            let outcome = self.store.apply(&[operation]).unwrap().remove(0);
            self.handle(Input::Stored { token, outcome });
        }
    }

    /// A hash that a test can read.
    fn hash(&mut self, token: Token, task: HashTask) {
        let of = |password: &Password| PasswordHash(format!("hash of {}", password.0).into());
        let hashed = match &task {
            HashTask::Make(password) => Hashed::Made(of(password)),
            HashTask::Check { password, hash } if of(password) == *hash => Hashed::Right,
            HashTask::Check { .. } => Hashed::Wrong,
        };
        self.handle(Input::Hashed { token, hashed });
    }

    /// Fails everything that waits.
    pub(super) fn fail(&mut self) {
        while let Some((token, _)) = self.queue.pop_front() {
            self.handle(Input::Stored { token, outcome: Outcome::Failed(Arc::from("no disk")) });
        }
    }

    /// A number for a session that nobody has.
    pub(super) fn next_session(&mut self) -> u64 {
        self.last_session += 1;
        self.last_session
    }

    /// A connection with the key of `seed`, from an address of its own, over the registry of that
    /// index.
    pub(super) fn connect(&mut self, seed: u8, registry: usize) -> SessionId {
        let session = self.connect_at(seed, registry, seed);
        self.hello(session);
        session
    }

    /// A connection with the key of `seed` from the address of that host.
    pub(super) fn connect_from(&mut self, seed: u8, host: u8) -> SessionId {
        let session = self.connect_at(seed, 0, host);
        self.hello(session);
        session
    }

    /// A connection on which nothing is said.
    pub(super) fn connect_only(&mut self, seed: u8, registry: usize) -> SessionId {
        self.connect_at(seed, registry, seed)
    }

    fn connect_at(&mut self, seed: u8, registry: usize, host: u8) -> SessionId {
        let session = SessionId(self.next_session());
        let remote = Remote {
            registry,
            id: PeerId::from_bytes([seed; 32]),
            address: SocketAddr::from(([192, 0, 2, host], 7)),
            proof: Proof::Key,
        };
        self.handle(Input::Connected { session, remote });
        session
    }

    fn hello(&mut self, session: SessionId) {
        let hello = Hello { versions: vec![1], features: Vec::new(), software: String::new() };
        assert!(matches!(self.ask(session, hello), Some(Ok(Reply::Welcome(_)))));
    }

    pub(super) fn login(&mut self, seed: u8, text: &str) -> SessionId {
        let session = self.connect(seed, 0);
        let login = Login { name: text.to_owned(), password: None, device: None, attempt: None };
        let answer = self.ask(session, login);
        assert!(matches!(answer, Some(Ok(Reply::LoggedIn(_)))), "{answer:?}");
        session
    }

    pub(super) fn request(&mut self, session: SessionId, command: impl Into<Command>) -> RequestId {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.handle(Input::Command { session, id, command: command.into() });
        id
    }

    /// Asks; `None`: the answer waits for the store.
    pub(super) fn ask(
        &mut self,
        session: SessionId,
        command: impl Into<Command>,
    ) -> Option<Answer> {
        let id = self.request(session, command);
        self.told.get_mut(&session)?.answers.remove(&id)
    }

    pub(super) fn refusal(
        &mut self,
        session: SessionId,
        command: impl Into<Command>,
    ) -> Option<ErrorCode> {
        self.ask(session, command)?.err().map(|error| error.code)
    }

    pub(super) fn gone(&mut self, session: SessionId) {
        self.handle(Input::Gone { session, reason: "the cable was cut".into() });
    }

    /// Takes everything that a session was told.
    pub(super) fn events(&mut self, session: SessionId) -> Vec<Event> {
        self.told.entry(session).or_default().events.drain(..).collect()
    }
}

fn make_core(now: Now, (limits, broadcast): (Limits, &Right), store: &mut MemoryStore) -> Core {
    let heartbeat =
        HeartbeatPolicy { keep_alive: Duration::from_secs(5), idle: Duration::from_secs(20) };
    let policy = RegistryPolicy { clients: limits.users_per_registry, heartbeat };
    let registries = TRANSPORTS.map(|scheme| Registry::new(scheme, format!("{scheme}:7"), policy));
    let config = CoreConfig {
        id: PeerId::from_bytes([0; 32]),
        admins: Vec::new(),
        rights: Rights { broadcast: broadcast.clone() },
        reserved: vec![name("harbourmaster")],
        relaying: Relaying { issuers: vec![issuer().id()], is_only: false },
        registries: registries.into(),
        limits,
        timing: Timing::default(),
    };
    Core::new(now, config, &store.snapshot().unwrap())
}
