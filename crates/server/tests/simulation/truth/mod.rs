//! What is right: a model of the server that knows nothing of its code.
//!
//! It sees what goes into the core and what comes out, and what the disk has really committed. It
//! holds the state that people may rely on (who is there, who talks with whom, who is in which
//! group, what waits for whom), predicts each answer where there is one right answer, and checks
//! the others when they come. What it holds it changes by its own rules, never by asking the core.

mod crews;
mod mail;
mod talks;

use std::collections::{BTreeMap, BTreeSet};

use portolan_identity::PeerId;
use portolan_protocol::{
    Availability, Command, ErrorBody, ErrorCode, Event, GroupNews, List, LoggedIn, Login,
    MessageId, Name, Recipient, Reply, RequestId, Send, Users,
};
use portolan_server::{
    close_code,
    core::{Remote, SessionId},
    store::{Operation, Outcome, PasswordHash, Snapshot, UserId},
};
use portolan_transport::CloseCode;

use self::{crews::Crews, mail::Mail, talks::Talks};
use crate::{
    harbour::{SERVER_KEY, TRANSPORTS, is_login},
    person::Person,
    world::{user_name, user_of},
};

pub(crate) type Answer = Result<Reply, ErrorBody>;

/// Something worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Nothing,
    Stored,
    TalkBegun,
    Crossed,
    GroupChanged,
    Full,
    Moved,
}

/// A name as the disk has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    id: UserId,
    key: PeerId,
    password: Option<PasswordHash>,
}

/// A session that is not over.
#[derive(Debug, Clone, Copy)]
struct Visitor {
    remote: Remote,
    user: Option<usize>,
    /// The last message it was told.
    told: MessageId,
}

/// A request without an answer.
#[derive(Debug)]
struct Asked {
    command: Command,
    user: Option<usize>,
    group: Option<portolan_server::store::GroupId>,
}

/// The request that the core has in its hands.
#[derive(Debug)]
struct Taking {
    key: (SessionId, RequestId),
    expected: Option<Result<(), ErrorCode>>,
    answered: Option<Result<(), ErrorCode>>,
    /// For whom a message is to be kept.
    owners: Option<BTreeSet<usize>>,
}

#[derive(Default)]
pub(crate) struct Truth {
    now: u64,
    /// What the disk has.
    names: BTreeMap<usize, Owned>,
    bans: BTreeSet<PeerId>,
    bans_told: BTreeSet<PeerId>,
    /// Names of which the core knows that they are saved.
    known: BTreeSet<usize>,
    mail: Mail,
    crews: Crews,
    talks: Talks,
    sessions: BTreeMap<SessionId, Visitor>,
    online: BTreeMap<usize, SessionId>,
    asked: BTreeMap<(SessionId, RequestId), Asked>,
    taking: Option<Taking>,
    /// The core is told of an operation that failed.
    is_failing: bool,
    /// Messages that were refused: if the answer is lost they are sent again, and then come after
    /// those that were sent later.
    refused: BTreeSet<(usize, u64)>,
}

impl Truth {
    pub(crate) fn is_taken(&self, user: usize) -> bool {
        self.known.contains(&user)
    }

    /// A group that the user is in or invited to.
    pub(crate) fn group_of(&self, user: usize) -> Option<String> {
        self.crews.of(user)
    }

    pub(crate) fn was_refused(&self, from: &Name, reference: u64) -> bool {
        self.refused.contains(&(user_of(from), reference))
    }

    pub(crate) fn lapse(&mut self, now: u64) {
        self.now = now;
        self.talks.lapse(now);
    }

    pub(crate) fn on_connected(&mut self, session: SessionId, remote: Remote) {
        let visitor = Visitor { remote, user: None, told: MessageId(0) };
        self.sessions.insert(session, visitor);
    }

    /// A session is over; if a user was there with it, the user has gone, but for one who only
    /// comes in by another door.
    pub(crate) fn on_closed(&mut self, session: SessionId, code: CloseCode) {
        let Some(user) = self.sessions.remove(&session).and_then(|visitor| visitor.user) else {
            return;
        };
        if self.online.get(&user) == Some(&session) {
            self.online.remove(&user);
            if code != close_code::REPLACED {
                self.talks.leave(user);
            }
        }
    }

    pub(crate) fn on_killed(&mut self) {
        self.sessions.clear();
        self.online.clear();
        self.asked.clear();
        self.taking = None;
        self.is_failing = false;
        self.talks = Talks::default();
        self.known = self.names.keys().copied().collect();
        self.bans_told = self.bans.clone();
        self.crews.on_killed();
        self.mail.on_killed();
    }

    pub(crate) fn on_request(
        &mut self,
        now: u64,
        session: SessionId,
        id: RequestId,
        command: Command,
    ) {
        self.now = now;
        let user = self.sessions.get(&session).and_then(|visitor| visitor.user);
        let owners = match (&command, user) {
            (Command::Send(send), Some(user)) => Some(self.owners(user, send)),
            _ => None,
        };
        let expected = match &owners {
            Some(Err(code)) => Some(Err(*code)),
            Some(Ok(_)) => None,
            None => self.expect(session, user, &command),
        };
        let group = user.and_then(|user| self.crews.meant(user, &command));
        let asked = Asked { command, user, group };
        assert!(self.asked.insert((session, id), asked).is_none(), "one number, two requests");
        let owners = owners.and_then(Result::ok);
        self.taking = Some(Taking { key: (session, id), expected, answered: None, owners });
    }

    pub(crate) fn on_request_taken(&mut self) {
        let Some(taking) = self.taking.take() else { return };
        if let Some(expected) = taking.expected {
            assert_eq!(taking.answered, Some(expected), "the answer to {:?}", taking.key);
        }
        assert!(taking.owners.is_none(), "a message was not put into the store");
    }

    /// The one right answer, where there is one at once.
    fn expect(
        &self,
        session: SessionId,
        user: Option<usize>,
        command: &Command,
    ) -> Option<Result<(), ErrorCode>> {
        let Some(visitor) = self.sessions.get(&session) else {
            return Some(Err(ErrorCode::NotLoggedIn));
        };
        let is_admin = visitor.remote.id == PeerId::from_bytes([SERVER_KEY; 32]);
        match (command, user) {
            (Command::Hello(_) | Command::Login(_), _) => None,
            (Command::Kick(kick), _) if is_admin => Some(self.is_there(&kick.name).map(drop)),
            (Command::Ban(_), _) if is_admin => None,
            (_, None) => Some(Err(ErrorCode::NotLoggedIn)),
            (Command::Logout(_) | Command::Heartbeat(_) | Command::List(_), _) => Some(Ok(())),
            (Command::ListGroups(_), _) => Some(Ok(())),
            (Command::Converse(converse), Some(user)) => Some(
                self.is_there(&converse.with)
                    .and_then(|other| self.talks.may_ask(user, other).map(drop)),
            ),
            (Command::Accept(accept), Some(user)) => Some(
                self.is_known(&accept.with).and_then(|other| self.talks.has_asked(other, user)),
            ),
            (Command::Deny(deny), Some(user)) => {
                Some(self.is_known(&deny.with).and_then(|other| self.talks.has_asked(other, user)))
            }
            (Command::End(end), Some(user)) => {
                Some(self.is_known(&end.with).and_then(|other| self.talks.may_end(user, other)))
            }
            (Command::History(history), Some(user)) => match &history.with {
                Recipient::User(name) => self.is_known(name).err().map(Err),
                Recipient::Group(group) => self.crews.speaks(user, group).err().map(Err),
                Recipient::All | Recipient::Others => Some(Err(ErrorCode::BadRequest)),
            },
            (Command::ListMembers(list), Some(user)) => {
                Some(self.crews.find(user, &list.group).map(drop))
            }
            (command, Some(user)) => self.crews.expect(user, command),
        }
    }

    fn is_known(&self, name: &Name) -> Result<usize, ErrorCode> {
        let user = user_of(name);
        self.known.contains(&user).then_some(user).ok_or(ErrorCode::UnknownUser)
    }

    fn is_there(&self, name: &Name) -> Result<usize, ErrorCode> {
        let user = self.is_known(name)?;
        self.online.contains_key(&user).then_some(user).ok_or(ErrorCode::Offline)
    }

    /// For whom a message is to be kept.
    fn owners(&self, from: usize, send: &Send) -> Result<BTreeSet<usize>, ErrorCode> {
        let has_room = |user: &usize| self.mail.has_room(from, *user, send.text.len() as u64);
        match &send.to {
            Recipient::User(name) => {
                let owner = self.is_known(name)?;
                has_room(&owner).then(|| BTreeSet::from([owner])).ok_or(ErrorCode::Quota)
            }
            Recipient::Group(group) => {
                let others = self.crews.speaks(from, group)?;
                Ok(others.into_iter().filter(has_room).collect())
            }
            Recipient::All => Ok(self.online.keys().copied().filter(has_room).collect()),
            Recipient::Others => {
                let others = self.online.keys().copied().filter(|user| *user != from);
                Ok(others.filter(has_room).collect())
            }
        }
    }

    pub(crate) fn on_queued(&mut self, operation: &Operation) {
        match operation {
            Operation::Put(message) => {
                let taking = self.taking.as_mut().expect("somebody sends");
                let owners = taking.owners.take().expect("it was to be refused");
                let chosen: BTreeSet<usize> =
                    message.owners.iter().map(|owner| self.mail.user(*owner)).collect();
                assert_eq!(chosen, owners, "for whom a message is kept");
                let audience = match &message.to {
                    Recipient::Group(group) => self.crews.audience(group),
                    Recipient::User(_) | Recipient::All | Recipient::Others => BTreeSet::new(),
                };
                self.mail.on_put(message, owners, audience);
            }
            Operation::AddUser(user) => {
                let is_given = self.names.values().any(|owned| owned.id == user.id);
                assert!(!is_given, "one number, two names");
                self.mail.ids.insert(user.id, user_of(&user.name));
            }
            Operation::WriteGroup(writes) => self.crews.on_queued(writes),
            _ => {}
        }
    }

    pub(crate) fn on_committed(&mut self, operation: &Operation, outcome: &Outcome) {
        match operation {
            Operation::AddUser(user) => {
                let owned = Owned { id: user.id, key: user.key, password: None };
                let before = self.names.insert(user_of(&user.name), owned);
                assert!(before.is_none(), "a name was taken twice");
            }
            Operation::SetPassword { user, hash } => {
                let user = self.mail.user(*user);
                self.names.get_mut(&user).expect("a name").password.clone_from(hash);
            }
            Operation::MoveName { user, key } => {
                let user = self.mail.user(*user);
                self.names.get_mut(&user).expect("a name").key = *key;
            }
            Operation::Ban(ban) => drop(self.bans.insert(ban.key)),
            Operation::Unban(key) => drop(self.bans.remove(key)),
            Operation::WriteGroup(writes) => self.crews.on_committed(writes, &self.mail.ids),
            Operation::History {
                reader, talk: portolan_server::store::Talk::In(group), ..
            } => {
                let reader = self.mail.user(*reader);
                let has_history = self.crews.has_history(*group);
                self.mail.check_group_page(reader, has_history, outcome);
            }
            operation => self.mail.on_committed(operation, outcome),
        }
    }

    /// The core is about to be told of this.
    pub(crate) fn on_outcome(&mut self, operation: &Operation, outcome: &Outcome) {
        self.is_failing = matches!(outcome, Outcome::Failed(_));
        self.mail.on_outcome(operation, outcome);
        match operation {
            Operation::WriteGroup(writes) => {
                self.crews.on_outcome(writes, !self.is_failing, &self.mail.ids);
            }
            Operation::AddUser(user) if !self.is_failing => {
                self.known.insert(user_of(&user.name));
            }
            Operation::Ban(ban) if !self.is_failing => {
                self.bans_told.insert(ban.key);
            }
            _ => {}
        }
    }

    pub(crate) fn on_outcome_taken(&mut self) {
        self.is_failing = false;
        self.crews.on_outcome_taken();
    }

    pub(crate) fn on_answer(
        &mut self,
        now: u64,
        session: SessionId,
        id: RequestId,
        answer: &Answer,
    ) -> Word {
        self.now = now;
        let asked = self.asked.remove(&(session, id));
        let asked = asked.unwrap_or_else(|| panic!("{session:?} did not ask {id:?}: {answer:?}"));
        let code = answer.as_ref().map(drop).map_err(|error| error.code);
        if let Some(taking) = self.taking.as_mut().filter(|taking| taking.key == (session, id)) {
            taking.answered = Some(code);
        }
        if let (Command::Send(send), Some(user), Err(_)) = (&asked.command, asked.user, code) {
            self.refused.extend(send.reference.map(|reference| (user, reference)));
        }
        if code == Err(ErrorCode::Internal) {
            assert!(self.is_failing, "nothing has failed: {asked:?}");
            return Word::Nothing;
        }
        self.check_answer(session, &asked, answer, code)
    }

    fn check_answer(
        &mut self,
        session: SessionId,
        asked: &Asked,
        answer: &Answer,
        code: Result<(), ErrorCode>,
    ) -> Word {
        match (&asked.command, asked.user, answer) {
            (Command::Login(login), _, answer) if is_login(answer) => {
                let Ok(Reply::LoggedIn(welcome)) = answer else { return Word::Nothing };
                self.enter(session, login, welcome)
            }
            (Command::Login(login), ..) => {
                self.check_refused_login(session, login, code);
                Word::Nothing
            }
            (Command::Send(send), Some(user), Ok(Reply::Sent(sent))) => {
                self.mail.check_sent(user, send, sent);
                Word::Stored
            }
            (Command::Send(_), _, Err(error)) if error.code == ErrorCode::Quota => Word::Full,
            (Command::List(list), _, Ok(Reply::Users(users))) => {
                self.check_list(list, users);
                Word::Nothing
            }
            (Command::Mailbox(_) | Command::History(_), Some(user), Ok(Reply::Messages(page))) => {
                page.messages.iter().for_each(|message| self.mail.check_readable(user, message));
                Word::Nothing
            }
            (Command::ListGroups(_), Some(user), Ok(Reply::Groups(groups))) => {
                self.crews.check_groups(user, groups);
                Word::Nothing
            }
            (Command::ListMembers(list), Some(user), Ok(Reply::Members(members))) => {
                self.crews.check_members(user, list, members);
                Word::Nothing
            }
            (command, Some(user), _) if crews::is_change(command) => {
                let is_there = self.sessions.get(&session).is_some_and(|v| v.user == Some(user));
                self.crews.check_change((user, is_there), asked.group, command, code, &self.known)
            }
            (command, Some(user), Ok(_)) => self.talks.on_granted(self.now, user, command),
            _ => Word::Nothing,
        }
    }

    fn enter(&mut self, session: SessionId, login: &Login, welcome: &LoggedIn) -> Word {
        let user = user_of(&welcome.name);
        assert_eq!(user_name(user).as_str(), login.name);
        let visitor = self.sessions.get_mut(&session).expect("a session that is over comes in");
        let owned = self.names.get(&user).expect("a name that the disk does not have");
        assert_eq!(owned.key, visitor.remote.id, "somebody else's name");
        assert!(
            !self.bans_told.contains(&owned.key) || welcome.admin || self.may_be_over(owned.key)
        );
        let visitor = self.sessions.get_mut(&session).expect("it was there");
        assert_eq!(welcome.transport, TRANSPORTS[visitor.remote.registry]);
        assert_eq!(welcome.waiting, self.mail.waiting(user), "what waits for user{user}");
        visitor.user = Some(user);
        let before = self.online.insert(user, session);
        assert!(before.is_none(), "an older session was not ended");
        if welcome.moved { Word::Moved } else { Word::Nothing }
    }

    /// Bans end by themselves; the tests of the core say when.
    fn may_be_over(&self, key: PeerId) -> bool {
        self.bans_told.contains(&key)
    }

    fn check_refused_login(&self, session: SessionId, login: &Login, code: Result<(), ErrorCode>) {
        let Some(visitor) = self.sessions.get(&session) else { return };
        let Ok(name) = Name::new(&login.name) else { return };
        let owned = self.names.get(&user_of(&name));
        let is_owner = owned.is_some_and(|owned| owned.key == visitor.remote.id);
        match code {
            Err(ErrorCode::NameTaken) => assert!(!is_owner, "the owner is refused"),
            Err(ErrorCode::WrongPassword) => {
                let typed = login.password.as_ref().map(|typed| format!("hash of {}", typed.0));
                let known = owned.and_then(|owned| owned.password.as_ref());
                assert_ne!(known.map(|hash| hash.0.to_string()), typed, "the right password");
            }
            Err(ErrorCode::Banned) => assert!(self.bans_told.contains(&visitor.remote.id)),
            Err(_) => {}
            Ok(()) => panic!("a login was answered with something else"),
        }
    }

    /// The list shows exactly those who are there, and as busy exactly those who talk.
    fn check_list(&self, list: &List, users: &Users) {
        assert!(list.after.is_none() && !users.more);
        let shown: BTreeMap<usize, (bool, &str)> = users
            .users
            .iter()
            .map(|info| {
                let is_busy = info.state == Availability::Busy;
                (user_of(&info.name), (is_busy, info.transport.as_str()))
            })
            .collect();
        let right = self.online.iter().map(|(&user, session)| {
            let registry = self.sessions[session].remote.registry;
            (user, (self.talks.partner(user).is_some(), TRANSPORTS[registry]))
        });
        assert_eq!(shown, right.collect());
    }

    pub(crate) fn on_told(&mut self, session: SessionId, event: &Event) {
        let Some(visitor) = self.sessions.get_mut(&session) else { return };
        match (event, visitor.user) {
            (Event::Message(delivery), Some(user)) => {
                assert!(visitor.told < delivery.id, "a session was told out of order, or twice");
                visitor.told = delivery.id;
                self.mail.check_delivery(user, delivery);
            }
            (Event::Receipt(receipt), Some(user)) => self.mail.check_writer(user, receipt),
            (Event::Group(news), Some(user)) => self.check_news(user, news),
            (Event::Message(_) | Event::Receipt(_) | Event::Group(_), None) => {
                panic!("told without a login: {event:?}")
            }
            _ => {}
        }
    }

    fn check_news(&self, user: usize, news: &GroupNews) {
        assert!(self.crews.concerns(user, &news.group), "user{user} is told of {news:?}");
    }

    /// What a program was answered holds.
    pub(crate) fn check_promise(&self, user: usize, send: &Send, id: MessageId) {
        self.mail.check_promise(user, send, id);
    }

    /// What a new process finds is what was committed.
    pub(crate) fn check_snapshot(&self, snapshot: &Snapshot) {
        let found: BTreeMap<usize, Owned> = snapshot
            .users
            .iter()
            .map(|(stored, waiting)| {
                let user = user_of(&stored.name);
                assert_eq!(*waiting, self.mail.stored_waiting(user), "what waits for user{user}");
                let password = stored.password.clone();
                (user, Owned { id: stored.id, key: stored.key, password })
            })
            .collect();
        assert_eq!(found, self.names);
        let bans: BTreeSet<PeerId> = snapshot.bans.iter().map(|ban| ban.key).collect();
        assert_eq!(bans, self.bans);
        assert!(snapshot.last_message >= self.mail.last(), "an id would be given twice");
        self.crews.check_snapshot(snapshot, &self.mail.ids);
    }

    /// Everyone is there and everything has come to rest.
    pub(crate) fn check_end(&self, people: &[Person]) {
        let mut owed =
            self.asked.iter().filter(|((session, _), _)| self.sessions.contains_key(session));
        assert!(owed.next().is_none(), "never answered: {:?}", self.asked);
        for person in people {
            let user = person.user;
            assert!(self.online.contains_key(&user), "user{user} did not come back");
            let program = person.program.as_ref().expect("a program that runs");
            assert!(program.pending.is_empty() && program.carried.is_empty());
            let partner = self.talks.partner(user).map(user_name);
            let talking: Vec<&Name> = program.talking.iter().collect();
            assert_eq!(talking, partner.iter().collect::<Vec<_>>(), "user{user} believes to talk");
        }
        self.mail.check_end(people);
    }
}
