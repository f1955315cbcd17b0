//! Protocol machines in virtual time behave as theory says, and the same every time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use portolan_lab::{
    metric::METRICS,
    result::{Measure, Sample},
    virtual_time::{Effort, Grid, Measured, Outage, Request, SUBJECTS, Subject, matrix, measure},
};
use portolan_netsim::{Link, Loss, Queue, Rate, topology::Duplex};

/// Little of everything.
const LITTLE: Effort = Effort {
    bulk: Duration::from_secs(1),
    curve: Duration::from_secs(3),
    bytes_max: 4 << 20,
    questions: 50,
    loaded_questions: 20,
    live_messages: 100,
    connects: 5,
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// `rtt` there and back, at 20 Mbit/s with 100 ms of queue.
fn link(rtt: Duration, loss: f64) -> Duplex {
    Duplex::symmetric(Link {
        delay: rtt / 2,
        rate: Some(Rate { bits_per_second: 20_000_000, queue: Queue::drop_tail(250_000) }),
        loss: Loss::Random(loss),
        mtu: 1500,
        ..Link::default()
    })
}

fn request(link: Duplex, seed: u64) -> Request<'static> {
    Request {
        subjects: SUBJECTS.iter().collect(),
        link,
        outages: Vec::new(),
        seed,
        rounds: 1,
        effort: LITTLE,
    }
}

fn run(request: &Request<'_>) -> Measured {
    measure(request, &mut |_| {})
}

fn of<'a>(measured: &'a Measured, subject: &str, metric: &str) -> &'a Measure {
    let is_it = |measure: &&Measure| measure.subject == subject && measure.metric == metric;
    measured.measures.iter().find(is_it).unwrap()
}

fn figure(measured: &Measured, subject: &str, metric: &str) -> f64 {
    let measure = of(measured, subject, metric);
    let value = measure.samples.first().map(|sample: &Sample| sample.value);
    value.unwrap_or_else(|| panic!("{subject} {metric}: {:?}", measure.skipped))
}

#[test]
fn the_same_seed_gives_the_same_figures_to_the_bit() {
    let mut uneven = link(ms(40), 0.02);
    uneven.up.jitter = ms(5);
    uneven.down.duplicate = 0.01;
    uneven.down.corrupt = 0.01;
    let request = Request { rounds: 2, ..request(uneven, 7) };
    let [first, second] = [run(&request), run(&request)];
    assert!(first == second, "{first:#?}\n{second:#?}");
    let other = run(&Request { seed: 8, ..request });
    assert_ne!(first.measures, other.measures, "another seed is another network");
}

#[test]
fn every_metric_is_measured_or_left_out_for_a_reason() {
    let measured = run(&request(link(ms(20), 0.0), 1));
    for subject in SUBJECTS {
        for metric in METRICS {
            let measure = of(&measured, subject.name, metric.id);
            assert_ne!(measure.samples.is_empty(), measure.skipped.is_none(), "{measure:?}");
        }
        assert!(measured.curves.iter().any(|curve| curve.subject == subject.name));
    }
    assert!(of(&measured, "udp", "cpu").skipped.is_some());
}

#[test]
fn fifty_milliseconds_are_fifty() {
    let measured = run(&request(link(ms(50), 0.0), 1));
    for subject in SUBJECTS {
        let round_trip = figure(&measured, subject.name, "rtt-64-p50") / 1000.0;
        // A packet of some 120 bytes takes 50 µs at 20 Mbit/s, twice.
        assert!((50.0..50.5).contains(&round_trip), "{}: {round_trip} ms", subject.name);
        let delay = figure(&measured, subject.name, "live-once-p99") / 1000.0;
        assert!((25.0..26.0).contains(&delay), "{}: {delay} ms", subject.name);
        // One round trip for the handshake, one for the question.
        let first_byte = figure(&measured, subject.name, "first-byte") / 1000.0;
        assert!((100.0..105.0).contains(&first_byte), "{}: {first_byte} ms", subject.name);
    }
}

#[test]
fn one_percent_in_a_live_flow_is_one_percent() {
    let effort = Effort { live_messages: 10_000, ..LITTLE };
    let subjects = ["udp", "quic"].map(|name| Subject::find(name).unwrap());
    let link = link(ms(50), 0.01);
    let measured = run(&Request { subjects: subjects.to_vec(), effort, ..request(link, 3) });
    for subject in subjects {
        let lost = figure(&measured, subject.name, "live-once-lost");
        assert!((0.7..1.3).contains(&lost), "{}: {lost} %", subject.name);
    }
    let repaired = figure(&measured, "udp", "live-until-lost");
    assert!(repaired < 0.1, "150 ms are time enough for a repair, but {repaired} % were lost");
}

#[test]
fn cubic_obeys_mathis_and_bbr_does_not() {
    let mut grid = Grid::usual(Duration::from_secs(10), 5);
    grid.loss_percent = vec![1.0];
    grid.rtt_ms = vec![50];
    let subjects: Vec<_> = SUBJECTS.iter().collect();
    let matrix = matrix(&subjects, &grid, &mut |_| {});
    let of = |name: &str| {
        matrix.tables.iter().find(|table| table.subject == name).unwrap().mbit[0][0].unwrap()
    };
    // Mathis et al. 1997: (packet / round trip) · 1.22 / √loss = 2.8 Mbit/s of 1,448-byte
    // packets; CUBIC in its Reno-friendly region is near it.
    for (cubic, bbr) in [("quinn", "quinn-bbr"), ("udp-cubic", "udp-bbr")] {
        let reached = of(cubic);
        assert!((1.4..5.6).contains(&reached), "{cubic}: {reached} Mbit/s");
        assert!(of(bbr) > 8.0 * reached, "{bbr}: {}, {cubic}: {reached} Mbit/s", of(bbr));
    }
}

#[test]
fn a_blackhole_is_a_hole_in_the_curve() {
    let outages = vec![Outage { from: ms(1000), lasting: ms(1000) }];
    // Probes are farther and farther apart: the last one before the end of the hole may have
    // been lost shortly before it.
    let curve = Duration::from_secs(4);
    let effort = Effort { bytes_max: u64::MAX, curve, ..LITTLE };
    let measured = run(&Request { outages, effort, ..request(link(ms(20), 0.0), 1) });
    for curve in &measured.curves {
        let silent = |(at, _): &&(f64, f64)| (1.3..=1.9).contains(at);
        let in_hole: Vec<_> = curve.points.iter().filter(silent).collect();
        assert!(!in_hole.is_empty(), "{curve:?}");
        assert!(in_hole.iter().all(|(_, mbit)| *mbit == 0.0), "{curve:?}");
        let before = curve.points.first().unwrap().1;
        let after = curve.points.last().unwrap().1;
        assert!(before > 5.0 && after > 5.0, "{curve:?}");
    }
}

#[test]
fn a_dead_link_is_a_reason_and_no_figure() {
    let measured = run(&request(link(ms(20), 1.0), 1));
    for subject in SUBJECTS {
        let measure = of(&measured, subject.name, "bulk-up");
        assert_eq!(measure.samples, []);
        assert!(measure.skipped.is_some(), "{measure:?}");
    }
}

#[test]
fn a_link_without_delay_or_limit_ends_too() {
    let subjects = ["udp", "quic"].map(|name| Subject::find(name).unwrap());
    let measured = run(&Request { subjects: subjects.to_vec(), ..request(Duplex::default(), 1) });
    for subject in subjects {
        let measure = of(&measured, subject.name, "bulk-up");
        assert!(measure.samples.is_empty() && measure.skipped.is_some(), "{measure:?}");
    }
}

#[test]
fn subjects_are_found_by_name() {
    for subject in SUBJECTS {
        assert_eq!(Subject::find(subject.name).unwrap().name, subject.name);
        assert!(!subject.congestion_control().is_empty());
    }
    assert!(Subject::find("tcp").is_none());
}
