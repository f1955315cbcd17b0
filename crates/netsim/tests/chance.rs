//! Loss, bursts, reorder, duplication and corruption, judged by statistics.

mod common;

use std::collections::BTreeSet;

use common::{ALICE, BOB, CAROL, assert_share, drain, ms, network, numbers, send_numbered, start};
use portolan_netsim::{Link, Loss, Network, Order, Profile, Queue, Rate, Reorder, Where};

const COUNT: u32 = 100_000;

fn burst(begin: f64, end: f64) -> Loss {
    Loss::Burst { begin, end, good: 0.0, bad: 1.0 }
}

/// A bit of everything.
fn rough() -> Link {
    Link {
        delay: ms(20),
        jitter: ms(5),
        loss: burst(0.02, 0.3),
        reorder: Some(Reorder { probability: 0.1, hold: ms(7) }),
        duplicate: 0.05,
        corrupt: 0.05,
        ..Link::default()
    }
}

#[test]
fn random_loss_takes_the_share_asked_for() {
    for (seed, probability) in [(1, 0.01), (2, 0.05), (3, 0.3), (4, 0.0), (5, 1.0)] {
        let loss = Loss::Random(probability);
        let mut network = network(seed, Link { loss, ..Link::default() });
        send_numbered(&mut network, start(), COUNT);
        let lost = COUNT as usize - drain(&mut network).len();
        assert_share(lost, COUNT as usize, probability);
        assert_eq!(network.stats(Where::Everywhere).lost, lost as u64);
    }
}

#[test]
fn one_percent_is_one_percent_to_a_tenth() {
    for seed in 1..=8 {
        let link = Profile::find("lossy-1").expect("a profile").duplex.up;
        let mut network = network(seed, link);
        send_numbered(&mut network, start(), COUNT);
        let arrived = u32::try_from(drain(&mut network).len()).expect("at most all");
        let percent = 100.0 * f64::from(COUNT - arrived) / f64::from(COUNT);
        assert!((percent - 1.0).abs() <= 0.1, "seed {seed}: {percent} %");
    }
}

#[test]
fn bursts_have_the_share_and_the_length_asked_for() {
    let (begin, end) = (0.01, 0.25);
    let mut network = network(6, Link { loss: burst(begin, end), ..Link::default() });
    send_numbered(&mut network, start(), COUNT);
    let arrived = numbers(&drain(&mut network));

    let gaps: Vec<u32> =
        arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0).collect();
    let lost: u32 = gaps.iter().sum();
    // Packets within a burst hang together, so the share varies more than that of single losses.
    let share = f64::from(lost) / f64::from(COUNT);
    let expected = begin / (begin + end);
    assert!((share - expected).abs() < 0.1 * expected, "lost {share}, expected {expected}");
    let mean = f64::from(lost) / gaps.len() as f64;
    assert!((mean - 1.0 / end).abs() < 0.3, "mean burst {mean}, expected {}", 1.0 / end);
}

#[test]
fn random_loss_does_not_come_in_bursts() {
    let mut network = network(7, Link { loss: Loss::Random(0.05), ..Link::default() });
    send_numbered(&mut network, start(), COUNT);
    let arrived = numbers(&drain(&mut network));
    let gaps = arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0);
    let (bursts, longer) =
        gaps.fold((0, 0), |(bursts, longer), gap| (bursts + 1, longer + usize::from(gap > 1)));
    assert_share(longer, bursts, 0.05);
}

#[test]
fn duplicates_and_corruption_take_the_share_asked_for() {
    let link = Link { duplicate: 0.02, corrupt: 0.03, jitter: ms(2), ..Link::default() };
    let mut network = network(8, link);
    for number in 0..COUNT {
        network.send(start(), ALICE, BOB, &[0; 64], None);
        assert!(network.under_way() > number as usize);
    }
    let arrived = drain(&mut network);
    assert_share(arrived.len() - COUNT as usize, COUNT as usize, 0.02);
    let flipped = |bytes: &[u8]| bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
    let corrupted = arrived.iter().filter(|delivery| flipped(&delivery.bytes) > 0);
    assert!(corrupted.clone().all(|delivery| flipped(&delivery.bytes) == 1));
    assert_share(corrupted.count(), COUNT as usize, 0.03);
}

#[test]
fn the_flipped_bit_may_be_any() {
    let mut network = network(9, Link { corrupt: 1.0, ..Link::default() });
    (0..1_000).for_each(|_| network.send(start(), ALICE, BOB, &[0; 4], None));
    let mut seen = 0_u32;
    for delivery in drain(&mut network) {
        seen |= u32::from_be_bytes(delivery.bytes.try_into().expect("four bytes"));
    }
    assert_eq!(seen, u32::MAX);
    network.send(start(), ALICE, BOB, &[], None);
    assert!(drain(&mut network)[0].bytes.is_empty());
}

#[test]
fn held_back_packets_are_overtaken_and_only_they() {
    let reorder = Some(Reorder { probability: 0.1, hold: ms(10) });
    let mut network = network(10, Link { reorder, ..Link::default() });
    send_numbered(&mut network, start(), COUNT);
    let arrived = numbers(&drain(&mut network));
    assert_eq!(arrived.len(), COUNT as usize);
    // Late are those that arrive after a higher number.
    let mut highest = 0;
    let mut late = 0;
    for number in arrived {
        late += usize::from(number < highest);
        highest = highest.max(number);
    }
    // Not overtaken although held back: when all ten behind it are held back as well.
    assert_share(late, COUNT as usize, 0.1);
}

#[test]
fn the_same_seed_replays_every_delivery_bit_by_bit() {
    let start = start();
    let run = |seed| {
        let mut network = network(seed, rough());
        send_numbered(&mut network, start, 5_000);
        drain(&mut network)
    };
    assert_eq!(run(11), run(11));
    assert_ne!(numbers(&run(11)), numbers(&run(12)));
}

#[test]
fn another_flow_does_not_change_the_fate_of_this_one() {
    let start = start();
    let run = |others: u32| {
        let mut network = network(13, rough());
        for number in 0..5_000_u32 {
            let now = start + ms(1) * number;
            (0..others).for_each(|_| network.send(now, CAROL, BOB, b"noise", None));
            network.send(now, ALICE, BOB, &number.to_be_bytes(), None);
            (0..others).for_each(|_| network.send(now, BOB, ALICE, b"noise", None));
        }
        let mut arrived = drain(&mut network);
        arrived.retain(|delivery| delivery.from == ALICE);
        arrived
    };
    assert_eq!(run(0), run(3));
}

#[test]
fn two_flows_do_not_share_their_fate() {
    let mut network = network(14, Link { loss: Loss::Random(0.5), ..Link::default() });
    for number in 0..1_000_u32 {
        network.send(start(), ALICE, BOB, &number.to_be_bytes(), None);
        network.send(start(), ALICE, CAROL, &number.to_be_bytes(), None);
    }
    let (to_bob, to_carol): (Vec<_>, Vec<_>) =
        drain(&mut network).into_iter().partition(|delivery| delivery.to == BOB);
    let (to_bob, to_carol) = (numbers(&to_bob), numbers(&to_carol));
    let both = to_bob.iter().filter(|number| to_carol.contains(number)).count();
    assert_share(both, 1_000, 0.25);
}

#[test]
fn changing_one_thing_does_not_change_who_is_lost() {
    let lost = |link: Link| {
        let mut network = network(19, link);
        send_numbered(&mut network, start(), 20_000);
        let arrived: BTreeSet<u32> = numbers(&drain(&mut network)).into_iter().collect();
        (0..20_000).filter(|number| !arrived.contains(number)).collect::<Vec<_>>()
    };
    let base = Link { corrupt: 0.0, duplicate: 0.0, ..rough() };
    let expected = lost(base);
    assert!(expected.len() > 500);
    let rate = Some(Rate { bits_per_second: 1_000_000, queue: Queue::codel(100_000) });
    let changed = [
        Link { delay: ms(80), ..base },
        Link { jitter: ms(50), ..base },
        Link { order: Order::Free, ..base },
        Link { reorder: None, ..base },
        Link { duplicate: 0.5, ..base },
        Link { mtu: 100, ..base },
        Link { rate, ..base },
    ];
    for link in changed {
        assert!(lost(link) == expected, "{link:?}");
    }
}

#[test]
fn turning_on_duplication_does_not_change_what_is_lost() {
    let start = start();
    let run = |duplicate| {
        let mut network = network(15, Link { duplicate, ..rough() });
        send_numbered(&mut network, start, 5_000);
        let mut arrived = numbers(&drain(&mut network));
        arrived.sort_unstable();
        arrived.dedup();
        arrived
    };
    // Corrupted numbers are corrupted alike, so even they agree where no second copy is intact.
    let plain = run(0.0);
    let doubled = run(1.0);
    assert!(plain.iter().all(|number| doubled.contains(number)));
}

#[test]
fn every_packet_is_accounted_for() {
    let mut network = Network::new(16);
    let rate = Some(Rate { bits_per_second: 300_000, queue: Queue::drop_tail(2_000) });
    network.set_link(Where::Everywhere, Link { rate, mtu: 100, ..rough() });
    let start = start();
    network.schedule_blackhole(Where::Everywhere, start + ms(500), ms(100));
    for number in 0..5_000_u32 {
        let now = start + ms(1) * number;
        network.send(now, ALICE, BOB, &vec![0; number as usize % 80], None);
    }
    let arrived = drain(&mut network).len() as u64;
    let stats = network.stats(Where::Everywhere);
    assert_eq!(stats.entered, 5_000);
    assert_eq!(stats.carried, arrived);
    assert_eq!(stats.entered + stats.duplicated, stats.carried + stats.dropped());
    for count in [stats.lost, stats.overflowed, stats.oversized, stats.blackholed] {
        assert!(count > 0, "{stats:?}");
    }
    assert!(stats.duplicated > 0 && stats.reordered > 0 && stats.corrupted > 0, "{stats:?}");
}

#[test]
#[should_panic(expected = "1.5 is not within 0..=1")]
fn a_probability_above_one_is_refused() {
    network(17, Link { loss: Loss::Random(1.5), ..Link::default() });
}
