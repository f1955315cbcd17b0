//! What BBR makes of a path alone and beside others, with whole connections in virtual time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod flows;
mod kernel;

use std::{collections::BTreeSet, time::Duration};

use portolan_rudp::Congestion::{Bbr, Cubic};

use crate::flows::{Bottleneck, Flow, Load};

const SECOND: Duration = Duration::from_secs(1);

/// Where all chance comes from.
fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("SEED={seed}");
    seed
}

/// Flows that begin a tenth of a second apart, on a link as `lab net` takes it.
fn bottleneck(link: &str, flows: &[Flow]) -> Bottleneck {
    let mut flows = flows.to_vec();
    for (place, flow) in (0..).zip(&mut flows) {
        flow.after = SECOND / 10 * place;
    }
    Bottleneck::new(link, &flows, seed())
}

#[test]
fn random_loss_costs_no_more_than_what_is_lost() {
    for (loss, least) in [(0, 94.0), (1, 93.0), (5, 88.0)] {
        let link = format!("delay=25ms,rate=100Mbit,loss={loss}%");
        let mut way = bottleneck(&link, &[Flow::bulk(Bbr)]);
        way.run(2 * SECOND);
        let rate = way.rates(10 * SECOND)[0];
        assert!(rate > least, "{rate} of 100 Mbit/s with {loss} % lost");
    }
}

/// A dozen packets say little: who takes their loss for the end of the path stays slow for long.
#[test]
fn a_transfer_gets_going_whichever_of_its_first_packets_are_lost() {
    let slow = |seed: &u64| {
        let link = "delay=25ms,rate=100Mbit,loss=5%";
        let mut way = Bottleneck::new(link, &[Flow::bulk(Bbr)], *seed);
        way.run(3 * SECOND);
        way.rates(SECOND)[0] < 70.0
    };
    let first = seed();
    let slow: Vec<_> = (first..first + 60).filter(slow).collect();
    assert!(slow.is_empty(), "seeds {slow:?}");
}

#[test]
fn a_long_way_with_heavy_loss_is_filled_within_seconds() {
    let mut way = bottleneck("delay=100ms,rate=100Mbit,loss=5%", &[Flow::bulk(Bbr)]);
    way.run(4 * SECOND);
    let rate = way.rates(16 * SECOND)[0];
    assert!(rate > 80.0, "{rate} of 100 Mbit/s");
}

#[test]
fn small_questions_beside_a_transfer_wait_hardly_longer_than_alone() {
    for queue in [100, 500] {
        let link = format!("delay=25ms,rate=20Mbit,queue={queue}ms");
        let flow = Flow { load: Load::BulkAndQuestions, ..Flow::bulk(Bbr) };
        let mut way = bottleneck(&link, &[flow]);
        way.run(20 * SECOND);
        let outcome = way.outcome(0);
        let p99 = outcome.quantile(0.99);
        assert!(p99 < Duration::from_millis(60), "{p99:?} with a queue of {queue} ms");
        assert!(outcome.bytes * 8 > 18_000_000 * 20, "{} bytes", outcome.bytes);
    }
}

#[test]
fn beside_cubic_each_gets_its_part_however_deep_the_queue() {
    for queue in [10, 20, 40, 80, 100] {
        for flows in [[Cubic, Bbr], [Bbr, Cubic]] {
            let link = format!("delay=10ms,rate=50Mbit,queue={queue}ms");
            let mut way = bottleneck(&link, &flows.map(Flow::bulk));
            let rates = way.rates(30 * SECOND);
            let share = rates[0] / (rates[0] + rates[1]);
            eprintln!("{flows:?}, queue of {queue} ms: {rates:.1?}");
            assert!((0.25..=0.75).contains(&share), "{flows:?}, queue of {queue} ms: {rates:.1?}");
        }
    }
}

#[test]
fn beside_the_kernels_bbr_each_gets_its_part_however_deep_the_queue() {
    for queue in [10, 20, 40, 80] {
        for (ours, kernels) in [(SECOND / 10, Duration::ZERO), (Duration::ZERO, SECOND / 10)] {
            let link = format!("delay=10ms,rate=50Mbit,queue={queue}ms");
            let mut way =
                Bottleneck::new(&link, &[Flow { after: ours, ..Flow::bulk(Bbr) }], seed());
            way.add_kernel_bbr(kernels, seed());
            let rates = way.rates(20 * SECOND);
            let share = rates[0] / (rates[0] + rates[1]);
            eprintln!("ours after {ours:?}, queue of {queue} ms: {rates:.1?}");
            assert!((0.3..=0.7).contains(&share), "{ours:?}, queue of {queue} ms: {rates:.1?}");
            assert!(rates[0] + rates[1] > 45.0, "{rates:.1?}");
        }
    }
}

#[test]
fn two_of_a_kind_share() {
    for link in ["delay=10ms,rate=50Mbit", "delay=20ms,rate=50Mbit,queue=40ms"] {
        let mut way = bottleneck(link, &[Flow::bulk(Bbr), Flow::bulk(Bbr)]);
        let rates = way.rates(30 * SECOND);
        let share = rates[1] / (rates[0] + rates[1]);
        assert!((0.35..=0.65).contains(&share), "{rates:.1?}");
        assert!(rates[0] + rates[1] > 44.0, "{rates:.1?}");
    }
}

#[test]
fn messages_of_a_thin_flow_wait_for_nothing_but_the_repair() {
    let load = Load::Thin(Duration::from_millis(20));
    let mut way = bottleneck("delay=25ms,loss=2%", &[Flow { load, ..Flow::bulk(Bbr) }]);
    way.run(60 * SECOND);
    let outcome = way.outcome(0);
    assert!(outcome.quantile(0.9) < Duration::from_millis(26), "{:?}", outcome.quantile(0.9));
    // Sent; 20 ms later the next, whose acknowledgement shows the loss; then once more.
    assert!(outcome.quantile(0.99) < Duration::from_millis(96), "{:?}", outcome.quantile(0.99));
}

#[test]
fn a_lost_packet_makes_messages_late_on_its_own_stream_only() {
    let load = Load::Thin(Duration::from_millis(5));
    let mut way = bottleneck("delay=25ms,loss=2%", &[Flow { load, ..Flow::bulk(Bbr) }]);
    way.run(30 * SECOND);
    let outcome = way.outcome(0);
    let sent_late = |(time, sent): (&Duration, &(Duration, usize))| {
        (*time > Duration::from_millis(38)).then_some((sent.0.as_millis() / 100, sent.1))
    };
    let late: BTreeSet<_> = outcome.times.iter().zip(&outcome.sent).filter_map(sent_late).collect();
    let moments: BTreeSet<_> = late.iter().map(|(moment, _)| *moment).collect();
    let of_all = moments.iter().filter(|moment| (0..4).all(|one| late.contains(&(**moment, one))));
    assert!(moments.len() > 50, "{} moments with late messages", moments.len());
    assert!(of_all.count() <= 2, "streams wait for each other");
}

#[test]
fn a_fast_long_way_that_loses_by_itself_is_used() {
    for (loss, least) in [(1, 1_100.0), (5, 900.0)] {
        let link = format!("delay=25ms,rate=2Gbit,queue=20ms,loss={loss}%");
        let mut way = bottleneck(&link, &[Flow::bulk(Bbr)]);
        way.run(SECOND);
        let rate = way.rates(2 * SECOND)[0];
        assert!(rate > least, "{rate} of 2,000 Mbit/s with {loss} % lost");
    }
}
