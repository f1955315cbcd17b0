//! Groups: who may do what, who is told, and that random users agree with a simple model.

use std::collections::{BTreeMap, BTreeSet};

use portolan_protocol::{
    CreateGroup, ErrorCode, Event, GroupChange, History, InviteToGroup, JoinGroup, LeaveGroup,
    ListGroups, ListMembers, Recipient, RemoveFromGroup, RenameGroup, Reply, Role, Send, SetRole,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::world::{World, limits, name};
use crate::{config::Limits, core::SessionId};

fn crew() -> String {
    "crew".into()
}

fn create() -> CreateGroup {
    CreateGroup { group: crew(), history: false, reference: None }
}

fn invite(user: &str) -> InviteToGroup {
    InviteToGroup { group: crew(), user: name(user), reference: None }
}

fn join() -> JoinGroup {
    JoinGroup { group: crew(), reference: None }
}

fn leave() -> LeaveGroup {
    LeaveGroup { group: crew(), reference: None }
}

fn remove(user: &str) -> RemoveFromGroup {
    RemoveFromGroup { group: crew(), user: name(user), reference: None }
}

fn set_role(user: &str, role: Role) -> SetRole {
    SetRole { group: crew(), user: name(user), role, reference: None }
}

fn say(text: &str) -> Send {
    Send { to: Recipient::Group(crew()), text: text.into(), reference: None }
}

fn members(world: &mut World, session: SessionId) -> Vec<(String, Option<Role>)> {
    let list = ListMembers { group: crew(), after: None, limit: None };
    match world.ask(session, list) {
        Some(Ok(Reply::Members(page))) => {
            page.members.iter().map(|member| (member.name.to_string(), member.role)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn texts(events: Vec<Event>) -> Vec<String> {
    let texts = events.into_iter().filter_map(|event| match event {
        Event::Message(delivery) => Some(delivery.text),
        _ => None,
    });
    texts.collect()
}

fn changes(events: Vec<Event>) -> Vec<(GroupChange, String, Option<String>)> {
    let changes = events.into_iter().filter_map(|event| match event {
        Event::Group(news) => {
            Some((news.change, news.by.to_string(), news.user.map(|user| user.to_string())))
        }
        _ => None,
    });
    changes.collect()
}

/// Alice owns the crew, Bob is in it, Carol is not.
fn crew_of_two(world: &mut World) -> [SessionId; 3] {
    let sessions = [world.login(1, "alice"), world.login(2, "bob"), world.login(3, "carol")];
    let [alice, bob, _] = sessions;
    assert_eq!(world.refusal(alice, create()), None);
    assert_eq!(world.refusal(alice, invite("bob")), None);
    assert_eq!(world.refusal(bob, join()), None);
    for session in sessions {
        world.events(session);
    }
    sessions
}

#[test]
fn a_group_begins_with_its_owner_and_grows_by_invitations_that_were_taken() {
    let mut world = World::new(limits());
    let [alice, bob, carol] = crew_of_two(&mut world);
    assert_eq!(world.refusal(alice, invite("carol")), None);
    let invited = (GroupChange::Invited, "alice".into(), Some("carol".into()));
    for session in [bob, carol] {
        assert_eq!(changes(world.events(session)), std::slice::from_ref(&invited));
    }
    assert_eq!(world.refusal(carol, say("too early")), Some(ErrorCode::Forbidden));
    assert_eq!(world.refusal(alice, invite("carol")), Some(ErrorCode::Conflict));

    // Whoever was not there learns of it at the next login.
    world.gone(carol);
    let carol = world.login(3, "carol");
    assert_eq!(changes(world.events(carol)), [invited]);
    assert_eq!(world.refusal(carol, join()), None);
    assert_eq!(world.refusal(carol, join()), Some(ErrorCode::Conflict));
    assert_eq!(
        members(&mut world, alice),
        [
            ("alice".into(), Some(Role::Owner)),
            ("bob".into(), Some(Role::Member)),
            ("carol".into(), Some(Role::Member)),
        ]
    );
}

#[test]
fn what_is_said_in_a_group_reaches_its_other_members_and_nobody_else() {
    let mut world = World::new(limits());
    let [alice, bob, carol] = crew_of_two(&mut world);
    assert_eq!(world.refusal(carol, say("let me in")), Some(ErrorCode::UnknownGroup));
    let Some(Ok(Reply::Sent(sent))) = world.ask(alice, say("ahoy")) else { panic!() };
    assert_eq!((sent.online, sent.waiting), (1, 0));
    assert_eq!(texts(world.events(bob)), ["ahoy"]);
    assert_eq!(texts(world.events(alice)), [] as [&str; 0]);
    assert_eq!(texts(world.events(carol)), [] as [&str; 0]);
    // It waits for those who are not there.
    world.gone(bob);
    assert_eq!(world.refusal(alice, say("later")), None);
    let bob = world.login(2, "bob");
    assert_eq!(texts(world.events(bob)), ["ahoy", "later"]);
}

#[test]
fn every_order_needs_its_role() {
    let mut world = World::new(limits());
    let [alice, bob, carol] = crew_of_two(&mut world);
    let rename = RenameGroup { group: crew(), to: "hands".into(), reference: None };
    for refusal in [
        world.refusal(bob, invite("carol")),
        world.refusal(bob, remove("alice")),
        world.refusal(bob, set_role("bob", Role::Owner)),
        world.refusal(bob, rename),
    ] {
        assert_eq!(refusal, Some(ErrorCode::Forbidden));
    }
    assert_eq!(world.refusal(alice, set_role("bob", Role::Admin)), None);
    assert_eq!(world.refusal(bob, invite("carol")), None);
    assert_eq!(world.refusal(alice, set_role("carol", Role::Admin)), Some(ErrorCode::Conflict));
    assert_eq!(world.refusal(carol, join()), None);
    assert_eq!(world.refusal(bob, remove("alice")), Some(ErrorCode::Forbidden));
    assert_eq!(world.refusal(bob, set_role("carol", Role::Admin)), Some(ErrorCode::Forbidden));
    assert_eq!(world.refusal(bob, remove("carol")), None);
    assert_eq!(world.refusal(alice, remove("alice")), Some(ErrorCode::Forbidden));
    assert_eq!(world.refusal(alice, set_role("alice", Role::Member)), Some(ErrorCode::Conflict));
    // To the others it is as if there were no such group.
    for refusal in [world.refusal(carol, join()), world.refusal(carol, leave())] {
        assert_eq!(refusal, Some(ErrorCode::UnknownGroup));
    }
}

#[test]
fn a_group_always_has_one_owner_until_the_last_member_has_left() {
    let mut world = World::new(limits());
    let [alice, bob, carol] = crew_of_two(&mut world);
    assert_eq!(world.refusal(alice, set_role("bob", Role::Owner)), None);
    assert_eq!(
        members(&mut world, alice),
        [("alice".into(), Some(Role::Admin)), ("bob".into(), Some(Role::Owner))]
    );
    world.events(alice);
    assert_eq!(world.refusal(bob, leave()), None);
    let told = changes(world.events(alice));
    assert_eq!(told.last().unwrap(), &(GroupChange::Role, "bob".into(), Some("alice".into())));
    assert_eq!(members(&mut world, alice), [("alice".into(), Some(Role::Owner))]);
    assert_eq!(world.refusal(alice, invite("carol")), None);
    assert_eq!(world.refusal(alice, leave()), None);
    assert_eq!(world.refusal(carol, join()), Some(ErrorCode::UnknownGroup));
    assert_eq!(world.refusal(carol, create()), None);
    let Some(Ok(Reply::Groups(groups))) = world.ask(alice, ListGroups {}) else { panic!() };
    assert_eq!(groups.groups, []);
}

#[test]
fn a_name_is_one_groups_and_a_new_name_is_told() {
    let mut world = World::new(limits());
    let [alice, bob, carol] = crew_of_two(&mut world);
    assert_eq!(world.refusal(carol, create()), Some(ErrorCode::Conflict));
    let rename = |to: &str| RenameGroup { group: crew(), to: to.into(), reference: None };
    assert_eq!(world.refusal(alice, rename("no name")), Some(ErrorCode::NameInvalid));
    assert_eq!(world.refusal(alice, rename("Crew")), None, "another case is no other name");
    assert_eq!(world.refusal(alice, rename("hands")), None);
    let news = world.events(bob).into_iter().filter_map(|event| match event {
        Event::Group(news) => Some((news.group, news.to)),
        _ => None,
    });
    let news: Vec<_> = news.collect();
    assert_eq!(news, [("crew".into(), Some("Crew".into())), ("Crew".into(), Some("hands".into()))]);
    assert_eq!(world.refusal(carol, create()), None, "the old name is free");
    assert_eq!(world.refusal(bob, say("x")), Some(ErrorCode::UnknownGroup));
}

#[test]
fn new_members_read_what_was_said_before_only_where_the_group_allows_it() {
    for allowed in [false, true] {
        let mut world = World::new(limits());
        let alice = world.login(1, "alice");
        let bob = world.login(2, "bob");
        world.ask(alice, CreateGroup { history: allowed, ..create() });
        world.ask(alice, say("before"));
        world.ask(alice, invite("bob"));
        let history = History { with: Recipient::Group(crew()), before: None, limit: None };
        assert_eq!(world.refusal(bob, history.clone()), Some(ErrorCode::Forbidden));
        world.ask(bob, join());
        world.ask(alice, say("after"));
        let Some(Ok(Reply::Messages(page))) = world.ask(bob, history) else { panic!() };
        let read: Vec<&str> = page.messages.iter().map(|message| message.text.as_str()).collect();
        let expected: &[&str] = if allowed { &["before", "after"] } else { &["after"] };
        assert_eq!(read, expected);
    }
}

#[test]
fn a_change_that_could_not_be_stored_has_not_happened() {
    let mut world = World::new(limits());
    let [alice, bob, carol] = crew_of_two(&mut world);
    world.commits_at_once = false;
    assert_eq!(
        world.ask(alice, RenameGroup { group: crew(), to: "hands".into(), reference: None }),
        None
    );
    assert_eq!(world.ask(bob, leave()), None, "it waits for the change before it");
    // The new name is nobody else's while it is on its way.
    let hands = CreateGroup { group: "hands".into(), history: false, reference: None };
    assert_eq!(world.refusal(carol, hands.clone()), Some(ErrorCode::Conflict));
    world.fail();
    world.commits_at_once = true;
    let failed = |world: &World, session| {
        let answers = world.told[&session].answers.values();
        answers
            .filter(|answer| matches!(answer, Err(error) if error.code == ErrorCode::Internal))
            .count()
    };
    assert_eq!((failed(&world, alice), failed(&world, bob)), (1, 1));
    assert_eq!(members(&mut world, alice).len(), 2);
    assert_eq!(world.refusal(carol, hands), None);
}

#[test]
fn groups_members_and_invitations_are_bounded() {
    let bounds = Limits {
        groups: 2,
        group_members: 2,
        groups_per_user: 1,
        invitations_per_user: 1,
        ..limits()
    };
    let mut world = World::new(bounds);
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    let carol = world.login(3, "carol");
    let named = |group: &str| CreateGroup { group: group.into(), history: false, reference: None };
    assert_eq!(world.refusal(alice, named("crew")), None);
    assert_eq!(world.refusal(alice, named("two")), Some(ErrorCode::Quota));
    assert_eq!(world.refusal(bob, named("two")), None);
    assert_eq!(world.refusal(carol, named("three")), Some(ErrorCode::Quota));
    assert_eq!(world.refusal(alice, invite("carol")), None);
    assert_eq!(world.refusal(alice, invite("bob")), Some(ErrorCode::Quota));
    let second = InviteToGroup { group: "two".into(), user: name("carol"), reference: None };
    assert_eq!(world.refusal(bob, second), Some(ErrorCode::Quota));
}

/// A group as the model sees it.
#[derive(Default)]
struct Crew {
    members: BTreeMap<usize, Role>,
    invited: BTreeSet<usize>,
}

const USERS: usize = 5;

fn user_name(user: usize) -> String {
    format!("user{user}")
}

impl Crew {
    fn is_allowed(&self, user: usize, least: Role) -> bool {
        self.members.get(&user).is_some_and(|role| *role >= least)
    }

    fn is_known_to(&self, user: usize) -> bool {
        self.members.contains_key(&user) || self.invited.contains(&user)
    }
}

struct Model {
    world: World,
    random: ChaCha8Rng,
    sessions: Vec<SessionId>,
    crew: Option<Crew>,
    /// What each user must have been sent, and was.
    expected: Vec<Vec<String>>,
    heard: Vec<Vec<String>>,
    sent: usize,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut world = World::new(limits());
        let sessions = log_all_in(&mut world);
        Self {
            world,
            random: ChaCha8Rng::seed_from_u64(seed),
            sessions,
            crew: None,
            expected: vec![Vec::new(); USERS],
            heard: vec![Vec::new(); USERS],
            sent: 0,
        }
    }

    fn step(&mut self) {
        let user = self.random.random_range(0..USERS);
        let other = self.random.random_range(0..USERS);
        match self.random.random_range(0..100) {
            0..10 => self.create(user),
            10..35 => self.invite(user, other),
            35..55 => self.join(user),
            55..60 => self.leave(user),
            60..66 => self.remove(user, other),
            66..72 => self.promote(user, other),
            72..97 => self.say(user),
            _ => self.restart(),
        }
        self.listen();
    }

    fn create(&mut self, user: usize) {
        let granted = self.world.refusal(self.sessions[user], create()).is_none();
        assert_eq!(granted, self.crew.is_none());
        let crew = self.crew.get_or_insert_default();
        if granted {
            crew.members.insert(user, Role::Owner);
        }
    }

    fn invite(&mut self, user: usize, other: usize) {
        let granted = self.world.refusal(self.sessions[user], invite(&user_name(other))).is_none();
        let crew = self.crew.as_mut();
        let expected = crew
            .as_ref()
            .is_some_and(|crew| crew.is_allowed(user, Role::Admin) && !crew.is_known_to(other));
        assert_eq!(granted, expected);
        if let Some(crew) = crew.filter(|_| granted) {
            crew.invited.insert(other);
        }
    }

    fn join(&mut self, user: usize) {
        let granted = self.world.refusal(self.sessions[user], join()).is_none();
        let expected = self.crew.as_mut().is_some_and(|crew| crew.invited.remove(&user));
        assert_eq!(granted, expected);
        if let Some(crew) = self.crew.as_mut().filter(|_| granted) {
            crew.members.insert(user, Role::Member);
        }
    }

    fn leave(&mut self, user: usize) {
        let granted = self.world.refusal(self.sessions[user], leave()).is_none();
        let Some(crew) = &mut self.crew else { return assert!(!granted) };
        assert_eq!(granted, crew.is_known_to(user));
        crew.invited.remove(&user);
        if crew.members.remove(&user) == Some(Role::Owner) {
            // Who of equals inherits is the server's to say; that somebody does is checked.
            let best = crew.members.values().max().copied();
            self.adopt_owner(best);
        }
    }

    fn adopt_owner(&mut self, best: Option<Role>) {
        let Some(crew) = &mut self.crew else { return };
        let Some(best) = best else {
            self.crew = None;
            return;
        };
        let asker = *crew.members.keys().next().unwrap();
        let shown = members(&mut self.world, self.sessions[asker]);
        let owners: Vec<&String> = shown
            .iter()
            .filter(|(_, role)| *role == Some(Role::Owner))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(owners.len(), 1);
        let heir: usize = owners[0]["user".len()..].parse().unwrap();
        assert_eq!(crew.members.insert(heir, Role::Owner), Some(best));
    }

    fn remove(&mut self, user: usize, other: usize) {
        let granted = self.world.refusal(self.sessions[user], remove(&user_name(other))).is_none();
        let Some(crew) = &mut self.crew else { return assert!(!granted) };
        let expected = crew.is_allowed(user, Role::Admin)
            && crew.is_known_to(other)
            && crew.members.get(&other) < crew.members.get(&user);
        assert_eq!(granted, expected);
        if granted {
            crew.members.remove(&other);
            crew.invited.remove(&other);
        }
    }

    fn promote(&mut self, user: usize, other: usize) {
        let role = [Role::Member, Role::Admin, Role::Owner][self.random.random_range(0..3)];
        let order = set_role(&user_name(other), role);
        let granted = self.world.refusal(self.sessions[user], order).is_none();
        let Some(crew) = &mut self.crew else { return assert!(!granted) };
        let expected = crew.is_allowed(user, Role::Owner)
            && user != other
            && crew.members.contains_key(&other);
        assert_eq!(granted, expected);
        if granted {
            crew.members.insert(other, role);
            if role == Role::Owner {
                crew.members.insert(user, Role::Admin);
            }
        }
    }

    fn say(&mut self, user: usize) {
        self.sent += 1;
        let text = self.sent.to_string();
        let granted = self.world.refusal(self.sessions[user], say(&text)).is_none();
        let Some(crew) = &self.crew else { return assert!(!granted) };
        assert_eq!(granted, crew.members.contains_key(&user));
        if granted {
            for &member in crew.members.keys().filter(|member| **member != user) {
                self.expected[member].push(text.clone());
            }
        }
    }

    /// The server dies and comes back: what was answered is still so.
    fn restart(&mut self) {
        self.listen();
        self.world.crash(0);
        self.sessions = log_all_in(&mut self.world);
    }

    fn listen(&mut self) {
        for (user, &session) in self.sessions.iter().enumerate() {
            let read = texts(self.world.events(session));
            let news = read.into_iter().filter(|text| !self.heard[user].contains(text));
            let news: Vec<String> = news.collect();
            self.heard[user].extend(news);
        }
    }

    fn check(&mut self) {
        assert_eq!(self.heard, self.expected);
        let Some(crew) = &self.crew else { return };
        let asker = *crew.members.keys().next().unwrap();
        let expected: BTreeMap<String, Option<Role>> = crew
            .members
            .iter()
            .map(|(user, role)| (user_name(*user), Some(*role)))
            .chain(crew.invited.iter().map(|user| (user_name(*user), None)))
            .collect();
        let shown = members(&mut self.world, self.sessions[asker]);
        assert_eq!(shown.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }
}

fn log_all_in(world: &mut World) -> Vec<SessionId> {
    let login = |user: usize| (u8::try_from(user + 1).unwrap(), user_name(user));
    (0..USERS).map(login).map(|(seed, name)| world.login(seed, &name)).collect()
}

#[test]
fn bounds_count_what_is_on_its_way_into_the_store() {
    let bounds = Limits { groups_per_user: 2, invitations_per_user: 1, groups: 3, ..limits() };
    let mut world = World::new(bounds);
    let [alice, bob] = [world.login(1, "alice"), world.login(2, "bob")];
    world.commits_at_once = false;
    for group in ["one", "two", "three"] {
        world.request(alice, CreateGroup { group: group.into(), history: false, reference: None });
    }
    for group in ["four", "five"] {
        world.request(bob, CreateGroup { group: group.into(), history: false, reference: None });
    }
    world.commit(usize::MAX);
    for group in ["one", "two"] {
        world.request(
            alice,
            InviteToGroup { group: group.into(), user: name("bob"), reference: None },
        );
    }
    world.commit(usize::MAX);
    let refused = |session| -> Vec<ErrorCode> {
        let answers = world.told[&session].answers.values();
        answers.filter_map(|answer| Some(answer.as_ref().err()?.code)).collect()
    };
    assert_eq!(refused(alice), [ErrorCode::Quota, ErrorCode::Quota], "a group, an invitation");
    assert_eq!(refused(bob), [ErrorCode::Quota], "the server's fourth group");
}

#[test]
fn a_group_answers_to_its_new_name_when_the_store_has_it() {
    let mut world = World::new(limits());
    let [alice, bob, _] = crew_of_two(&mut world);
    world.commits_at_once = false;
    world.request(alice, RenameGroup { group: crew(), to: "gang".into(), reference: None });
    let to_gang = |text: &str| Send { to: Recipient::Group("gang".into()), ..say(text) };
    assert_eq!(world.refusal(alice, to_gang("early")), Some(ErrorCode::UnknownGroup));
    world.request(alice, say("by the old name"));
    world.commit(usize::MAX);
    world.request(alice, to_gang("by the new name"));
    world.commit(usize::MAX);
    assert_eq!(texts(world.events(bob)), ["by the old name", "by the new name"]);
}

#[test]
fn random_changes_of_a_group_agree_with_a_simple_model_through_restarts() {
    let fixed = std::env::var("SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let mut said = 0;
    for seed in fixed.map_or(0..200, |seed| seed..seed + 1) {
        println!("SEED={seed}");
        let mut model = Model::new(seed);
        for _ in 0..300 {
            model.step();
            model.check();
        }
        said += model.expected.iter().map(Vec::len).sum::<usize>();
    }
    assert!(said > 0, "nobody ever said anything");
}
