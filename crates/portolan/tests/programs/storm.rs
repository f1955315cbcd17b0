//! A real server that is killed again and again, under real clients on every transport.
//!
//! Six users on three transports write to each other and to a group as fast as they are answered,
//! eight messages each under way at once; the server program gets `kill -9` every time a drawn
//! number of messages was stored, and starts again on the same data. Afterwards every message
//! that was answered `stored` has arrived everywhere, once, and in its sender's order.
//!
//! `cargo xtask storm 60 7` lets it last a minute, with the draws of seed 7.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesOrdered};
use portolan::{
    ALL_TRANSPORTS, Expect, Identity, TUNNEL,
    peer::{Backoff, Config, Event, Events, Peer, Reconnect, RequestError},
    protocol::{MessageId, Name, Recipient},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use tokio::{
    sync::watch,
    task::{JoinSet, unconstrained},
    time::Instant,
};

use crate::harness::Harbour;

const USERS: usize = 6;

/// Messages of one user that are not answered yet.
const UNDER_WAY: usize = 8;

/// Messages to one user that have not arrived: with more, others are written to, so that nobody's
/// mailbox is full and nothing has to be refused.
const BACKLOG: u64 = 200;

/// One message in so many is for the group: the server grants 20 a second.
const FOR_THE_GROUP: u64 = 100;

/// The group that everyone is in.
const CREW: &str = "crew";

/// A message by its writer and the writer's number.
type Said = (usize, u64);

/// A user: the handle, and what the application was given, in that order.
struct User {
    peer: Peer,
    heard: watch::Receiver<Vec<(MessageId, Said)>>,
}

/// What a user was answered.
#[derive(Default)]
struct Answers {
    /// Each with those whom it must reach.
    stored: Vec<(Said, Vec<usize>)>,
    unknown: u64,
}

fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn name(user: usize) -> Name {
    Name::new(&format!("user{user}")).unwrap()
}

impl User {
    async fn start(harbour: &Harbour, user: usize, storm: &Arc<Storm>) -> Self {
        let server: SocketAddr = harbour.address.parse().unwrap();
        let identity = Identity::from_seed([u8::try_from(user).unwrap() + 1; 32]);
        let expect = Expect::Id(harbour.key.parse().unwrap());
        let transport = ALL_TRANSPORTS[user % ALL_TRANSPORTS.len()];
        let mut config = Config::new(name(user), identity, server, expect, transport, TUNNEL);
        let (start, cap) = (Duration::from_millis(50), Duration::from_millis(500));
        config.reconnect = Reconnect::With(Backoff { start, cap, give_up_after: None });
        let (peer, events) = Peer::connect(config).await.unwrap();
        let (told, heard) = watch::channel(Vec::new());
        tokio::spawn(listen(events, told, (user, Arc::clone(storm))));
        Self { peer, heard }
    }

    /// Waits until the application has all of these.
    async fn wait_for(&mut self, wanted: &BTreeSet<Said>) {
        let has_all = |heard: &Vec<(MessageId, Said)>| {
            let heard: BTreeSet<Said> = heard.iter().map(|(_, said)| *said).collect();
            wanted.is_subset(&heard)
        };
        let arrived = tokio::time::timeout(Duration::from_secs(60), self.heard.wait_for(has_all));
        if arrived.await.is_err() {
            let heard: BTreeSet<Said> = self.heard.borrow().iter().map(|(_, s)| *s).collect();
            let lost: Vec<&Said> = wanted.difference(&heard).collect();
            panic!("stored and lost on the way to {}: {lost:?}", self.peer.name());
        }
    }

    /// Nothing came twice, and nobody's words changed their order.
    fn check_order(&self) {
        let heard = self.heard.borrow();
        assert!(heard.is_sorted_by(|one, next| one.0 < next.0), "ids, at {}", self.peer.name());
        for writer in 0..USERS {
            let numbers: Vec<u64> =
                heard.iter().filter(|(_, said)| said.0 == writer).map(|(_, said)| said.1).collect();
            let wrong = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
            let to = self.peer.name();
            assert!(wrong.is_none(), "twice or out of order, user{writer} to {to}: {wrong:?}");
        }
    }
}

/// Ends with the session.
async fn listen(
    mut events: Events,
    told: watch::Sender<Vec<(MessageId, Said)>>,
    (user, storm): (usize, Arc<Storm>),
) {
    while let Some(event) = events.next().await {
        if let Event::Message(delivery) = event {
            let (writer, number) = delivery.text.split_once(' ').unwrap();
            let said = (writer.parse().unwrap(), number.parse().unwrap());
            told.send_modify(|heard| heard.push((delivery.id, said)));
            storm.on_heard(user);
        }
    }
}

/// Writes until the storm is over, and waits for every answer.
async fn write(peer: Peer, user: usize, seed: u64, storm: Arc<Storm>) -> Answers {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(user as u64 + 1);
    let mut answers = Answers::default();
    let mut under_way = FuturesOrdered::new();
    let mut number = 0;
    loop {
        while under_way.len() < UNDER_WAY && !storm.is_over.load(Ordering::Relaxed) {
            number += 1;
            let Some((to, reaches)) = storm.recipient(user, random.next_u64()) else { break };
            let text = format!("{user} {number}");
            let said = (user, number);
            // A runtime that lets others go first would change the order in which we ask.
            let sent = unconstrained(peer.send(to, text));
            under_way.push_back(async move { (said, reaches, sent.await) });
        }
        let Some((said, reaches, answer)) = under_way.next().await else {
            if storm.is_over.load(Ordering::Relaxed) {
                return answers;
            }
            // Everyone lags behind; somebody will come back.
            let _changed = storm.heard_by_all.subscribe().changed().await;
            continue;
        };
        match answer {
            Ok(_) => {
                storm.stored.send_modify(|stored| *stored += 1);
                answers.stored.push((said, reaches));
            }
            Err(RequestError::Broken(_) | RequestError::TimedOut) => answers.unknown += 1,
            Err(error) => panic!("user{user} was refused: {error}"),
        }
    }
}

/// What all share.
struct Storm {
    is_over: AtomicBool,
    stored: watch::Sender<u64>,
    kills: AtomicU64,
    sent_to: [AtomicU64; USERS],
    heard_by: [AtomicU64; USERS],
    heard_by_all: watch::Sender<u64>,
}

impl Storm {
    fn new() -> Self {
        Self {
            is_over: AtomicBool::new(false),
            stored: watch::Sender::new(0),
            kills: AtomicU64::new(0),
            sent_to: Default::default(),
            heard_by: Default::default(),
            heard_by_all: watch::Sender::new(0),
        }
    }

    /// Somebody who keeps up, or everybody, and whom that reaches.
    fn recipient(&self, user: usize, random: u64) -> Option<(Recipient, Vec<usize>)> {
        let others = (0..USERS).filter(|other| *other != user);
        let keeps_up: Vec<usize> = others.filter(|other| self.backlog(*other) < BACKLOG).collect();
        let reaches = match random.is_multiple_of(FOR_THE_GROUP) && keeps_up.len() == USERS - 1 {
            true => keeps_up,
            false => {
                let one = usize::try_from(random % keeps_up.len().max(1) as u64).ok()?;
                vec![*keeps_up.get(one)?]
            }
        };
        for other in &reaches {
            self.sent_to[*other].fetch_add(1, Ordering::Relaxed);
        }
        let to = match reaches.as_slice() {
            [other] => Recipient::User(name(*other)),
            _ => Recipient::Group(CREW.into()),
        };
        Some((to, reaches))
    }

    fn backlog(&self, user: usize) -> u64 {
        let sent = self.sent_to[user].load(Ordering::Relaxed);
        sent.saturating_sub(self.heard_by[user].load(Ordering::Relaxed))
    }

    fn on_heard(&self, user: usize) {
        self.heard_by[user].fetch_add(1, Ordering::Relaxed);
        self.heard_by_all.send_modify(|heard| *heard += 1);
    }
}

/// Kills and restarts until the time is over.
async fn rage(harbour: &Mutex<Harbour>, lasts: Duration, seed: u64, storm: &Storm) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let end = Instant::now() + lasts;
    let mut stored = storm.stored.subscribe();
    while Instant::now() < end {
        // Soon after the start, or in full flow.
        let until = *stored.borrow() + 1 + random.next_u64() % 1_500;
        let enough = stored.wait_for(|stored| *stored >= until);
        let _in_time = tokio::time::timeout(Duration::from_secs(3), enough).await;
        tokio::task::block_in_place(|| harbour.lock().unwrap().crash_and_restart());
        storm.kills.fetch_add(1, Ordering::Relaxed);
    }
    storm.is_over.store(true, Ordering::Relaxed);
}

async fn gather(harbour: &Harbour, storm: &Arc<Storm>) -> Vec<User> {
    let mut users = Vec::new();
    for user in 0..USERS {
        users.push(User::start(harbour, user, storm).await);
    }
    users[0].peer.create_group(CREW, false).await.unwrap();
    for (user, member) in users.iter().enumerate().skip(1) {
        users[0].peer.invite_to_group(CREW, &name(user)).await.unwrap();
        member.peer.join_group(CREW).await.unwrap();
    }
    users
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let lasts = Duration::from_secs(from_environment("STORM_SECONDS", 6));
    let seed = from_environment("SEED", 1);
    println!("STORM_SECONDS={} SEED={seed}", lasts.as_secs());
    let harbour = tokio::task::block_in_place(Harbour::open);
    let storm = Arc::new(Storm::new());
    let mut users = gather(&harbour, &storm).await;
    let harbour = Mutex::new(harbour);

    let mut writers = JoinSet::new();
    for (user, state) in users.iter().enumerate() {
        writers.spawn(write(state.peer.clone(), user, seed, Arc::clone(&storm)));
    }
    rage(&harbour, lasts, seed, &storm).await;
    let answers: Vec<Answers> = writers.join_all().await;

    let mut wanted = vec![BTreeSet::new(); USERS];
    for (said, reaches) in answers.iter().flat_map(|answers| &answers.stored) {
        for &user in reaches {
            wanted[user].insert(*said);
        }
    }
    for (user, wanted) in users.iter_mut().zip(&wanted) {
        user.wait_for(wanted).await;
    }
    // Who comes back once more is told nothing again.
    tokio::task::block_in_place(|| harbour.lock().unwrap().crash_and_restart());
    for user in &users {
        user.peer.heartbeat().await.unwrap();
        user.check_order();
    }
    let stored: usize = answers.iter().map(|answers| answers.stored.len()).sum();
    let heard: usize = users.iter().map(|user| user.heard.borrow().len()).sum();
    let unknown: u64 = answers.iter().map(|answers| answers.unknown).sum();
    let kills = storm.kills.load(Ordering::Relaxed);
    println!("{kills} kills; {stored} stored, {heard} arrived, {unknown} without an answer");
    assert!(kills >= 2 && stored > USERS * UNDER_WAY, "{kills} kills, {stored} stored");
}
