//! The server: the real core, and hands that do what its shell does.

use std::time::Duration;

use portolan_identity::PeerId;
use portolan_protocol::{Command, Event, Hello, Password, Reply, RequestId};
use portolan_server::{
    Relaying, Rights, Timing,
    core::{
        Core, CoreConfig, Effect, HashTask, Hashed, HeartbeatPolicy, Input, Proof, Registry,
        RegistryPolicy, Remote, SessionId, Token,
    },
    store::{Operation, PasswordHash},
};
use portolan_transport::CloseCode;

use crate::{
    line::{Down, LineId, WINDOW},
    truth::Word,
    world::{Happening, World, limits, tell},
};

/// The registries of every server.
pub(crate) const TRANSPORTS: [&str; 3] = ["tcp", "udp", "quic"];

/// The key of the server, which is also its administrator's.
pub(crate) const SERVER_KEY: u8 = 0;

/// The key of the one who wants others' names.
pub(crate) const THIEF_KEY: u8 = 250;

/// How long the server's shell waits for a client to read its last words.
const FAREWELL: u64 = 2_000;

fn config() -> CoreConfig {
    let heartbeat =
        HeartbeatPolicy { keep_alive: Duration::from_secs(5), idle: Duration::from_secs(20) };
    let policy = RegistryPolicy { clients: limits().users_per_registry, heartbeat };
    let registries = TRANSPORTS.map(|scheme| Registry::new(scheme, format!("{scheme}:7"), policy));
    CoreConfig {
        id: PeerId::from_bytes([SERVER_KEY; 32]),
        admins: Vec::new(),
        rights: Rights::default(),
        reserved: Vec::new(),
        relaying: Relaying::default(),
        registries: registries.into(),
        limits: limits(),
        timing: Timing::default(),
    }
}

impl World<'_> {
    pub(crate) fn on_boot(&mut self) {
        self.boot += 1;
        self.will_commit = false;
        let snapshot = self.disk.start();
        self.truth.check_snapshot(&snapshot);
        self.core = Some(Core::new(self.clock(), config(), &snapshot));
        tell!(self, "the server starts, process {}", self.boot);
        let admin = self.visit(SERVER_KEY);
        self.admin = Some(admin);
    }

    /// A session without a line, for those whose connections do not matter.
    pub(crate) fn visit(&mut self, key: u8) -> SessionId {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        self.truth.on_connected(session, remote(key, 0));
        self.feed(Input::Connected { session, remote: remote(key, 0) });
        let hello = Hello { versions: vec![1], features: Vec::new(), software: String::new() };
        self.request(session, RequestId(1), hello.into());
        session
    }

    /// The process dies: what it has not committed never was, what it has not sent is not sent.
    pub(crate) fn kill(&mut self) {
        let written = self.chance.within(0..=self.disk.waiting() as u64) as usize;
        for (operation, outcome) in self.disk.commit(written) {
            self.truth.on_committed(&operation, &outcome);
        }
        self.disk.cut_off();
        self.truth.on_killed();
        self.core = None;
        self.of_session.clear();
        tell!(self, "kill -9; {written} more operations had been written");
        let is_power_cut = self.chance.one_in(3);
        let lines: Vec<LineId> = self.lines.keys().copied().collect();
        for id in lines {
            let learns = self.chance.within(0..=if is_power_cut { 20_000 } else { 50 });
            let Some(line) = self.lines.get_mut(&id) else { continue };
            line.server.has_left = true;
            line.is_cut |= is_power_cut;
            let when = line.next_down(self.now) + learns;
            self.at(when, Happening::ClientLearns(id));
        }
    }

    /// The process ends in good order.
    pub(crate) fn stop(&mut self) {
        tell!(self, "the server is stopped");
        self.feed(Input::Stop { reason: "maintenance".into(), restart_after: None });
        while self.disk.waiting() > 0 {
            self.commit_all();
            self.tell_settled();
        }
        self.tell_settled();
        self.disk.cut_off();
        self.truth.on_killed();
        self.core = None;
        self.of_session.clear();
        let lines: Vec<LineId> = self.lines.keys().copied().collect();
        lines.into_iter().for_each(|line| self.on_farewell_over(line));
    }

    pub(crate) fn feed(&mut self, input: Input) {
        let now = self.clock();
        let Some(core) = &mut self.core else { return };
        let effects = core.handle(now, input);
        self.carry_out(effects);
        assert!(self.sessions_are_bounded(), "sessions are left over");
    }

    fn sessions_are_bounded(&self) -> bool {
        // Visitors: the administrator, and a thief who is never longer than ten seconds there.
        self.core.as_ref().is_none_or(|core| core.sessions() <= self.of_session.len() + 32)
    }

    pub(crate) fn on_deadline(&mut self) {
        let now = self.clock();
        let Some(core) = &mut self.core else { return };
        let effects = core.handle_timeout(now);
        self.truth.lapse(self.now);
        self.carry_out(effects);
    }

    /// Gives the core a request, and compares what it does at once with what is right.
    pub(crate) fn request(&mut self, session: SessionId, id: RequestId, command: Command) {
        if self.core.is_none() {
            return;
        }
        tell!(self, "{session:?} asks {command:?}");
        self.truth.on_request(self.now, session, id, command.clone());
        self.feed(Input::Command { session, id, command });
        self.truth.on_request_taken();
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut slow = Vec::new();
        for effect in effects {
            match effect {
                Effect::Answer { session, id, reply } => self.answer(session, id, Ok(reply)),
                Effect::Refuse { session, id, error } => self.answer(session, id, Err(error)),
                Effect::Tell { to, event } => self.tell_all(&to, &event, &mut slow),
                Effect::Close { session, code, .. } => self.close(session, code),
                Effect::Store { token, operation } => self.queue(token, operation),
                Effect::Hash { token, task } => self.hash(token, &task),
                Effect::Sighted(_) | Effect::Log(_) | Effect::Shutdown { .. } => {}
            }
        }
        for session in slow {
            self.tally.too_slow += 1;
            self.feed(Input::TooSlow { session });
        }
    }

    fn answer(&mut self, session: SessionId, id: RequestId, answer: crate::truth::Answer) {
        let word = self.truth.on_answer(self.now, session, id, &answer);
        self.count(word);
        let Some(&line) = self.of_session.get(&session) else { return };
        if let Some(line) = self.lines.get_mut(&line).filter(|l| l.server.farewell.is_none()) {
            line.server.outbox.push_back(Down::Answer(id, answer));
        }
        self.flush(line);
    }

    fn count(&mut self, word: Word) {
        match word {
            Word::Nothing => {}
            Word::Stored => self.tally.stored += 1,
            Word::TalkBegun => self.tally.talks += 1,
            Word::Crossed => self.tally.crossings += 1,
            Word::GroupChanged => self.tally.group_changes += 1,
            Word::Full => self.tally.full_mailboxes += 1,
            Word::Moved => self.tally.moves += 1,
        }
    }

    fn tell_all(&mut self, to: &[SessionId], event: &Event, slow: &mut Vec<SessionId>) {
        for &session in to {
            self.truth.on_told(session, event);
            let Some(&id) = self.of_session.get(&session) else { continue };
            let Some(line) = self.lines.get_mut(&id) else { continue };
            let end = &mut line.server;
            let is_advisory = matches!(event, Event::Receipt(_) | Event::Presence(_));
            let bound = limits().outbox_frames / if is_advisory { 2 } else { 1 };
            let is_last = matches!(event, Event::Closing(_));
            let is_left_out = is_advisory && end.outbox.len() >= bound;
            if end.farewell.is_some() || is_left_out || (end.has_overflown && !is_last) {
                continue;
            }
            if end.outbox.len() >= bound && !is_last {
                end.outbox.clear();
                end.has_overflown = true;
                slow.push(session);
                continue;
            }
            end.outbox.push_back(Down::Event(event.clone()));
            self.flush(id);
        }
    }

    fn close(&mut self, session: SessionId, code: CloseCode) {
        tell!(self, "{session:?} is closed with {code:?}");
        self.truth.on_closed(session, code);
        let Some(&id) = self.of_session.get(&session) else { return };
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.server.farewell.get_or_insert(code);
        self.after(FAREWELL, Happening::FarewellOver(id));
        self.flush(id);
    }

    fn queue(&mut self, token: Token, operation: Operation) {
        self.truth.on_queued(&operation);
        self.disk.push(token, operation);
        self.expect_commit();
    }

    fn expect_commit(&mut self) {
        if !self.will_commit && self.disk.waiting() > 0 {
            self.will_commit = true;
            let is_busy = self.chance.one_in(50);
            let when = self.chance.within(1..=if is_busy { 3_000 } else { 25 });
            self.after(when, Happening::Commits { boot: self.boot });
        }
    }

    pub(crate) fn on_commit(&mut self, boot: u64) {
        if boot != self.boot || self.core.is_none() || self.disk.waiting() == 0 {
            return;
        }
        self.will_commit = false;
        let count = self.chance.within(1..=self.disk.waiting() as u64) as usize;
        if !self.is_calm && self.chance.one_in(80) {
            tell!(self, "{count} operations fail");
            self.disk.fail(count);
        } else {
            tell!(self, "{count} operations are committed");
            for (operation, outcome) in self.disk.commit(count) {
                self.truth.on_committed(&operation, &outcome);
            }
        }
        let told = self.chance.within(0..=5);
        self.after(told, Happening::Told { boot });
        self.expect_commit();
    }

    fn commit_all(&mut self) {
        for (operation, outcome) in self.disk.commit(self.disk.waiting()) {
            self.truth.on_committed(&operation, &outcome);
        }
    }

    pub(crate) fn on_told(&mut self, boot: u64) {
        if boot == self.boot {
            self.tell_settled();
            self.serve_all();
        }
    }

    fn tell_settled(&mut self) {
        while let Some((token, operation, outcome)) = self.disk.poll_settled() {
            self.truth.on_outcome(&operation, &outcome);
            self.feed(Input::Stored { token, outcome });
            self.truth.on_outcome_taken();
        }
    }

    /// A hash that a test can read.
    fn hash(&mut self, token: Token, task: &HashTask) {
        let of = |password: &Password| PasswordHash(format!("hash of {}", password.0).into());
        let hashed = match task {
            HashTask::Make(password) => Hashed::Made(of(password)),
            HashTask::Check { password, hash } if of(password) == *hash => Hashed::Right,
            HashTask::Check { .. } => Hashed::Wrong,
        };
        let takes = self.chance.within(5..=300);
        self.after(takes, Happening::Hashed { boot: self.boot, token, hashed });
    }

    pub(crate) fn on_hashed(&mut self, boot: u64, token: Token, hashed: Hashed) {
        if boot == self.boot {
            self.feed(Input::Hashed { token, hashed });
        }
    }

    pub(crate) fn on_dialled(&mut self, id: LineId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if line.is_cut || line.client_left {
            line.server.has_left = true;
            return;
        }
        if self.core.is_none() {
            line.server.has_left = true;
            let when = line.next_down(self.now);
            return self.at(when, Happening::ClientLearns(id));
        }
        self.last_session += 1;
        let session = SessionId(self.last_session);
        line.server.session = Some(session);
        line.server.outbox.push_back(Down::Opened);
        let remote = remote(line.key, line.registry);
        self.of_session.insert(session, id);
        self.truth.on_connected(session, remote);
        self.feed(Input::Connected { session, remote });
        self.flush(id);
    }

    pub(crate) fn on_arrival(&mut self, id: LineId, request: RequestId, command: Command) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if !line.is_cut && !line.server.has_left {
            line.server.inbound.push_back((request, command));
            self.serve(id);
        }
    }

    fn serve_all(&mut self) {
        let lines: Vec<LineId> = self.of_session.values().copied().collect();
        lines.into_iter().for_each(|line| self.serve(line));
    }

    /// Reads requests as long as there is room for their answers, and in the store's queue.
    fn serve(&mut self, id: LineId) {
        loop {
            let store_is_full = self.disk.waiting() >= limits().store_queue;
            let Some(line) = self.lines.get_mut(&id) else { return };
            let end = &mut line.server;
            let is_full = end.owed >= limits().open_requests || store_is_full;
            if is_full || end.has_left || end.farewell.is_some() {
                return;
            }
            let (Some(session), Some((request, command))) = (end.session, end.inbound.pop_front())
            else {
                return;
            };
            end.owed += 1;
            self.request(session, request, command);
        }
    }

    /// Writes what is queued, as far as the client reads.
    fn flush(&mut self, id: LineId) {
        let now = self.now;
        let Some(line) = self.lines.get_mut(&id) else { return };
        let bound = limits().outbox_frames + limits().open_requests + 1;
        assert!(line.server.outbox.len() <= bound, "a queue beyond its bound");
        let mut sent = Vec::new();
        while line.server.on_the_way < WINDOW
            && !line.server.has_left
            && let Some(frame) = line.server.outbox.pop_front()
        {
            line.server.on_the_way += 1;
            line.server.owed -= usize::from(matches!(frame, Down::Answer(..)));
            sent.push((line.next_down(now), frame));
        }
        let is_last = line.server.outbox.is_empty() && !line.server.has_left;
        if let Some(code) = line.server.farewell.filter(|_| is_last) {
            line.server.has_left = true;
            sent.push((line.next_down(now), Down::Closed(code)));
            self.forget(id);
        }
        for (when, frame) in sent {
            self.at(when, Happening::Reaches(id, Box::new(frame)));
        }
    }

    /// The client has read a frame.
    pub(crate) fn on_frame_read(&mut self, id: LineId) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.server.on_the_way = line.server.on_the_way.saturating_sub(1);
            self.flush(id);
            self.serve(id);
        }
    }

    pub(crate) fn on_farewell_over(&mut self, id: LineId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if line.server.has_left || (self.core.is_some() && line.server.farewell.is_none()) {
            return;
        }
        line.server.has_left = true;
        let when = line.next_down(self.now);
        self.at(when, Happening::ClientLearns(id));
        self.forget(id);
    }

    pub(crate) fn on_server_learns(&mut self, id: LineId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if !std::mem::replace(&mut line.server.has_left, true) {
            self.forget(id);
        }
        self.lines.retain(|_, line| !line.is_over());
    }

    /// The shell tells the core that a connection is no more.
    fn forget(&mut self, id: LineId) {
        let Some(session) = self.lines.get_mut(&id).and_then(|line| line.server.session) else {
            return;
        };
        if self.of_session.remove(&session).is_some() {
            self.truth.on_closed(session, CloseCode::DONE);
            self.feed(Input::Gone { session, reason: "the connection was lost".into() });
        }
    }
}

fn remote(key: u8, registry: usize) -> Remote {
    Remote {
        registry,
        id: PeerId::from_bytes([key; 32]),
        address: std::net::SocketAddr::from(([192, 0, 2, key], 7)),
        proof: Proof::Key,
    }
}

/// Whether an answer is the one to a login.
pub(crate) fn is_login(answer: &crate::truth::Answer) -> bool {
    matches!(answer, Ok(Reply::LoggedIn(_)))
}
