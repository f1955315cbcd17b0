//! Meeting: handshakes, and the first byte of an answer.

use std::{io, time::Duration};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Cost, Figures, Workload, latencies, per_second, record};
use crate::bench::{
    client::{Asked, Bench},
    clock,
    wire::Request,
};

/// One handshake after the other, each dropped at once.
#[derive(Debug)]
pub(crate) struct Handshakes;

#[async_trait]
impl Workload for Handshakes {
    fn name(&self) -> &'static str {
        "handshakes"
    }

    fn metrics(&self) -> &'static [&'static str] {
        &["handshakes"]
    }

    fn cost(&self) -> Cost {
        Cost::every(250, 60, 15)
    }

    async fn run(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures> {
        drop(bench.connect().await?);
        let start = clock::now();
        let mut count = 0_u32;
        while start.elapsed() < time {
            drop(bench.connect().await?);
            count += 1;
        }
        let rate = per_second(f64::from(count), start.elapsed());
        Ok(Figures::default().value("handshakes", rate))
    }
}

/// An attempt without an answer for this long, and some round trips, counts as this long.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);

/// Round trips that an attempt may take in any case.
const ATTEMPT_ROUND_TRIPS: u32 = 20;

/// Connect, ask for a byte, get it.
#[derive(Debug)]
pub(crate) struct FirstByte;

#[async_trait]
impl Workload for FirstByte {
    fn name(&self) -> &'static str {
        "first-byte"
    }

    fn metrics(&self) -> &'static [&'static str] {
        &["first-byte"]
    }

    fn cost(&self) -> Cost {
        Cost::every(250, 60, 25)
    }

    async fn run(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures> {
        first_byte(bench).await?;
        let limit = ATTEMPT_MAX + bench.round_trip() * ATTEMPT_ROUND_TRIPS;
        let start = clock::now();
        let mut latencies = latencies();
        while start.elapsed() < time || latencies.len() < 3 {
            match timeout(limit, first_byte(bench)).await {
                Ok(took) => record(&mut latencies, took?),
                Err(_) => record(&mut latencies, limit),
            }
        }
        let mut figures = Figures::default();
        figures.quantile("first-byte", &latencies, 0.5);
        figures.distributions.push(("first-byte", latencies));
        Ok(figures)
    }
}

async fn first_byte(bench: &mut Bench) -> io::Result<Duration> {
    let start = clock::now();
    let link = bench.connect().await?;
    let mut asked = Asked::prompt(link, Request::Answer).await?;
    asked.stream.write.flush().await?;
    asked.stream.read.read_u8().await?;
    Ok(start.elapsed())
}
