//! Keys that are kept out, for good or for a while.

use std::time::Duration;

use portolan_identity::PeerId;
use portolan_protocol::{
    Ban, ClosingReason, ErrorCode, Event, ListBans, Login, Name, Reply, Timestamp, Unban,
};

use super::world::{World, limits, name};
use crate::core::SessionId;

fn ban(who: Name, until: Option<Timestamp>) -> Ban {
    Ban { name: Some(who), id: None, reason: "spam".into(), until }
}

fn login(text: &str) -> Login {
    Login { name: text.to_owned(), password: None, device: None, attempt: None }
}

/// The server's own key, and alice.
fn admin_and_alice(world: &mut World) -> [SessionId; 2] {
    [world.connect(0, 0), world.login(1, "alice")]
}

#[test]
fn a_banned_key_is_sent_away_with_the_reason_and_does_not_come_in_under_any_name() {
    let mut world = World::new(limits());
    let [admin, alice] = admin_and_alice(&mut world);
    assert_eq!(world.refusal(admin, ban(name("alice"), None)), None);
    assert!(world.events(alice).into_iter().any(|event| matches!(event,
        Event::Closing(closing) if closing.why == ClosingReason::Banned
            && closing.text.contains("for good: spam"))));
    for attempt in ["alice", "another"] {
        let session = world.connect(1, 1);
        assert_eq!(world.refusal(session, login(attempt)), Some(ErrorCode::Banned));
    }
    world.crash(0);
    let session = world.connect(1, 0);
    assert_eq!(world.refusal(session, login("alice")), Some(ErrorCode::Banned), "it is kept");
    let admin = world.connect(0, 0);
    let id = PeerId::from_bytes([1; 32]);
    assert_eq!(world.refusal(admin, Unban { id }), None);
    assert_eq!(world.refusal(session, login("alice")), None);
    assert_eq!(world.refusal(admin, Unban { id }), Some(ErrorCode::UnknownUser));
}

#[test]
fn a_ban_for_a_while_ends_by_itself_and_is_forgotten() {
    let mut world = World::new(limits());
    let [admin, _] = admin_and_alice(&mut world);
    let until = Some(Timestamp(1_000_000 + 600_000));
    assert_eq!(world.refusal(admin, ban(name("alice"), until)), None);
    let alice = world.connect(1, 0);
    assert_eq!(world.refusal(alice, login("alice")), Some(ErrorCode::Banned));
    world.advance(Duration::from_secs(601));
    let alice = world.connect(1, 0);
    assert_eq!(world.refusal(alice, login("alice")), None);
    let bans = |world: &mut World| match world.ask(admin, ListBans::default()) {
        Some(Ok(Reply::Bans(page))) => page.bans.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(bans(&mut world), 1);
    world.advance(Duration::from_secs(3_600));
    assert_eq!(bans(&mut world), 0);
}

#[test]
fn only_admins_ban_and_nobody_bans_an_admin() {
    let mut world = World::new(limits());
    let [admin, alice] = admin_and_alice(&mut world);
    assert_eq!(world.refusal(alice, ban(name("alice"), None)), Some(ErrorCode::Forbidden));
    assert_eq!(world.refusal(alice, ListBans::default()), Some(ErrorCode::Forbidden));
    let own = Ban { id: Some(PeerId::from_bytes([0; 32])), ..ban(name("x"), None) };
    let both = own.clone();
    assert_eq!(world.refusal(admin, both), Some(ErrorCode::BadRequest));
    assert_eq!(world.refusal(admin, Ban { name: None, ..own }), Some(ErrorCode::Conflict));
    let past = ban(name("alice"), Some(Timestamp(5)));
    assert_eq!(world.refusal(admin, past), Some(ErrorCode::BadRequest));
    assert_eq!(world.refusal(admin, ban(name("nobody1"), None)), Some(ErrorCode::UnknownUser));
}
