//! `peer demo`: a server and two peers in one process, over each transport, verified as it goes.
//!
//! What happens is told on standard error as it happens; the table on standard output comes last.
//! The exit code is 0 only if everything was verified.

mod actor;
mod audio;
mod memory;
mod play;
mod table;

use std::{future::Future, net::SocketAddr, pin::Pin, process::ExitCode, time::Duration};

use crate::{
    ALL_TRANSPORTS, Identity, Transport,
    peer::cli::DemoOptions,
    server::{Config, Server},
};

/// Runs the demo; what `peer demo` calls.
#[must_use]
pub fn run(options: DemoOptions) -> Pin<Box<dyn Future<Output = ExitCode> + Send>> {
    Box::pin(async move {
        match demo(&options).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("demo failed: {problem}");
                ExitCode::FAILURE
            }
        }
    })
}

/// What a row of the table says of one transport.
#[derive(Debug, Clone)]
struct Row {
    transport: &'static str,
    /// From nothing to logged in.
    handshake: Duration,
    /// From sending a message to reading its answer, through the server and back, sorted.
    round_trips: Vec<Duration>,
    file_bytes: u64,
    file_time: Duration,
    hash: String,
    audio: audio::Audio,
    /// Memory of the whole process (server and both peers) at the end of the row, in bytes.
    memory: Option<u64>,
}

async fn demo(options: &DemoOptions) -> Result<(), String> {
    let chosen = choose(options.transport.as_deref())?;
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config::new(local, ALL_TRANSPORTS, Identity::generate());
    let server = Server::start(config).await.map_err(|error| error.to_string())?;
    tell(&format!("server {} is up:", server.id()));
    for (scheme, address) in server.addresses() {
        tell(&format!("  {scheme:4} on {address}"));
    }
    let mut rows = Vec::new();
    for transport in chosen {
        let row = play::play(&server, transport).await;
        rows.push(row.map_err(|problem| format!("{}: {problem}", transport.scheme()))?);
    }
    server.shutdown("the demo is over").await;
    if options.json {
        table::print_json(&rows);
    } else {
        table::print(&rows);
    }
    Ok(())
}

fn choose(name: Option<&str>) -> Result<Vec<&'static dyn Transport>, String> {
    match name {
        None | Some("all" | "auto") => Ok(ALL_TRANSPORTS.to_vec()),
        Some(name) => crate::transport(name)
            .map(|transport| vec![transport])
            .ok_or_else(|| format!("there is no transport {name:?}")),
    }
}

/// Says what happens.
fn tell(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::disallowed_methods, reason = "the demo measures real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
