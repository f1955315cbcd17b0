//! What happens to a path after it was found.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{FIRST, Place, Sim, Weather, ms, seeds};
use portolan_nat::{Candidate, CandidateKind, Families, LostReason, SocketId};
use portolan_netsim::topology::Happening;

fn paths(sim: &Sim) -> [Option<std::net::SocketAddr>; 2] {
    [0, 1].map(|index| sim.peers[index].path.map(|path| path.remote))
}

#[test]
fn a_path_in_use_is_kept_by_few_packets() {
    let mut sim = Sim::between([Place::PortRestricted, Place::PortRestricted], Weather::bad(1));
    sim.introduce(false);
    assert!(sim.meet());
    sim.run_for(Duration::from_secs(2));
    let before = [0, 1].map(|index| sim.peers[index].agent.stats().checks_sent);
    sim.run_for(Duration::from_secs(600));
    for (index, before) in before.into_iter().enumerate() {
        let sent = sim.peers[index].agent.stats().checks_sent - before;
        assert!((100..220).contains(&sent), "{sent} checks in ten minutes");
        assert_eq!(sim.peers[index].lost, []);
    }
    assert!(paths(&sim).iter().all(Option::is_some));
}

fn set_up(sim: &mut Sim, node: &str, up: bool) {
    let (node, interface) = (node.to_owned(), Some("outside".to_owned()));
    let what =
        if up { Happening::Up { node, interface } } else { Happening::Down { node, interface } };
    sim.world.apply(sim.now, &what).unwrap();
}

#[test]
fn a_dead_path_is_lost_when_consent_expires_and_found_again_when_it_lives() {
    for seed in seeds(10) {
        let pair = [Place::PortRestricted, Place::AddressRestricted];
        let mut sim = Sim::between(pair, Weather::bad(seed));
        sim.introduce(false);
        assert!(sim.meet());
        sim.run_for(ms(3000));
        set_up(&mut sim, "bob-nat", false);
        sim.run_for(Duration::from_secs(40));
        for peer in &sim.peers {
            assert_eq!(peer.lost, [LostReason::ConsentExpired], "SEED={seed}");
        }
        set_up(&mut sim, "bob-nat", true);
        let now = sim.now;
        for index in [0, 1] {
            sim.peers[index].agent.network_changed(now);
            sim.drain(index);
        }
        assert!(sim.meet(), "SEED={seed}");
    }
}

#[test]
fn a_short_silence_does_not_end_a_path() {
    for seed in seeds(10) {
        let pair = [Place::PortRestricted, Place::PortRestricted];
        let mut sim = Sim::between(pair, Weather::bad(seed));
        sim.introduce(false);
        assert!(sim.meet());
        sim.run_for(ms(3000));
        let before = paths(&sim);
        set_up(&mut sim, "alice-nat", false);
        sim.run_for(Duration::from_secs(10));
        set_up(&mut sim, "alice-nat", true);
        sim.run_for(Duration::from_secs(30));
        assert_eq!(paths(&sim), before, "SEED={seed}");
        assert!(sim.peers.iter().all(|peer| peer.lost.is_empty()), "SEED={seed}");
    }
}

#[test]
fn a_rebound_translator_is_followed_where_the_other_side_lets_it_in() {
    for rebound in ["alice", "bob"] {
        for seed in seeds(10) {
            let mut pair = [Place::PortRestricted, Place::FullCone];
            if rebound == "bob" {
                pair.reverse();
            }
            let mut sim = Sim::between(pair, Weather::bad(seed));
            sim.introduce(false);
            assert!(sim.meet());
            sim.run_for(ms(3000));
            let other = usize::from(rebound == "alice");
            let before = sim.peers[other].path.unwrap().remote;
            let nat = format!("{rebound}-nat");
            sim.world.apply(sim.now, &Happening::Rebind { nat }).unwrap();
            sim.run_for(Duration::from_secs(25));
            let after = sim.peers[other].path.unwrap().remote;
            assert!(after.ip() == before.ip() && after != before, "SEED={seed} {rebound}");
            assert!(sim.peers.iter().all(|peer| peer.lost.is_empty()), "SEED={seed} {rebound}");
        }
    }
}

#[test]
fn a_better_way_that_is_found_later_replaces_the_first() {
    let mut sim = Sim::between([Place::Open, Place::Open], Weather::fair(1));
    let [alice, bob] = [0, 1].map(|index| sim.peers[index].socket);
    let now = sim.now;
    for (index, other) in [(0, bob), (1, alice)] {
        let peer = &mut sim.peers[index];
        peer.agent.add_socket(now, FIRST, Families::Both);
        peer.agent.add_remote(now, Candidate::new(CandidateKind::Reflexive, other, 0)).unwrap();
        sim.drain(index);
    }
    assert!(sim.meet());
    assert_eq!(sim.peers[0].path.unwrap().kind, CandidateKind::Reflexive);
    // A second address of bob's machine, on the network of both.
    let neighbour = std::net::SocketAddr::new(bob.ip(), 20_001);
    let now = sim.now;
    let host = Candidate::new(CandidateKind::Host, neighbour, 0);
    sim.peers[1].agent.add_socket(now, SocketId(1), Families::Both);
    sim.peers[0].agent.add_remote(now, host).unwrap();
    (0..2).for_each(|index| sim.drain(index));
    sim.run_for(ms(3000));
    assert_eq!(paths(&sim), [Some(neighbour), Some(alice)]);
    assert_eq!(sim.peers[0].path.unwrap().kind, CandidateKind::Host);
    assert_eq!(sim.peers[1].path.unwrap().socket, SocketId(1));
}

#[test]
fn a_closed_socket_takes_its_path_with_it() {
    let mut sim = Sim::between([Place::Open, Place::Open], Weather::fair(1));
    sim.introduce(false);
    assert!(sim.meet());
    let now = sim.now;
    sim.peers[0].agent.remove_socket(now, FIRST);
    sim.drain(0);
    assert_eq!(sim.peers[0].lost, [LostReason::SocketClosed]);
    sim.run_for(Duration::from_secs(60));
    assert!(sim.peers.iter().all(|peer| peer.path.is_none() && peer.failed.is_some()));
}
