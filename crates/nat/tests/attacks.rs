//! What strangers, and peers who lie, can do with an agent.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, net::SocketAddr};

use common::{FIRST, Place, Sim, Weather, at, ms, start};
use portolan_nat::{
    Agent, AgentConfig, Candidate, CandidateError, CandidateKind, Families, Handled, Limits,
    Mapping, Role,
    stun::{AttributeType, Class, Message, TransactionId, Writer},
};

const VICTIM: &str = "203.0.113.66:53";

fn agent(role: Role) -> Agent {
    let mut agent = Agent::new(AgentConfig::new(role, b"a ticket", [7; 32]), start());
    agent.add_socket(start(), FIRST, Families::Both);
    agent
}

fn reflexive(address: SocketAddr) -> Candidate {
    Candidate::new(CandidateKind::Reflexive, address, 0)
}

/// Everything the agent sends until nothing is left to do, as (to, bytes).
fn everything(agent: &mut Agent) -> Vec<(SocketAddr, usize)> {
    let (mut now, mut sent, mut buffer) = (start(), Vec::new(), Vec::new());
    loop {
        agent.handle_timeout(now);
        while let Some(transmit) = agent.poll_transmit(now, &mut buffer) {
            sent.push((transmit.to, buffer.len()));
        }
        while agent.poll_event().is_some() {}
        match agent.poll_timeout() {
            Some(deadline) => now = now.max(deadline.at),
            None => return sent,
        }
    }
}

/// The next check that the agent sends, and to whom.
fn check_of(agent: &mut Agent) -> (SocketAddr, Vec<u8>) {
    let mut buffer = Vec::new();
    let transmit = agent.poll_transmit(start() + ms(1000), &mut buffer).unwrap();
    (transmit.to, buffer)
}

#[test]
fn a_victim_named_by_a_peer_gets_a_handful_of_small_packets() {
    let mut liar_told = agent(Role::Controlled);
    let now = start();
    let mut refused = 0;
    for port in 1..=100 {
        let candidate = reflexive(SocketAddr::new(at(VICTIM).ip(), port));
        refused += usize::from(liar_told.add_remote(now, candidate).is_err());
    }
    assert_eq!(refused, 100 - Limits::default().candidates);
    // The peer also claims a mapping that would make draws by lot useful; nobody has seen it there.
    liar_told.set_mapping(Mapping::Independent, Mapping::Dependent);
    let sent = everything(&mut liar_told);
    assert!(sent.len() <= 24, "{} packets", sent.len());
    let bytes: usize = sent.iter().map(|(_, len)| len).sum();
    assert!(bytes < 3600, "{bytes} bytes");
}

#[test]
fn many_victims_get_a_handful_each() {
    let mut agent = agent(Role::Controlled);
    let now = start();
    for host in 1..=16 {
        agent.add_remote(now, reflexive(SocketAddr::from(([203, 0, 113, host], 53)))).unwrap();
    }
    let mut each: BTreeMap<SocketAddr, u32> = BTreeMap::new();
    everything(&mut agent).into_iter().for_each(|(to, _)| *each.entry(to).or_default() += 1);
    assert_eq!(each.len(), 16);
    assert!(each.values().all(|count| *count <= 8), "{each:?}");
}

#[test]
fn draws_by_lot_go_only_where_the_server_has_seen_the_other() {
    let mut agent = agent(Role::Controlled);
    let now = start();
    agent.add_remote(now, reflexive(at(VICTIM))).unwrap();
    agent.set_mapping(Mapping::Independent, Mapping::Dependent);
    agent.vouch([203, 0, 113, 2].into());
    assert!(everything(&mut agent).len() <= 8);
}

#[test]
fn addresses_of_this_machine_and_of_many_are_never_sent_to() {
    let mut agent = agent(Role::Controlled);
    for address in ["127.0.0.1:53", "[::1]:53", "224.0.0.1:53", "255.255.255.255:53", "0.0.0.0:1"] {
        let refused = agent.add_remote(start(), reflexive(at(address)));
        assert!(matches!(refused, Err(CandidateError::Unreachable(_))), "{address}");
    }
    assert_eq!(everything(&mut agent), []);
}

#[test]
fn answers_are_smaller_than_questions() {
    for family in ["203.0.113.2:7000", "[2001:db8::2]:7000"].map(at) {
        let (mut alice, mut bob) = (agent(Role::Controlling), agent(Role::Controlled));
        alice.add_socket(start(), FIRST, Families::Both);
        alice.add_remote(start(), reflexive(family)).unwrap();
        let (_, check) = check_of(&mut alice);
        assert_eq!(bob.handle_datagram(start(), FIRST, family, &check), Handled::Ours);
        let mut answer = Vec::new();
        bob.poll_transmit(start(), &mut answer).unwrap();
        assert_eq!(Message::decode(&answer).unwrap().class(), Class::Success);
        assert!(answer.len() < check.len(), "{} for {}", answer.len(), check.len());
    }
}

#[test]
fn forged_and_reflected_messages_change_nothing() {
    let (mut alice, mut bob) = (agent(Role::Controlling), agent(Role::Controlled));
    let mut stranger =
        Agent::new(AgentConfig::new(Role::Controlling, b"another", [9; 32]), start());
    let from = at("203.0.113.2:7000");
    stranger.add_socket(start(), FIRST, Families::Both);
    for agent in [&mut alice, &mut stranger] {
        agent.add_remote(start(), reflexive(from)).unwrap();
    }
    let (_, check) = check_of(&mut alice);
    // A stranger's check is nobody's; our own, thrown back, is not for us.
    let (_, strange) = check_of(&mut stranger);
    assert_eq!(bob.handle_datagram(start(), FIRST, from, &strange), Handled::NotOurs);
    assert_eq!(alice.handle_datagram(start(), FIRST, from, &check), Handled::NotOurs);
    // Flipped bits, in every place.
    for bit in 0..check.len() * 8 {
        let mut bytes = check.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bob.handle_datagram(start(), FIRST, from, &bytes);
    }
    // A forged answer to a true check, with the right number and the wrong key.
    let mut forged = Vec::new();
    Writer::new(&mut forged, Class::Success, Message::decode(&check).unwrap().transaction())
        .xor_mapped_address(from)
        .seal(b"a guess")
        .fingerprint()
        .finish();
    assert_eq!(alice.handle_datagram(start(), FIRST, from, &forged), Handled::Ours);
    // A check under the right names and a wrong key.
    let name = Message::decode(&check).unwrap().username().unwrap().to_owned();
    Writer::new(&mut forged, Class::Request, TransactionId([1; 12]))
        .attribute(AttributeType::USERNAME, name.as_bytes())
        .attribute(AttributeType::ICE_CONTROLLING, &[0; 8])
        .attribute(AttributeType::USE_CANDIDATE, &[])
        .seal(b"a guess")
        .fingerprint()
        .finish();
    bob.handle_datagram(start(), FIRST, from, &forged);
    let mut buffer = Vec::new();
    assert_eq!(bob.poll_transmit(start(), &mut buffer), None, "nobody is answered");
    assert_eq!((bob.stats().checks_received, bob.path(), alice.path()), (0, None, None));
    assert_eq!(alice.stats().answers_received, 0);
    assert!(bob.stats().refused > 0 && alice.stats().refused > 0);
}

#[test]
fn replayed_checks_from_a_forged_address_buy_little() {
    let (mut alice, mut bob) = (agent(Role::Controlling), agent(Role::Controlled));
    alice.add_remote(start(), reflexive(at("203.0.113.2:7000"))).unwrap();
    let (_, check) = check_of(&mut alice);
    let (mut answers, mut checks, mut buffer) = (0, 0, Vec::new());
    for turn in 0..1000 {
        let now = start() + ms(turn * 10);
        bob.handle_datagram(now, FIRST, at(VICTIM), &check);
        bob.handle_timeout(now);
        while bob.poll_transmit(now, &mut buffer).is_some() {
            match Message::decode(&buffer).unwrap().class() {
                Class::Request => checks += 1,
                _ => answers += 1,
            }
        }
    }
    assert_eq!(answers, 1000, "one smaller packet for each that came");
    assert!(checks <= 16, "{checks} checks of its own");
    assert_eq!(bob.path(), None, "a replay nominates nothing");
}

#[test]
fn a_flood_of_checks_holds_no_more_than_its_bounds() {
    let (mut alice, mut bob) = (agent(Role::Controlling), agent(Role::Controlled));
    alice.add_remote(start(), reflexive(at("203.0.113.2:7000"))).unwrap();
    let (_, check) = check_of(&mut alice);
    for port in 1..10_000 {
        let from = SocketAddr::from(([203, 0, 113, 9], port));
        bob.handle_datagram(start(), FIRST, from, &check);
    }
    let (mut sent, mut buffer) = (0, Vec::new());
    while bob.poll_transmit(start(), &mut buffer).is_some() {
        sent += 1;
    }
    let limits = Limits::default();
    assert!(sent <= limits.answers + limits.pairs, "{sent} packets for what is left of a flood");
}

#[test]
fn garbage_in_the_middle_of_meeting_disturbs_nobody() {
    let mut sim = Sim::between([Place::PortRestricted, Place::PortRestricted], Weather::bad(1));
    sim.introduce(false);
    let mapped = sim.peers[0].mapped.unwrap();
    for turn in 0_u8..100 {
        sim.send("victim", at(VICTIM), mapped, &[0, 1, 0, turn, 0x21, 0x12, 0xA4, 0x42]);
        sim.run_for(ms(5));
    }
    assert!(sim.meet());
}
