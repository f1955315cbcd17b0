//! Random users against a simple model: they log in, move, talk, send, crash, and so does the
//! server. No accepted message is lost, none doubled, order is kept, receipts are true, and who
//! is busy is who should be.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use portolan_protocol::{
    Accept, Availability, Command, Converse, Deny, End, ErrorCode, Event, List, Login, Logout,
    MessageId, ReceiptState, Receipts, Recipient, Reply, RequestId, Send,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::world::{World, limits, name};
use crate::{config::Limits, core::SessionId};

const USERS: usize = 5;
const STEPS: usize = 400;

/// One user with all programs they ever run; numbers stand for users.
#[derive(Default)]
struct User {
    session: Option<SessionId>,
    /// What the application has been given, by id; it drops what it has seen.
    received: BTreeMap<MessageId, String>,
    last_in_session: MessageId,
    unconfirmed: Vec<MessageId>,
    confirmed: BTreeSet<MessageId>,
    /// Sent and not answered, by reference.
    unanswered: BTreeMap<u64, Send>,
    asked: BTreeMap<RequestId, u64>,
}

struct Model {
    world: World,
    random: ChaCha8Rng,
    users: Vec<User>,
    partners: BTreeMap<usize, usize>,
    /// Asker and asked, and when it lapses.
    requests: BTreeMap<(usize, usize), Instant>,
    last_reference: u64,
    /// Text to recipients and id: what the server has promised to deliver.
    accepted: BTreeMap<String, (Vec<usize>, MessageId)>,
}

fn user_name(user: usize) -> String {
    format!("user{user}")
}

impl Model {
    fn new(seed: u64) -> Self {
        let small = Limits { window_messages: 3, window_bytes: 64, ..limits() };
        let mut world = World::new(small);
        world.commits_at_once = false;
        Self {
            world,
            random: ChaCha8Rng::seed_from_u64(seed),
            users: (0..USERS).map(|_| User::default()).collect(),
            partners: BTreeMap::new(),
            requests: BTreeMap::new(),
            last_reference: 0,
            accepted: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        let user = self.random.random_range(0..USERS);
        match self.random.random_range(0..100) {
            0..12 => self.login(user),
            12..15 => self.logout(user),
            15..19 => self.vanish(user),
            19 => self.crash(),
            20..40 => self.send(user),
            40..46 => self.send_again(user),
            46..62 => self.confirm(user),
            62..84 => self.converse(user),
            84..88 => self.wait(),
            _ => self.commit_some(),
        }
        self.listen();
    }

    fn commit_some(&mut self) {
        let most = self.random.random_range(1..6);
        self.world.commit(most);
    }

    fn wait(&mut self) {
        self.world.advance(Duration::from_millis(self.random.random_range(0..12_000)));
        let now = self.world.now();
        self.requests.retain(|_, lapses_at| *lapses_at > now);
    }

    fn login(&mut self, user: usize) {
        let registry = self.random.random_range(0..2);
        let session = self.world.connect(u8::try_from(user + 1).unwrap(), registry);
        // What another session of the same user was told is told no more.
        self.world.commit(usize::MAX);
        self.listen();
        let login = Login { name: user_name(user), password: None, device: None, attempt: None };
        self.world.request(session, login);
        self.world.commit(usize::MAX);
        let state = &mut self.users[user];
        state.session = Some(session);
        state.last_in_session = MessageId(0);
        state.unconfirmed.clear();
        state.asked.clear();
    }

    fn logout(&mut self, user: usize) {
        let Some(session) = self.users[user].session else { return };
        let answer = self.world.ask(session, Logout {});
        assert!(matches!(answer, Some(Ok(Reply::Done(_)))));
        self.left(user);
    }

    fn vanish(&mut self, user: usize) {
        let Some(session) = self.users[user].session else { return };
        self.world.gone(session);
        self.left(user);
    }

    fn left(&mut self, user: usize) {
        self.users[user].session = None;
        self.users[user].asked.clear();
        if let Some(partner) = self.partners.remove(&user) {
            self.partners.remove(&partner);
        }
        self.requests.retain(|&(asker, asked), _| asker != user && asked != user);
    }

    fn crash(&mut self) {
        let untold = self.random.random_range(0..4);
        self.world.crash(untold);
        for user in 0..USERS {
            self.left(user);
        }
    }

    fn send(&mut self, user: usize) {
        self.last_reference += 1;
        let to = match self.random.random_range(0..10) {
            0 => Recipient::All,
            1 => Recipient::Others,
            _ => Recipient::User(name(&user_name(self.random.random_range(0..USERS)))),
        };
        let length = self.random.random_range(0..40);
        let text = format!("{}:{}", self.last_reference, "x".repeat(length));
        let send = Send { to, text, reference: Some(self.last_reference) };
        self.submit(user, send);
    }

    fn send_again(&mut self, user: usize) {
        let again = self.users[user].unanswered.values().next().cloned();
        if let Some(send) = again {
            self.submit(user, send);
        }
    }

    fn submit(&mut self, user: usize, send: Send) {
        let Some(session) = self.users[user].session else { return };
        let reference = send.reference.unwrap();
        let request = self.world.request(session, Command::Send(send.clone()));
        let state = &mut self.users[user];
        state.unanswered.insert(reference, send);
        state.asked.insert(request, reference);
    }

    fn confirm(&mut self, user: usize) {
        let count = self.random.random_range(1..4);
        let out_of_order = self.random.random_bool(0.2);
        let state = &mut self.users[user];
        let Some(session) = state.session else { return };
        let count = count.min(state.unconfirmed.len());
        let ids: Vec<MessageId> = match out_of_order {
            true => state.unconfirmed.drain(state.unconfirmed.len() - count..).collect(),
            false => state.unconfirmed.drain(..count).collect(),
        };
        if !ids.is_empty() {
            state.confirmed.extend(&ids);
            self.world.request(session, Receipts { ids, state: ReceiptState::Delivered });
        }
    }

    /// Whatever two users may do about a conversation, and what must come of it.
    fn converse(&mut self, user: usize) {
        let other = self.random.random_range(0..USERS);
        let Some(session) = self.users[user].session else { return };
        let with = name(&user_name(other));
        match self.random.random_range(0..8) {
            0..4 => {
                let code = self.world.refusal(session, Converse { with });
                self.check_converse(user, other, code);
            }
            4 => {
                let code = self.world.refusal(session, Accept { with });
                let expected = self.requests.contains_key(&(other, user));
                self.check(code, expected, other);
                if expected {
                    self.begin(user, other);
                }
            }
            5 => {
                let code = self.world.refusal(session, Deny { with, reason: None });
                let expected = self.requests.remove(&(other, user)).is_some();
                self.check(code, expected, other);
            }
            _ => {
                let code = self.world.refusal(session, End { with });
                let talks = self.partners.get(&user) == Some(&other);
                let expected = talks || self.requests.remove(&(user, other)).is_some();
                self.check(code, expected, other);
                if talks {
                    self.partners.remove(&user);
                    self.partners.remove(&other);
                }
            }
        }
    }

    fn check(&self, code: Option<ErrorCode>, is_granted: bool, other: usize) {
        match (is_granted, code) {
            (true, None) | (false, Some(ErrorCode::NoConversation | ErrorCode::UnknownUser)) => {}
            (expected, code) => panic!("granted {expected}, answered {code:?} about {other}"),
        }
    }

    fn check_converse(&mut self, user: usize, other: usize, code: Option<ErrorCode>) {
        let expected = if self.users[other].session.is_none() {
            assert!(matches!(code, Some(ErrorCode::Offline | ErrorCode::UnknownUser)), "{code:?}");
            return;
        } else if user == other {
            Some(ErrorCode::BadRequest)
        } else if self.partners.contains_key(&user) {
            Some(ErrorCode::Conflict)
        } else if self.partners.contains_key(&other) {
            Some(ErrorCode::Busy)
        } else {
            None
        };
        assert_eq!(code, expected);
        if expected.is_some() {
        } else if self.requests.contains_key(&(other, user)) {
            self.begin(user, other);
        } else {
            let lapses_at = self.world.now() + Duration::from_secs(30);
            self.requests.entry((user, other)).or_insert(lapses_at);
        }
    }

    fn begin(&mut self, one: usize, other: usize) {
        self.partners.insert(one, other);
        self.partners.insert(other, one);
        let both = [one, other];
        self.requests.retain(|(asker, asked), _| !both.contains(asker) && !both.contains(asked));
    }

    /// Everyone reads what they were told.
    fn listen(&mut self) {
        for user in 0..USERS {
            let Some(session) = self.users[user].session else { continue };
            for event in self.world.events(session) {
                self.hear(user, event);
            }
            let told = self.world.told.entry(session).or_default();
            let answers = std::mem::take(&mut told.answers);
            for (request, answer) in answers {
                self.answered(user, request, answer);
            }
        }
    }

    fn hear(&mut self, user: usize, event: Event) {
        match event {
            Event::Message(delivery) => {
                let state = &mut self.users[user];
                assert!(delivery.id > state.last_in_session, "out of order, or twice");
                state.last_in_session = delivery.id;
                state.unconfirmed.push(delivery.id);
                let last = state.received.last_key_value().map(|(id, _)| *id);
                match state.received.get(&delivery.id) {
                    Some(text) => assert_eq!(*text, delivery.text),
                    None => {
                        assert!(last < Some(delivery.id), "a message overtook another");
                        state.received.insert(delivery.id, delivery.text);
                    }
                }
            }
            Event::Receipt(receipt) => {
                let by: usize = receipt.by.as_str()["user".len()..].parse().unwrap();
                assert!(self.users[by].confirmed.contains(&receipt.id), "an untrue receipt");
            }
            Event::Conversation(_) | Event::Presence(_) => {}
            Event::Closing(closing) => panic!("{closing:?}"),
            Event::Group(_)
            | Event::Settings(_)
            | Event::Candidates(_)
            | Event::Announcement(_) => unreachable!(),
        }
    }

    fn answered(&mut self, user: usize, request: RequestId, answer: super::world::Answer) {
        let state = &mut self.users[user];
        let Some(reference) = state.asked.remove(&request) else { return };
        let Some(send) = state.unanswered.remove(&reference) else { return };
        match answer {
            Ok(Reply::Sent(sent)) => {
                // To whom a broadcast went is checked by its count alone.
                let to = match &send.to {
                    Recipient::User(name) => {
                        vec![name.as_str()["user".len()..].parse().unwrap()]
                    }
                    Recipient::All | Recipient::Others | Recipient::Group(_) => Vec::new(),
                };
                let promised = self.accepted.entry(send.text).or_insert((to, sent.id));
                assert_eq!(promised.1, sent.id, "one reference, two messages");
            }
            Err(error) => assert_eq!(error.code, ErrorCode::UnknownUser),
            other => panic!("{other:?}"),
        }
    }

    /// The directory shows as busy exactly those who talk.
    fn check_directory(&mut self) {
        self.world.commit(usize::MAX);
        self.listen();
        let Some(session) = self.users.iter().find_map(|user| user.session) else { return };
        let Some(Ok(Reply::Users(list))) = self.world.ask(session, List::default()) else {
            panic!("no list");
        };
        let shown: BTreeMap<String, bool> = list
            .users
            .iter()
            .map(|user| (user.name.to_string(), user.state == Availability::Busy))
            .collect();
        let expected: BTreeMap<String, bool> = (0..USERS)
            .filter(|user| self.users[*user].session.is_some())
            .map(|user| (user_name(user), self.partners.contains_key(&user)))
            .collect();
        assert_eq!(shown, expected);
    }

    /// Everyone comes back and reads on until nothing waits.
    fn finish(&mut self) {
        for user in 0..USERS {
            self.login(user);
        }
        loop {
            self.world.commit(usize::MAX);
            self.listen();
            if self.users.iter().all(|user| user.unconfirmed.is_empty()) {
                break;
            }
            for user in 0..USERS {
                self.confirm(user);
            }
        }
        for (text, (recipients, _)) in &self.accepted {
            for user in recipients {
                let copies =
                    self.users[*user].received.values().filter(|found| *found == text).count();
                assert_eq!(copies, 1, "{text:?} for {user}");
            }
        }
        for user in &self.users {
            let texts: BTreeSet<&String> = user.received.values().collect();
            assert_eq!(texts.len(), user.received.len(), "a message was doubled");
        }
    }
}

#[test]
fn random_users_lose_nothing_get_nothing_twice_and_are_busy_when_they_talk() {
    let fixed = std::env::var("SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = fixed.map_or(0..1_000, |seed| seed..seed + 1);
    let mut accepted = 0;
    for seed in seeds {
        println!("SEED={seed}");
        let mut model = Model::new(seed);
        for step in 0..STEPS {
            model.step();
            if step % 20 == 0 {
                model.check_directory();
            }
        }
        model.finish();
        accepted += model.accepted.len();
    }
    assert!(accepted > 0, "nothing was ever accepted");
    println!("{accepted} messages were accepted");
}
