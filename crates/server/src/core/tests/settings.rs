//! What the owner of a name may choose, and several conversations at a time.

use portolan_protocol::{
    Accept, Availability, ChangeSettings, ConversationState, Converse, DeviceId, End, ErrorCode,
    Event, Login, Lookup, ReceiptState, Receipts, Recipient, Reply, Send, Settings,
};

use super::world::{World, limits, name};
use crate::core::SessionId;

fn set(seen: Option<bool>, conversations: Option<u8>) -> ChangeSettings {
    ChangeSettings { seen, conversations, last_seen: None }
}

fn settings(world: &mut World, session: SessionId, change: ChangeSettings) -> Settings {
    match world.ask(session, change) {
        Some(Ok(Reply::Settings(settings))) => settings,
        other => panic!("{other:?}"),
    }
}

fn converse(world: &mut World, from: SessionId, to: (SessionId, &str), own: &str) {
    assert!(matches!(world.ask(from, Converse { with: name(to.1) }), Some(Ok(_))));
    assert!(matches!(world.ask(to.0, Accept { with: name(own) }), Some(Ok(_))));
}

fn state(world: &mut World, asker: SessionId, who: &str) -> Availability {
    match world.ask(asker, Lookup::online(name(who))) {
        Some(Ok(Reply::User(user))) => user.state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_are_asked_for_changed_told_to_other_sessions_and_kept() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let login =
        Login { name: "alice".into(), password: None, device: Some(DeviceId(7)), attempt: None };
    let other = world.connect(1, 0);
    world.ask(other, login);
    assert_eq!(settings(&mut world, alice, set(None, None)), Settings::default());
    let wanted = Settings { seen: false, conversations: 3, last_seen: true };
    assert_eq!(settings(&mut world, alice, set(Some(false), Some(3))), wanted);
    assert_eq!(world.events(other).pop(), Some(Event::Settings(wanted)));
    assert!(world.events(alice).iter().all(|event| !matches!(event, Event::Settings(_))));
    for bad in [0, 9] {
        let code = world.refusal(alice, set(None, Some(bad)));
        assert_eq!(code, Some(ErrorCode::BadRequest));
    }
    world.crash(0);
    let alice = world.login(1, "alice");
    assert_eq!(settings(&mut world, alice, set(None, None)), wanted);
}

#[test]
fn settings_that_cannot_be_kept_are_as_before() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    world.commits_at_once = false;
    assert_eq!(world.ask(alice, set(Some(false), None)), None);
    world.fail();
    world.commits_at_once = true;
    assert_eq!(settings(&mut world, alice, set(None, None)), Settings::default());
}

#[test]
fn who_tells_nobody_what_was_seen_is_not_told_either() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    let told = |world: &mut World, from: SessionId, to: SessionId, who: &str, states: &[_]| {
        let send = Send { to: Recipient::User(name(who)), text: "x".into(), reference: None };
        let Some(Ok(Reply::Sent(sent))) = world.ask(from, send) else { panic!() };
        world.events(from);
        for &state in states {
            world.ask(to, Receipts { ids: vec![sent.id], state });
        }
        let events = world.events(from).into_iter();
        let states = events.filter_map(|event| match event {
            Event::Receipt(receipt) => Some(receipt.state),
            _ => None,
        });
        states.collect::<Vec<ReceiptState>>()
    };
    let (delivered, seen) = (ReceiptState::Delivered, ReceiptState::Seen);
    assert_eq!(told(&mut world, bob, alice, "alice", &[delivered, seen]), [delivered, seen]);
    settings(&mut world, alice, set(Some(false), None));
    assert_eq!(told(&mut world, bob, alice, "alice", &[delivered, seen]), [delivered]);
    assert_eq!(told(&mut world, alice, bob, "bob", &[delivered, seen]), [delivered]);
    // A program that says `seen` at once says `delivered` with it.
    assert_eq!(told(&mut world, bob, alice, "alice", &[seen]), [delivered]);
    assert_eq!(told(&mut world, alice, bob, "bob", &[seen]), [delivered]);
}

#[test]
fn who_allows_several_conversations_is_busy_when_there_are_so_many() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    let carol = world.login(3, "carol");
    let dave = world.login(4, "dave");
    settings(&mut world, alice, set(None, Some(2)));
    converse(&mut world, alice, (bob, "bob"), "alice");
    assert_eq!(state(&mut world, dave, "alice"), Availability::Free);
    assert_eq!(state(&mut world, dave, "bob"), Availability::Busy);
    // Requests of others stay open while there is room, and go when there is none.
    world.ask(dave, Converse { with: name("alice") });
    converse(&mut world, carol, (alice, "alice"), "carol");
    assert_eq!(state(&mut world, dave, "alice"), Availability::Busy);
    let told = world.events(dave);
    let is_busy = |event: &Event| matches!(event, Event::Conversation(news) if news.state == ConversationState::Busy);
    assert!(told.iter().any(is_busy), "{told:?}");
    assert_eq!(world.refusal(alice, Converse { with: name("dave") }), Some(ErrorCode::Conflict));
    assert_eq!(world.refusal(alice, Converse { with: name("bob") }), Some(ErrorCode::Conflict));
    world.ask(alice, End { with: name("bob") });
    assert_eq!(state(&mut world, dave, "alice"), Availability::Free);
    assert_eq!(world.refusal(alice, End { with: name("bob") }), Some(ErrorCode::NoConversation));
}

#[test]
fn fewer_conversations_than_there_are_end_none_but_let_none_begin() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    let carol = world.login(3, "carol");
    let dave = world.login(4, "dave");
    settings(&mut world, alice, set(None, Some(3)));
    converse(&mut world, alice, (bob, "bob"), "alice");
    converse(&mut world, alice, (carol, "carol"), "alice");
    world.ask(dave, Converse { with: name("alice") });
    settings(&mut world, alice, set(None, Some(1)));
    assert_eq!(state(&mut world, bob, "alice"), Availability::Busy);
    assert_eq!(
        world.refusal(alice, Accept { with: name("dave") }),
        Some(ErrorCode::NoConversation)
    );
    world.ask(alice, End { with: name("carol") });
    assert_eq!(state(&mut world, carol, "alice"), Availability::Busy);
    world.ask(bob, End { with: name("alice") });
    assert_eq!(state(&mut world, carol, "alice"), Availability::Free);
}

#[test]
fn a_crossing_request_begins_one_conversation_however_many_are_allowed() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    for session in [alice, bob] {
        settings(&mut world, session, set(None, Some(4)));
    }
    world.ask(alice, Converse { with: name("bob") });
    world.ask(bob, Converse { with: name("alice") });
    for (session, other) in [(alice, "bob"), (bob, "alice")] {
        // Neither request is left: there is nothing to accept, and one conversation to end.
        let gone = world.refusal(session, Accept { with: name(other) });
        assert_eq!(gone, Some(ErrorCode::NoConversation));
    }
    world.ask(alice, End { with: name("bob") });
    assert_eq!(world.refusal(bob, End { with: name("alice") }), Some(ErrorCode::NoConversation));
}

#[test]
fn an_answer_that_crosses_with_a_withdrawal_finds_no_request() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    world.ask(alice, Converse { with: name("bob") });
    world.ask(alice, End { with: name("bob") });
    assert_eq!(world.refusal(bob, Accept { with: name("alice") }), Some(ErrorCode::NoConversation));
    // The other way round, the withdrawal is the end of the conversation.
    world.ask(alice, Converse { with: name("bob") });
    world.ask(bob, Accept { with: name("alice") });
    assert!(matches!(world.ask(alice, End { with: name("bob") }), Some(Ok(_))));
    assert_eq!(state(&mut world, alice, "bob"), Availability::Free);
}
