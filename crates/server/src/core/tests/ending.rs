//! How a server ends.

use std::time::Duration;

use portolan_protocol::{ErrorCode, Event};

use super::world::{World, limits, name};
use crate::core::{Input, SessionId};

fn when_to_return(world: &mut World, session: SessionId) -> u32 {
    let closing = world.events(session).into_iter().find_map(|event| match event {
        Event::Closing(closing) => closing.reconnect_after_ms,
        _ => None,
    });
    closing.expect("nobody said when")
}

#[test]
fn clients_are_asked_to_come_back_a_few_at_a_time() {
    let mut world = World::new(limits());
    let sessions: Vec<SessionId> =
        (1..=120).map(|seed| world.login(seed, &format!("user{seed}"))).collect();
    let restart_after = Some(Duration::from_secs(1));
    world.handle(Input::Stop { reason: "upgrade".into(), restart_after });
    for (number, session) in sessions.into_iter().enumerate() {
        let expected = [1_000, 1_100, 1_200][number / 50];
        assert_eq!(when_to_return(&mut world, session), expected);
    }
}

#[test]
fn without_a_word_of_the_admin_clients_are_told_the_usual_time() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    world.handle(Input::Stop { reason: String::new(), restart_after: None });
    assert_eq!(when_to_return(&mut world, alice), 5_000);
}

#[test]
fn while_relays_may_end_no_new_ones_are_opened_and_all_else_goes_on() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let _bob = world.login(2, "bob");
    let (grant, _effects) = world.core.open_relay(alice, &name("bob")).unwrap();
    world.handle(Input::Drain);
    let refused = world.core.open_relay(alice, &name("bob")).unwrap_err();
    assert_eq!(refused.code, ErrorCode::ShuttingDown);
    assert!(world.core.is_ending());
    let say = portolan_protocol::Heartbeat { nonce: 1 };
    assert_eq!(world.refusal(alice, say), None);
    assert_eq!(world.core.relays(), 1);
    let _effects = world.core.end_relay(world.times(), grant.relay, (0, String::new()));
    assert_eq!(world.core.relays(), 0);
}
