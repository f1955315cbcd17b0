//! `lab probe transfer`: moves bytes and watches them arrive.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use clap::ValueEnum;
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, interval},
};

use super::{
    Problem,
    across::{self, Amount, Received, Request},
    cannot,
    client::{Carriage, Route},
    counters, say, units,
};

/// How often the watch looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// `lab probe transfer`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    route: Route,
    /// Which way the bytes go, seen from here
    #[arg(long, value_enum, default_value_t = Direction::Up)]
    direction: Direction,
    /// How many bytes at most
    #[arg(long, default_value = "8MiB", value_parser = units::bytes)]
    bytes: u64,
    /// For how long at most
    #[arg(long = "for", default_value = "60m", value_parser = units::duration, value_name = "TIME")]
    time: Duration,
    /// Time between two lines of progress
    #[arg(long, default_value = "1s", value_parser = units::duration)]
    every: Duration,
    /// Report when nothing arrived for this long
    #[arg(long, default_value = "500ms", value_parser = units::duration)]
    stall: Duration,
    /// Say at the end what the connection has counted: packets, losses, what sending waited for
    #[arg(long)]
    counters: bool,
    /// Report a broken transfer as the result that it is, and end without an error
    #[arg(long)]
    may_break: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Direction {
    /// To the server.
    Up,
    /// From the server.
    Down,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let label = options.route.label();
    let begun = Instant::now();
    let mut carriage = Carriage::connect(&options.route).await?;
    say(format_args!("{label}: connected after {}", units::show(begun.elapsed())));
    let total = AtomicU64::new(0);
    let mut watch = Watch::new(options, Instant::now());
    let outcome = tokio::select! {
        outcome = work(options, &mut carriage, &total) => outcome,
        problem = watch.run(&total) => Err(problem),
    };
    watch.observe(Instant::now(), total.load(Ordering::Relaxed));
    let code = watch.conclude(&label, outcome);
    if let Some(stats) = carriage.stats().filter(|_| options.counters) {
        for line in counters::lines(&stats) {
            say(format_args!("{label}: {line}"));
        }
    }
    carriage.close().await;
    Ok(if options.may_break { ExitCode::SUCCESS } else { code })
}

async fn work(
    options: &Options,
    carriage: &mut Carriage,
    total: &AtomicU64,
) -> Result<Received, Problem> {
    let mut pipe = carriage.open().await?;
    let amount = Amount { bytes: options.bytes, time: options.time };
    match options.direction {
        Direction::Up => {
            Request::Upload.send(&mut pipe).await.map_err(cannot("ask"))?;
            let sending = async {
                across::send(&mut pipe.write, amount).await?;
                pipe.write.shutdown().await
            };
            let reading = across::read_reports(&mut pipe.read, total);
            let ((), received) =
                tokio::try_join!(sending, reading).map_err(cannot("go on sending"))?;
            Ok(received)
        }
        Direction::Down => {
            Request::Download(amount).send(&mut pipe).await.map_err(cannot("ask"))?;
            across::receive(&mut pipe.read, total).await.map_err(cannot("go on receiving"))
        }
    }
}

/// Sees bytes arrive, or not.
#[derive(Debug)]
struct Watch {
    label: String,
    begun: Instant,
    every: Duration,
    stall: Duration,
    patience: Duration,
    /// When a line was last printed, and the count then.
    told: (Instant, u64),
    /// When the count last grew, and what it was then.
    grew: (Instant, u64),
    longest: Duration,
    stalls: u32,
}

impl Watch {
    fn new(options: &Options, now: Instant) -> Self {
        Self {
            label: options.route.label(),
            begun: now,
            every: options.every,
            stall: options.stall,
            patience: options.route.patience,
            told: (now, 0),
            grew: (now, 0),
            longest: Duration::ZERO,
            stalls: 0,
        }
    }

    /// Looks and tells until patience ends.
    async fn run(&mut self, total: &AtomicU64) -> Problem {
        let mut tick = interval(LOOK_EVERY);
        loop {
            let now = tick.tick().await;
            self.observe(now, total.load(Ordering::Relaxed));
            let silent = now.saturating_duration_since(self.grew.0);
            if silent >= self.patience {
                return Problem(format!("gave up: nothing arrived for {}", units::show(silent)));
            }
        }
    }

    fn observe(&mut self, now: Instant, count: u64) {
        if count > self.grew.1 {
            let gap = now.saturating_duration_since(self.grew.0);
            self.longest = self.longest.max(gap);
            if gap >= self.stall {
                self.stalls += 1;
                let from = self.seconds(self.grew.0);
                let gap = units::show(gap);
                say(format_args!("{}: nothing arrived for {gap}, from {from:.2} s", self.label));
            }
            self.grew = (now, count);
        }
        if now.saturating_duration_since(self.told.0) >= self.every {
            let rate = megabits(count - self.told.1, now - self.told.0);
            let at = self.seconds(now);
            say(format_args!("{}: {at:5.1} s {rate:8.2} Mbit/s", self.label));
            self.told = (now, count);
        }
    }

    fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.begun).as_secs_f64()
    }

    fn conclude(&self, label: &str, outcome: Result<Received, Problem>) -> ExitCode {
        let (last, count) = self.grew;
        let took = last.saturating_duration_since(self.begun);
        let rate = megabits(count, took);
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let megabytes = count as f64 / 1e6;
        let longest = units::show(self.longest);
        let seconds = took.as_secs_f64();
        let (verdict, code) = match outcome {
            Ok(Received { intact: true }) => ("contents verified".to_owned(), ExitCode::SUCCESS),
            Ok(Received { intact: false }) => ("CONTENTS DAMAGED".to_owned(), ExitCode::FAILURE),
            Err(problem) => {
                let at = self.seconds(Instant::now());
                (format!("BROKEN at {at:.1} s: {problem}"), ExitCode::FAILURE)
            }
        };
        say(format_args!(
            "{label}: {megabytes:.2} MB in {seconds:.1} s, {rate:.2} Mbit/s, \
             longest silence {longest}; {verdict}"
        ));
        code
    }
}

fn megabits(bytes: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bits = bytes as f64 * 8.0;
    bits / time.as_secs_f64().max(1e-6) / 1e6
}
