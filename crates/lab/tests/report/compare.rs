use portolan_lab::report::compare::{Basis, Comparison, Outcome, compare};

use crate::fixture;

const TOLERANCE: f64 = 5.0;

fn outcome(comparison: &Comparison, subject: &str, metric: &str) -> Outcome {
    let of =
        |it: &&portolan_lab::report::compare::Change| it.subject == subject && it.metric == metric;
    comparison.changes.iter().find(of).unwrap().outcome
}

#[test]
fn our_udp_slowed_by_a_fifth_is_seen_and_nothing_else_is() {
    let seed = fixture::seed(11);
    let (mut seen, mut alarms) = (0, 0);
    for round in 0..100 {
        let old = fixture::run(seed + 2 * round, 7);
        let mut new = fixture::run(seed + 2 * round + 1, 7);
        fixture::plant(&mut new, "udp", "bulk-up", 0.8);
        let comparison = compare(&old, &new, TOLERANCE);
        let found = outcome(&comparison, "udp", "bulk-up");
        assert!(matches!(found, Outcome::Worse | Outcome::PerhapsWorse), "{round}: {found:?}");
        seen += usize::from(found == Outcome::Worse);
        let clear = comparison.count(Outcome::Worse) + comparison.count(Outcome::Better);
        alarms += usize::from(clear > usize::from(found == Outcome::Worse));
    }
    assert!(seen >= 95, "clear in {seen} of 100");
    assert!(alarms <= 5, "{alarms} of 100 comparisons with a false alarm");
}

#[test]
fn five_rounds_see_it_too() {
    let seed = fixture::seed(500);
    let seen = (0..100).filter(|round| {
        let old = fixture::run(seed + 2 * round, 5);
        let mut new = fixture::run(seed + 2 * round + 1, 5);
        fixture::plant(&mut new, "udp", "bulk-down", 0.8);
        outcome(&compare(&old, &new, TOLERANCE), "udp", "bulk-down") == Outcome::Worse
    });
    let seen = seen.count();
    assert!(seen >= 90, "clear in {seen} of 100");
}

#[test]
fn a_fifth_more_processor_time_is_worse_and_a_fifth_less_latency_is_better() {
    let (old, mut new) = (fixture::run(1, 7), fixture::run(2, 7));
    fixture::plant(&mut new, "tcp", "cpu", 1.2);
    fixture::plant(&mut new, "quic", "rtt-64-p99", 0.8);
    let comparison = compare(&old, &new, TOLERANCE);
    assert_eq!(outcome(&comparison, "tcp", "cpu"), Outcome::Worse);
    assert_eq!(outcome(&comparison, "quic", "rtt-64-p99"), Outcome::Better);
}

#[test]
fn a_machine_that_is_slower_as_a_whole_makes_no_subject_worse() {
    let (old, mut new) = (fixture::run(3, 7), fixture::run(4, 7));
    for measure in new.measures.iter_mut().filter(|it| it.metric == "bulk-down") {
        for sample in &mut measure.samples {
            sample.value *= 0.6;
        }
    }
    let comparison = compare(&old, &new, TOLERANCE);
    for change in comparison.changes.iter().filter(|it| it.metric == "bulk-down") {
        assert!(!matches!(change.outcome, Outcome::Worse | Outcome::Better), "{change:?}");
    }
}

#[test]
fn who_is_alone_is_compared_by_bare_figures() {
    let (mut old, mut new) = (fixture::run(3, 7), fixture::run(4, 7));
    for run in [&mut old, &mut new] {
        run.subjects.retain(|it| it.name == "udp");
        run.measures.retain(|it| it.subject == "udp");
        run.baseline = "udp".to_owned();
    }
    fixture::plant(&mut new, "udp", "memory-1k", 3.0);
    let comparison = compare(&old, &new, TOLERANCE);
    assert!(comparison.changes.iter().all(|it| it.basis == Basis::Bare));
    assert_eq!(outcome(&comparison, "udp", "memory-1k"), Outcome::Worse);
}

#[test]
fn two_runs_of_the_same_code_agree_on_every_ranking_that_both_tell() {
    let seed = fixture::seed(100);
    let (mut agreeing, mut turned) = (0, 0);
    for round in 0..40 {
        let (old, new) = (fixture::run(seed + 2 * round, 7), fixture::run(seed + 2 * round + 1, 7));
        let rankings = compare(&old, &new, TOLERANCE).rankings;
        agreeing += rankings.agreeing;
        turned += rankings.contradictions.len();
    }
    assert!(agreeing > 10_000, "{agreeing}");
    assert!(turned <= agreeing / 1_000, "{turned} of {agreeing} turned round");
}

#[test]
fn a_ranking_that_is_turned_round_is_named() {
    let (old, mut new) = (fixture::run(5, 7), fixture::run(6, 7));
    fixture::plant(&mut new, "udp", "bulk-up", 0.3);
    let rankings = compare(&old, &new, TOLERANCE).rankings;
    let named = |it: &portolan_lab::report::compare::Contradiction| {
        (it.metric, it.fallen.as_str(), it.risen.as_str()) == ("bulk-up", "udp", "quinn")
    };
    assert!(rankings.contradictions.iter().any(named), "{rankings:?}");
}

#[test]
fn what_stays_within_the_tolerance_is_unchanged() {
    let mut old = fixture::run(7, 7);
    for sample in old.measures.iter_mut().flat_map(|it| &mut it.samples) {
        sample.value = 100.0;
    }
    let mut new = old.clone();
    fixture::plant(&mut new, "udp", "bulk-up", 0.97);
    let comparison = compare(&old, &new, TOLERANCE);
    assert_eq!(outcome(&comparison, "udp", "bulk-up"), Outcome::Unchanged);
}

#[test]
fn what_nobody_can_trust_is_not_judged() {
    let (old, mut new) = (fixture::run(7, 7), fixture::run(8, 7));
    fixture::plant(&mut new, "kcp", "handshakes", 0.5);
    let comparison = compare(&old, &new, TOLERANCE);
    assert_eq!(outcome(&comparison, "kcp", "handshakes"), Outcome::CannotTell);
}

#[test]
fn runs_of_different_links_are_compared_with_a_warning() {
    let (old, mut new) = (fixture::run(9, 7), fixture::run(10, 7));
    new.setting.link = "bad".to_owned();
    new.subjects[1].congestion_control = "cubic".to_owned();
    let notes = compare(&old, &new, TOLERANCE).notes.join("\n");
    assert!(notes.contains("The runs differ in the link: lossy-1, then bad."), "{notes}");
    assert!(notes.contains("udp had congestion control bbr, and now has cubic."), "{notes}");
}

#[test]
fn a_new_subject_and_a_lost_figure_are_told() {
    let (mut old, mut new) = (fixture::run(9, 7), fixture::run(10, 7));
    old.subjects.retain(|subject| subject.name != "s2n-quic");
    fixture::measure(&mut new, "udp", "cpu").samples.clear();
    let notes = compare(&old, &new, TOLERANCE).notes.join("\n");
    assert!(notes.contains("s2n-quic is only in the new run."), "{notes}");
    assert!(notes.contains("udp has no figure of \"CPU of bulk up\" any more."), "{notes}");
}
