//! Passes: each brings its holder to one place once, and costs those who forge or repeat them more
//! than us.

use std::time::Duration;

use portolan_identity::{Identity, PeerId};
use portolan_protocol::{
    ErrorCode, Introduction, PassTerms, RelayPass, Side, Signature, Timestamp,
};

use super::world::{World, issuer, limits};
use crate::{
    config::Limits,
    core::{Entrance, Input, Proof, Remote, SessionId},
    event_log::LogEntry,
};

const MINUTE: Duration = Duration::from_secs(60);

fn key(of: u8) -> PeerId {
    PeerId::from_bytes([of; 32])
}

fn sign(by: &Identity, terms: PassTerms) -> RelayPass {
    let signature = Signature::new(&by.sign(&terms.to_be_signed()));
    RelayPass { terms, signature }
}

/// Good terms for one side of an introduction: 1 calls 2.
fn terms(world: &World, introduction: u8, side: Side) -> PassTerms {
    let (holder, other) = match side {
        Side::Caller => (key(1), key(2)),
        Side::Callee => (key(2), key(1)),
    };
    PassTerms {
        issuer: issuer().id(),
        relay: key(0),
        introduction: Introduction([introduction; 16]),
        side,
        holder,
        other,
        until: Timestamp(world.times().wall.0 + 60_000),
        lasts_ms: 1_000,
        bytes: 1_000,
    }
}

fn pass(world: &World, introduction: u8, side: Side) -> RelayPass {
    sign(&issuer(), terms(world, introduction, side))
}

/// A connection of that key from far away.
fn visit(world: &mut World, of: u8) -> SessionId {
    let session = SessionId(world.next_session());
    let address = "198.51.100.7:7".parse().unwrap();
    let remote = Remote { registry: 0, id: key(of), address, proof: Proof::Key };
    world.handle(Input::Connected { session, remote });
    session
}

fn enter(world: &mut World, session: SessionId, pass: &RelayPass) -> Result<Entrance, ErrorCode> {
    let (entrance, effects) = world.core.enter_relay(world.times(), session, pass);
    world.carry_out(effects);
    entrance.map_err(|error| error.code)
}

fn is_there(world: &World, session: SessionId) -> bool {
    world.told.get(&session).is_none_or(|told| told.closed.is_none())
}

#[test]
fn two_passes_of_one_introduction_lead_to_one_place_whoever_comes_first() {
    for [first, second] in [[Side::Caller, Side::Callee], [Side::Callee, Side::Caller]] {
        let mut world = World::new(limits());
        let [alice, bob] = [visit(&mut world, 1), visit(&mut world, 2)];
        let of = |side| if side == Side::Caller { alice } else { bob };
        let (a, b) = (pass(&world, 1, first), pass(&world, 1, second));
        let Ok(Entrance::First(relay)) = enter(&mut world, of(first), &a) else { panic!() };
        assert_eq!(enter(&mut world, of(second), &b), Ok(Entrance::Second(relay)));
        assert_eq!(world.core.relays(), 1);
        let carrying = LogEntry::Carrying { issuer: issuer().id(), from: key(1), to: key(2) };
        assert_eq!(world.log.iter().filter(|entry| **entry == carrying).count(), 1);
        let effects = world.core.end_relay(world.times(), relay, (9, "ended".into()));
        world.carry_out(effects);
        assert_eq!(world.core.relays(), 0);
    }
}

#[test]
fn a_pass_counts_once_and_in_its_time_only() {
    let mut world = World::new(limits());
    let [alice, bob] = [visit(&mut world, 1), visit(&mut world, 2)];
    let (caller, callee) = (pass(&world, 1, Side::Caller), pass(&world, 1, Side::Callee));
    let Ok(Entrance::First(relay)) = enter(&mut world, alice, &caller) else { panic!() };
    assert_eq!(enter(&mut world, alice, &caller), Err(ErrorCode::Conflict), "at once");
    assert!(enter(&mut world, bob, &callee).is_ok());
    assert_eq!(enter(&mut world, bob, &callee), Err(ErrorCode::Conflict), "the other side's too");
    let effects = world.core.end_relay(world.times(), relay, (0, String::new()));
    world.carry_out(effects);
    assert_eq!(enter(&mut world, alice, &caller), Err(ErrorCode::Conflict), "after the end");
    let late = pass(&world, 2, Side::Caller);
    world.advance(MINUTE * 2);
    let alice = visit(&mut world, 1);
    assert_eq!(enter(&mut world, alice, &caller), Err(ErrorCode::TimedOut), "when forgotten");
    assert_eq!(enter(&mut world, alice, &late), Err(ErrorCode::TimedOut));
}

#[test]
fn who_comes_when_the_first_has_left_finds_nobody() {
    let mut world = World::new(limits());
    let [alice, bob] = [visit(&mut world, 1), visit(&mut world, 2)];
    let (caller, callee) = (pass(&world, 1, Side::Caller), pass(&world, 1, Side::Callee));
    let Ok(Entrance::First(relay)) = enter(&mut world, bob, &callee) else { panic!() };
    let effects = world.core.end_relay(world.times(), relay, (0, String::new()));
    world.carry_out(effects);
    assert_eq!(enter(&mut world, alice, &caller), Err(ErrorCode::Offline));
}

#[test]
fn forged_stolen_and_misdirected_passes_are_refused_and_written_down() {
    let mut world = World::new(limits());
    let good = terms(&world, 1, Side::Caller);
    let mallory = Identity::from_seed([66; 32]);
    let changed = |change: fn(&mut PassTerms)| {
        let mut terms = good.clone();
        change(&mut terms);
        terms
    };
    let unsigned = RelayPass {
        terms: changed(|terms| terms.bytes = u64::MAX),
        ..sign(&issuer(), good.clone())
    };
    let rows = [
        ("signed by another", sign(&mallory, good.clone())),
        (
            "issued by a stranger",
            sign(&mallory, PassTerms { issuer: mallory.id(), ..good.clone() }),
        ),
        ("changed after it was signed", unsigned),
        ("for another relay", sign(&issuer(), changed(|terms| terms.relay = key(9)))),
        ("for another key", sign(&issuer(), changed(|terms| terms.holder = key(3)))),
        ("for both sides", sign(&issuer(), changed(|terms| terms.other = key(1)))),
        ("good for ever", sign(&issuer(), changed(|terms| terms.until = Timestamp(u64::MAX)))),
    ];
    for (what, pass) in rows {
        let session = visit(&mut world, 1);
        world.log.clear();
        assert_eq!(enter(&mut world, session, &pass), Err(ErrorCode::Forbidden), "{what}");
        let is_written = |entry: &LogEntry| matches!(entry, LogEntry::Refused { id, code: "forbidden", .. } if *id == key(1));
        assert!(world.log.iter().any(is_written), "{what}: {:?}", world.log);
        assert_eq!(world.core.relays(), 0, "{what}");
        world.gone(session);
    }
    let session = visit(&mut world, 1);
    assert!(enter(&mut world, session, &sign(&issuer(), good)).is_ok());
}

#[test]
fn a_pass_of_one_introduction_does_not_open_the_place_of_another_pair() {
    let mut world = World::new(limits());
    let [alice, eve] = [visit(&mut world, 1), visit(&mut world, 3)];
    let caller = pass(&world, 1, Side::Caller);
    enter(&mut world, alice, &caller).unwrap();
    // The same number, issued for others: a fault of the issuer, and no way in.
    let other = PassTerms { holder: key(3), other: key(1), ..terms(&world, 1, Side::Callee) };
    assert_eq!(enter(&mut world, eve, &sign(&issuer(), other)), Err(ErrorCode::Conflict));
    let same = PassTerms { holder: key(3), other: key(2), ..terms(&world, 1, Side::Caller) };
    assert_eq!(enter(&mut world, eve, &sign(&issuer(), same)), Err(ErrorCode::Conflict));
}

#[test]
fn who_has_a_pass_need_not_log_in_as_long_as_it_is_carried() {
    let mut world = World::new(Limits { strangers_per_address: 1, ..limits() });
    let alice = visit(&mut world, 1);
    let caller = pass(&world, 1, Side::Caller);
    let Ok(Entrance::First(relay)) = enter(&mut world, alice, &caller) else { panic!() };
    let stranger = visit(&mut world, 9);
    assert!(is_there(&world, stranger), "alice is no stranger any more");
    world.gone(stranger);
    world.advance(MINUTE);
    assert!(is_there(&world, alice));
    let effects = world.core.end_relay(world.times(), relay, (0, String::new()));
    world.carry_out(effects);
    world.advance(MINUTE);
    assert!(!is_there(&world, alice), "nothing keeps her here");
    world.log.clear();
    world.gone(alice);
    assert!(world.log.is_empty(), "a guest who leaves was not refused: {:?}", world.log);
}

#[test]
fn passes_cannot_be_hoarded_and_what_is_remembered_is_bounded() {
    let mut world = World::new(Limits { relays_per_user: 2, keys: 16, ..limits() });
    let alice = visit(&mut world, 1);
    let ask = |world: &mut World, number| {
        let pass = pass(world, number, Side::Caller);
        enter(world, alice, &pass)
    };
    let first = ask(&mut world, 1).unwrap();
    assert!(ask(&mut world, 2).is_ok());
    assert_eq!(ask(&mut world, 3), Err(ErrorCode::Quota), "two at a time");
    for number in 3..=40 {
        let Entrance::First(relay) = first else { panic!() };
        let effects = world.core.end_relay(world.times(), relay, (0, String::new()));
        world.carry_out(effects);
        match ask(&mut world, number) {
            Ok(Entrance::First(relay)) => {
                let effects = world.core.end_relay(world.times(), relay, (0, String::new()));
                world.carry_out(effects);
                assert!(number <= 16);
            }
            Ok(Entrance::Second(_)) => panic!(),
            Err(code) => assert!(number > 16 && code == ErrorCode::Quota, "{number}: {code}"),
        }
    }
    world.advance(MINUTE * 2);
    let alice = visit(&mut world, 1);
    let pass = pass(&world, 100, Side::Caller);
    assert!(enter(&mut world, alice, &pass).is_ok(), "old ones are forgotten");
}

#[test]
fn only_admins_and_those_who_issue_passes_hear_how_much_there_is_to_do() {
    let mut world = World::new(limits());
    let [stranger, admin] = [visit(&mut world, 1), visit(&mut world, 0)];
    assert!(!world.core.may_ask_load(stranger) && world.core.may_ask_load(admin));
    let session = SessionId(world.next_session());
    let address = "198.51.100.8:7".parse().unwrap();
    let remote = Remote { registry: 0, id: issuer().id(), address, proof: Proof::Key };
    world.handle(Input::Connected { session, remote });
    assert!(world.core.may_ask_load(session));
    world.advance(MINUTE);
    assert!(is_there(&world, session), "it need not log in");
}
