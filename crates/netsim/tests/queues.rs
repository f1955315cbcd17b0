//! Queues: drop-tail by bytes and by time, CoDel, marks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use common::{ALICE, BOB, drain, ms, numbers, start};
use portolan_netsim::{Delivery, Ecn, Link, LinkSpec, LinkStats, Network, Where};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// On the wire: 10 Mbit/s carry one each millisecond.
const PACKET: usize = 1_250;
const HEADERS: usize = 28;

/// Packets of a test: when each is sent; all have the same mark.
struct Traffic {
    link: Link,
    times: Vec<Instant>,
    mark: Option<Ecn>,
}

/// What became of them.
struct Outcome {
    arrived: Vec<Delivery>,
    stats: LinkStats,
}

fn link(spec: &str) -> Link {
    spec.parse::<LinkSpec>().unwrap().duplex.up
}

fn traffic(spec: &str, times: Vec<Instant>) -> Traffic {
    Traffic { link: link(spec), times, mark: None }
}

/// One packet each `gap` for so long.
fn steady(from: Instant, gap: Duration, lasting: Duration) -> Vec<Instant> {
    let count = lasting.as_nanos() / gap.as_nanos();
    (0..count).map(|number| from + gap * u32::try_from(number).unwrap()).collect()
}

impl Traffic {
    fn run(&self) -> Outcome {
        let mut network = Network::new(1);
        network.set_link(Where::Everywhere, self.link);
        for (at, number) in self.times.iter().zip(0_u32..) {
            let mut payload = vec![0; PACKET - HEADERS];
            payload[..4].copy_from_slice(&number.to_be_bytes());
            network.send(*at, ALICE, BOB, &payload, self.mark);
        }
        let arrived = drain(&mut network);
        let stats = network.stats(Where::Everywhere);
        assert_eq!(stats.entered + stats.duplicated, stats.carried + stats.dropped());
        Outcome { arrived, stats }
    }
}

impl Outcome {
    fn numbers(&self) -> Vec<u32> {
        let first_four = |delivery: &Delivery| Delivery {
            bytes: delivery.bytes[..4].to_vec(),
            ..delivery.clone()
        };
        numbers(&self.arrived.iter().map(first_four).collect::<Vec<_>>())
    }

    /// When CoDel dropped: each time the moment at which the next packet began to be sent.
    fn drop_times(&self) -> Vec<Instant> {
        let numbers = self.numbers();
        let gaps = numbers.windows(2).zip(&self.arrived[1..]);
        let dropped = gaps.flat_map(|(pair, next)| {
            std::iter::repeat_n(next.at - ms(1), (pair[1] - pair[0] - 1) as usize)
        });
        dropped.collect()
    }

    /// How long each packet that arrived had waited before it was sent.
    fn waits(&self, times: &[Instant]) -> Vec<Duration> {
        let waited =
            |(delivery, number): (&Delivery, u32)| delivery.at - times[number as usize] - ms(1);
        self.arrived.iter().zip(self.numbers()).map(waited).collect()
    }
}

#[test]
fn a_queue_given_as_a_time_holds_what_leaves_in_that_time() {
    let traffic = traffic("rate=10Mbit,queue=100ms", vec![start(); 150]);
    let outcome = traffic.run();
    assert_eq!(outcome.arrived.len(), 100);
    assert_eq!(outcome.arrived[99].at, traffic.times[0] + ms(100));
    assert_eq!(outcome.stats.overflowed, 50);
}

#[test]
fn codel_holds_the_standing_queue_near_its_target_where_drop_tail_fills_it() {
    let mean_wait = |spec: &str| {
        // Five percent more than the link carries, from someone who does not listen.
        let times = steady(start(), Duration::from_micros(952), Duration::from_secs(40));
        let traffic = traffic(spec, times);
        let waits = traffic.run().waits(&traffic.times);
        let settled = &waits[waits.len() / 2..];
        settled.iter().sum::<Duration>() / u32::try_from(settled.len()).unwrap()
    };
    let full = mean_wait("rate=10Mbit,queue=200ms");
    assert!((ms(195)..=ms(200)).contains(&full), "{full:?}");
    let held = mean_wait("rate=10Mbit,queue=200ms,discipline=codel");
    assert!((ms(1)..ms(10)).contains(&held), "{held:?}");
    let patient = mean_wait("rate=10Mbit,queue=200ms,discipline=codel,target=50ms");
    assert!((ms(30)..ms(60)).contains(&patient), "{patient:?}");
}

#[test]
fn codel_drops_after_an_interval_and_then_ever_more_often() {
    // Twice what the link carries, so that packets never wait for less than the target.
    let times = steady(start(), Duration::from_micros(500), Duration::from_secs(2));
    let begin = times[0];
    let drops = traffic("rate=10Mbit,queue=60s,discipline=codel", times).run().drop_times();
    // At twice the rate, the packet that leaves at 10 ms is the first to have waited for 5.
    let first = drops[0] - begin;
    assert!((ms(110)..=ms(112)).contains(&first), "{first:?}");
    assert!(drops.len() > 30, "{}", drops.len());
    let mut expected = drops[0];
    for (count, drop) in (1_u32..).zip(&drops[1..]) {
        expected += ms(100).div_f64(f64::from(count).sqrt());
        let late = drop.saturating_duration_since(expected);
        assert!(*drop >= expected && late <= ms(1), "drop {count} is {late:?} late");
    }
}

#[test]
fn codel_goes_on_where_it_ended_unless_that_was_long_ago() {
    let second_gap = |calm: Duration| {
        let mut times = steady(start(), Duration::from_micros(500), Duration::from_secs(2));
        let begin = times[0] + Duration::from_secs(4) + calm;
        times.extend(steady(begin, Duration::from_micros(500), ms(400)));
        let drops = traffic("rate=10Mbit,queue=60s,discipline=codel", times).run().drop_times();
        let again: Vec<_> = drops.into_iter().filter(|drop| *drop >= begin).collect();
        again[1] - again[0]
    };
    assert!(second_gap(Duration::from_millis(500)) < ms(30));
    assert!((ms(100)..=ms(101)).contains(&second_gap(Duration::from_secs(3))));
}

#[test]
fn codel_lets_a_slow_link_that_is_just_busy_alone() {
    // Each packet takes 100 ms, twenty times the target.
    let times = steady(start(), ms(100), Duration::from_secs(60));
    let outcome = traffic("rate=100kbit,queue=10s,discipline=codel", times).run();
    assert_eq!((outcome.arrived.len(), outcome.stats.shed), (600, 0));
}

#[test]
fn codel_marks_those_who_understand_instead_of_dropping() {
    let times = steady(start(), Duration::from_micros(500), Duration::from_secs(2));
    let spec = "rate=10Mbit,queue=60s,discipline=codel";
    let deaf = traffic(spec, times.clone()).run();
    assert!(deaf.stats.shed > 30 && deaf.stats.marked == 0, "{:?}", deaf.stats);
    for mark in [Ecn::Ect0, Ecn::Ect1] {
        let outcome = Traffic { mark: Some(mark), ..traffic(spec, times.clone()) }.run();
        assert_eq!((outcome.stats.shed, outcome.arrived.len()), (0, times.len()));
        let marked = outcome.arrived.iter().filter(|delivery| delivery.ecn == Some(Ecn::Ce));
        assert_eq!(marked.count() as u64, outcome.stats.marked);
        assert!(outcome.stats.marked > 30, "{:?}", outcome.stats);
        assert!(outcome.arrived[0].ecn == Some(mark));
    }
}

#[test]
fn a_threshold_marks_what_enters_behind_a_long_queue() {
    let spec = "rate=10Mbit,queue=100ms,ecn=20ms";
    let burst = vec![start(); 50];
    let outcome = Traffic { mark: Some(Ecn::Ect0), ..traffic(spec, burst.clone()) }.run();
    let marks: Vec<_> = outcome.arrived.iter().map(|delivery| delivery.ecn).collect();
    // The first that finds more than 20 packets waiting is the twenty-second.
    let expected = [vec![Some(Ecn::Ect0); 21], vec![Some(Ecn::Ce); 29]].concat();
    assert_eq!(marks, expected);
    assert_eq!((outcome.stats.marked, outcome.stats.dropped()), (29, 0));

    let deaf = traffic(spec, burst).run();
    assert_eq!((deaf.stats.marked, deaf.arrived.len()), (0, 50));
    assert!(deaf.arrived.iter().all(|delivery| delivery.ecn.is_none()));
}

#[test]
fn deciding_on_entry_drops_the_same_packets_as_deciding_on_leaving() {
    for seed in 1..=20 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut at = start();
        let mut times = Vec::new();
        while times.len() < 20_000 {
            // Bursts and pauses; on average a little more than the link carries.
            let burst = chance.next_u32() % 60;
            times.extend((0..burst).map(|number| at + Duration::from_micros(300) * number));
            at += Duration::from_micros(300) * burst;
            at += Duration::from_micros(u64::from(chance.next_u32() % 38_000));
        }
        let traffic = traffic("rate=10Mbit,queue=10s,discipline=codel", times);
        let outcome = traffic.run();
        assert!(outcome.stats.shed > 100, "{:?}", outcome.stats);
        let expected = Leaving::default().survivors(&traffic.times);
        assert!(outcome.numbers() == expected, "seed {seed}");
    }
}

/// CoDel as a router runs it: a queue from which packets are taken when the link is free, with the
/// loops of RFC 8289 §5.5, but for its rule about the last packet in the queue.
#[derive(Default)]
struct Leaving {
    queue: VecDeque<(Instant, u32)>,
    first_above: Option<Instant>,
    drop_next: Option<Instant>,
    count: u32,
    last_count: u32,
    is_dropping: bool,
}

impl Leaving {
    fn survivors(mut self, times: &[Instant]) -> Vec<u32> {
        let mut arrivals = times.iter().copied().zip(0_u32..).peekable();
        let mut survivors = Vec::new();
        let mut free = times[0];
        loop {
            if self.queue.is_empty() {
                let Some((at, _)) = arrivals.peek() else { return survivors };
                free = free.max(*at);
            }
            while let Some(packet) = arrivals.next_if(|(at, _)| *at <= free) {
                self.queue.push_back(packet);
            }
            if let Some(number) = self.leave(free) {
                survivors.push(number);
                free += ms(1);
            }
        }
    }

    fn leave(&mut self, now: Instant) -> Option<u32> {
        let (mut packet, mut may_drop) = self.take(now);
        if self.is_dropping {
            self.is_dropping = may_drop;
            while self.is_dropping && Some(now) >= self.drop_next {
                self.count += 1;
                (packet, may_drop) = self.take(now);
                self.is_dropping = may_drop;
                if may_drop {
                    self.drop_next = self.drop_next.map(|last| self.law(last));
                }
            }
        } else if may_drop {
            (packet, _) = self.take(now);
            self.is_dropping = true;
            let delta = self.count - self.last_count;
            let is_recent = self.drop_next.is_some_and(|last| now < last + ms(1_600));
            self.count = if delta > 1 && is_recent { delta } else { 1 };
            self.drop_next = Some(self.law(now));
            self.last_count = self.count;
        }
        packet
    }

    fn take(&mut self, now: Instant) -> (Option<u32>, bool) {
        let Some((entered, number)) = self.queue.pop_front() else {
            self.first_above = None;
            return (None, false);
        };
        if now - entered < ms(5) {
            self.first_above = None;
            return (Some(number), false);
        }
        let first_above = *self.first_above.get_or_insert(now + ms(100));
        (Some(number), now >= first_above)
    }

    fn law(&self, last: Instant) -> Instant {
        last + ms(100).div_f64(f64::from(self.count).sqrt())
    }
}
