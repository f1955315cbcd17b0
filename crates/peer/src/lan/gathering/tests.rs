//! The machine by itself, and whole networks of it in virtual time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use portolan_identity::PeerId;
use portolan_nat_io::LanRole;
use tokio::time::Instant;

use super::{Action, Gathering, JITTER, MayHost, PATIENCE, SETTLE, STUBBORN};

fn key(first: u8) -> PeerId {
    PeerId::from_bytes([first; 32])
}

fn at(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

#[test]
fn the_best_of_those_who_answer_is_joined() {
    let start = Instant::now();
    let mut machine = Gathering::new(MayHost::Yes);
    machine.handle_search(start, 0);
    machine.handle_seen(at(start, 10), key(7), LanRole::Passing);
    machine.handle_seen(at(start, 20), key(3), LanRole::Passing);
    assert_eq!(machine.poll_timeout(), Some(at(start, 10) + SETTLE));
    machine.handle_seen(at(start, 30), key(9), LanRole::SetUp);
    machine.handle_timeout(at(start, 10) + SETTLE);
    assert_eq!(machine.poll_action(), Some(Action::Join(key(9))), "a server counts most");
    assert_eq!((machine.poll_action(), machine.poll_timeout()), (None, None));
    // It could not be reached: the next search takes the lower key of the others.
    machine.handle_unreachable(at(start, 500), key(9));
    machine.handle_search(at(start, 500), 0);
    for (first, role) in [(9, LanRole::SetUp), (7, LanRole::Passing), (3, LanRole::Passing)] {
        machine.handle_seen(at(start, 510), key(first), role);
    }
    machine.handle_timeout(at(start, 510) + SETTLE);
    assert_eq!(machine.poll_action(), Some(Action::Join(key(3))));
}

#[test]
fn who_finds_nobody_hosts_unless_told_not_to() {
    let start = Instant::now();
    for (may_host, wanted) in [(MayHost::Yes, Action::Host), (MayHost::No, Action::Nobody)] {
        let mut machine = Gathering::new(may_host);
        machine.handle_search(start, 1 << 60);
        // One that says goodbye before it is chosen is nobody.
        machine.handle_seen(start, key(1), LanRole::Passing);
        machine.handle_gone(key(1));
        machine.handle_timeout(start + SETTLE);
        assert_eq!(machine.poll_action(), None);
        let deadline = machine.poll_timeout().unwrap();
        assert!((PATIENCE..=PATIENCE + JITTER).contains(&(deadline - start)));
        machine.handle_timeout(deadline);
        assert_eq!(machine.poll_action(), Some(wanted));
    }
}

#[test]
fn a_host_gives_way_to_a_better_one_that_answers_and_to_no_mere_announcement() {
    let start = Instant::now();
    let mut machine = Gathering::new(MayHost::Yes);
    machine.handle_hosting(key(5));
    machine.handle_seen(start, key(2), LanRole::Passing);
    machine.handle_timeout(start);
    assert_eq!(machine.poll_action(), Some(Action::Check(key(2))));
    machine.handle_unreachable(at(start, 100), key(2));
    assert_eq!(machine.poll_action(), None);
    let again = machine.poll_timeout().unwrap();
    assert!(again > at(start, 100), "it is asked again later");
    machine.handle_timeout(again);
    assert_eq!(machine.poll_action(), Some(Action::Check(key(2))));
    machine.handle_reachable(key(2));
    assert_eq!(machine.poll_action(), Some(Action::GiveWay(key(2))));
    assert_eq!(machine.poll_timeout(), None);
}

#[test]
fn a_host_whom_the_other_cannot_reach_goes_over_itself() {
    let start = Instant::now();
    let mut machine = Gathering::new(MayHost::Yes);
    machine.handle_hosting(key(5));
    machine.handle_seen(start, key(8), LanRole::Passing);
    machine.handle_timeout(start);
    assert_eq!(machine.poll_action(), None, "the other one has to go");
    assert_eq!(machine.poll_timeout(), Some(start + STUBBORN));
    machine.handle_timeout(start + STUBBORN);
    assert_eq!(machine.poll_action(), Some(Action::Check(key(8))));
}

#[test]
fn a_host_that_hears_its_own_announcement_stays() {
    let start = Instant::now();
    let mut machine = Gathering::new(MayHost::Yes);
    machine.handle_seen(start, key(5), LanRole::Passing);
    machine.handle_hosting(key(5));
    machine.handle_seen(start, key(5), LanRole::Passing);
    assert_eq!(machine.poll_timeout(), None);
    machine.handle_timeout(start + STUBBORN);
    assert_eq!(machine.poll_action(), None);
}

/// People of one network, some of it cut off from the rest now and then.
struct Network {
    now: Instant,
    random: u64,
    people: Vec<Person>,
    queue: BinaryHeap<Reverse<(Instant, u64, usize, Note)>>,
    sent: u64,
}

struct Person {
    name: &'static str,
    machine: Gathering,
    side: u8,
    alive: bool,
    /// The server that this person hosts.
    hosts: Option<PeerId>,
    /// The host whose guest this person is, which may be its own.
    guest_of: Option<PeerId>,
    refused: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Note {
    Wake,
    Search,
    Seen(PeerId),
    Gone(PeerId),
    Checked(PeerId),
    Arrived(PeerId),
    Silence(PeerId),
}

impl Network {
    fn new(seed: u64, names: &[&'static str]) -> Self {
        let person = |name: &&'static str| Person {
            name,
            machine: Gathering::new(MayHost::Yes),
            side: 0,
            alive: true,
            hosts: None,
            guest_of: None,
            refused: false,
        };
        Self {
            now: Instant::now(),
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            people: names.iter().map(person).collect(),
            queue: BinaryHeap::new(),
            sent: 0,
        }
    }

    fn chance(&mut self, below: u64) -> u64 {
        // xorshift64*.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 8) % below
    }

    fn post(&mut self, after: Duration, to: usize, note: Note) {
        self.sent += 1;
        self.queue.push(Reverse((self.now + after, self.sent, to, note)));
    }

    fn post_soon(&mut self, to: usize, note: Note) {
        let after = Duration::from_millis(1 + self.chance(60));
        self.post(after, to, note);
    }

    fn start(&mut self, who: usize, after_ms: u64) {
        self.post(Duration::from_millis(after_ms), who, Note::Search);
    }

    fn host_of(&self, key: PeerId) -> Option<usize> {
        self.people.iter().position(|person| person.alive && person.hosts == Some(key))
    }

    fn reaches(&self, from: usize, key: PeerId) -> bool {
        self.host_of(key).is_some_and(|host| self.people[host].side == self.people[from].side)
    }

    /// One in five announcements is lost; who announces hears it too.
    fn announce(&mut self, from: usize, note: &Note) {
        for to in 0..self.people.len() {
            if self.people[to].side == self.people[from].side && self.chance(5) > 0 {
                self.post_soon(to, note.clone());
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((due, ..))) = self.queue.peek()
            && *due <= end
        {
            let Reverse((due, _, who, note)) = self.queue.pop().unwrap();
            self.now = due;
            if self.people[who].alive {
                self.deliver(who, note);
                self.settle(who);
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, who: usize, note: Note) {
        let now = self.now;
        let random = self.chance(u64::MAX);
        let reachable = |network: &Self, key| network.reaches(who, key);
        match note {
            Note::Search => {
                self.people[who].guest_of = None;
                self.people[who].machine.handle_search(now, random);
                self.ask(who);
            }
            Note::Wake => self.people[who].machine.handle_timeout(now),
            Note::Seen(key) => {
                self.people[who].machine.handle_seen(now, key, LanRole::Passing);
            }
            Note::Gone(key) => self.people[who].machine.handle_gone(key),
            Note::Checked(key) if reachable(self, key) => {
                self.people[who].machine.handle_reachable(key);
            }
            Note::Checked(key) => self.people[who].machine.handle_unreachable(now, key),
            Note::Arrived(key) if reachable(self, key) => self.arrive(who, key),
            Note::Arrived(key) => {
                self.people[who].machine.handle_unreachable(now, key);
                self.post_soon(who, Note::Search);
            }
            // The heartbeat of a connection that may be gone.
            Note::Silence(key) if self.people[who].guest_of == Some(key) => {
                if reachable(self, key) {
                    self.post(Duration::from_secs(1), who, Note::Silence(key));
                } else {
                    self.post_soon(who, Note::Search);
                }
            }
            Note::Silence(_) => {}
        }
    }

    /// Those who host answer a search.
    fn ask(&mut self, who: usize) {
        let side = self.people[who].side;
        let hosts: Vec<PeerId> = (self.people.iter())
            .filter(|person| person.alive && person.side == side)
            .filter_map(|person| person.hosts)
            .collect();
        for host in hosts {
            if self.chance(5) > 0 {
                self.post_soon(who, Note::Seen(host));
            }
        }
    }

    /// A name is one person's at one host.
    fn arrive(&mut self, who: usize, key: PeerId) {
        let name = self.people[who].name;
        let is_taken =
            |person: &Person| person.alive && person.guest_of == Some(key) && person.name == name;
        if self.people.iter().any(is_taken) {
            self.people[who].refused = true;
            self.people[who].alive = false;
            return;
        }
        self.people[who].guest_of = Some(key);
        self.post(Duration::from_secs(2), who, Note::Silence(key));
    }

    fn settle(&mut self, who: usize) {
        while let Some(action) = self.people[who].machine.poll_action() {
            match action {
                Action::Join(key) => self.post_soon(who, Note::Arrived(key)),
                Action::Host => self.host(who),
                Action::Check(key) => self.post_soon(who, Note::Checked(key)),
                Action::GiveWay(_) => self.leave(who),
                Action::Nobody => panic!("everybody may host"),
            }
        }
        if let Some(deadline) = self.people[who].machine.poll_timeout() {
            self.post(deadline.saturating_duration_since(self.now), who, Note::Wake);
        }
    }

    fn host(&mut self, who: usize) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.chance(u64::MAX).to_be_bytes());
        let key = PeerId::from_bytes(bytes);
        self.people[who].hosts = Some(key);
        self.people[who].machine.handle_hosting(key);
        self.announce(who, &Note::Seen(key));
        self.post_soon(who, Note::Arrived(key));
        // Hosts see each other's answers to later questions too.
        self.remind();
    }

    /// What repeated announcements and questions do in time: everyone on one side has heard.
    fn remind(&mut self) {
        let all: Vec<(usize, PeerId)> = (self.people.iter().enumerate())
            .filter(|(_, person)| person.alive)
            .filter_map(|(place, person)| Some((place, person.hosts?)))
            .collect();
        for &(from, key) in &all {
            for &(to, _) in &all {
                if from != to && self.people[from].side == self.people[to].side {
                    self.post(Duration::from_secs(1), to, Note::Seen(key));
                }
            }
        }
    }

    /// The server ends and sends its guests to look for another one.
    fn leave(&mut self, who: usize) {
        let Some(key) = self.people[who].hosts.take() else { return };
        self.announce(who, &Note::Gone(key));
        for guest in 0..self.people.len() {
            if self.people[guest].alive && self.people[guest].guest_of == Some(key) {
                self.post_soon(guest, Note::Search);
            }
        }
    }

    fn crash(&mut self, who: usize) {
        self.people[who].alive = false;
        self.people[who].hosts = None;
    }

    fn heal(&mut self) {
        self.people.iter_mut().for_each(|person| person.side = 0);
        self.remind();
    }

    /// On each side everybody is at one host, and there is no other.
    fn together(&self) -> Result<(), String> {
        let mut hosts: BTreeMap<u8, PeerId> = BTreeMap::new();
        for person in self.people.iter().filter(|person| person.alive) {
            let name = person.name;
            let host = person.guest_of.ok_or_else(|| format!("{name} is nowhere"))?;
            if person.hosts.is_some_and(|own| own != host) {
                return Err(format!("{name} hosts nobody"));
            }
            if *hosts.entry(person.side).or_insert(host) != host {
                return Err(format!("{name} is at another host"));
            }
            match self.host_of(host) {
                Some(place) if self.people[place].side == person.side => {}
                Some(_) | None => return Err(format!("the host of {name} is not there")),
            }
        }
        Ok(())
    }

    fn check_together(&self, seed: u64) {
        self.together().unwrap_or_else(|problem| panic!("SEED={seed}: {problem}"));
    }

    /// Runs until everybody is together, at most so long, and says how long it took.
    fn run_until_together(&mut self, seed: u64, at_most: Duration) -> Duration {
        let start = self.now;
        while self.together().is_err() && self.now < start + at_most {
            self.run(Duration::from_millis(100));
        }
        self.check_together(seed);
        self.now - start
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=500).collect(),
    }
}

const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

#[test]
fn those_who_start_at_once_end_up_together() {
    for seed in seeds() {
        let mut network = Network::new(seed, &NAMES);
        for who in 0..NAMES.len() {
            let after = network.chance(50);
            network.start(who, after);
        }
        network.run(Duration::from_secs(20));
        network.check_together(seed);
    }
}

#[test]
fn those_whose_host_is_killed_come_together_again_at_another_one() {
    let mut times = Vec::new();
    for seed in seeds() {
        let mut network = Network::new(seed, &NAMES);
        (0..NAMES.len()).for_each(|who| network.start(who, 700 * who as u64));
        network.run(Duration::from_secs(20));
        for _ in 0..3 {
            let host = network.people.iter().position(|person| person.hosts.is_some()).unwrap();
            network.crash(host);
            times.push(network.run_until_together(seed, Duration::from_secs(20)));
            network.run(Duration::from_secs(20));
            network.check_together(seed);
        }
    }
    // Of these the guests need two to three seconds to notice.
    times.sort_unstable();
    let (half, most) = (times[times.len() / 2], times[times.len() * 95 / 100]);
    println!("together again after {half:?}, 95 % after {most:?}");
    assert!(half < Duration::from_secs(6) && most < Duration::from_secs(12), "{half:?} {most:?}");
}

#[test]
fn halves_of_a_network_come_together_when_it_is_whole_again() {
    for seed in seeds() {
        let mut network = Network::new(seed, &NAMES);
        (0..NAMES.len()).for_each(|who| network.start(who, 100));
        network.run(Duration::from_secs(20));
        (0..3).for_each(|who| network.people[who].side = 1);
        network.run(Duration::from_secs(20));
        network.check_together(seed);
        network.heal();
        network.run(Duration::from_secs(40));
        network.check_together(seed);
        assert!(network.people.iter().all(|person| person.side == 0 && person.alive));
    }
}

#[test]
fn of_two_with_one_name_the_second_is_told_and_the_others_stay_together() {
    for seed in seeds() {
        let mut network = Network::new(seed, &["alice", "bob", "alice", "carol"]);
        (2..4).for_each(|who| network.people[who].side = 1);
        (0..4).for_each(|who| network.start(who, 100));
        network.run(Duration::from_secs(20));
        network.check_together(seed);
        network.heal();
        network.run(Duration::from_secs(40));
        network.check_together(seed);
        let refused = network.people.iter().filter(|person| person.refused).count();
        assert_eq!(refused, 1, "SEED={seed}");
    }
}
