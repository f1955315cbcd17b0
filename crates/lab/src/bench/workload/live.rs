//! Messages with a time of their own: 50 a second of 100 bytes, as speech is sent.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use portolan_subject::{Link, Messages};
use tokio::{io::AsyncWriteExt, time::MissedTickBehavior};

use super::{Figures, latencies, record};
use crate::bench::{
    client::{Asked, Bench},
    clock,
    control::LiveLog,
    wire::{LIVE_INTERVAL, LiveMessage, Request},
};

/// What a message is worth waiting for.
const LIFETIME: Duration = Duration::from_millis(150);

/// How long the last messages may take before they count as lost, beside a few round trips.
const STRAGGLERS: Duration = Duration::from_millis(400);

/// How a flow is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Once,
    Until,
    Stream,
}

const WAYS: [Way; 3] = [Way::Once, Way::Until, Way::Stream];

impl Way {
    fn number(self) -> u8 {
        self as u8
    }

    fn distribution(self) -> &'static str {
        match self {
            Self::Once => "live-once",
            Self::Until => "live-until",
            Self::Stream => "live-stream",
        }
    }

    fn p99(self) -> &'static str {
        match self {
            Self::Once => "live-once-p99",
            Self::Until => "live-until-p99",
            Self::Stream => "live-stream-p99",
        }
    }

    fn lost(self) -> Option<&'static str> {
        match self {
            Self::Once => Some("live-once-lost"),
            Self::Until => Some("live-until-lost"),
            Self::Stream => None,
        }
    }

    /// The metric of what it weighs beside the flow that is sent once.
    fn weight(self) -> Option<&'static str> {
        match self {
            Self::Until => Some("live-until-wire"),
            Self::Once | Self::Stream => None,
        }
    }

    fn unfit(self, messages: Messages) -> Option<&'static str> {
        match (self, messages) {
            (Self::Once | Self::Until, Messages::None) => Some("carries streams only"),
            (Self::Until, Messages::Once) => Some("sends messages once and never repairs them"),
            (Self::Stream | Self::Once, _) | (Self::Until, Messages::Until) => None,
        }
    }
}

/// One flow on a connection of its own.
enum Flow {
    Message(Arc<dyn Link>, Way),
    Stream(Asked),
}

/// Sends all three flows side by side for `time`, 5 kB/s each, and says what became of them.
pub(super) async fn measure(bench: &mut Bench, time: Duration) -> io::Result<Figures> {
    let mut figures = Figures::default();
    let mut flows = Vec::new();
    for way in WAYS {
        match way.unfit(bench.traits().messages) {
            Some(why) => skip(&mut figures, way, why),
            None => flows.push(open(bench, way).await?),
        }
    }
    in_phase(bench.phase()).await;
    let sent = send(&mut flows, time).await?;
    let patience = STRAGGLERS + bench.round_trip() * 3;
    weigh(&flows, &mut figures);
    let logs = collect(bench, flows.len(), sent, patience).await?;
    for flow in &flows {
        let arrived = first_arrivals(logs.get(&flow.way().number()));
        report(&mut figures, flow.way(), arrived, sent, patience);
    }
    Ok(figures)
}

fn skip(figures: &mut Figures, way: Way, why: &str) {
    for metric in std::iter::once(way.p99()).chain(way.lost()).chain(way.weight()) {
        figures.skipped.push((metric, why.to_owned()));
    }
}

/// What repair has cost: both flows sent the same messages in the same time.
fn weigh(flows: &[Flow], figures: &mut Figures) {
    let of = |way: Way| flows.iter().find(|flow| flow.way() == way).map(Flow::wire_bytes);
    let Some(metric) = Way::Until.weight() else { return };
    match (of(Way::Until), of(Way::Once)) {
        (Some(Some(repaired)), Some(Some(once))) => {
            figures.values.push((metric, repaired as f64 / once.max(1) as f64));
        }
        (Some(_), _) => figures.skipped.push((metric, "does not tell what it sends".to_owned())),
        (None, _) => {}
    }
}

async fn open(bench: &mut Bench, way: Way) -> io::Result<Flow> {
    let link = bench.connect().await?;
    Ok(match way {
        Way::Once | Way::Until => Flow::Message(link, way),
        Way::Stream => Flow::Stream(Asked::prompt(link, Request::Live).await?),
    })
}

impl Flow {
    fn way(&self) -> Way {
        match self {
            Self::Message(_, way) => *way,
            Self::Stream(_) => Way::Stream,
        }
    }

    fn wire_bytes(&self) -> Option<u64> {
        match self {
            Self::Message(link, _) => link.wire_bytes(),
            Self::Stream(_) => None,
        }
    }

    async fn send(&mut self, number: u32) -> io::Result<()> {
        let sent_nanos = clock::shared_nanos();
        let message = LiveMessage { flow: self.way().number(), number, sent_nanos }.encode();
        match self {
            Self::Message(link, way) => {
                let lifetime = (*way == Way::Until).then_some(LIFETIME);
                link.send_message(Bytes::copy_from_slice(&message), lifetime)
            }
            Self::Stream(asked) => {
                asked.stream.write.write_all(&message).await?;
                asked.stream.write.flush().await
            }
        }
    }
}

/// Waits for this phase of the interval on the shared clock, so that subjects which send at the
/// same time do not send at the same moment.
async fn in_phase(phase: Duration) {
    let interval = LIVE_INTERVAL.as_nanos();
    let now = u128::from(clock::shared_nanos()) % interval;
    let wait = (interval + phase.as_nanos() % interval - now) % interval;
    tokio::time::sleep(Duration::from_nanos(u64::try_from(wait).unwrap_or_default())).await;
}

async fn send(flows: &mut [Flow], time: Duration) -> io::Result<u32> {
    let mut ticks = tokio::time::interval(LIVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let count = u32::try_from(time.as_millis() / LIVE_INTERVAL.as_millis()).unwrap_or(u32::MAX);
    let count = count.max(1);
    for number in 0..count {
        ticks.tick().await;
        for flow in &mut *flows {
            flow.send(number).await?;
        }
    }
    Ok(count)
}

/// Waits for the last messages, but not for ever.
async fn collect(
    bench: &mut Bench,
    flows: usize,
    sent: u32,
    patience: Duration,
) -> io::Result<BTreeMap<u8, LiveLog>> {
    let start = clock::now();
    loop {
        let logs = bench.control.live().await?;
        let arrived: usize = logs.iter().map(|log| log.arrivals.len()).sum();
        let expected = flows * usize::try_from(sent).unwrap_or(usize::MAX);
        if arrived >= expected || start.elapsed() > patience {
            return Ok(logs.into_iter().map(|log| (log.flow, log)).collect());
        }
        tokio::time::sleep(LIVE_INTERVAL).await;
    }
}

/// The delay of each message that arrived; of a copy, that of the first.
fn first_arrivals(log: Option<&LiveLog>) -> BTreeMap<u32, Duration> {
    let mut delays = BTreeMap::new();
    for (number, delay) in log.iter().flat_map(|log| &log.arrivals) {
        delays.entry(*number).or_insert(Duration::from_nanos(*delay));
    }
    delays
}

fn report(
    figures: &mut Figures,
    way: Way,
    delays: BTreeMap<u32, Duration>,
    sent: u32,
    patience: Duration,
) {
    let in_time = match way {
        Way::Once | Way::Stream => delays.len(),
        Way::Until => delays.values().filter(|delay| **delay <= LIFETIME).count(),
    };
    if let Some(lost) = way.lost() {
        let share = 1.0 - in_time as f64 / f64::from(sent);
        figures.values.push((lost, share.max(0.0) * 100.0));
    }
    // A stream loses nothing: what is missing takes at least as long as was waited for it.
    let missing = match way {
        Way::Once | Way::Until => 0,
        Way::Stream => usize::try_from(sent).unwrap_or(usize::MAX).saturating_sub(delays.len()),
    };
    let mut latencies = latencies();
    for delay in delays.into_values().chain(std::iter::repeat_n(patience, missing)) {
        record(&mut latencies, delay);
    }
    figures.quantile(way.p99(), &latencies, 0.99);
    figures.distributions.push((way.distribution(), latencies));
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::{Way, first_arrivals, report};
    use crate::bench::{control::LiveLog, workload::Figures};

    const PATIENCE: Duration = Duration::from_millis(400);

    /// A hundred messages of which all but `missing` took 10 ms.
    fn told(way: Way, missing: u32) -> BTreeMap<&'static str, f64> {
        let delays = (missing..100).map(|number| (number, Duration::from_millis(10))).collect();
        let mut figures = Figures::default();
        report(&mut figures, way, delays, 100, PATIENCE);
        figures.values.into_iter().collect()
    }

    #[test]
    fn what_is_missing_is_lost_as_a_message_and_late_on_a_stream() {
        assert!((told(Way::Once, 5)["live-once-lost"] - 5.0).abs() < 1e-9);
        assert!(told(Way::Once, 5)["live-once-p99"] < 11_000.0);
        assert!(told(Way::Stream, 5)["live-stream-p99"] > 390_000.0);
        assert!(told(Way::Stream, 0)["live-stream-p99"] < 11_000.0);
    }

    #[test]
    fn a_message_that_comes_too_late_counts_as_lost_and_a_copy_does_not_count() {
        let millis = |millis: u64| millis * 1_000_000;
        let arrivals = vec![(0, millis(20)), (0, millis(10)), (1, millis(200)), (2, millis(150))];
        let arrived = first_arrivals(Some(&LiveLog { flow: 1, arrivals }));
        assert_eq!(arrived[&0], Duration::from_millis(20), "the first to come");
        let mut figures = Figures::default();
        report(&mut figures, Way::Until, arrived, 4, PATIENCE);
        assert_eq!(figures.values, [("live-until-lost", 50.0)]);
    }
}
