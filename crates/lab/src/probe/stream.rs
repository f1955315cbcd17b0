//! `lab probe stream`: small messages on several streams, and who waited for whom.

use std::{
    io,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Problem,
    across::{Pipe, Request},
    cannot,
    client::{Carriage, Route},
    latency::Latencies,
    say,
    strip::{Record, Strips},
    units,
};

/// Bytes of a message: its stream, when it was sent, and what a line of chat would add.
const MESSAGE: usize = 120;

/// Messages that are remembered.
const RECORDS_MAX: usize = 1 << 20;

/// `lab probe stream`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    route: Route,
    /// How many streams; a bare TCP socket carries them all on its one
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    streams: u8,
    /// Time between two messages on a stream
    #[arg(long, default_value = "20ms", value_parser = units::duration)]
    every: Duration,
    /// For how long
    #[arg(long = "for", default_value = "6s", value_parser = units::duration, value_name = "TIME")]
    time: Duration,
}

/// What the readers found.
type Records = Arc<Mutex<Vec<Record>>>;

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let mut carriage = Carriage::connect(&options.route).await?;
    let wanted = usize::from(options.streams);
    let pipes = carriage.streams(wanted);
    let records = Records::default();
    let begun = Instant::now();
    let pace = Pace {
        begun,
        every: options.every.max(Duration::from_millis(1)),
        whole: options.time,
        streams: options.streams.into(),
    };
    let mut tasks = JoinSet::new();
    for number in 0..pipes {
        let mut pipe = carriage.open().await?;
        Request::Echo.send(&mut pipe).await.map_err(cannot("ask"))?;
        let mine: Vec<usize> = (number..wanted).step_by(pipes).collect();
        let Pipe { read, write } = pipe;
        tasks.spawn(send(write, mine, pace));
        tasks.spawn(receive(read, begun, Arc::clone(&records)));
    }
    let ended = timeout(options.time + options.route.patience, all(&mut tasks)).await;
    carriage.close().await;
    let records = records.lock().unwrap_or_else(PoisonError::into_inner);
    conclude(options, &records);
    let label = options.route.label();
    match ended {
        Ok(ended) => ended.map_err(cannot(format!("go on over {label}")))?,
        Err(_) => return Err(Problem(format!("{label}: some messages never came back"))),
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for all; the first problem ends the rest.
async fn all(tasks: &mut JoinSet<io::Result<()>>) -> io::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

/// When messages are due: those of different streams never at the same time, so that one packet
/// does not carry several.
#[derive(Debug, Clone, Copy)]
struct Pace {
    begun: Instant,
    every: Duration,
    whole: Duration,
    streams: u32,
}

impl Pace {
    /// When message `number` of `stream` is due, from the beginning.
    fn due(&self, number: u32, stream: usize) -> Duration {
        let stream = u32::try_from(stream).unwrap_or_default();
        self.every * number + self.every * stream / self.streams.max(1)
    }
}

/// Sends the messages of `streams`.
async fn send(
    mut write: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    streams: Vec<usize>,
    pace: Pace,
) -> io::Result<()> {
    for number in 0.. {
        if pace.due(number, 0) >= pace.whole {
            break;
        }
        for stream in &streams {
            sleep_until(pace.begun + pace.due(number, *stream)).await;
            let sent = u64::try_from(pace.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            let mut message = [0; MESSAGE];
            message[0] = u8::try_from(*stream).unwrap_or_default();
            message[1..9].copy_from_slice(&sent.to_be_bytes());
            write.write_all(&message).await?;
            write.flush().await?;
        }
    }
    write.shutdown().await
}

async fn receive(
    mut read: Box<dyn AsyncRead + Send + Sync + Unpin>,
    begun: Instant,
    records: Records,
) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    loop {
        match read.read_exact(&mut message).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let [stream, sent @ ..] = message;
        let Some(sent) = sent.first_chunk() else { continue };
        let sent = Duration::from_micros(u64::from_be_bytes(*sent));
        let took = begun.elapsed().saturating_sub(sent);
        let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() < RECORDS_MAX {
            records.push(Record { stream: usize::from(stream), sent, took });
        }
    }
}

fn conclude(options: &Options, records: &[Record]) {
    let label = options.route.label();
    let streams = usize::from(options.streams);
    let strips = Strips::new(records, streams, options.time);
    for stream in 0..streams {
        let mut latencies = Latencies::default();
        for record in records.iter().filter(|record| record.stream == stream) {
            latencies.add(record.took);
        }
        let line = strips.line(stream);
        say(format_args!("stream {} |{line}| {}", stream + 1, latencies.summary()));
    }
    let together = strips.together();
    say(format_args!(
        "{label}: {} moments with late messages; in {} of them every stream was late, in {} only one",
        together.moments, together.all, together.one,
    ));
}
