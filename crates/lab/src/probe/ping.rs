//! `lab probe ping`: asks an echo again and again.

use std::{collections::VecDeque, net::SocketAddr, process::ExitCode, time::Duration};

use tokio::{
    net::UdpSocket,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};

use super::{Problem, across::lookup, cannot, latency::Latencies, say, units};

/// Questions under way that are remembered; older ones count as lost.
const PENDING_MAX: usize = 4096;

/// `lab probe ping`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where `lab probe echo` listens
    #[arg(value_name = "HOST:PORT")]
    to: String,
    /// How many questions
    #[arg(long, default_value_t = 10)]
    count: u32,
    /// Time between two questions
    #[arg(long, default_value = "100ms", value_parser = units::duration)]
    every: Duration,
    /// How long to wait for an answer
    #[arg(long, default_value = "2s", value_parser = units::duration)]
    wait: Duration,
    /// Report a gap between answers that is longer than this
    #[arg(long, default_value = "1s", value_parser = units::duration)]
    gap: Duration,
    /// Send from this port
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Print each answer
    #[arg(long)]
    each: bool,
    /// The share of questions that may stay without an answer, in percent
    #[arg(long, default_value_t = 99.0)]
    loss_max: f64,
}

/// What has been asked and answered so far.
#[derive(Debug, Default)]
struct Tally {
    pending: VecDeque<(u32, Instant)>,
    asked: u32,
    answered: u32,
    last: Option<Instant>,
    longest_gap: Duration,
    latencies: Latencies,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let remote = lookup(&options.to).await?;
    let any = match remote {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], options.port)),
        SocketAddr::V6(_) => SocketAddr::from(([0; 16], options.port)),
    };
    let socket = UdpSocket::bind(any).await.map_err(cannot("open a UDP socket"))?;
    let mut tally = Tally::default();
    let begun = Instant::now();
    let mut tick = interval(options.every.max(Duration::from_millis(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = [0; 2048];
    while tally.asked < options.count {
        tokio::select! {
            _ = tick.tick() => tally.ask(&socket, remote).await,
            Ok((length, _)) = socket.recv_from(&mut buffer) => {
                tally.answer(&buffer[..length], begun, options);
            }
            // An ICMP error must not spin.
            else => sleep(Duration::from_millis(1)).await,
        }
    }
    let end = Instant::now() + options.wait;
    while !tally.pending.is_empty() {
        match timeout_at(end, socket.recv_from(&mut buffer)).await {
            Ok(Ok((length, _))) => tally.answer(&buffer[..length], begun, options),
            Ok(Err(_)) => sleep(Duration::from_millis(1)).await,
            Err(_) => break,
        }
    }
    Ok(tally.conclude(options))
}

impl Tally {
    async fn ask(&mut self, socket: &UdpSocket, remote: SocketAddr) {
        self.asked += 1;
        let mut question = [0; 64];
        question[..4].copy_from_slice(&self.asked.to_be_bytes());
        self.pending.push_back((self.asked, Instant::now()));
        if self.pending.len() > PENDING_MAX {
            self.pending.pop_front();
        }
        // A host without a way out, or an error reported late: the question counts as lost.
        let _ = socket.send_to(&question, remote).await;
    }

    fn answer(&mut self, bytes: &[u8], begun: Instant, options: &Options) {
        let Some(number) = bytes.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return;
        };
        let Some(place) = self.pending.iter().position(|(asked, _)| *asked == number) else {
            return;
        };
        let Some((_, sent)) = self.pending.remove(place) else { return };
        let now = Instant::now();
        let time = now - sent;
        self.answered += 1;
        self.latencies.add(time);
        if let Some(last) = self.last {
            let gap = now - last;
            self.longest_gap = self.longest_gap.max(gap);
            if gap > options.gap {
                let at = (last - begun).as_secs_f64();
                say(format_args!("no answer for {} (from {at:.2} s)", units::show(gap)));
            }
        }
        self.last = Some(now);
        if options.each {
            say(format_args!("answer {number} after {}", units::show(time)));
        }
    }

    fn conclude(&self, options: &Options) -> ExitCode {
        let lost = self.asked - self.answered;
        let share = 100.0 * f64::from(lost) / f64::from(self.asked.max(1));
        say(format_args!(
            "{} asked, {} answered, {share:.1} % lost; round trip {}; longest gap {}",
            self.asked,
            self.answered,
            self.latencies.summary(),
            units::show(self.longest_gap),
        ));
        if share > options.loss_max { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
