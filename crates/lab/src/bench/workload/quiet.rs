//! What needs little: live flows, while another connection rests.

use std::{io, time::Duration};

use async_trait::async_trait;

use super::{Cost, Figures, Needs, Rounds, Workload, after_idle::Rested, live};
use crate::bench::{client::Bench, clock};

/// How long a connection rests before it is asked again.
const IDLE: Duration = Duration::from_secs(2);

/// How long 1 MiB may take, and all of the warm-up.
const TRANSFER_MAX: Duration = Duration::from_secs(15);

/// The live flows, and in their time the silence of a connection that is asked afterwards.
///
/// Together they send 30 kB/s, which disturbs neither; apart they would take twice the time.
#[derive(Debug)]
pub(crate) struct Quiet;

#[async_trait]
impl Workload for Quiet {
    fn name(&self) -> &'static str {
        "live messages, after idle"
    }

    fn metrics(&self) -> &'static [&'static str] {
        &[
            "live-once-p99",
            "live-once-lost",
            "live-until-p99",
            "live-until-lost",
            "live-until-wire",
            "live-stream-p99",
            "after-idle",
        ]
    }

    fn cost(&self) -> Cost {
        Cost { rounds: Rounds::QuickFirst, needs: Needs::Little, ..Cost::every(2_500, 1_600, 0) }
    }

    fn grace(&self) -> Duration {
        TRANSFER_MAX * 2
    }

    async fn run(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures> {
        let warm_up = bench.round_trip() * 20 + Duration::from_millis(50);
        let rested = in_time(Rested::warm(bench, warm_up)).await;
        let silent_since = clock::now();
        let mut figures = live::measure(bench, time).await?;
        let after = match rested {
            Ok(mut rested) => {
                tokio::time::sleep(IDLE.saturating_sub(silent_since.elapsed())).await;
                in_time(rested.transfer()).await
            }
            Err(error) => Err(error),
        };
        match after {
            Ok(took) => figures.values.push(("after-idle", took.as_secs_f64() * 1e3)),
            Err(error) => figures.skipped.push(("after-idle", error.to_string())),
        }
        Ok(figures)
    }
}

async fn in_time<T>(transfer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(TRANSFER_MAX, transfer).await {
        Ok(done) => done,
        Err(_) => {
            let why = format!("1 MiB took more than {} s", TRANSFER_MAX.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        }
    }
}
