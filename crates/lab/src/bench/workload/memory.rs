//! What an idle connection costs the server.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use portolan_subject::{Client, Link};
use tokio::{task::JoinSet, time::Instant};

use super::{Cost, Figures, Needs, Rounds, Workload};
use crate::bench::{client::Bench, machine};

/// Connections made before the server's memory is read for the first time, so that what the first
/// connection allocates for all is not charged to them.
const WARM_UP: u64 = 16;

/// Clients that connect side by side.
const CLIENTS: u64 = 4;

/// Handshakes of one client that may fail: it is memory that is measured.
const FAILURES_MAX: u32 = 8;

/// Files that a connection and the rest of the program may need.
const FILES_SPARE: u64 = 256;

/// After so long without another one, no more are expected.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the server is asked whether all have come.
const POLL: Duration = Duration::from_millis(20);

/// Resident memory of the server's process, per idle connection.
#[derive(Debug)]
pub(crate) struct Memory {
    name: &'static str,
    metrics: &'static [&'static str; 1],
    connections: u64,
    rounds: Rounds,
    expected: Duration,
}

pub(crate) static THOUSAND: Memory = Memory {
    name: "memory of 1,000",
    metrics: &["memory-1k"],
    connections: 1_000,
    rounds: Rounds::First,
    expected: Duration::from_millis(1_200),
};
pub(crate) static TEN_THOUSAND: Memory = Memory {
    name: "memory of 10,000",
    metrics: &["memory-10k"],
    connections: 10_000,
    rounds: Rounds::FullFirst,
    expected: Duration::from_secs(10),
};

#[async_trait]
impl Workload for Memory {
    fn name(&self) -> &'static str {
        self.name
    }

    fn metrics(&self) -> &'static [&'static str] {
        self.metrics
    }

    fn cost(&self) -> Cost {
        Cost {
            full: self.expected,
            quick: self.expected,
            round_trips: 0,
            rounds: self.rounds,
            needs: Needs::OwnProcess,
        }
    }

    fn grace(&self) -> Duration {
        self.expected * 8
    }

    async fn run(&self, bench: &mut Bench, _time: Duration) -> io::Result<Figures> {
        let files = machine::raise_open_files();
        if files < self.connections + FILES_SPARE {
            let why = format!(
                "only {files} files may be open; `ulimit -n {}` allows it",
                self.connections + FILES_SPARE
            );
            return Err(io::Error::other(why));
        }
        let warm = connect(bench, WARM_UP).await?;
        let before = settled(bench, WARM_UP).await?;
        let links = connect(bench, self.connections).await?;
        let after = settled(bench, WARM_UP + self.connections).await?;
        drop((warm, links));
        let each = after.saturating_sub(before) as f64 / 1024.0 / self.connections as f64;
        Ok(Figures::default().value(self.metrics[0], each))
    }
}

type Connected = Vec<(Box<dyn Client>, Vec<Arc<dyn Link>>)>;

async fn connect(bench: &mut Bench, connections: u64) -> io::Result<Connected> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = bench.another_client().await?;
        let (server, id) = (bench.server(), bench.server_id());
        clients.spawn(async move {
            let mut links: Vec<Arc<dyn Link>> = Vec::new();
            let mut failures = 0;
            while links.len() as u64 != connections / CLIENTS {
                match client.connect(server, id).await {
                    Ok(link) => links.push(Arc::from(link)),
                    Err(error) if failures == FAILURES_MAX => return Err(error),
                    Err(_) => failures += 1,
                }
            }
            Ok::<_, io::Error>((client, links))
        });
    }
    let mut connected = Vec::new();
    while let Some(client) = clients.join_next().await {
        connected.push(client.map_err(io::Error::other)??);
    }
    Ok(connected)
}

/// The server's memory once it has accepted so many. One that has turned somebody away never does.
async fn settled(bench: &mut Bench, connections: u64) -> io::Result<u64> {
    let (mut accepted, mut since) = (0, Instant::now());
    loop {
        let now = bench.control.count().await?.connections;
        if now >= connections {
            return bench.control.memory().await;
        }
        if now > accepted {
            (accepted, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            let why = format!("the server has accepted {now} of {connections} connections");
            return Err(io::Error::other(why));
        }
        tokio::time::sleep(POLL).await;
    }
}
