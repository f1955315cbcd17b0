//! One round of one row: speak, warm up, measure, fall silent, and see that all has come.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    client::{Order, Pace},
    figure::{
        BROKEN, CLIENT_CPU, DELIVERED, DELIVERED_P50, DELIVERED_P99, DELIVERED_P999, Kind,
        SERVER_CPU, SERVER_SHARE, STORED, STORED_P50, STORED_P99, STORED_P999, Sample,
    },
    fleet::Fleet,
    process,
    tally::{Counts, Latencies},
};
use crate::bench::{clock, machine::Load};

/// How long a round takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

/// Everything that counts up, at one moment.
struct Moment {
    at_nanos: u64,
    counts: Counts,
    server: Duration,
    own: Duration,
    machine: Option<Load>,
}

impl Moment {
    fn now(fleet: &Fleet, server: Option<u32>) -> Self {
        let (server, own) = (server.map_or(Duration::ZERO, process::cpu), clock::process_cpu());
        Self {
            at_nanos: clock::shared_nanos(),
            counts: fleet.counts(),
            server,
            own,
            machine: Load::now(server + own),
        }
    }
}

/// Measures one round; `server`: whose CPU time is looked at.
pub(crate) async fn visit(fleet: &Fleet, server: Option<u32>, pace: Pace, times: Times) -> Sample {
    let before = fleet.counts().delivered;
    fleet.order(Order::Say(pace));
    sleep(times.warm_up).await;
    let start = Moment::now(fleet, server);
    fleet.tally.start_recording();
    sleep(times.window).await;
    let latencies = fleet.tally.stop_recording();
    let end = Moment::now(fleet, server);
    fleet.order(Order::Rest);
    let mut sample = Sample::default();
    if let Err(doubt) = fleet.settle().await {
        sample.doubts.push(format!("{BROKEN}: {doubt}"));
    }
    sample.arrived = fleet.counts().delivered - before;
    if let (Some(start), Some(end)) = (start.machine, end.machine) {
        sample.doubts.extend(start.doubt(&end));
    }
    let refused = end.counts.refused - start.counts.refused;
    if let Some(why) = fleet.tally.take_refusal()
        && refused > 0
    {
        sample.doubts.push(format!("texts were refused, the last: {why}"));
    }
    sample.figures = figures(&start, &end, &latencies, server.is_some());
    sample
}

fn figures(
    start: &Moment,
    end: &Moment,
    latencies: &Latencies,
    sees_server: bool,
) -> Vec<(&'static Kind, f64)> {
    let seconds = Duration::from_nanos(end.at_nanos - start.at_nanos).as_secs_f64();
    let stored = (end.counts.stored - start.counts.stored) as f64;
    let delivered = (end.counts.delivered - start.counts.delivered) as f64;
    let server = (end.server - start.server).as_secs_f64();
    let own = (end.own - start.own).as_secs_f64();
    let mut figures = vec![(&STORED, stored / seconds), (&DELIVERED, delivered / seconds)];
    for (histogram, kinds) in [
        (&latencies.stored, [(&STORED_P50, 0.5), (&STORED_P99, 0.99), (&STORED_P999, 0.999)]),
        (
            &latencies.delivered,
            [(&DELIVERED_P50, 0.5), (&DELIVERED_P99, 0.99), (&DELIVERED_P999, 0.999)],
        ),
    ] {
        if !histogram.is_empty() {
            let at = |(kind, share)| (kind, histogram.value_at_quantile(share) as f64 / 1e3);
            figures.extend(kinds.map(at));
        }
    }
    if delivered > 0.0 {
        figures.push((&CLIENT_CPU, own * 1e6 / delivered));
    }
    if sees_server {
        figures.push((&SERVER_SHARE, server / seconds));
        if delivered > 0.0 {
            figures.push((&SERVER_CPU, server * 1e6 / delivered));
        }
    }
    figures
}
