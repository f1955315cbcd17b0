//! As many bytes as the subject carries.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use portolan_subject::Stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::{Cost, Figures, MIB, Rounds, Workload, per_second};
use crate::bench::{
    client::{Asked, Bench},
    clock,
    control::Count,
    wire::Request,
};

const WRITE_CHUNK: usize = 64 << 10;

const READ_BUFFER: usize = 256 << 10;

/// One point of a curve.
const CURVE_STEP: Duration = Duration::from_millis(100);

const GIB: f64 = 1_073_741_824.0;

/// A bulk transfer over one or several streams.
#[derive(Debug)]
pub(crate) struct Bulk {
    name: &'static str,
    metrics: &'static [&'static str],
    direction: Direction,
    streams: usize,
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Up,
    Down,
}

pub(crate) static UP_1: Bulk =
    Bulk { name: "bulk up", metrics: &["bulk-up", "cpu"], direction: Direction::Up, streams: 1 };
pub(crate) static DOWN_1: Bulk =
    Bulk { name: "bulk down", metrics: &["bulk-down"], direction: Direction::Down, streams: 1 };
pub(crate) static UP_4: Bulk = Bulk {
    name: "bulk up, 4 streams",
    metrics: &["bulk-up-4"],
    direction: Direction::Up,
    streams: 4,
};
pub(crate) static DOWN_4: Bulk = Bulk {
    name: "bulk down, 4 streams",
    metrics: &["bulk-down-4"],
    direction: Direction::Down,
    streams: 4,
};

#[async_trait]
impl Workload for Bulk {
    fn name(&self) -> &'static str {
        self.name
    }

    fn metrics(&self) -> &'static [&'static str] {
        self.metrics
    }

    fn cost(&self) -> Cost {
        Cost::every(400, 80, 40)
    }

    async fn run(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures> {
        match self.direction {
            Direction::Up => self.up(bench, time).await,
            Direction::Down => self.down(bench, time).await,
        }
    }
}

impl Bulk {
    async fn up(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures> {
        let mut writers = writers(bench, self.streams).await?;
        wait(&mut writers, time / 4).await?;
        let (before, own) = (bench.control.count().await?, clock::thread_cpu());
        wait(&mut writers, time - time / 4).await?;
        let (after, own) = (bench.control.count().await?, clock::thread_cpu().saturating_sub(own));
        let (bytes, took) = arrived(&before, &after)?;
        let mut figures = Figures::default();
        for metric in self.metrics {
            let value = match *metric {
                "cpu" => (own + server_cpu(&before, &after)).as_secs_f64() / (bytes / GIB),
                _ => per_second(bytes / MIB, took),
            };
            figures.values.push((metric, value));
        }
        Ok(figures)
    }

    async fn down(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures> {
        let received = Arc::new(AtomicU64::new(0));
        let mut readers = JoinSet::new();
        for link in bench.links(self.streams).await? {
            let asked = Asked::bulk(link, Request::Source).await?;
            readers.spawn(read(asked, Arc::clone(&received)));
        }
        wait(&mut readers, time / 4).await?;
        let (start, before) = (clock::now(), received.load(Relaxed));
        wait(&mut readers, time - time / 4).await?;
        let (took, bytes) = (start.elapsed(), received.load(Relaxed) - before);
        if bytes == 0 {
            return Err(nothing(took));
        }
        Ok(Figures::default().value(self.metrics[0], per_second(bytes as f64 / MIB, took)))
    }
}

/// Starts tasks that write without end, one a stream.
pub(super) async fn writers(
    bench: &mut Bench,
    streams: usize,
) -> io::Result<JoinSet<io::Result<()>>> {
    let mut writers = JoinSet::new();
    for link in bench.links(streams).await? {
        writers.spawn(write(Asked::bulk(link, Request::Sink).await?));
    }
    Ok(writers)
}

pub(super) async fn write(mut asked: Asked) -> io::Result<()> {
    let chunk = vec![0x5a; WRITE_CHUNK];
    loop {
        asked.stream.write.write_all(&chunk).await?;
    }
}

async fn read(mut asked: Asked, received: Arc<AtomicU64>) -> io::Result<()> {
    let mut buffer = vec![0; READ_BUFFER];
    let Stream { read, .. } = &mut asked.stream;
    loop {
        match read.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => received.fetch_add(length as u64, Relaxed),
        };
    }
}

/// Lets `tasks` run for `time`; one that ends has failed.
pub(super) async fn wait(tasks: &mut JoinSet<io::Result<()>>, time: Duration) -> io::Result<()> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        Some(ended) = tasks.join_next() => match ended {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(panic) => Err(io::Error::other(panic)),
        },
    }
}

fn arrived(before: &Count, after: &Count) -> io::Result<(f64, Duration)> {
    match after.since(before) {
        (0, took) => Err(nothing(took)),
        (bytes, took) => Ok((bytes as f64, took)),
    }
}

fn nothing(took: Duration) -> io::Error {
    let what = format!("not one byte arrived within {:.1} s", took.as_secs_f64());
    io::Error::new(io::ErrorKind::TimedOut, what)
}

fn server_cpu(before: &Count, after: &Count) -> Duration {
    Duration::from_nanos(after.thread_cpu_nanos.saturating_sub(before.thread_cpu_nanos))
}

/// A longer transfer up, from its first byte, with a point each 100 ms.
#[derive(Debug)]
pub(crate) struct GoodputOverTime;

#[async_trait]
impl Workload for GoodputOverTime {
    fn name(&self) -> &'static str {
        "goodput over time"
    }

    fn metrics(&self) -> &'static [&'static str] {
        &["bulk-up"]
    }

    fn cost(&self) -> Cost {
        Cost { rounds: Rounds::First, ..Cost::every(5_000, 400, 60) }
    }

    async fn run(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures> {
        let start = bench.control.count().await?;
        let mut before = start;
        let mut writers = writers(bench, 1).await?;
        let mut curve = Vec::new();
        let mut points = tokio::time::interval(CURVE_STEP);
        points.tick().await;
        while start.at_nanos + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) > before.at_nanos
        {
            tokio::select! {
                _ = points.tick() => {}
                ended = wait(&mut writers, time) => ended?,
            }
            let count = bench.control.count().await?;
            let (bytes, took) = count.since(&before);
            let (_, since_start) = count.since(&start);
            curve.push((since_start.as_secs_f64(), per_second(bytes as f64 * 8.0 / 1e6, took)));
            before = count;
        }
        Ok(Figures { curve, ..Figures::default() })
    }
}
