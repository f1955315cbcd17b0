//! Small programs that ask a network one question each.
//!
//! They are what the ready experiments of `lab net` run on their hosts, and serve as well between
//! two real machines. Each listens or asks, prints plain lines and ends with an exit code; none
//! keeps anything.

mod across;
mod client;
mod counters;
mod discover;
mod echo;
mod latency;
mod meet;
mod messages;
mod nat;
mod ping;
mod punch;
mod rendezvous;
mod serve;
mod stream;
mod strip;
mod stun;
mod stun_server;
mod transfer;
pub(crate) mod units;

use std::{fmt, io::Write, process::ExitCode};

use clap::Subcommand;

/// `lab probe`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    probe: Probe,
}

/// The table of probes.
#[derive(Debug, Subcommand)]
enum Probe {
    /// Answer every UDP datagram and every TCP byte with itself
    Echo(echo::Options),
    /// Ask an echo again and again: round trips, losses and silences
    Ping(ping::Options),
    /// Serve `transfer`, `messages` and `stream` over TCP, UDP, QUIC and a bare TCP socket
    Serve(serve::Options),
    /// Move bytes for a while: goodput each second, every silence, and whether they arrived whole
    Transfer(transfer::Options),
    /// Send messages with a deadline, and the same once, and count who came in time
    Messages(messages::Options),
    /// Send small messages on several streams and draw which of them were late together
    Stream(stream::Options),
    /// Tell others how their packets look from here (STUN, RFC 8489 and RFC 5780)
    Stun(stun_server::Options),
    /// Find out how a translator or firewall on the way behaves (RFC 4787)
    Nat(nat::Options),
    /// Introduce peers to each other and print who reached whom
    Meet(meet::Options),
    /// Meet others through `meet` and try to reach them directly, by UDP and by TCP
    Punch(punch::Options),
    /// Announce ourselves on the local network and list who else is there (mDNS, RFC 6762)
    Discover(discover::Options),
}

/// Runs one probe.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format_args!("cannot start: {error}")),
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = dispatch(&options.probe) => Some(outcome),
            // A failure to listen for the signal leaves the system's own way of ending us.
            Ok(()) = tokio::signal::ctrl_c() => None,
        }
    });
    // A name lookup or another blocking call must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Some(Ok(code)) => code,
        Some(Err(problem)) => failed(&problem),
        None => ExitCode::from(crate::net::INTERRUPTED),
    }
}

async fn dispatch(probe: &Probe) -> Result<ExitCode, Problem> {
    match probe {
        Probe::Echo(options) => echo::run(options).await,
        Probe::Ping(options) => ping::run(options).await,
        Probe::Serve(options) => serve::run(options).await,
        Probe::Transfer(options) => transfer::run(options).await,
        Probe::Messages(options) => messages::run(options).await,
        Probe::Stream(options) => stream::run(options).await,
        Probe::Stun(options) => stun_server::run(options).await,
        Probe::Nat(options) => nat::run(options).await,
        Probe::Meet(options) => meet::run(options).await,
        Probe::Punch(options) => punch::run(options).await,
        Probe::Discover(options) => discover::run(options).await,
    }
}

/// Why a probe could not do its work: a sentence for the person who ran it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Problem(String);

/// Says what was being done when the system refused.
fn cannot<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Problem {
    move |error| Problem(format!("cannot {what}: {error}"))
}

fn failed(problem: &dyn fmt::Display) -> ExitCode {
    eprintln!("error: {problem}");
    ExitCode::FAILURE
}

/// Prints a line of the result. Nobody may be reading any more: that is not our failure.
fn say(line: impl fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
