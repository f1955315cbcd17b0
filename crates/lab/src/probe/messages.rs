//! `lab probe messages`: small messages with a deadline, beside the same sent once.
//!
//! Two connections carry the same flow: on one each message is repaired until it is of no use any
//! more, on the other none is. The server notes when each arrived. Its clock may be another one:
//! the fastest message of both is taken to have needed half of the shortest round trip.

use std::{
    collections::BTreeMap,
    io,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use portolan::{Connection, ConnectionStats, Lifetime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    Problem,
    across::{Pipe, Request},
    cannot,
    client::{Carriage, Route},
    latency::Latencies,
    say,
    units::{self, show},
};

/// A number and a time.
const MESSAGE_MIN: u16 = 12;

/// Messages that are remembered.
const ARRIVALS_MAX: usize = 1 << 18;

/// How long the last messages may take beyond their lifetime.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// Headers of IPv4 and UDP, and of IPv6 and UDP.
const HEADERS: (u64, u64) = (28, 48);

/// `lab probe messages`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    route: Route,
    /// How many messages on each of the two connections
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    count: u32,
    /// Time between two messages
    #[arg(long, default_value = "20ms", value_parser = units::duration)]
    every: Duration,
    /// Bytes of a message
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(12..=1_100))]
    size: u16,
    /// How long a message is of use
    #[arg(long, default_value = "150ms", value_parser = units::duration, value_name = "TIME")]
    until: Duration,
}

/// When messages of one connection have arrived, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrivals(Arc<Mutex<Vec<Arrival>>>);

/// Number of a message, and by how much the server's clock was beyond the client's when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Arrival {
    number: u32,
    micros: i64,
}

impl Arrivals {
    /// Notes what comes until the connection ends.
    pub(super) async fn listen(self, connection: Arc<dyn Connection>) {
        let begun = Instant::now();
        while let Ok(message) = connection.recv_datagram().await {
            let now = micros(begun.elapsed());
            let Some((number, sent)) = read(&message) else { continue };
            let mut arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if arrivals.len() < ARRIVALS_MAX {
                arrivals.push(Arrival { number, micros: now.wrapping_sub(sent) });
            }
        }
    }

    /// Tells the client all that has come.
    pub(super) async fn tell(&self, pipe: &mut Pipe) -> io::Result<()> {
        let arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        pipe.write.write_u32(u32::try_from(arrivals.len()).unwrap_or(u32::MAX)).await?;
        for Arrival { number, micros } in arrivals {
            pipe.write.write_u32(number).await?;
            pipe.write.write_i64(micros).await?;
        }
        pipe.write.shutdown().await
    }
}

fn read(message: &[u8]) -> Option<(u32, i64)> {
    let (number, rest) = message.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), i64::from_be_bytes(*rest.first_chunk()?)))
}

fn message(number: u32, now: Duration, size: u16) -> Bytes {
    let mut message = vec![0; usize::from(size.max(MESSAGE_MIN))];
    message[..4].copy_from_slice(&number.to_be_bytes());
    message[4..12].copy_from_slice(&micros(now).to_be_bytes());
    message.into()
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// One of the two flows.
struct Flow {
    carriage: Carriage,
    lifetime: Lifetime,
    before: ConnectionStats,
}

/// What became of a flow.
struct Outcome {
    /// The first arrival of each number.
    arrived: BTreeMap<u32, i64>,
    wire_bytes: u64,
    stats: ConnectionStats,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let mut flows = Vec::new();
    for lifetime in [Lifetime::Until(options.until), Lifetime::Once] {
        flows.push(Flow::open(options, lifetime).await?);
    }
    send(&flows, options).await?;
    sleep(options.until + STRAGGLERS).await;
    let mut outcomes = Vec::new();
    for flow in flows {
        outcomes.push(flow.conclude().await?);
    }
    let [repaired, once] = &outcomes[..] else { return Ok(ExitCode::FAILURE) };
    report(options, repaired, once);
    Ok(ExitCode::SUCCESS)
}

impl Flow {
    async fn open(options: &Options, lifetime: Lifetime) -> Result<Self, Problem> {
        let carriage = Carriage::connect(&options.route).await?;
        let Some(before) = carriage.stats() else {
            return Err(Problem("a bare TCP socket carries no messages".to_owned()));
        };
        Ok(Self { carriage, lifetime, before })
    }

    fn send(&self, message: Bytes) -> Result<(), Problem> {
        let Carriage::Ours { connection, .. } = &self.carriage else { return Ok(()) };
        connection.send_datagram(message, self.lifetime).map_err(cannot("send a message"))
    }

    async fn conclude(mut self) -> Result<Outcome, Problem> {
        let stats = self.carriage.stats().unwrap_or_default();
        let mut pipe = self.carriage.open().await?;
        let arrivals = ask(&mut pipe).await.map_err(cannot("learn what has arrived"))?;
        let mut arrived = BTreeMap::new();
        for Arrival { number, micros } in arrivals {
            arrived.entry(number).or_insert(micros);
        }
        let is_ipv4 = matches!(&self.carriage, Carriage::Ours { connection, .. }
            if connection.remote_addr().is_ipv4());
        let header = if is_ipv4 { HEADERS.0 } else { HEADERS.1 };
        let packets = stats.packets_sent - self.before.packets_sent;
        let wire_bytes = stats.bytes_sent - self.before.bytes_sent + header * packets;
        self.carriage.close().await;
        Ok(Outcome { arrived, wire_bytes, stats })
    }
}

async fn ask(pipe: &mut Pipe) -> io::Result<Vec<Arrival>> {
    Request::Messages.send(pipe).await?;
    let count = pipe.read.read_u32().await?;
    let mut arrivals = Vec::new();
    for _ in 0..usize::try_from(count).unwrap_or(usize::MAX).min(ARRIVALS_MAX) {
        let number = pipe.read.read_u32().await?;
        arrivals.push(Arrival { number, micros: pipe.read.read_i64().await? });
    }
    Ok(arrivals)
}

async fn send(flows: &[Flow], options: &Options) -> Result<(), Problem> {
    let begun = Instant::now();
    let mut ticks = interval(options.every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..options.count {
        ticks.tick().await;
        for flow in flows {
            flow.send(message(number, begun.elapsed(), options.size))?;
        }
    }
    Ok(())
}

fn report(options: &Options, repaired: &Outcome, once: &Outcome) {
    let label = options.route.label();
    let until = show(options.until);
    say(format_args!(
        "{label}: {} messages of {} bytes, one in {}",
        options.count,
        options.size,
        show(options.every)
    ));
    for (name, outcome) in [(format!("until {until}"), repaired), ("once".to_owned(), once)] {
        let delays = delays(outcome);
        let in_time = delays.values().filter(|delay| **delay <= options.until).count();
        let never = usize::try_from(options.count).unwrap_or(usize::MAX) - delays.len();
        let late = delays.len() - in_time;
        let mut latencies = Latencies::default();
        delays.values().for_each(|delay| latencies.add(*delay));
        let share = in_time as f64 / f64::from(options.count) * 100.0;
        let times = latencies.summary();
        say(format_args!(
            "{label}, {name}: {share:.3} % in time, {late} late, {never} never; one way {times}"
        ));
    }
    let stats = &repaired.stats;
    say(format_args!(
        "{label}: {} copies or parities sent; {:.2} times the bytes of the flow that is sent once",
        stats.datagrams_repeated,
        repaired.wire_bytes as f64 / once.wire_bytes.max(1) as f64
    ));
}

/// How long each message took: the fastest of the flow took half of the shortest round trip.
fn delays(outcome: &Outcome) -> BTreeMap<u32, Duration> {
    let way = outcome.stats.rtt_min.unwrap_or_default() / 2;
    let fastest = outcome.arrived.values().copied().min().unwrap_or_default();
    let beyond = |micros: i64| Duration::from_micros(micros.saturating_sub(fastest).unsigned_abs());
    outcome.arrived.iter().map(|(number, micros)| (*number, way + beyond(*micros))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_its_number_and_when_it_was_sent() {
        let sent = message(77, Duration::from_micros(123_456), 100);
        assert_eq!((sent.len(), read(&sent)), (100, Some((77, 123_456))));
        assert_eq!(read(&sent[..11]), None);
    }

    #[test]
    fn clocks_may_differ_since_the_fastest_message_sets_them() {
        let arrived = [(0, -5_000_000), (1, -4_950_000)].into();
        let rtt_min = Some(Duration::from_millis(50));
        let stats = ConnectionStats { rtt_min, ..ConnectionStats::default() };
        let delays = delays(&Outcome { arrived, wire_bytes: 0, stats });
        assert_eq!(delays[&0], Duration::from_millis(25));
        assert_eq!(delays[&1], Duration::from_millis(75));
    }
}
