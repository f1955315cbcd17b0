//! Whole rounds over loopback, with little time.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    time::Duration,
};

use async_trait::async_trait;
use portolan_identity::{Identity, PeerId};
use portolan_subject::{Client, Link, Listener, Messages, Subject, Traits};

use super::{
    clock,
    collect::{Collector, Heading},
    ground::{Ground, Pinned, ServerPlace, Staging},
    machine,
    plan::{LinkTraits, Pace, Plan, STRETCH_MAX, Wishes},
    progress::Progress,
    rounds,
    subjects::{self, SubjectRef},
    workload::Needs,
};
use crate::{
    metric::METRICS,
    result::{Driver, Run, Setting},
};

const THREADS: Staging = Staging { server: ServerPlace::Thread, pinned: Pinned::No };

fn wishes(subjects: Vec<SubjectRef>, only: &[&str]) -> Wishes {
    Wishes {
        subjects,
        only: only.iter().map(|id| (*id).to_owned()).collect(),
        rounds: 1,
        pace: Pace::Quick,
        seed: 1,
        budget: None,
        stretch: 1.0,
        link: LinkTraits::LOOPBACK,
    }
}

fn heading() -> Heading {
    Heading {
        started: "2026-01-01T00:00:00Z".into(),
        command: "lab bench".into(),
        machine: machine::describe(),
        setting: Setting {
            driver: Driver::Loopback,
            link: "loopback".into(),
            description: String::new(),
            seed: 1,
            processes: 1,
        },
        baseline: "quinn".into(),
    }
}

async fn measured(wishes: Wishes) -> Run {
    let (mut plan, skips) = Plan::new(wishes.clone(), clock::now());
    let mut collector = Collector::new(wishes, skips);
    let mut progress = Progress::silent();
    rounds::run(&mut plan, &[Ground::Loopback], THREADS, &mut collector, &mut progress).await;
    collector.finish(heading())
}

/// Those that need no server process, which only the program itself can be.
fn metrics_without_memory() -> Vec<&'static str> {
    METRICS.iter().map(|metric| metric.id).filter(|id| !id.starts_with("memory")).collect()
}

#[tokio::test]
async fn every_subject_gives_a_figure_or_a_reason_for_every_metric() {
    let metrics = metrics_without_memory();
    let run = measured(wishes(subjects::all(), &metrics)).await;
    let found: BTreeMap<_, _> = run
        .measures
        .iter()
        .map(|measure| ((measure.subject.as_str(), measure.metric.as_str()), measure))
        .collect();
    for subject in subjects::all() {
        for metric in &metrics {
            let measure = found.get(&(subject.name(), *metric));
            let measure = measure.unwrap_or_else(|| panic!("{}: no {metric}", subject.name()));
            let positive = |value: f64| value > 0.0 || metric.ends_with("-lost");
            let figures = measure.samples.iter().map(|sample| sample.value);
            assert!(figures.clone().all(|value| value.is_finite() && positive(value)));
            let reason = measure.skipped.as_ref().is_some_and(|why| !why.is_empty());
            assert!(figures.count() > 0 || reason, "{} {metric}: nothing", subject.name());
        }
    }
    for subject in portolan::ALL_TRANSPORTS {
        let measure = found[&(subject.scheme(), "bulk-up")];
        assert!(!measure.samples.is_empty(), "{}: {:?}", subject.scheme(), measure.skipped);
    }
}

#[tokio::test]
async fn a_run_reads_back_from_json_and_names_who_took_part() {
    let chosen = subjects::choose(&["tcp".into(), "quinn".into()]).unwrap();
    let run = measured(wishes(chosen, &["rtt-64-p50", "cpu"])).await;
    let json = serde_json::to_string(&run).unwrap();
    assert_eq!(serde_json::from_str::<Run>(&json).unwrap(), run);
    let names: Vec<_> = run.subjects.iter().map(|note| note.name.as_str()).collect();
    assert_eq!(names, ["tcp", "quinn"]);
    assert!(run.subjects.iter().all(|note| !note.congestion_control.is_empty()));
    assert!(run.measures.iter().all(|measure| ["rtt-64-p50", "cpu"].contains(&&*measure.metric)));
}

/// A subject that is wrong in a way of its own.
#[derive(Debug)]
struct Wrong(&'static str, Fault);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    CannotListen,
    RefusesAll,
    NeverConnects,
    Panics,
}

struct Silent(SocketAddr, Fault);

#[async_trait]
impl Subject for Wrong {
    fn name(&self) -> &'static str {
        self.0
    }

    fn traits(&self) -> Traits {
        Traits {
            summary: "wrong on purpose",
            encrypted: false,
            repairs: true,
            multiplexes: false,
            messages: Messages::None,
        }
    }

    fn congestion_control(&self) -> String {
        "none".into()
    }

    async fn listen(&self, local: SocketAddr, _: Identity) -> io::Result<Box<dyn Listener>> {
        match self.1 {
            Fault::CannotListen => Err(io::Error::other("no ears")),
            fault => Ok(Box::new(Silent(local, fault))),
        }
    }

    async fn client(&self, local: SocketAddr, _: Identity) -> io::Result<Box<dyn Client>> {
        Ok(Box::new(Silent(local, self.1)))
    }
}

#[async_trait]
impl Listener for Silent {
    fn local_addr(&self) -> SocketAddr {
        self.0
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        std::future::pending().await
    }
}

#[async_trait]
impl Client for Silent {
    async fn connect(&mut self, _: SocketAddr, _: PeerId) -> io::Result<Box<dyn Link>> {
        match self.1 {
            Fault::RefusesAll => Err(io::Error::other("go away")),
            Fault::Panics => panic!("a subject with a bug"),
            Fault::CannotListen | Fault::NeverConnects => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn a_subject_that_fails_or_hangs_has_a_reason_and_spoils_no_other() {
    static DEAF: Wrong = Wrong("deaf", Fault::CannotListen);
    static RUDE: Wrong = Wrong("rude", Fault::RefusesAll);
    static STUCK: Wrong = Wrong("stuck", Fault::NeverConnects);
    static BUGGY: Wrong = Wrong("buggy", Fault::Panics);
    let wrong: [(SubjectRef, &str); 4] = [
        (&DEAF, "no ears"),
        (&RUDE, "go away"),
        (&STUCK, "no result within"),
        (&BUGGY, "its side ended early"),
    ];
    let mut subjects: Vec<SubjectRef> = wrong.iter().map(|(subject, _)| *subject).collect();
    subjects.push(subjects::find("tcp").unwrap());
    let run = measured(wishes(subjects, &["handshakes"])).await;
    let measure = |name: &str| run.measures.iter().find(|m| m.subject == name).unwrap();
    for (subject, reason) in wrong {
        let why = measure(subject.name()).skipped.as_deref().unwrap_or_default();
        assert!(why.contains(reason), "{}: {why:?}", subject.name());
    }
    assert_eq!(measure("tcp").samples.len(), 1);
}

fn names_by_turn(wishes: &Wishes) -> Vec<(u32, Needs, Vec<&'static str>)> {
    let (mut plan, _) = Plan::new(wishes.clone(), clock::now());
    let mut turns = Vec::new();
    while let Some(turn) = plan.next(clock::now()) {
        let first = &turn.first().unwrap().0;
        let names = turn.iter().map(|(visit, _)| visit.subject.name()).collect();
        turns.push((first.round, first.needs, names));
    }
    turns
}

#[test]
fn rounds_are_interleaved_and_their_order_comes_from_the_seed() {
    let mut wishes = wishes(subjects::all(), &["bulk-up", "live-once-p99"]);
    wishes.rounds = 4;
    let turns = names_by_turn(&wishes);
    let everybody: BTreeSet<_> = wishes.subjects.iter().map(|subject| subject.name()).collect();
    let mut orders = BTreeSet::new();
    for round in 1..=wishes.rounds {
        let alone = turns.iter().filter(|(of, needs, _)| *of == round && *needs == Needs::Alone);
        let order: Vec<_> = alone.flat_map(|(.., names)| names.clone()).collect();
        let available = |name: &&&str| subjects::find(name).unwrap().missing().is_none();
        assert_eq!(
            order.iter().copied().collect::<BTreeSet<_>>(),
            everybody.iter().filter(available).copied().collect(),
            "each once in round {round}"
        );
        orders.insert(order);
    }
    assert!(turns.is_sorted_by_key(|(round, ..)| *round), "one round after the other");
    assert!(orders.len() > 1, "no order is the same in all rounds");
    assert_eq!(names_by_turn(&wishes), turns, "the same seed gives the same order");
    wishes.seed = 2;
    assert_ne!(names_by_turn(&wishes), turns);
}

#[test]
fn what_needs_little_is_done_by_all_at_once_in_a_quick_run_and_only_there() {
    let mut wishes = wishes(subjects::choose(&["ours".into()]).unwrap(), &["live-once-p99"]);
    assert_eq!(names_by_turn(&wishes)[0].2.len(), 3);
    wishes.pace = Pace::Full;
    assert!(names_by_turn(&wishes).iter().all(|(.., names)| names.len() == 1));
}

#[test]
fn time_for_samples_is_cut_to_the_budget_and_what_does_not_fit_has_a_reason() {
    let mut wishes = wishes(subjects::choose(&["ours".into()]).unwrap(), &["rtt-64-p50"]);
    let start = clock::now();
    let (mut free, _) = Plan::new(wishes.clone(), start);
    wishes.budget = Some(Duration::from_millis(220));
    let (mut tight, _) = Plan::new(wishes, start);
    let time = |plan: &mut Plan| plan.next(start).unwrap()[0].1[0].time;
    assert!(time(&mut tight) < time(&mut free));
    assert!(tight.next(start + Duration::from_secs(1)).is_none(), "the time is used up");
    assert_eq!(tight.abandoned().count(), 2);
}

#[test]
fn samples_are_stretched_only_for_those_who_said_how_long_it_may_take() {
    let mut wishes = wishes(subjects::choose(&["tcp".into()]).unwrap(), &["rtt-64-p50"]);
    let start = clock::now();
    let time =
        |wishes: &Wishes| Plan::new(wishes.clone(), start).0.next(start).unwrap()[0].1[0].time;
    let planned = time(&wishes);
    wishes.budget = Some(Duration::from_secs(60));
    assert_eq!(time(&wishes), planned);
    wishes.stretch = STRETCH_MAX;
    assert!(time(&wishes) > planned);
}

#[tokio::test]
async fn without_time_every_metric_has_that_reason() {
    let mut wishes = wishes(subjects::choose(&["ours".into()]).unwrap(), &["rtt-64-p50"]);
    wishes.budget = Some(Duration::ZERO);
    let run = measured(wishes).await;
    assert_eq!(run.measures.len(), 3);
    for measure in &run.measures {
        let why = measure.skipped.as_deref().unwrap_or_default();
        assert!(why.contains("the time was used up"), "{why:?}");
    }
}

#[test]
fn what_repairs_nothing_is_left_out_where_packets_get_lost() {
    let mut wishes = wishes(subjects::all(), &["bulk-up"]);
    wishes.link = LinkTraits { emulated: true, lossy: true, round_trip: Duration::ZERO };
    let (_, skips) = Plan::new(wishes, clock::now());
    let left_out = |name: &str| skips.iter().any(|skip| skip.subject == name);
    assert!(left_out("raw-udp"));
    assert!(!left_out("udp"));
}
