//! Everything that a run consists of, and its virtual time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use portolan_protocol::{Name, RequestId, Timestamp};
use portolan_server::{
    Limits, Rate,
    core::{Core, Hashed, Now, SessionId, Token},
};

use crate::{
    chance::Chance,
    disk::Disk,
    line::{Down, Line, LineId},
    person::Person,
    seeds::Story,
    truth::Truth,
};

/// People in every run; the administrator and the thief are not among them.
pub(crate) const PEOPLE: usize = 5;

/// When a run begins, on the clock that people see.
const WALL: u64 = 1_000_000;

/// The most events in one run: beyond them something goes round in circles.
const EVENTS_MAX: u64 = 200_000;

/// Something that happens at its time.
#[derive(Debug)]
pub(crate) enum Happening {
    /// Somebody does something.
    Act,
    /// Something goes wrong.
    Mishap,
    /// A connection reaches the server.
    Dialled(LineId),
    /// A request reaches the server.
    Arrives(LineId, RequestId, Box<portolan_protocol::Command>),
    /// A frame reaches the client.
    Reaches(LineId, Box<Down>),
    /// The server notices that the client is gone.
    ServerLearns(LineId),
    /// The client notices that the server is gone.
    ClientLearns(LineId),
    /// The server has waited long enough for a client to read its last words.
    FarewellOver(LineId),
    /// A program tries again to come in.
    Redials { user: usize, process: u64 },
    /// A user starts the program.
    Starts { user: usize },
    /// A program reads again what it is told.
    ReadsOn { user: usize, process: u64 },
    /// The disk writes what has gathered.
    Commits { boot: u64 },
    /// The core is told of what was written.
    Told { boot: u64 },
    /// A password was hashed.
    Hashed { boot: u64, token: Token, hashed: Hashed },
    /// The server is started.
    Boots,
}

pub(crate) struct World<'a> {
    pub(crate) chance: Chance,
    pub(crate) now: u64,
    origin: Instant,
    /// How far the server's clock on the wall is ahead; a new process may find it set back.
    pub(crate) wall: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    last_event: u64,
    pub(crate) core: Option<Core>,
    /// Which process of the server this is.
    pub(crate) boot: u64,
    pub(crate) disk: Disk,
    pub(crate) will_commit: bool,
    pub(crate) last_session: u64,
    pub(crate) last_line: u64,
    pub(crate) lines: BTreeMap<LineId, Line>,
    pub(crate) of_session: BTreeMap<SessionId, LineId>,
    pub(crate) admin: Option<SessionId>,
    pub(crate) people: Vec<Person>,
    pub(crate) truth: Truth,
    pub(crate) is_calm: bool,
    pub(crate) tally: Tally,
    story: Option<&'a Story>,
}

/// What a run has seen, so that a simulation in which nothing happens is noticed.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) stored: u64,
    pub(crate) heard: u64,
    pub(crate) talks: u64,
    pub(crate) group_changes: u64,
    pub(crate) kills: u64,
    pub(crate) lost_lines: u64,
    pub(crate) repeats: u64,
    pub(crate) too_slow: u64,
    pub(crate) full_mailboxes: u64,
    pub(crate) moves: u64,
    pub(crate) crossings: u64,
    pub(crate) replaced_late: u64,
}

impl Tally {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            stored: self.stored + other.stored,
            heard: self.heard + other.heard,
            talks: self.talks + other.talks,
            group_changes: self.group_changes + other.group_changes,
            kills: self.kills + other.kills,
            lost_lines: self.lost_lines + other.lost_lines,
            repeats: self.repeats + other.repeats,
            too_slow: self.too_slow + other.too_slow,
            full_mailboxes: self.full_mailboxes + other.full_mailboxes,
            moves: self.moves + other.moves,
            crossings: self.crossings + other.crossings,
            replaced_late: self.replaced_late + other.replaced_late,
        }
    }
}

/// Bounds so narrow that every run meets them, and rates that no run meets.
pub(crate) fn limits() -> Limits {
    let often = Rate { per_second: 1e9, burst: 1e9 };
    Limits {
        window_messages: 4,
        window_bytes: 200,
        outbox_frames: 10,
        open_requests: 8,
        mailbox_messages: 12,
        mailbox_bytes: 500,
        requests_per_user: 2,
        group_members: 4,
        groups_per_user: 2,
        invitations_per_user: 2,
        store_queue: 16,
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

pub(crate) fn user_name(user: usize) -> Name {
    Name::new(&format!("user{user}")).expect("a name")
}

pub(crate) fn user_of(name: &Name) -> usize {
    name.as_str()["user".len()..].parse().expect("a name of ours")
}

/// Says what happens, if somebody listens.
macro_rules! tell {
    ($world:expr, $($words:tt)*) => {
        if $world.has_story() {
            $world.tell(format!($($words)*));
        }
    };
}
pub(crate) use tell;

impl<'a> World<'a> {
    pub(crate) fn new(seed: u64, disk: Disk, story: Option<&'a Story>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any instant to count from")]
        let origin = Instant::now();
        let mut world = Self {
            chance: Chance::new(seed),
            now: 0,
            origin,
            wall: WALL,
            agenda: BTreeMap::new(),
            last_event: 0,
            core: None,
            boot: 0,
            disk,
            will_commit: false,
            last_session: 0,
            last_line: 0,
            lines: BTreeMap::new(),
            of_session: BTreeMap::new(),
            admin: None,
            people: (0..PEOPLE).map(Person::new).collect(),
            truth: Truth::default(),
            is_calm: false,
            tally: Tally::default(),
            story,
        };
        world.at(0, Happening::Boots);
        for user in 0..PEOPLE {
            let when = world.chance.within(1..=500);
            world.at(when, Happening::Starts { user });
        }
        world.at(100, Happening::Act);
        world.at(1_000, Happening::Mishap);
        world
    }

    pub(crate) fn has_story(&self) -> bool {
        self.story.is_some()
    }

    pub(crate) fn tell(&self, line: String) {
        if let Some(story) = self.story {
            story.tell(format!("{:>7} ms  {line}", self.now));
        }
    }

    /// Lets something happen in so many milliseconds.
    pub(crate) fn after(&mut self, millis: u64, what: Happening) {
        self.at(self.now + millis, what);
    }

    pub(crate) fn at(&mut self, when: u64, what: Happening) {
        self.last_event += 1;
        self.agenda.insert((when.max(self.now), self.last_event), what);
    }

    pub(crate) fn clock(&self) -> Now {
        Now {
            instant: self.origin + Duration::from_millis(self.now),
            wall: Timestamp(self.wall + self.now),
        }
    }

    /// Runs until this time.
    pub(crate) fn run_until(&mut self, end: u64) {
        loop {
            let next = self.agenda.first_key_value().map(|(key, _)| key.0).unwrap_or(end);
            self.run_timers(next.min(end));
            // A deadline may have put something before what was next.
            let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= end) else {
                break;
            };
            self.now = entry.key().0;
            let what = entry.remove();
            self.tally.events += 1;
            assert!(self.tally.events < EVENTS_MAX, "this run comes to no end");
            self.happen(what);
        }
        self.now = end;
    }

    /// What the core has to do until then.
    fn run_timers(&mut self, until: u64) {
        loop {
            let Some(deadline) = self.core.as_ref().and_then(Core::poll_timeout) else { return };
            let due = deadline.at.saturating_duration_since(self.origin).as_millis() as u64;
            if due > until {
                return;
            }
            self.now = self.now.max(due);
            self.on_deadline();
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Act => self.act(),
            Happening::Mishap => self.mishap(),
            Happening::Dialled(line) => self.on_dialled(line),
            Happening::Arrives(line, id, command) => self.on_arrival(line, id, *command),
            Happening::Reaches(line, frame) => self.on_frame(line, *frame),
            Happening::ServerLearns(line) => self.on_server_learns(line),
            Happening::ClientLearns(line) => self.on_client_learns(line),
            Happening::FarewellOver(line) => self.on_farewell_over(line),
            Happening::Redials { user, process } => self.on_redial(user, process),
            Happening::Starts { user } => self.on_start(user),
            Happening::ReadsOn { user, process } => self.on_reading(user, process),
            Happening::Commits { boot } => self.on_commit(boot),
            Happening::Told { boot } => self.on_told(boot),
            Happening::Hashed { boot, token, hashed } => self.on_hashed(boot, token, hashed),
            Happening::Boots => self.on_boot(),
        }
    }
}
