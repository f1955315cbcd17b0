//! Random users with several devices each against a simple model: every device gets what it should
//! once and in order, every session knows what is open, and busy is who has no room.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use portolan_protocol::{
    Accept, Availability, ChangeSettings, Command, ConversationState, Converse, Deny, DeviceId,
    End, ErrorCode, Event, List, Login, Logout, MessageId, ReceiptState, Receipts, Recipient,
    Reply, RequestId, Send,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::world::{Answer, World, limits, name};
use crate::{config::Limits, core::SessionId};

const USERS: usize = 4;
/// The first is the one without a number.
const DEVICES: usize = 4;
const STEPS: usize = 300;
const SEEDS: u64 = 300;

/// A device: its user and its number.
type Place = (usize, usize);

/// What a session believes of it and one other user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    Here,
    Elsewhere,
    Asked,
    Rings,
}

#[derive(Default)]
struct Device {
    session: Option<SessionId>,
    /// What the application has been given; it drops what it has seen.
    received: BTreeMap<MessageId, String>,
    expected: BTreeSet<MessageId>,
    last_in_session: MessageId,
    unconfirmed: Vec<MessageId>,
    believes: BTreeMap<usize, Talk>,
    /// Places that each message sent and not answered goes to.
    asked: BTreeMap<RequestId, Plan>,
}

struct Plan {
    text: String,
    owners: Vec<usize>,
    places: Vec<Place>,
}

#[derive(Default)]
struct User {
    /// Devices that the server keeps copies for; none: it keeps the mailbox alone.
    known: BTreeSet<usize>,
    is_registered: bool,
    /// What no device has confirmed.
    waiting: BTreeSet<MessageId>,
    confirmed: BTreeSet<MessageId>,
    allowed: usize,
}

struct Model {
    world: World,
    random: ChaCha8Rng,
    users: Vec<User>,
    devices: BTreeMap<Place, Device>,
    /// Each way: who, with whom, and by which device.
    talks: BTreeMap<(usize, usize), usize>,
    /// Asker and asked; by which device, and when it lapses.
    requests: BTreeMap<(usize, usize), (usize, Instant)>,
    texts: u64,
    /// What was sent by sessions that ended before the answer: kept or not.
    unsure: BTreeSet<String>,
    accepted: usize,
}

fn user_name(user: usize) -> String {
    format!("user{user}")
}

fn user_of(text: &str) -> usize {
    text["user".len()..].parse().unwrap()
}

impl Model {
    fn new(seed: u64) -> Self {
        let small = Limits { window_messages: 3, window_bytes: 64, ..limits() };
        let mut world = World::new(small);
        world.commits_at_once = false;
        let places = (0..USERS).flat_map(|user| (0..DEVICES).map(move |device| (user, device)));
        Self {
            world,
            random: ChaCha8Rng::seed_from_u64(seed),
            users: (0..USERS).map(|_| User { allowed: 1, ..User::default() }).collect(),
            devices: places.map(|place| (place, Device::default())).collect(),
            talks: BTreeMap::new(),
            requests: BTreeMap::new(),
            texts: 0,
            unsure: BTreeSet::new(),
            accepted: 0,
        }
    }

    fn end_session(&mut self, place: Place) {
        let unsure = self.device(place).end_session();
        self.unsure.extend(unsure);
    }

    fn device(&mut self, place: Place) -> &mut Device {
        self.devices.get_mut(&place).unwrap()
    }

    fn session(&self, place: Place) -> Option<SessionId> {
        self.devices[&place].session
    }

    fn is_there(&self, user: usize) -> bool {
        (0..DEVICES).any(|device| self.session((user, device)).is_some())
    }

    fn step(&mut self) {
        let place = (self.random.random_range(0..USERS), self.random.random_range(0..DEVICES));
        match self.random.random_range(0..100) {
            // The one without a number ends the others, so it comes rarely.
            0..14 if place.1 > 0 || self.random.random_bool(0.2) => self.login(place),
            14..20 => self.leave(place),
            20 => self.crash(),
            21..40 => self.send(place),
            40..58 => self.confirm(place),
            58..84 => self.converse(place),
            84..88 => self.settle(place),
            88..91 => self.wait(),
            _ => self.commit_some(),
        }
        self.listen();
    }

    fn commit_some(&mut self) {
        let most = self.random.random_range(1..6);
        self.world.commit(most);
    }

    fn commit_all(&mut self) {
        self.world.commit(usize::MAX);
        self.listen();
    }

    fn wait(&mut self) {
        self.world.advance(Duration::from_millis(self.random.random_range(0..12_000)));
        let now = self.world.now();
        self.requests.retain(|_, (_, lapses_at)| *lapses_at > now);
    }

    fn login(&mut self, place: Place) {
        let (user, device) = place;
        self.commit_all();
        let registry = self.random.random_range(0..2);
        let session = self.world.connect(u8::try_from(user + 1).unwrap(), registry);
        let number = (device > 0).then_some(DeviceId(device as u64));
        let login = Login { name: user_name(user), password: None, device: number, attempt: None };
        self.world.request(session, login);
        let others = (0..DEVICES).filter(|other| device == 0 || *other == device);
        for other in others.collect::<Vec<_>>() {
            self.replaced((user, other), device);
        }
        self.take_in(place);
        self.device(place).session = Some(session);
        self.commit_all();
    }

    /// A session makes room for that of another device, or of its own.
    fn replaced(&mut self, (user, from): Place, to: usize) {
        self.end_session((user, from));
        for (_, device) in self.talks.iter_mut().filter(|((one, _), _)| *one == user) {
            if *device == from {
                *device = to;
            }
        }
        for (_, (device, _)) in self.requests.iter_mut().filter(|((one, _), _)| *one == user) {
            if *device == from {
                *device = to;
            }
        }
    }

    fn take_in(&mut self, (user, device): Place) {
        let state = &mut self.users[user];
        state.is_registered = true;
        let mut new = Vec::new();
        if (device > 0 || !state.known.is_empty()) && state.known.insert(device) {
            new.push(device);
        }
        if device > 0 && state.known.insert(0) {
            new.push(0);
        }
        let waiting = state.waiting.clone();
        for device in new {
            self.device((user, device)).expected.extend(&waiting);
        }
    }

    fn leave(&mut self, place: Place) {
        let Some(session) = self.session(place) else { return };
        if self.random.random_bool(0.5) {
            self.world.gone(session);
        } else {
            let answer = self.world.ask(session, Logout {});
            assert!(matches!(answer, Some(Ok(Reply::Done(_)))));
        }
        self.left(place);
    }

    fn left(&mut self, (user, device): Place) {
        self.end_session((user, device));
        let is_gone = !self.is_there(user);
        let ended = |who: usize, by: usize| who == user && (is_gone || by == device);
        let over: Vec<(usize, usize)> =
            self.talks.iter().filter(|((who, _), by)| ended(*who, **by)).map(|(k, _)| *k).collect();
        for (one, other) in over {
            self.talks.remove(&(one, other));
            self.talks.remove(&(other, one));
        }
        self.requests
            .retain(|&(asker, asked), (by, _)| !(ended(asker, *by) || is_gone && asked == user));
    }

    /// Everything that was told is kept; what happens to the rest `model` shows.
    fn crash(&mut self) {
        self.commit_all();
        self.world.crash(0);
        let places: Vec<Place> = self.devices.keys().copied().collect();
        places.into_iter().for_each(|place| self.end_session(place));
        self.talks.clear();
        self.requests.clear();
    }

    fn send(&mut self, place: Place) {
        let Some(session) = self.session(place) else { return };
        let (user, device) = place;
        let there = |model: &Self| (0..USERS).filter(|user| model.is_there(*user)).collect();
        let (to, owners): (Recipient, Vec<usize>) = match self.random.random_range(0..10) {
            0 => (Recipient::All, there(self)),
            1 => {
                let mut others: Vec<usize> = there(self);
                others.retain(|other| *other != user);
                (Recipient::Others, others)
            }
            _ => {
                let other = self.random.random_range(0..USERS);
                (Recipient::User(name(&user_name(other))), vec![other])
            }
        };
        let mut places: Vec<Place> = Vec::new();
        for &owner in &owners {
            let known = &self.users[owner].known;
            match known.is_empty() {
                true => places.push((owner, 0)),
                false => places.extend(known.iter().map(|device| (owner, *device))),
            }
        }
        if !owners.contains(&user) {
            let others = self.users[user].known.iter().filter(|other| **other != device);
            places.extend(others.map(|other| (user, *other)));
        }
        self.texts += 1;
        let text = format!("{}:{}", self.texts, "x".repeat(self.random.random_range(0..40)));
        let send = Send { to, text: text.clone(), reference: None };
        let command = Command::Send(send);
        let request = self.world.request(session, command);
        self.device(place).asked.insert(request, Plan { text, owners, places });
    }

    fn confirm(&mut self, place: Place) {
        let Some(session) = self.session(place) else { return };
        let count = self.random.random_range(1..4);
        let state = match self.random.random_range(0..4) {
            0 => ReceiptState::Seen,
            _ => ReceiptState::Delivered,
        };
        let device = self.device(place);
        let count = count.min(device.unconfirmed.len());
        let ids: Vec<MessageId> = device.unconfirmed.drain(..count).collect();
        if !ids.is_empty() {
            let user = &mut self.users[place.0];
            user.confirmed.extend(&ids);
            user.waiting.retain(|id| !ids.contains(id));
            self.world.request(session, Receipts { ids, state });
        }
    }

    fn settle(&mut self, place: Place) {
        let Some(session) = self.session(place) else { return };
        let allowed = self.random.random_range(1..4_u8);
        let change = ChangeSettings {
            conversations: Some(allowed),
            seen: Some(self.random.random_bool(0.5)),
            last_seen: None,
        };
        self.world.request(session, change);
        self.users[place.0].allowed = usize::from(allowed);
        self.close_if_busy(place.0);
    }

    fn is_busy(&self, user: usize) -> bool {
        self.talks.keys().filter(|(one, _)| *one == user).count() >= self.users[user].allowed
    }

    fn close_if_busy(&mut self, user: usize) {
        if self.is_busy(user) {
            self.requests.retain(|&(asker, asked), _| asker != user && asked != user);
        }
    }

    fn begin(&mut self, one: Place, other: Place) {
        self.requests.remove(&(one.0, other.0));
        self.requests.remove(&(other.0, one.0));
        self.talks.insert((one.0, other.0), one.1);
        self.talks.insert((other.0, one.0), other.1);
        self.close_if_busy(one.0);
        self.close_if_busy(other.0);
    }

    fn converse(&mut self, place: Place) {
        let Some(session) = self.session(place) else { return };
        let (user, other) = (place.0, self.random.random_range(0..USERS));
        let with = name(&user_name(other));
        match self.random.random_range(0..8) {
            0..4 => {
                let code = self.world.refusal(session, Converse { with });
                self.check_converse(place, other, code);
            }
            4..6 => {
                let code = self.world.refusal(session, Accept { with });
                let request = self.requests.get(&(other, user)).copied();
                check(code, request.is_some());
                if let Some((by, _)) = request {
                    self.begin((other, by), place);
                }
            }
            6 => {
                let code = self.world.refusal(session, Deny { with, reason: None });
                check(code, self.requests.remove(&(other, user)).is_some());
                self.forget(place, other, code);
            }
            _ => {
                let code = self.world.refusal(session, End { with });
                let talked = self.talks.remove(&(user, other)).is_some();
                self.talks.remove(&(other, user));
                check(code, talked || self.requests.remove(&(user, other)).is_some());
                self.forget(place, other, code);
            }
        }
    }

    /// Who has done something is not told of it besides the answer.
    fn forget(&mut self, place: Place, other: usize, code: Option<ErrorCode>) {
        if code.is_none() {
            self.listen();
            self.device(place).believes.remove(&other);
        }
    }

    fn check_converse(&mut self, place: Place, other: usize, code: Option<ErrorCode>) {
        let user = place.0;
        let holder = self.talks.get(&(user, other)).copied();
        let expected = if !self.is_there(other) {
            assert!(matches!(code, Some(ErrorCode::Offline | ErrorCode::UnknownUser)), "{code:?}");
            return;
        } else if user == other {
            Some(ErrorCode::BadRequest)
        } else if holder == Some(place.1) {
            Some(ErrorCode::Conflict)
        } else if holder.is_some() {
            None
        } else if self.is_busy(user) {
            Some(ErrorCode::Conflict)
        } else if self.is_busy(other) {
            Some(ErrorCode::Busy)
        } else {
            None
        };
        assert_eq!(code, expected);
        if expected.is_some() {
        } else if holder.is_some() {
            self.talks.insert((user, other), place.1);
        } else if let Some((by, _)) = self.requests.get(&(other, user)).copied() {
            self.begin((other, by), place);
        } else {
            let lapses_at = self.world.now() + Duration::from_secs(30);
            self.requests.entry((user, other)).or_insert((place.1, lapses_at));
            self.device(place).believes.insert(other, Talk::Asked);
        }
    }

    /// Every session reads what it was told.
    fn listen(&mut self) {
        let places: Vec<Place> = self.devices.keys().copied().collect();
        for place in places {
            let Some(session) = self.session(place) else { continue };
            for event in self.world.events(session) {
                self.hear(place, event);
            }
            let told = self.world.told.entry(session).or_default();
            for (request, answer) in std::mem::take(&mut told.answers) {
                self.answered(place, request, answer);
            }
        }
    }

    fn hear(&mut self, place: Place, event: Event) {
        match event {
            Event::Message(delivery) => {
                let device = self.device(place);
                assert!(delivery.id > device.last_in_session, "out of order, or twice");
                device.last_in_session = delivery.id;
                device.unconfirmed.push(delivery.id);
                device.received.insert(delivery.id, delivery.text);
            }
            Event::Receipt(receipt) => {
                let by = user_of(receipt.by.as_str());
                assert!(self.users[by].confirmed.contains(&receipt.id), "an untrue receipt");
            }
            Event::Conversation(news) => {
                let other = user_of(news.with.as_str());
                let believes = &mut self.device(place).believes;
                match (news.state, news.elsewhere) {
                    (ConversationState::Accepted, false) => believes.insert(other, Talk::Here),
                    (ConversationState::Accepted, true) => believes.insert(other, Talk::Elsewhere),
                    (ConversationState::Requested, _) => believes.insert(other, Talk::Rings),
                    (ConversationState::Asked, _) => believes.insert(other, Talk::Asked),
                    _ => believes.remove(&other),
                };
            }
            Event::Presence(_) | Event::Settings(_) => {}
            Event::Closing(closing) => panic!("{closing:?}"),
            Event::Group(_) | Event::Candidates(_) | Event::Announcement(_) => unreachable!(),
        }
    }

    fn answered(&mut self, place: Place, request: RequestId, answer: Answer) {
        let Some(plan) = self.device(place).asked.remove(&request) else { return };
        match answer {
            Ok(Reply::Sent(sent)) => {
                self.accepted += 1;
                for place in plan.places {
                    self.device(place).expected.insert(sent.id);
                }
                for owner in plan.owners {
                    if !self.users[owner].confirmed.contains(&sent.id) {
                        self.users[owner].waiting.insert(sent.id);
                    }
                }
            }
            Err(error) => assert_eq!(error.code, ErrorCode::UnknownUser),
            other => panic!("{other:?}"),
        }
    }

    fn check_all(&mut self) {
        self.commit_all();
        for (&(user, device), state) in &self.devices {
            if state.session.is_none() {
                continue;
            }
            let mut truth: BTreeMap<usize, Talk> = BTreeMap::new();
            for (&(one, other), &by) in &self.talks {
                if one == user {
                    let talk = if by == device { Talk::Here } else { Talk::Elsewhere };
                    truth.insert(other, talk);
                }
            }
            for &(asker, asked) in self.requests.keys() {
                if asker == user {
                    truth.insert(asked, Talk::Asked);
                } else if asked == user {
                    truth.insert(asker, Talk::Rings);
                }
            }
            assert_eq!(state.believes, truth, "what device {device} of user {user} believes");
        }
        self.check_directory();
    }

    fn check_directory(&mut self) {
        let Some(session) = self.devices.values().find_map(|device| device.session) else { return };
        let Some(Ok(Reply::Users(list))) = self.world.ask(session, List::default()) else {
            panic!("no list");
        };
        let shown: Vec<(String, bool)> = list
            .users
            .iter()
            .map(|user| (user.name.to_string(), user.state == Availability::Busy))
            .collect();
        let there = (0..USERS).filter(|user| self.is_there(*user));
        let expected: Vec<(String, bool)> =
            there.map(|user| (user_name(user), self.is_busy(user))).collect();
        assert_eq!(shown, expected);
    }

    /// Every device that ever was comes back and reads on until nothing waits.
    fn finish(&mut self) {
        self.commit_all();
        let known: Vec<Place> = (0..USERS)
            .filter(|user| self.users[*user].is_registered)
            .flat_map(|user| {
                let known = self.users[user].known.iter().map(move |device| (user, *device));
                // Without a number first: it ends the others.
                known.chain([(user, 0)]).collect::<BTreeSet<Place>>()
            })
            .collect();
        for place in known {
            self.login(place);
            while !self.devices[&place].unconfirmed.is_empty() {
                self.confirm(place);
                self.commit_all();
            }
            let device = &self.devices[&place];
            let received = device.received.iter();
            let sure: BTreeSet<MessageId> = received
                .filter(|(id, text)| device.expected.contains(id) || !self.unsure.contains(*text))
                .map(|(id, _)| *id)
                .collect();
            assert_eq!(sure, device.expected, "messages of {place:?}");
        }
    }
}

impl Device {
    /// Answers what it has sent and got no answer to.
    fn end_session(&mut self) -> Vec<String> {
        self.session = None;
        self.last_in_session = MessageId(0);
        self.unconfirmed.clear();
        self.believes.clear();
        std::mem::take(&mut self.asked).into_values().map(|plan| plan.text).collect()
    }
}

fn check(code: Option<ErrorCode>, is_granted: bool) {
    match (is_granted, code) {
        (true, None) | (false, Some(ErrorCode::NoConversation | ErrorCode::UnknownUser)) => {}
        (expected, code) => panic!("granted {expected}, answered {code:?}"),
    }
}

#[test]
fn random_devices_get_all_that_is_theirs_once_and_know_what_is_open() {
    let fixed = std::env::var("SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = fixed.map_or(0..SEEDS, |seed| seed..seed + 1);
    let mut accepted = 0;
    for seed in seeds {
        println!("SEED={seed}");
        let mut model = Model::new(seed);
        for step in 0..STEPS {
            model.step();
            if step % 10 == 0 {
                model.check_all();
            }
        }
        model.finish();
        accepted += model.accepted;
    }
    assert!(accepted > 0, "nothing was ever accepted");
    println!("{accepted} messages were accepted");
}
