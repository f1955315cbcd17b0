//! Who is told where somebody is.

use portolan_protocol::{Candidates, ErrorCode, Event, Limits as MessageLimits};

use super::world::{World, limits, name};

fn to(whom: &str) -> Candidates {
    Candidates { to: name(whom), candidates: Vec::new() }
}

#[test]
fn only_who_is_introduced_is_told_where_we_see_another_one_and_only_by_that_ones_wish() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let bob = world.login(2, "bob");
    let eve = world.login(3, "eve");
    assert_eq!(world.refusal(alice, to("bob")), Some(ErrorCode::UnknownPeer), "no call yet");
    let (grant, _effects) = world.core.open_relay(alice, &name("bob")).unwrap();
    for (session, other, whom, who) in [(alice, bob, "bob", "alice"), (bob, alice, "alice", "bob")]
    {
        let _before = world.events(other);
        assert_eq!(world.refusal(session, to(whom)), None);
        let told = world.events(other);
        let [Event::Candidates(told)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(told.from, name(who));
        let seen: std::net::IpAddr = told.seen.as_ref().unwrap().parse().unwrap();
        assert!(!seen.is_unspecified());
    }
    assert!(world.events(eve).iter().all(|event| !matches!(event, Event::Candidates(_))));
    assert_eq!(world.refusal(eve, to("bob")), Some(ErrorCode::UnknownPeer));
    let _effects = world.core.end_relay(world.times(), grant.relay, (0, String::new()));
    assert_eq!(world.refusal(alice, to("bob")), Some(ErrorCode::UnknownPeer), "it is over");
}

#[test]
fn no_more_candidates_are_passed_on_than_an_exchange_may_have() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let _bob = world.login(2, "bob");
    let (_grant, _effects) = world.core.open_relay(alice, &name("bob")).unwrap();
    let candidate = portolan_protocol::Candidate {
        transport: "udp".to_owned(),
        address: "192.0.2.1:7275".to_owned(),
        found: portolan_protocol::CandidateKind::Host,
        priority: 1,
    };
    let many = vec![candidate; MessageLimits::V1.candidates as usize + 1];
    let candidates = Candidates { candidates: many, ..to("bob") };
    assert_eq!(world.refusal(alice, candidates), Some(ErrorCode::BadRequest));
}
