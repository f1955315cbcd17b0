//! Which pairs of translators two agents meet through.

mod common;

use std::time::Duration;

use common::{Place, Sim, Weather, meets, ms, seeds};
use portolan_nat::{CandidateKind, FailReason};

fn pairs() -> impl Iterator<Item = [Place; 2]> {
    Place::ALL.into_iter().flat_map(|one| Place::ALL.map(|other| [one, other]))
}

#[test]
fn every_pair_of_translators_meets_or_not_as_is_known() {
    for seed in seeds(3) {
        for pair in pairs() {
            println!("SEED={seed} {pair:?}");
            let mut sim = Sim::between(pair, Weather::bad(seed));
            sim.introduce(false);
            assert_eq!(sim.meet(), meets(pair[0], pair[1]), "{pair:?}, seed {seed}");
        }
    }
}

#[test]
fn both_ends_of_a_path_agree_on_it() {
    for seed in seeds(3) {
        for pair in pairs().filter(|pair| meets(pair[0], pair[1])) {
            let mut sim = Sim::between(pair, Weather::bad(seed));
            sim.introduce(false);
            assert!(sim.meet());
            let [alice, bob] = [0, 1].map(|index| sim.peers[index].path.unwrap());
            assert_eq!(alice.mapped, Some(bob.remote), "{pair:?}, seed {seed}");
            assert_eq!(bob.mapped, Some(alice.remote), "{pair:?}, seed {seed}");
        }
    }
}

#[test]
fn without_loss_peers_meet_within_a_few_round_trips() {
    for pair in pairs().filter(|pair| meets(pair[0], pair[1])) {
        let mut sim = Sim::between(pair, Weather::fair(1));
        sim.introduce(false);
        let since = sim.now;
        assert!(sim.meet());
        let took = sim.took(since);
        assert!(took < Duration::from_secs(1), "{pair:?} took {took:?}");
    }
}

#[test]
fn birthday_probing_meets_through_one_symmetric_translator() {
    let one_symmetric = [
        [Place::Symmetric, Place::PortRestricted],
        [Place::PortRestricted, Place::Symmetric],
        [Place::CarrierSymmetric, Place::PortRestricted],
        [Place::CarrierPortRestricted, Place::Symmetric],
        [Place::Counting, Place::PortRestricted],
    ];
    let (mut met, mut tried) = (0, 0);
    for seed in seeds(12) {
        for pair in one_symmetric {
            println!("SEED={seed} {pair:?}");
            let mut sim = Sim::between(pair, Weather::bad(seed));
            sim.introduce(true);
            let since = sim.now;
            let found = sim.meet();
            tried += 1;
            met += u32::from(found);
            if found {
                assert!(sim.took(since) < Duration::from_secs(12), "{pair:?}, seed {seed}");
            }
            let checks: u64 = sim.peers.iter().map(|peer| peer.agent.stats().birthday_checks).sum();
            assert!(checks <= 1024 + 2 * 256, "{checks} checks are more than is allowed");
        }
    }
    // 98 of 100 are to be expected without loss, and 1 % is lost on each of up to six links.
    assert!(met * 10 >= tried * 9 || tried < 12, "only {met} of {tried} met");
}

#[test]
fn a_counting_translator_is_found_out_by_the_ports_that_follow() {
    let mut sim = Sim::between([Place::Counting, Place::PortRestricted], Weather::fair(1));
    sim.introduce(true);
    assert!(sim.meet());
    let draws = sim.peers[1].agent.stats().birthday_checks;
    assert!(draws < 128, "{draws} draws");
}

#[test]
fn two_symmetric_translators_are_given_up_in_time_and_said_so() {
    let mut sim = Sim::between([Place::Symmetric, Place::Symmetric], Weather::fair(1));
    sim.introduce(true);
    assert!(!sim.meet());
    for peer in &sim.peers {
        assert!(
            matches!(peer.failed, Some(FailReason::NoAnswer { pairs: 2 })),
            "{:?}",
            peer.failed
        );
        assert_eq!(peer.agent.poll_timeout(), None, "nothing is left to do");
    }
}

#[test]
fn where_udp_is_blocked_nothing_is_answered() {
    let mut sim = Sim::between([Place::UdpBlocked, Place::Open], Weather::fair(1));
    sim.introduce(true);
    assert!(!sim.meet());
    assert!(sim.peers.iter().all(|peer| peer.failed.is_some()));
}

#[test]
fn neighbours_meet_on_their_own_network_and_not_through_the_box() {
    use common::{FIRST, host, internet, nat, topology};
    use portolan_netsim::topology::{Nat, Node, NodeKind, Prefix, Subnet};
    let mut nodes = internet();
    let prefixes = vec![Prefix { address: [192, 168, 1, 0].into(), length: 24 }];
    let home = Subnet { prefixes, isolated: false, multicast: true };
    nodes.push(Node { name: "home".to_owned(), kind: NodeKind::Subnet(home) });
    nodes.push(host("alice", "home 192.168.1.2"));
    nodes.push(host("bob", "home 192.168.1.3"));
    let rules = Nat { hairpin: true, ..Nat::default() };
    nodes.push(nat("box", "home 192.168.1.1", "net 203.0.113.1", rules));
    let sockets = ["192.168.1.2:7000", "192.168.1.3:7000"].map(common::at);
    for seed in seeds(20) {
        let mut sim = Sim::new(&topology(nodes.clone(), Weather::bad(seed)), sockets);
        sim.introduce(false);
        assert!(sim.meet());
        sim.run_for(ms(3000));
        let path = sim.peers[0].path.unwrap();
        assert_eq!((path.kind, path.socket), (CandidateKind::Host, FIRST), "seed {seed}");
        assert_eq!(path.remote, sockets[1]);
    }
}

/// Hundreds of networks, each with its own translators, loss, delay and reorder.
#[test]
fn in_random_weather_peers_meet_wherever_they_can() {
    for seed in seeds(300) {
        let chance = |shift: u32| (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift) % 1000;
        let place = |shift| Place::ALL[usize::try_from(chance(shift) % 10).unwrap()];
        let pair = [place(10), place(30)];
        let weather = Weather {
            seed,
            loss: f64::from(u32::try_from(chance(20) % 9).unwrap()) / 400.0,
            delay: ms(1 + chance(40) % 60),
            jitter: ms(chance(50) % 30),
        };
        println!("SEED={seed} {pair:?} {weather:?}");
        let mut sim = Sim::between(pair, weather);
        sim.introduce(false);
        let met = sim.meet();
        assert_eq!(met, meets(pair[0], pair[1]), "SEED={seed} {pair:?} {weather:?}");
    }
}
