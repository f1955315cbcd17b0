//! What is easier to show without a wire.

use std::time::Duration;

use portolan_protocol::{
    Availability, ClosingReason, ConversationState, Converse, ErrorCode, Event, Heartbeat, List,
    Login, LoginAttempt, Lookup, MessageId, PresenceChange, ReceiptState, Receipts, Recipient,
    Reply, Send,
};

use super::world::{World, limits, name};
use crate::{
    config::{Limits, Rate},
    core::{Frame, Input, Timer},
};

fn login(text: &str) -> Login {
    Login { name: text.to_owned(), password: None, device: None, attempt: None }
}

fn say(to: &str, text: &str) -> Send {
    Send { to: Recipient::User(name(to)), text: text.to_owned(), reference: None }
}

#[test]
fn a_new_name_is_granted_when_the_store_has_it_and_not_before() {
    let mut world = World::new(limits());
    world.commits_at_once = false;
    let alice = world.connect(1, 0);
    assert_eq!(world.ask(alice, login("alice")), None);
    // Meanwhile the name is neither free nor to be seen.
    let mallory = world.connect(2, 0);
    assert_eq!(world.refusal(mallory, login("alice")), Some(ErrorCode::NameTaken));
    let second = world.connect(1, 0);
    assert_eq!(world.refusal(second, login("alice")), Some(ErrorCode::Conflict));
    world.fail();
    let told = &mut world.told.get_mut(&alice).unwrap().answers;
    let (_, refused) = told.pop_first().unwrap();
    assert_eq!(refused.unwrap_err().code, ErrorCode::Internal);

    assert_eq!(world.ask(mallory, login("alice")), None);
    world.commit(1);
    let answers = &world.told.get(&mallory).unwrap().answers;
    assert!(matches!(answers.values().next(), Some(Ok(Reply::LoggedIn(_)))));
}

#[test]
fn a_login_that_its_client_had_given_up_replaces_nobody() {
    let mut world = World::new(limits());
    let attempt =
        |client, number| Login { attempt: Some(LoginAttempt { client, number }), ..login("alice") };
    // The first one is on its way for minutes; the client has tried again meanwhile.
    let late = world.connect(1, 0);
    let session = world.connect(1, 0);
    assert!(matches!(world.ask(session, attempt(7, 2)), Some(Ok(Reply::LoggedIn(_)))));
    assert_eq!(world.refusal(late, attempt(7, 1)), Some(ErrorCode::Conflict));
    assert!(world.events(session).is_empty(), "it is not told that it was replaced");
    assert!(matches!(world.ask(session, Heartbeat { nonce: 1 }), Some(Ok(Reply::Heartbeat(_)))));
    // Another program with the key is no late one, whatever it counts.
    let other = world.connect(1, 0);
    assert!(matches!(world.ask(other, attempt(8, 1)), Some(Ok(Reply::LoggedIn(_)))));
    let told = world.events(session);
    assert!(
        matches!(&told[..], [Event::Closing(closing)] if closing.why == ClosingReason::Replaced),
        "{told:?}"
    );
}

#[test]
fn a_message_that_cannot_be_stored_is_refused_and_costs_no_quota() {
    let mut world = World::new(Limits { mailbox_messages: 1, ..limits() });
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    world.commits_at_once = false;
    assert_eq!(world.ask(alice, say("bob", "lost")), None);
    assert_eq!(world.refusal(alice, say("bob", "over")), Some(ErrorCode::Quota));
    world.fail();
    world.commits_at_once = true;
    assert!(matches!(world.ask(alice, say("bob", "kept")), Some(Ok(Reply::Sent(_)))));
    let texts: Vec<String> = world
        .events(bob)
        .into_iter()
        .filter_map(|event| match event {
            Event::Message(delivery) => Some(delivery.text),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["kept"]);
}

#[test]
fn each_registry_counts_its_own_and_users_may_move_between_them() {
    let mut world = World::new(Limits { users_per_registry: 1, ..limits() });
    let older = world.login(1, "alice");
    let full = world.connect(2, 0);
    assert_eq!(world.refusal(full, login("bob")), Some(ErrorCode::Quota));
    let newer = world.connect(1, 1);
    assert!(matches!(world.ask(newer, login("alice")), Some(Ok(Reply::LoggedIn(_)))));
    assert!(matches!(world.events(older).last(), Some(Event::Closing(closing))
        if closing.why == ClosingReason::Replaced));
    assert!(world.told[&older].closed.is_some());
    world.gone(older);

    let list = List { transport: Some("two".into()), ..List::default() };
    let Some(Ok(Reply::Users(users))) = world.ask(newer, list) else { panic!() };
    assert_eq!(users.users[0].transport, "two");
    let info = portolan_protocol::AskServerInfo {};
    let Some(Ok(Reply::ServerInfo(info))) = world.ask(newer, info) else { panic!() };
    let counts: Vec<_> =
        info.registries.iter().map(|r| (r.online, r.logins, r.vanished, r.refused)).collect();
    assert_eq!(counts, [(0, 1, 0, 0), (1, 1, 0, 0)]);
    world.gone(full);
    world.gone(newer);
    let other = world.login(3, "carol");
    let info = portolan_protocol::AskServerInfo {};
    let Some(Ok(Reply::ServerInfo(info))) = world.ask(other, info) else { panic!() };
    let counts: Vec<_> =
        info.registries.iter().map(|r| (r.online, r.logins, r.vanished, r.refused)).collect();
    assert_eq!(counts, [(1, 2, 0, 1), (0, 1, 1, 0)]);
}

#[test]
fn a_key_takes_a_few_names_and_uses_them_side_by_side() {
    let mut world = World::new(Limits { names_per_key: 2, ..limits() });
    let first = world.login(1, "alice");
    let _second = world.login(1, "ALICIA");
    let third = world.connect(1, 0);
    assert_eq!(world.refusal(third, login("ally")), Some(ErrorCode::Quota));
    assert!(world.told[&first].closed.is_none());
}

#[test]
fn the_login_deadline_goes_with_the_login() {
    let mut world = World::new(limits());
    let slow = world.connect(1, 0);
    let alice = world.login(2, "alice");
    let admin = world.connect(0, 0);
    world.advance(Duration::from_secs(11));
    assert!(world.told[&slow].closed.is_some());
    assert!(world.told[&alice].closed.is_none() && world.told[&admin].closed.is_none());
    assert_eq!(world.core.sessions(), 2);
    assert_eq!(world.core.poll_timeout().map(|deadline| deadline.why), Some(Timer::Purge));
}

#[test]
fn presence_is_told_to_few_and_not_to_many() {
    let mut world = World::new(Limits { presence_users: 2, ..limits() });
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    let changes = |events: Vec<Event>| -> Vec<(PresenceChange, Availability)> {
        let presence = events.into_iter().map(|event| match event {
            Event::Presence(presence) => (presence.change, presence.user.state),
            other => panic!("{other:?}"),
        });
        presence.collect()
    };
    assert_eq!(changes(world.events(alice)), [(PresenceChange::Online, Availability::Free)]);
    let _carol = world.login(3, "carol");
    assert_eq!(changes(world.events(alice)), []);
    world.gone(bob);
    assert_eq!(changes(world.events(alice)), [(PresenceChange::Vanished, Availability::Free)]);
}

#[test]
fn rates_refill_with_time_and_belong_to_the_key() {
    let rate = Rate { per_second: 1.0, burst: 2.0 };
    let mut world = World::new(Limits { broadcasts: rate, ..limits() });
    let alice = world.login(1, "alice");
    let all = Send { to: Recipient::All, text: "x".into(), reference: None };
    for _ in 0..2 {
        assert_eq!(world.refusal(alice, all.clone()), None);
    }
    let moved = world.login(1, "alice");
    assert_eq!(world.refusal(moved, all.clone()), Some(ErrorCode::RateLimited));
    world.advance(Duration::from_secs(1));
    assert_eq!(world.refusal(moved, all.clone()), None);
    assert_eq!(world.refusal(moved, all), Some(ErrorCode::RateLimited));
}

#[test]
fn a_request_again_is_the_same_request_with_the_time_that_is_left() {
    let mut world = World::new(Limits { requests_per_user: 1, ..limits() });
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    let _carol = world.login(3, "carol");
    let ask = Converse { with: name("bob") };
    world.ask(alice, ask.clone());
    world.advance(Duration::from_secs(10));
    let Some(Ok(Reply::Requested(left))) = world.ask(alice, ask) else { panic!() };
    assert_eq!(left.expires_ms, 20_000);
    assert_eq!(world.refusal(alice, Converse { with: name("carol") }), Some(ErrorCode::Quota));
    let asked = |event: &Event| matches!(event, Event::Conversation(news) if news.state == ConversationState::Requested);
    assert_eq!(world.events(bob).iter().filter(|event| asked(event)).count(), 1);
    world.advance(Duration::from_secs(20));
    assert_eq!(world.refusal(alice, Converse { with: name("carol") }), None);
}

#[test]
fn after_the_end_was_announced_nothing_is_granted() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    world.handle(Input::Stop { reason: "maintenance".into(), restart_after: None });
    assert!(world.told[&alice].closed.as_deref() == Some("maintenance"));
    assert_eq!(world.refusal(alice, Heartbeat { nonce: 1 }), Some(ErrorCode::NotLoggedIn));
    assert_eq!(world.core.sessions(), 0);
}

#[test]
fn a_late_word_for_a_session_that_is_gone_is_nothing() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    world.commits_at_once = false;
    world.request(bob, Receipts { ids: vec![MessageId(1)], state: ReceiptState::Seen });
    world.request(alice, say("bob", "x"));
    world.gone(bob);
    world.gone(alice);
    world.gone(alice);
    world.handle(Input::NoRequest { session: alice, frame: Frame::Garbage });
    world.handle(Input::TooSlow { session: alice });
    world.commit(usize::MAX);
    let carol = world.connect(3, 0);
    assert_eq!(world.refusal(carol, Lookup::online(name("bob"))), Some(ErrorCode::NotLoggedIn));
}
