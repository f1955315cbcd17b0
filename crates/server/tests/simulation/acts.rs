//! What people do, and what goes wrong for them.

use portolan_identity::PeerId;
use portolan_protocol::{
    Accept, Ban, ClearMailbox, Converse, CreateGroup, Deny, End, Heartbeat, History, InviteToGroup,
    JoinGroup, Kick, LeaveGroup, List, ListGroups, ListMembers, Login, Logout, Mailbox, Password,
    ReceiptState, Receipts, Recipient, RemoveFromGroup, RenameGroup, RequestId, Role, Send,
    SetPassword, SetRole, Timestamp,
};
use portolan_server::core::Input;

use crate::{
    client::password_of,
    harbour::THIEF_KEY,
    line::LineId,
    world::{Happening, PEOPLE, World, tell, user_name},
};

/// Groups that everyone knows of by name.
const GROUPS: [&str; 3] = ["crew", "gang", "team"];

/// Steps of one run.
const ACTS: u64 = 200;

impl World<'_> {
    pub(crate) fn act(&mut self) {
        if self.is_calm {
            return;
        }
        let user = self.chance.below(PEOPLE);
        match self.chance.within(0..=99) {
            0..=27 => self.say(user),
            28..=45 => self.talk(user),
            46..=69 => self.organise(user),
            70..=75 => self.look(user),
            76..=80 => self.see(user),
            81..=83 => self.ask(user, Logout {}),
            84..=86 => self.change_line(user),
            87..=88 => self.protect(user),
            89 => self.move_key(user),
            90 => self.ask(user, ClearMailbox {}),
            91..=93 => self.stop_reading(user),
            94 => self.administer(user),
            95 => self.steal(user),
            _ => {
                let nonce = self.chance.number();
                self.ask(user, Heartbeat { nonce });
            }
        }
        let is_rest = self.chance.one_in(10);
        let rest = self.chance.within(0..=if is_rest { 3_000 } else { 80 });
        self.after(rest, Happening::Act);
    }

    fn say(&mut self, user: usize) {
        let other = self.chance.below(PEOPLE);
        let group = self.chance.below(GROUPS.len());
        let to = match self.chance.within(0..=9) {
            0 => Recipient::All,
            1 => Recipient::Others,
            2..=4 => Recipient::Group(GROUPS[group].into()),
            _ => Recipient::User(user_name(other)),
        };
        for _ in 0..self.chance.within(1..=4) {
            let length = self.chance.below(60);
            let person = &mut self.people[user];
            person.references += 1;
            let reference = person.references;
            let text = format!("{user}:{reference}:{}", "x".repeat(length));
            self.ask(user, Send { to: to.clone(), text, reference: Some(reference) });
        }
    }

    fn talk(&mut self, user: usize) {
        let anybody = user_name(self.chance.below(PEOPLE));
        let program = self.people[user].program.as_ref();
        let asker = program.and_then(|program| program.asking.first().cloned());
        let partner = program.and_then(|program| program.talking.first().cloned());
        let with = match self.chance.one_in(3) {
            true => anybody,
            false => asker.or(partner).unwrap_or(anybody),
        };
        match self.chance.within(0..=9) {
            0..=3 => self.ask(user, Converse { with }),
            4..=6 => self.ask(user, Accept { with }),
            7 => self.ask(user, Deny { with, reason: Some("not now".into()) }),
            _ => self.ask(user, End { with }),
        }
    }

    fn organise(&mut self, user: usize) {
        let whom = user_name(self.chance.below(PEOPLE));
        let group = GROUPS[self.chance.below(GROUPS.len())].to_owned();
        // People know what they are in, mostly.
        let own = self.truth.group_of(user).filter(|_| !self.chance.one_in(4));
        let group = own.unwrap_or(group);
        let role = [Role::Member, Role::Admin, Role::Owner][self.chance.below(3)];
        match self.chance.within(0..=19) {
            0..=3 => {
                let history = self.chance.one_in(2);
                self.ask(user, CreateGroup { group, history, reference: None });
            }
            4..=9 => self.ask(user, InviteToGroup { group, user: whom, reference: None }),
            10..=13 => self.ask(user, JoinGroup { group, reference: None }),
            14 => self.ask(user, LeaveGroup { group, reference: None }),
            15..=16 => self.ask(user, RemoveFromGroup { group, user: whom, reference: None }),
            17..=18 => self.ask(user, SetRole { group, user: whom, role, reference: None }),
            _ => {
                let to = GROUPS[self.chance.below(GROUPS.len())].to_owned();
                self.ask(user, RenameGroup { group, to, reference: None });
            }
        }
    }

    fn look(&mut self, user: usize) {
        let group = GROUPS[self.chance.below(GROUPS.len())].to_owned();
        let other = user_name(self.chance.below(PEOPLE));
        let limit = Some(self.chance.within(1..=8) as u16);
        match self.chance.within(0..=5) {
            0 => self.ask(user, List::default()),
            1 => self.ask(user, ListGroups {}),
            2 => self.ask(user, ListMembers { group, after: None, limit: None }),
            3 => self.ask(user, Mailbox { after: None, limit }),
            4 => self.ask(user, History { with: Recipient::User(other), before: None, limit }),
            _ => self.ask(user, History { with: Recipient::Group(group), before: None, limit }),
        }
    }

    /// The user looks at the last few messages.
    fn see(&mut self, user: usize) {
        let person = &mut self.people[user];
        let Some(program) = &person.program else { return };
        let unseen = program.heard.iter().rev().filter(|id| !person.seen.contains(id)).take(3);
        let ids: Vec<_> = unseen.copied().collect();
        person.seen.extend(&ids);
        if !ids.is_empty() {
            self.ask(user, Receipts { ids, state: ReceiptState::Seen });
        }
    }

    /// Another transport, without a word on the one before.
    fn change_line(&mut self, user: usize) {
        let Some(program) = &self.people[user].program else { return };
        if program.line.is_some() {
            tell!(self, "user{user} changes the transport");
            self.lose(user);
        }
    }

    fn protect(&mut self, user: usize) {
        self.ask(user, SetPassword { password: Some(password_of(user)) });
    }

    /// A new device with a key of its own takes the name over.
    fn move_key(&mut self, user: usize) {
        let person = &mut self.people[user];
        if person.has_password && !person.is_moving && person.key % 20 < 19 {
            person.key += 1;
            person.is_moving = true;
            tell!(self, "user{user} moves to another device");
            self.crash(user);
        }
    }

    fn stop_reading(&mut self, user: usize) {
        let lasts = self.chance.within(100..=15_000);
        let Some(program) = &mut self.people[user].program else { return };
        program.reads = false;
        let process = program.process;
        self.after(lasts, Happening::ReadsOn { user, process });
    }

    fn administer(&mut self, user: usize) {
        let Some(admin) = self.admin.filter(|_| self.core.is_some()) else { return };
        let id = RequestId(self.chance.number());
        let reason = "noise".to_owned();
        if self.chance.one_in(2) {
            return self.request(admin, id, Kick { name: user_name(user), reason }.into());
        }
        let lasts = self.chance.within(1_000..=10_000);
        let until = Some(Timestamp(self.clock().wall.0 + lasts));
        let key = Some(PeerId::from_bytes([self.people[user].key; 32]));
        self.request(admin, id, Ban { name: None, id: key, reason, until }.into());
    }

    /// Somebody else wants the name; only those that somebody has, or it would be theirs.
    fn steal(&mut self, user: usize) {
        if self.core.is_none() || !self.truth.is_taken(user) {
            return;
        }
        let thief = self.visit(THIEF_KEY);
        let password = match self.chance.within(0..=2) {
            0 => None,
            _ => Some(Password(format!("secret of user{}", user + 1))),
        };
        let login =
            Login { name: user_name(user).to_string(), password, device: None, attempt: None };
        self.request(thief, RequestId(2), login.into());
    }

    /// The program is gone without a word.
    fn crash(&mut self, user: usize) {
        let is_silent = self.chance.one_in(2);
        let Some(line) = self.people[user].program.as_ref().and_then(|program| program.line) else {
            return self.end(user);
        };
        if is_silent {
            self.cut(line);
        }
        self.end(user);
    }

    pub(crate) fn mishap(&mut self) {
        if self.is_calm {
            return;
        }
        let user = self.chance.below(PEOPLE);
        match self.chance.within(0..=9) {
            0..=1 if self.core.is_some() => self.power_fails(),
            2 if self.core.is_some() => {
                self.stop();
                let down = self.chance.within(0..=3_000);
                self.after(down, Happening::Boots);
            }
            3..=4 => {
                tell!(self, "user{user}'s program crashes");
                self.crash(user);
            }
            5..=6 => self.part(user),
            7..=8 => self.stall(user),
            _ => {}
        }
        let rest = self.chance.within(500..=12_000);
        self.after(rest, Happening::Mishap);
    }

    fn power_fails(&mut self) {
        self.tally.kills += 1;
        self.kill();
        // The clock on the wall may be set back meanwhile, or forward.
        self.wall = (self.wall + self.chance.within(0..=20_000)).saturating_sub(10_000);
        let down = self.chance.within(0..=4_000);
        self.after(down, Happening::Boots);
    }

    /// A partition: what is on the way is lost, and both sides notice some time.
    fn part(&mut self, user: usize) {
        let lasts = self.chance.within(500..=15_000);
        self.people[user].away_until = self.now + lasts;
        let Some(line) = self.line_of(user) else { return };
        tell!(self, "user{user} is cut off for {lasts} ms");
        self.cut(line);
        let learns = self.chance.within(0..=20_000);
        self.after(learns, Happening::ClientLearns(line));
    }

    /// Everything on the way waits; the program may lose patience before it arrives.
    fn stall(&mut self, user: usize) {
        let lasts = self.chance.within(100..=8_000);
        let until = self.now + lasts;
        let Some(id) = self.line_of(user) else { return };
        tell!(self, "user{user}'s line stalls for {lasts} ms");
        if let Some(line) = self.lines.get_mut(&id) {
            line.stalled_until = until;
        }
        if self.chance.one_in(2) {
            let patience = self.chance.within(0..=lasts);
            self.after(patience, Happening::ClientLearns(id));
        }
    }

    fn line_of(&self, user: usize) -> Option<LineId> {
        self.people[user].program.as_ref()?.line
    }

    /// A whole run: storm, calm, and everything as it should be.
    pub(crate) fn run(mut self) -> crate::world::Tally {
        let steps = self.chance.within(ACTS / 4..=ACTS);
        self.run_until(steps * 250);
        self.is_calm = true;
        for person in 0..PEOPLE {
            self.people[person].away_until = 0;
        }
        self.settle();
        // What a store that failed has kept in the mailboxes comes with the next login.
        for user in 0..PEOPLE {
            self.lose(user);
        }
        self.settle();
        self.check_all();
        self.tally
    }

    /// Lets everything come to rest.
    fn settle(&mut self) {
        let end = self.now + 600_000;
        self.run_until(end);
        for user in 0..PEOPLE {
            self.on_start(user);
        }
        self.run_until(end + 600_000);
    }

    fn check_all(&mut self) {
        let disk = self.disk.start();
        self.truth.check_snapshot(&disk);
        self.truth.check_end(&self.people);
        let sessions = self.core.as_ref().map_or(0, portolan_server::core::Core::sessions);
        assert_eq!(sessions, PEOPLE + 1, "five users and an administrator");
        // Everyone leaves: nothing is left but the clean-up that is always due.
        let sessions: Vec<_> = self.of_session.keys().copied().chain(self.admin).collect();
        for session in sessions {
            self.truth.on_closed(session, portolan_transport::CloseCode::DONE);
            self.feed(Input::Gone { session, reason: "the end".into() });
        }
        let left =
            self.core.as_ref().and_then(|core| Some((core.sessions(), core.poll_timeout()?)));
        assert!(left.is_some_and(|(sessions, deadline)| sessions == 0
            && deadline.why == portolan_server::core::Timer::Purge));
    }
}
