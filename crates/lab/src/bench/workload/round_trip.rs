//! One question at a time.

use std::{io, time::Duration};

use async_trait::async_trait;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Cost, Figures, Workload, latencies, record};
use crate::bench::{
    client::{Asked, Bench},
    clock,
    wire::Request,
};

/// Questions of one size, each answered by as many bytes.
#[derive(Debug)]
pub(crate) struct RoundTrip {
    name: &'static str,
    /// Of p50, p99 and p99.9.
    metrics: &'static [&'static str; 3],
    size: u32,
}

pub(crate) static SMALL: RoundTrip =
    RoundTrip { name: "rtt-64", metrics: &["rtt-64-p50", "rtt-64-p99", "rtt-64-p999"], size: 64 };
pub(crate) static LARGE: RoundTrip =
    RoundTrip { name: "rtt-1k", metrics: &["rtt-1k-p50", "rtt-1k-p99", "rtt-1k-p999"], size: 1024 };

#[async_trait]
impl Workload for RoundTrip {
    fn name(&self) -> &'static str {
        self.name
    }

    fn metrics(&self) -> &'static [&'static str] {
        self.metrics
    }

    fn cost(&self) -> Cost {
        Cost::every(600, 60, 60)
    }

    async fn run(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures> {
        let link = bench.connect().await?;
        let mut asker = Asker::new(Asked::prompt(link, Request::Echo).await?, self.size).await?;
        asker.ask_for(time / 10).await?;
        let latencies = asker.ask_for(time - time / 10).await?;
        let mut figures = Figures::default();
        for (metric, quantile) in self.metrics.iter().zip([0.5, 0.99, 0.999]) {
            figures.quantile(metric, &latencies, quantile);
        }
        figures.distributions.push((self.name, latencies));
        Ok(figures)
    }
}

/// Asks on one stream.
pub(super) struct Asker {
    asked: Asked,
    question: Vec<u8>,
}

impl Asker {
    pub(super) async fn new(mut asked: Asked, size: u32) -> io::Result<Self> {
        asked.stream.write.write_u32(size).await?;
        let question = vec![0x5a; usize::try_from(size).unwrap_or_default()];
        Ok(Self { asked, question })
    }

    /// Asks for `time`, at least once, and says how long each answer took.
    pub(super) async fn ask_for(&mut self, time: Duration) -> io::Result<Histogram<u64>> {
        let start = clock::now();
        let mut latencies = latencies();
        loop {
            let asked_at = clock::now();
            self.asked.stream.write.write_all(&self.question).await?;
            self.asked.stream.write.flush().await?;
            self.asked.stream.read.read_exact(&mut self.question).await?;
            record(&mut latencies, asked_at.elapsed());
            if start.elapsed() >= time {
                return Ok(latencies);
            }
        }
    }
}
