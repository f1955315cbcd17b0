//! What the subjects are made to do: one table.
//!
//! A workload is boxed by time, not by amount, so that it says something on a link of 1 Mbit/s as
//! well as on loopback: it gets the time for one sample, warms up in a part of it and measures in
//! the rest. Each uses connections of its own.

mod after_idle;
mod bulk;
mod connecting;
mod live;
mod loaded;
mod memory;
mod messages;
mod quiet;
mod round_trip;

use std::{fmt, io, time::Duration};

use async_trait::async_trait;
use hdrhistogram::Histogram;
use portolan_subject::Traits;

use crate::bench::client::Bench;

/// One thing that subjects are made to do.
#[async_trait]
pub(crate) trait Workload: fmt::Debug + Sync {
    /// Its name in progress and messages.
    fn name(&self) -> &'static str;

    /// The metrics that it serves; any of them asked for makes it run.
    fn metrics(&self) -> &'static [&'static str];

    /// How long one sample takes, and how often it is taken.
    fn cost(&self) -> Cost;

    /// Why a subject cannot do it at all.
    fn unfit(&self, traits: &Traits) -> Option<&'static str> {
        let _ = traits;
        None
    }

    /// What it may take beyond its time before it is given up, where it waits for something that
    /// a slow network makes long.
    fn grace(&self) -> Duration {
        Duration::ZERO
    }

    /// Takes one sample in about `time`.
    async fn run(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures>;
}

/// Every workload, in the order in which a visit runs them.
pub(crate) static WORKLOADS: &[&dyn Workload] = &[
    &bulk::UP_1,
    &bulk::DOWN_1,
    &bulk::UP_4,
    &bulk::DOWN_4,
    &round_trip::SMALL,
    &round_trip::LARGE,
    &messages::FLUSHED,
    &messages::BATCHED,
    &connecting::Handshakes,
    &connecting::FirstByte,
    &loaded::Loaded,
    &quiet::Quiet,
    &bulk::GoodputOverTime,
    &memory::THOUSAND,
    &memory::TEN_THOUSAND,
];

/// What samples cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    /// Time of one sample.
    pub(crate) full: Duration,
    /// The same in a quick run.
    pub(crate) quick: Duration,
    /// It needs at least so many round trips of the link.
    pub(crate) round_trips: u32,
    /// Rounds in which it runs.
    pub(crate) rounds: Rounds,
    /// What it needs around it.
    pub(crate) needs: Needs,
}

/// Rounds in which a workload runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounds {
    /// All.
    Every,
    /// All of a full run, the first of a quick one.
    QuickFirst,
    /// The first.
    First,
    /// The first of a full run; a quick one leaves it out.
    FullFirst,
}

/// What a workload needs around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The network and the machine for itself.
    Alone,
    /// So little that on loopback, in a quick run, all subjects take it at the same time.
    Little,
    /// Loopback and a server process of its own.
    OwnProcess,
}

impl Cost {
    const fn every(full_ms: u64, quick_ms: u64, round_trips: u32) -> Self {
        Self {
            full: Duration::from_millis(full_ms),
            quick: Duration::from_millis(quick_ms),
            round_trips,
            rounds: Rounds::Every,
            needs: Needs::Alone,
        }
    }
}

/// What one sample gave.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Figures by metric.
    pub(crate) values: Vec<(&'static str, f64)>,
    /// Metrics that this sample has no figure for, and why.
    pub(crate) skipped: Vec<(&'static str, String)>,
    /// Latencies in nanoseconds by name.
    pub(crate) distributions: Vec<(&'static str, Histogram<u64>)>,
    /// Seconds and Mbit/s.
    pub(crate) curve: Vec<(f64, f64)>,
}

impl Figures {
    fn value(mut self, metric: &'static str, value: f64) -> Self {
        self.values.push((metric, value));
        self
    }

    /// A quantile in microseconds, if there are values enough for it.
    fn quantile(&mut self, metric: &'static str, latencies: &Histogram<u64>, quantile: f64) {
        let needed = needed_for(quantile);
        if latencies.len() < needed {
            let why = format!("too few values in the time: {needed} are needed");
            self.skipped.push((metric, why));
        } else {
            let nanos = latencies.value_at_quantile(quantile);
            self.values.push((metric, nanos as f64 / 1e3));
        }
    }
}

/// Fewer values than this say nothing about a quantile. Of the thousandth, five must lie beyond:
/// a single pause of the machine is not the subject's tail.
fn needed_for(quantile: f64) -> u64 {
    match quantile {
        q if q < 0.9 => 3,
        q if q < 0.995 => 30,
        _ => 5_000,
    }
}

/// Three significant digits from 1 ns to 1 h.
fn latencies() -> Histogram<u64> {
    let mut latencies =
        Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("bounds that make sense");
    latencies.auto(true);
    latencies
}

fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1));
}

fn per_second(amount: f64, time: Duration) -> f64 {
    amount / time.as_secs_f64()
}

const MIB: f64 = 1_048_576.0;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::WORKLOADS;
    use crate::metric::{METRICS, metric_of};

    #[test]
    fn every_metric_has_a_workload_and_every_workload_known_metrics() {
        let served: BTreeSet<_> =
            WORKLOADS.iter().flat_map(|workload| workload.metrics()).copied().collect();
        for metric in METRICS {
            assert!(served.contains(metric.id), "nobody measures {}", metric.id);
        }
        for id in served {
            assert!(metric_of(id).is_some(), "{id} is not in the table of metrics");
        }
    }
}
