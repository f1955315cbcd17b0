//! What is done over the simulated connections, and which figures it gives: one table.

use std::time::Duration;

use super::{
    app::{Asker, Burster, Direction, INTERVAL, Live, Load, Pourer, Server, Way, Window},
    effort::Effort,
    keys::derive,
    simulation::{App, Ending, Scene, Simulation, start},
    subject::Subject,
};

/// The longest time for a connection; beyond, the transports have given up as well.
const CONNECT_MAX: Duration = Duration::from_secs(11);

/// The longest time for anything that waits for answers.
const TALK_MAX: Duration = Duration::from_secs(600);

/// How long a bulk stream runs before the first question beside it.
const LEAD: Duration = Duration::from_secs(1);

/// How long bursts follow one another before a pause.
const FAST: Duration = Duration::from_secs(2);

/// How long a live message is of use.
const LIFETIME: Duration = Duration::from_millis(150);

/// The grain of curves.
const BIN: Duration = Duration::from_millis(100);

const MICROS: f64 = 1e6;

/// One subject in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) scene: Scene<'a>,
    pub(crate) effort: &'a Effort,
}

/// What a workload has found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// A figure for each of its metrics, or why there is none.
    pub(crate) figures: Vec<(&'static str, Result<f64, String>)>,
    /// Single times, by the name of their distribution.
    pub(crate) times: Vec<(&'static str, Vec<Duration>)>,
    /// Goodput over time.
    pub(crate) curve: Option<Vec<(f64, f64)>>,
}

/// Something to do, and how it is called.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Stage<'_>) -> Findings,
}

const fn workload(name: &'static str, run: fn(&Stage<'_>) -> Findings) -> Workload {
    Workload { name, run }
}

/// All of them, in the order in which they are done.
pub(crate) static WORKLOADS: &[Workload] = &[
    workload("bulk", |stage| bulk("bulk-up", stage, Direction::Up, 1)),
    workload("bulk down", |stage| bulk("bulk-down", stage, Direction::Down, 1)),
    workload("bulk, 4 streams", |stage| bulk("bulk-up-4", stage, Direction::Up, 4)),
    workload("bulk down, 4 streams", |stage| bulk("bulk-down-4", stage, Direction::Down, 4)),
    workload("goodput over time", curve),
    workload("round trips, 64 B", |stage| {
        round_trips("rtt-64", ["rtt-64-p50", "rtt-64-p99", "rtt-64-p999"], stage, 64)
    }),
    workload("round trips, 1 KiB", |stage| {
        round_trips("rtt-1k", ["rtt-1k-p50", "rtt-1k-p99", "rtt-1k-p999"], stage, 1024)
    }),
    workload("first byte", first_byte),
    workload("live, once", |stage| {
        live("live-once", "live-once-p99", Some("live-once-lost"), stage, Way::Once)
    }),
    workload("live, repaired", live_until),
    workload("live, on a stream", |stage| {
        live("live-stream", "live-stream-p99", None, stage, Way::Stream)
    }),
    workload("round trips under load", loaded),
    workload("after a pause", after_idle),
];

/// Metrics that make no sense here, and why.
pub(crate) static SKIPPED: &[(&str, &str)] = &[
    ("cpu", "computing takes no time in virtual time"),
    ("messages", "the rate of small messages is the processor's, and virtual time has none"),
    (
        "messages-batched",
        "the rate of small messages is the processor's, and virtual time has none",
    ),
    ("handshakes", "the rate of handshakes is the processor's, and virtual time has none"),
    ("memory-1k", "both ends share one process with the model"),
    ("memory-10k", "both ends share one process with the model"),
];

impl Stage<'_> {
    /// Connects and lets both talk; why they were never connected, or stopped too early.
    fn run(
        &self,
        client: &mut dyn App,
        server: &mut dyn App,
        time: Duration,
    ) -> Result<(), String> {
        self.run_weighed(client, server, time).map(|_| ())
    }

    /// As [`Self::run`]; answers what the client has sent, in bytes on the wire.
    fn run_weighed(
        &self,
        client: &mut dyn App,
        server: &mut dyn App,
        time: Duration,
    ) -> Result<u64, String> {
        let mut simulation = Simulation::new(self.subject, &self.scene, client, server);
        match simulation.run(CONNECT_MAX + time) {
            Ending::Done | Ending::TimeOver { connected: true } => {
                Ok(simulation.client_wire_bytes())
            }
            Ending::TimeOver { connected: false } => {
                Err(format!("not connected after {} s", CONNECT_MAX.as_secs()))
            }
            Ending::Closed(why) => Err(format!("the connection was lost: {why}")),
            Ending::Stuck => Err("too much happens: the link has no limit".to_owned()),
        }
    }

    /// Up to `most`, but on a fast link only as long as it takes to carry all the bytes that a
    /// transfer may have.
    fn at_most(&self, most: Duration) -> Duration {
        let Some(rate) = self.scene.link.up.rate else { return most };
        let seconds = self.effort.bytes_max as f64 * 8.0 / rate.bits_per_second as f64;
        most.min(Duration::try_from_secs_f64(seconds).unwrap_or(most))
    }

    /// The same with other chance.
    fn again(&self, number: u32) -> Self {
        let seed = derive(self.scene.seed, 1000 + u64::from(number));
        Self { scene: Scene { seed, ..self.scene }, ..*self }
    }
}

/// The meter of a bulk transfer; why there is none when the connection did not last.
pub(crate) fn transfer(
    stage: &Stage<'_>,
    direction: Direction,
    streams: usize,
    window: Window,
) -> Result<super::app::Meter, String> {
    let mut client = Pourer::new(direction, streams, window);
    let mut server = Server::new(window);
    let ended = stage.run(&mut client, &mut server, window.time * 2);
    let meter = match direction {
        Direction::Up => server.meter,
        Direction::Down => client.meter,
    };
    ended.map(|()| meter)
}

fn bulk(metric: &'static str, stage: &Stage<'_>, direction: Direction, streams: usize) -> Findings {
    let window = Window { time: stage.effort.bulk, bin: BIN, bytes_max: stage.effort.bytes_max };
    let figure = transfer(stage, direction, streams, window).and_then(|meter| {
        let nothing = if meter.is_empty() {
            "not one byte arrived"
        } else {
            "the link carries any amount at once"
        };
        meter.mebibytes_a_second().ok_or_else(|| nothing.to_owned())
    });
    Findings { figures: vec![(metric, figure)], ..Findings::default() }
}

fn curve(stage: &Stage<'_>) -> Findings {
    let window = Window { time: stage.effort.curve, bin: BIN, bytes_max: stage.effort.bytes_max };
    let meter = transfer(stage, Direction::Up, 1, window);
    Findings { curve: meter.ok().map(|meter| meter.curve()), ..Findings::default() }
}

fn round_trips(
    name: &'static str,
    [p50, p99, p999]: [&'static str; 3],
    stage: &Stage<'_>,
    unit: u32,
) -> Findings {
    let questions = stage.effort.questions as usize;
    let mut asker = Asker::new(unit, questions, Load::None);
    let ended = stage.run(&mut asker, &mut Server::default(), TALK_MAX);
    let wanted = [(p50, 0.5), (p99, 0.99), (p999, 0.999)];
    Findings::of_times(name, asker.times, &wanted, &ended)
}

fn loaded(stage: &Stage<'_>) -> Findings {
    let questions = stage.effort.loaded_questions as usize;
    let lead = stage.at_most(LEAD);
    let mut asker = Asker::new(64, questions, Load::Bulk(lead));
    let time = lead + stage.at_most(stage.effort.curve);
    let ended = stage.run(&mut asker, &mut Server::default(), time);
    let wanted = [("loaded-rtt-p50", 0.5), ("loaded-rtt-p99", 0.99)];
    Findings::of_times("loaded-rtt", asker.times, &wanted, &ended)
}

fn first_byte(stage: &Stage<'_>) -> Findings {
    let [mut handshakes, mut answers] = [Vec::new(), Vec::new()];
    let mut ended = Ok(());
    for number in 0..stage.effort.connects {
        let mut asker = Asker::new(1, 1, Load::None);
        let one = stage.again(number).run(&mut asker, &mut Server::default(), TALK_MAX);
        ended = ended.and(one);
        if let Some((connected, answer)) = asker.connected.zip(asker.times.first()) {
            let handshake = connected - start();
            handshakes.push(handshake);
            answers.push(handshake + *answer);
        }
    }
    let mut findings = Findings::of_times("first-byte", answers, &[("first-byte", 0.5)], &ended);
    findings.times.push(("handshake", handshakes));
    findings
}

/// What became of a live flow.
#[derive(Debug)]
struct Flow {
    /// How long each message took that arrived.
    delays: Vec<Duration>,
    /// The share of all messages that were of use.
    on_time: f64,
    /// Bytes on the wire, from the first handshake to the last straggler.
    wire_bytes: Result<u64, String>,
}

fn flow(stage: &Stage<'_>, way: Way) -> Flow {
    let messages = stage.effort.live_messages;
    let mut server = Server::of_messages(messages as usize);
    let time = TALK_MAX.max(INTERVAL * messages * 2);
    let wire_bytes = stage.run_weighed(&mut Live::new(way, messages), &mut server, time);
    let too_late = match way {
        Way::Until(lifetime) => lifetime,
        Way::Once | Way::Stream => Duration::MAX,
    };
    let arrived = server.delays.iter().filter(|delay| **delay <= too_late).count();
    let on_time = arrived as f64 / f64::from(messages.max(1));
    Flow { delays: server.delays, on_time, wire_bytes }
}

fn live(
    name: &'static str,
    p99: &'static str,
    lost: Option<&'static str>,
    stage: &Stage<'_>,
    way: Way,
) -> Findings {
    let flow = flow(stage, way);
    let ended = flow.wire_bytes.map(|_| ());
    let share = 100.0 * (1.0 - flow.on_time);
    let mut findings = Findings::of_times(name, flow.delays, &[(p99, 0.99)], &ended);
    findings.figures.extend(lost.map(|lost| (lost, ended.map(|()| share))));
    findings
}

/// The repaired flow, and what it weighs beside one that is not repaired.
fn live_until(stage: &Stage<'_>) -> Findings {
    let way = Way::Until(LIFETIME);
    let mut findings = live("live-until", "live-until-p99", Some("live-until-lost"), stage, way);
    let [repaired, once] = [way, Way::Once].map(|way| flow(stage, way).wire_bytes);
    let times = repaired.and_then(|repaired| Ok(repaired as f64 / once?.max(1) as f64));
    findings.figures.push(("live-until-wire", times));
    findings
}

fn after_idle(stage: &Stage<'_>) -> Findings {
    let mut burster = Burster::new(stage.at_most(FAST));
    let ended = stage.run(&mut burster, &mut Server::default(), TALK_MAX);
    let figure = burster.took.map(|took| took.as_secs_f64() * 1e3).ok_or_else(|| why(&ended));
    Findings { figures: vec![("after-idle", figure)], ..Findings::default() }
}

impl Findings {
    /// Quantiles in microseconds of times that were taken until something `ended` it.
    fn of_times(
        name: &'static str,
        mut times: Vec<Duration>,
        wanted: &[(&'static str, f64)],
        ended: &Result<(), String>,
    ) -> Self {
        times.sort_unstable();
        let figure = |share| {
            let time = quantile(&times, share).ok_or_else(|| why(ended))?;
            Ok(time.as_secs_f64() * MICROS)
        };
        let figures = wanted.iter().map(|(metric, share)| (*metric, figure(*share))).collect();
        Self { figures, times: vec![(name, times)], curve: None }
    }
}

fn why(ended: &Result<(), String>) -> String {
    ended.clone().err().unwrap_or_else(|| "no answer came in time".to_owned())
}

/// The smallest time that `share` of all do not exceed; `sorted` ascending.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_possible_truncation, reason = "a share of a length is one")]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(last)).copied()
}

#[cfg(test)]
mod tests {
    use portolan_netsim::{Link, Loss, Queue, Rate, topology::Duplex};

    use super::*;
    use crate::metric::METRICS;

    /// A live flow of so many messages over 25 ms each way.
    fn live_flow(loss: Loss, way: Way, messages: u32, seed: u64) -> Flow {
        let link = Link { delay: Duration::from_millis(25), loss, mtu: 1500, ..Link::default() };
        let scene = Scene { link: Duplex::symmetric(link), outages: &[], seed };
        let effort = Effort { live_messages: messages, ..Effort::QUICK };
        let subject = Subject::find("udp-bbr").expect("one of ours");
        flow(&Stage { subject, scene, effort: &effort }, way)
    }

    /// On-time share in percent, 99th percentile in ms, and what it weighs beside the same flow
    /// without repair.
    fn told(loss: Loss, messages: u32, seed: u64) -> (f64, f64, f64) {
        let mut repaired = live_flow(loss, Way::Until(LIFETIME), messages, seed);
        let once = live_flow(loss, Way::Once, messages, seed);
        let [weight, unrepaired] =
            [&repaired, &once].map(|flow| *flow.wire_bytes.as_ref().unwrap());
        repaired.delays.sort_unstable();
        let p99 = quantile(&repaired.delays, 0.99).unwrap().as_secs_f64() * 1e3;
        let told = (repaired.on_time * 100.0, p99, weight as f64 / unrepaired as f64);
        println!(
            "{loss:?} SEED={seed}: on time {:.3} %, p99 {:.1} ms, {:.3} x",
            told.0, told.1, told.2
        );
        told
    }

    /// The promise of a message with a deadline, as the table of goals has it.
    #[test]
    fn at_a_loss_of_five_percent_messages_come_in_time_for_seven_tenths_more_bytes() {
        let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
        let (on_time, p99, weight) = told(Loss::Random(0.05), 100_000, seed);
        assert!(on_time >= 99.95, "{on_time} %");
        assert!(p99 <= 55.0, "{p99} ms");
        assert!(weight <= 1.7, "{weight} times the bytes");
    }

    #[test]
    fn a_clean_way_costs_next_to_nothing() {
        let (on_time, p99, weight) = told(Loss::None, 20_000, 1);
        assert!(on_time >= 100.0, "{on_time} %");
        assert!(p99 < 26.0 && weight < 1.04, "{p99} ms, {weight} times the bytes");
    }

    #[test]
    fn on_a_stream_one_loss_costs_one_repair() {
        for subject in ["udp-bbr", "udp-cubic", "quic"] {
            let link = Link {
                delay: Duration::from_millis(25),
                loss: Loss::Random(0.02),
                mtu: 1500,
                ..Link::default()
            };
            let scene = Scene { link: Duplex::symmetric(link), outages: &[], seed: 1 };
            let effort = Effort { live_messages: 10_000, ..Effort::QUICK };
            let stage = Stage { subject: Subject::find(subject).unwrap(), scene, effort: &effort };
            let mut delays = flow(&stage, Way::Stream).delays;
            delays.sort_unstable();
            let [p99, p999] = [0.99, 0.999].map(|share| quantile(&delays, share).unwrap());
            println!("{subject}: p99 {p99:?}, p99.9 {p999:?}");
            assert!(p99 <= Duration::from_millis(110), "{subject}: {p99:?}");
        }
    }

    /// Bursts of 40 ms on average, with which a copy in the next packet is often lost too.
    #[test]
    fn losses_in_bursts_cost_more_messages_but_far_fewer_than_without_repair() {
        let bursts = Loss::Burst { begin: 0.026, end: 0.5, good: 0.0, bad: 1.0 };
        let (on_time, p99, weight) = told(bursts, 50_000, 1);
        assert!(on_time >= 99.0, "{on_time} %");
        assert!(p99 <= 130.0 && weight <= 1.75, "{p99} ms, {weight} times the bytes");
    }

    /// Round trips of 64 bytes beside a bulk transfer: 20 Mbit/s, 50 ms there and back, a queue of
    /// 100 ms. Their 99th percentile in ms.
    fn loaded_p99(subject: &str, seed: u64) -> f64 {
        let rate = Rate { bits_per_second: 20_000_000, queue: Queue::drop_tail(250_000) };
        let delay = Duration::from_millis(25);
        let link = Link { delay, rate: Some(rate), mtu: 1500, ..Link::default() };
        let scene = Scene { link: Duplex::symmetric(link), outages: &[], seed };
        let subject = Subject::find(subject).expect("one of ours");
        let effort =
            Effort { loaded_questions: 400, curve: Duration::from_secs(40), ..Effort::QUICK };
        let found = loaded(&Stage { subject, scene, effort: &effort });
        let p99 = found.figures.into_iter().find(|(name, _)| *name == "loaded-rtt-p99").unwrap();
        let p99 = p99.1.unwrap() / 1e3;
        println!("{} SEED={seed}: {p99:.1} ms", subject.name);
        p99
    }

    #[test]
    fn a_bulk_transfer_leaves_small_messages_their_round_trip() {
        let ours = loaded_p99("udp-bbr", 1);
        let theirs = loaded_p99("quic", 1);
        assert!(ours <= 60.0, "{ours} ms");
        assert!(ours <= theirs, "{ours} ms, quinn {theirs} ms");
    }

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        for (share, millis) in [(0.0, 1), (0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)] {
            assert_eq!(quantile(&times, share), Some(Duration::from_millis(millis)), "{share}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn only_metrics_that_exist_are_left_out() {
        for (id, _) in SKIPPED {
            assert!(METRICS.iter().any(|metric| metric.id == *id), "{id}");
        }
    }
}
