//! Away and back, last seen, and who may know of it.

use std::time::Duration;

use portolan_protocol::{
    Availability, ChangeSettings, CreateGroup, ErrorCode, Event, InviteToGroup, JoinGroup, List,
    Login, Logout, Lookup, Name, Recipient, Reply, Send, SetAway, Timestamp, UserInfo, Whom,
};

use super::world::{World, limits, name};
use crate::{
    config::{Limits, Rate},
    core::SessionId,
};

fn say(to: &str) -> Send {
    Send { to: Recipient::User(name(to)), text: "ahoy".into(), reference: None }
}

fn list(world: &mut World, session: SessionId, list: List) -> (Vec<UserInfo>, bool) {
    match world.ask(session, list) {
        Some(Ok(Reply::Users(page))) => (page.users, page.more),
        other => panic!("{other:?}"),
    }
}

fn all(world: &mut World, session: SessionId) -> Vec<(String, Availability, u64)> {
    let question = List { whom: Whom::All, ..List::default() };
    let users = list(world, session, question).0.into_iter();
    users.map(|user| (user.name.to_string(), user.state, user.since.0)).collect()
}

fn whois(world: &mut World, session: SessionId, who: &str) -> UserInfo {
    match world.ask(session, Lookup { name: name(who), whom: Whom::All }) {
        Some(Ok(Reply::User(user))) => user,
        other => panic!("{other:?}"),
    }
}

/// Alice and Bob have written to each other; Carol has only written to Bob.
fn harbour() -> (World, SessionId, SessionId) {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    let carol = world.login(3, "carol");
    for (session, to) in [(alice, "bob"), (bob, "alice"), (carol, "bob")] {
        assert!(matches!(world.ask(session, say(to)), Some(Ok(_))));
    }
    world.advance(Duration::from_secs(5));
    assert!(matches!(world.ask(bob, Logout {}), Some(Ok(_))));
    (world, alice, carol)
}

/// When Bob has left.
const LEFT: u64 = 1_005_000;

#[test]
fn those_who_have_written_to_each_other_see_when_the_other_was_last_there() {
    let (mut world, alice, carol) = harbour();
    let there = |who: &str| (who.to_owned(), Availability::Free, 1_000_000);
    let gone = ("bob".to_owned(), Availability::Offline, LEFT);
    assert_eq!(all(&mut world, alice), [there("alice"), gone, there("carol")]);
    assert_eq!(whois(&mut world, alice, "BOB").since, Timestamp(LEFT));
    // Who only writes learns nothing.
    assert_eq!(all(&mut world, carol), [there("alice"), there("carol")]);
    let bob = whois(&mut world, carol, "bob");
    assert_eq!((bob.state, bob.since), (Availability::Offline, Timestamp(0)));
    // Who asks for those who are there gets the same answers as ever.
    assert_eq!(list(&mut world, alice, List::default()).0.len(), 2);
    let refusal = world.refusal(alice, Lookup::online(name("bob")));
    assert_eq!(refusal, Some(ErrorCode::Offline));
}

#[test]
fn members_of_a_group_and_admins_see_it_too() {
    let (mut world, _, carol) = harbour();
    let bob = world.login(2, "bob");
    let crew = || "crew".to_owned();
    for command in [
        CreateGroup { group: crew(), history: false, reference: None }.into(),
        portolan_protocol::Command::from(InviteToGroup {
            group: crew(),
            user: name("carol"),
            reference: None,
        }),
    ] {
        assert!(world.ask(bob, command).unwrap().is_ok());
    }
    world.ask(bob, Logout {});
    assert_eq!(all(&mut world, carol).len(), 2, "an invitation is not enough");
    assert!(world.ask(carol, JoinGroup { group: crew(), reference: None }).unwrap().is_ok());
    assert_eq!(all(&mut world, carol)[1], ("bob".to_owned(), Availability::Offline, LEFT));
    let admin = world.connect(0, 1);
    assert_eq!(all(&mut world, admin)[1], ("bob".to_owned(), Availability::Offline, LEFT));
}

#[test]
fn who_hides_when_they_were_there_is_not_told_it_of_others() {
    let (mut world, alice, carol) = harbour();
    let show = |last_seen| ChangeSettings { last_seen: Some(last_seen), ..Default::default() };
    assert!(world.ask(alice, show(false)).unwrap().is_ok());
    assert_eq!(whois(&mut world, alice, "bob").since, Timestamp(0));
    assert!(world.ask(alice, show(true)).unwrap().is_ok());
    assert_eq!(whois(&mut world, alice, "bob").since, Timestamp(LEFT));

    let bob = world.login(2, "bob");
    assert!(world.ask(bob, show(false)).unwrap().is_ok());
    assert!(world.ask(bob, Logout {}).unwrap().is_ok());
    for asker in [alice, carol] {
        let bob = whois(&mut world, asker, "bob");
        assert_eq!((bob.state, bob.since), (Availability::Offline, Timestamp(0)));
    }
}

#[test]
fn the_present_and_the_absent_come_in_one_order_page_by_page() {
    let (mut world, alice, _) = harbour();
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().map(|last| name(last));
        let question = List { whom: Whom::All, limit: Some(1), after, ..List::default() };
        let (page, more) = list(&mut world, alice, question);
        assert_eq!(page.len(), 1);
        names.extend(page.into_iter().map(|user| user.name.to_string()));
        if !more {
            break;
        }
    }
    assert_eq!(names, ["alice", "bob", "carol"]);
}

#[test]
fn questions_about_the_absent_are_bounded() {
    let absent = Rate { per_second: 1.0, burst: 1.0 };
    let mut world = World::new(Limits { absent, ..limits() });
    let alice = world.login(1, "alice");
    let question = || List { whom: Whom::All, ..List::default() };
    assert_eq!(world.refusal(alice, question()), None);
    assert_eq!(world.refusal(alice, question()), Some(ErrorCode::RateLimited));
    assert_eq!(world.refusal(alice, List::default()), None);
}

#[test]
fn where_everybody_is_is_reported_and_recalled_after_a_new_start() {
    let (mut world, ..) = harbour();
    let last = world.sightings.iter().rfind(|sighting| sighting.name.as_str() == "bob");
    assert!(last.is_some_and(|bob| bob.place.is_none() && bob.at == Timestamp(LEFT)));
    let alice = world.sightings.iter().find(|sighting| sighting.name.as_str() == "alice");
    let place = alice.and_then(|alice| alice.place.clone()).unwrap();
    assert_eq!((place.transport.as_str(), place.since), ("one", Timestamp(1_000_000)));

    let mut known = world.sightings.clone();
    known.push(crate::presence::Sighting {
        name: Name::new("stranger").unwrap(),
        place: None,
        at: Timestamp(1),
    });
    world.crash(0);
    world.core.recall(&known);
    let alice = world.login(1, "alice");
    assert_eq!(whois(&mut world, alice, "bob").since, Timestamp(LEFT));
}

#[test]
fn who_is_away_says_so_in_the_list_and_to_those_who_are_there() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    world.events(alice);
    let away = |text: &str| SetAway { text: Some(text.to_owned()) };
    assert_eq!(world.refusal(bob, away("tea")), None);
    assert_eq!(world.refusal(bob, away("tea")), None);
    let news: Vec<Option<String>> = world
        .events(alice)
        .into_iter()
        .map(|event| match event {
            Event::Presence(presence) => presence.user.away,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(news, [Some("tea".to_owned())], "the same again is no news");
    let long = "x".repeat(2_000);
    assert_eq!(world.refusal(bob, away(&long)), Some(ErrorCode::TooLarge));

    // A lost connection does not bring anybody back to the keyboard; a logout ends it.
    world.gone(bob);
    let bob = world.login(2, "bob");
    assert_eq!(whois(&mut world, alice, "bob").away.as_deref(), Some("tea"));
    assert_eq!(world.refusal(bob, SetAway { text: None }), None);
    assert_eq!(whois(&mut world, alice, "bob").away, None);
    world.ask(bob, away(""));
    world.ask(bob, Logout {});
    let login = Login { name: "bob".into(), password: None, device: None, attempt: None };
    let bob = world.connect(2, 0);
    assert!(world.ask(bob, login).unwrap().is_ok());
    assert_eq!(whois(&mut world, alice, "bob").away, None);
}
