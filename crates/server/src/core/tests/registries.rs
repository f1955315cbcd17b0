//! Registries: their bounds, their counters, and the right to write to all who are in them.

use portolan_protocol::{
    AskServerInfo, ErrorCode, Login, Logout, Name, Recipient, RegistryInfo, Reply, Send,
};

use super::world::{World, limits};
use crate::{
    config::{Limits, Right},
    core::SessionId,
    store::Operation,
};

fn login(text: &str) -> Login {
    Login { name: text.to_owned(), password: None, device: None, attempt: None }
}

fn registries(world: &mut World, session: SessionId) -> Vec<RegistryInfo> {
    match world.ask(session, AskServerInfo {}) {
        Some(Ok(Reply::ServerInfo(info))) => info.registries,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_registry_refuses_with_advice_before_anything_is_kept_of_the_name() {
    let mut world = World::new(Limits { users_per_registry: 1, ..limits() });
    let alice = world.login(1, "alice");
    world.commits_at_once = false;
    let late = world.connect(2, 0);
    let refused = world.ask(late, login("bob")).unwrap().unwrap_err();
    assert_eq!(refused.code, ErrorCode::Quota);
    assert!(refused.message.contains("over one; come by two"), "{}", refused.message);
    assert!(world.queue.is_empty(), "{:?}", world.queue);

    // By the other one the same connection's owner gets in.
    let other = world.connect(2, 1);
    assert_eq!(world.ask(other, login("bob")), None);
    assert!(matches!(world.queue.front(), Some((_, Operation::AddUser(_)))));
    world.commit(1);
    let third = world.connect(3, 0);
    let refused = world.ask(third, login("carol")).unwrap().unwrap_err();
    assert!(refused.message.contains("try again later"), "{}", refused.message);
    let full: Vec<u64> =
        registries(&mut world, alice).iter().map(|registry| registry.counters.full).collect();
    assert_eq!(full, [2, 0]);
}

#[test]
fn whoever_is_in_a_full_registry_may_come_back_to_it() {
    let mut world = World::new(Limits { users_per_registry: 1, ..limits() });
    let older = world.login(1, "alice");
    let newer = world.login(1, "ALICE");
    assert!(world.told[&older].closed.is_some());
    let info = registries(&mut world, newer);
    assert_eq!((info[0].online, info[0].counters.peak, info[0].counters.replaced), (1, 1, 1));
    assert_eq!((info[0].clients, info[0].heartbeat_ms), (1, 20_000));
}

#[test]
fn every_end_of_a_session_is_counted_as_what_it_was() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    let carol = world.login(3, "carol");
    world.ask(alice, Logout {});
    world.handle(crate::core::Input::TooSlow { session: bob });
    world.gone(carol);
    let admin = world.connect(0, 1);
    let dave = world.login(4, "dave");
    let kick = portolan_protocol::Kick { name: Name::new("dave").unwrap(), reason: String::new() };
    assert!(world.ask(admin, kick).unwrap().is_ok());
    assert!(world.told[&dave].closed.is_some());
    let info = &registries(&mut world, admin)[0];
    let counters = info.counters;
    assert_eq!((info.logins, info.vanished, counters.peak), (4, 1, 3));
    assert_eq!((counters.logged_out, counters.too_slow, counters.kicked), (1, 1, 1));
}

#[test]
fn a_message_to_everyone_needs_the_right_to_it() {
    let all = Send { to: Recipient::All, text: "x".into(), reference: None };
    let key = portolan_identity::PeerId::from_bytes([1; 32]);
    let rows = [
        (Right::Everyone, [None, None]),
        (Right::Keys(vec![key]), [None, Some(ErrorCode::Forbidden)]),
        (Right::Admins, [Some(ErrorCode::Forbidden), Some(ErrorCode::Forbidden)]),
    ];
    for (right, [alice_is_told, bob_is_told]) in rows {
        let mut world = World::with_right(limits(), right.clone());
        let alice = world.login(1, "alice");
        let bob = world.login(2, "bob");
        let admin = world.login(0, "harry");
        assert_eq!(world.refusal(alice, all.clone()), alice_is_told, "{right:?}");
        let others = Send { to: Recipient::Others, ..all.clone() };
        assert_eq!(world.refusal(bob, others), bob_is_told, "{right:?}");
        assert_eq!(world.refusal(admin, all.clone()), None, "{right:?}");
    }
}
