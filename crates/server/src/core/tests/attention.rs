//! Who vanishes from a conversation is missed soon, who is quiet elsewhere is not.

use std::time::Duration;

use portolan_protocol::{
    Accept, ConversationState, Converse, End, Event, Heartbeat, Hello, PresenceChange,
};

use super::world::{World, limits, name};
use crate::core::SessionId;

const S: Duration = Duration::from_secs(1);

fn hello(features: &[&str]) -> Hello {
    let features = features.iter().map(|&word| word.to_owned()).collect();
    Hello { versions: vec![1], features, software: String::new() }
}

/// Alice, who is attentive, and Bob, who says so or not.
fn two(bobs: &[&str]) -> (World, SessionId, SessionId) {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    assert!(world.ask(alice, hello(&["attentive"])).unwrap().is_ok());
    assert!(world.ask(bob, hello(bobs)).unwrap().is_ok());
    (world, alice, bob)
}

fn talk(world: &mut World, alice: SessionId, bob: SessionId) {
    assert!(world.ask(alice, Converse { with: name("bob") }).unwrap().is_ok());
    assert!(world.ask(bob, Accept { with: name("alice") }).unwrap().is_ok());
    world.events(alice);
}

/// Lets time pass in which these show signs of life.
fn pass(world: &mut World, seconds: u32, living: &[SessionId]) {
    for _ in 0..seconds {
        world.advance(S);
        for &session in living {
            world.ask(session, Heartbeat { nonce: 0 });
        }
    }
}

#[test]
fn who_falls_silent_in_a_conversation_has_vanished_and_the_other_is_told_why() {
    let (mut world, alice, bob) = two(&["attentive"]);
    talk(&mut world, alice, bob);
    pass(&mut world, 60, &[alice, bob]);
    assert!(world.told[&bob].closed.is_none());
    pass(&mut world, 19, &[alice]);
    assert!(world.told[&bob].closed.is_none());
    pass(&mut world, 2, &[alice]);
    assert!(world.told[&bob].closed.as_ref().is_some_and(|why| why.contains("time-out")));
    assert!(world.told[&alice].closed.is_none());
    let mut vanished = 0;
    for event in world.events(alice) {
        match event {
            Event::Conversation(news) => {
                assert_eq!(news.state, ConversationState::Vanished);
                assert!(news.reason.is_some_and(|why| why.contains("nothing was heard")));
                vanished += 1;
            }
            Event::Presence(presence) if presence.change == PresenceChange::Vanished => {
                vanished += 1;
            }
            _ => {}
        }
    }
    assert_eq!(vanished, 2);
}

#[test]
fn silence_without_a_conversation_or_without_a_promise_is_the_transports_matter() {
    let (mut world, alice, bob) = two(&[]);
    pass(&mut world, 100, &[]);
    talk(&mut world, alice, bob);
    pass(&mut world, 100, &[alice]);
    assert!(world.told[&bob].closed.is_none(), "bob has promised nothing");
    assert!(world.ask(alice, End { with: name("bob") }).unwrap().is_ok());
    pass(&mut world, 100, &[]);
    assert!(world.told[&alice].closed.is_none());
}

#[test]
fn what_was_not_heard_before_the_conversation_does_not_count() {
    let (mut world, alice, bob) = two(&["attentive"]);
    talk(&mut world, alice, bob);
    pass(&mut world, 10, &[alice, bob]);
    assert!(world.ask(bob, End { with: name("alice") }).unwrap().is_ok());
    // Alice asks, and hears nothing for longer than she may be silent in a conversation.
    assert!(world.ask(alice, Converse { with: name("bob") }).unwrap().is_ok());
    pass(&mut world, 25, &[]);
    assert!(world.ask(bob, Accept { with: name("alice") }).unwrap().is_ok());
    pass(&mut world, 15, &[bob]);
    assert!(world.told[&alice].closed.is_none());
    pass(&mut world, 6, &[bob]);
    assert!(world.told[&alice].closed.is_some());
}

#[test]
fn a_session_that_takes_over_a_conversation_is_attended_to_like_the_one_before() {
    let (mut world, alice, bob) = two(&["attentive"]);
    talk(&mut world, alice, bob);
    pass(&mut world, 5, &[alice, bob]);
    let newer = world.connect(2, 1);
    assert!(world.ask(newer, hello(&["attentive"])).unwrap().is_ok());
    let login = portolan_protocol::Login {
        name: "bob".into(),
        password: None,
        device: None,
        attempt: None,
    };
    assert!(world.ask(newer, login).unwrap().is_ok());
    pass(&mut world, 19, &[alice]);
    assert!(world.told.get(&newer).is_none_or(|told| told.closed.is_none()));
    pass(&mut world, 2, &[alice]);
    assert!(world.told[&newer].closed.is_some());
}
