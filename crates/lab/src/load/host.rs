//! Our server as a process of its own: `lab load-server`, and how it is started.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{ExitCode, Stdio},
};

use portolan::{
    ALL_TRANSPORTS, Identity, PeerId,
    server::{Config, Rate, Server, Storage},
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::process::Process;
use crate::{report, scratch::Scratch};

/// `lab load-server`: the server of `lab load`, until standard input ends.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerOptions {
    /// Keep everything in a database in this directory; in memory without it
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Rates that no load reaches: a load is a few keys that speak for thousands of people.
const NO_LIMIT: Rate = Rate { per_second: 1e9, burst: 1e9 };

/// Where a server listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) id: PeerId,
    /// Each transport with its address.
    pub(crate) addresses: Vec<(String, SocketAddr)>,
}

/// Serves until standard input ends.
#[must_use]
pub fn serve(options: &ServerOptions) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve_until_told(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn serve_until_told(options: &ServerOptions) -> io::Result<()> {
    crate::bench::machine::raise_open_files();
    let server = Server::start(config(options)).await.map_err(io::Error::other)?;
    let addresses = server.addresses();
    let addresses = addresses.into_iter().map(|(scheme, at)| (scheme.to_owned(), at)).collect();
    let ready = Ready { id: server.id(), addresses };
    report::print(&format!("{}\n", serde_json::to_string(&ready)?))?;
    io::stdout().flush()?;
    let mut nothing = [0; 64];
    while tokio::io::stdin().read(&mut nothing).await? > 0 {}
    server.shutdown("the load is over").await;
    Ok(())
}

/// The shipped settings but for the rates, and for a mailbox that a pause does not fill.
fn config(options: &ServerOptions) -> Config {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config::new(local, ALL_TRANSPORTS, Identity::generate());
    if let Some(data) = &options.data {
        config.storage = Storage::Directory(data.clone());
    }
    let limits = &mut config.limits;
    for rate in [
        &mut limits.commands,
        &mut limits.broadcasts,
        &mut limits.logins,
        &mut limits.group_messages,
        &mut limits.group_changes,
    ] {
        *rate = NO_LIMIT;
    }
    limits.mailbox_messages = 100_000;
    limits.mailbox_bytes = 64 << 20;
    config
}

/// A server that somebody can load.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) ready: Ready,
    /// Ours to look into and to end; `None`: another's.
    pub(crate) process: Option<Process>,
    /// Goes with the server.
    _data: Option<Scratch>,
}

impl Host {
    /// Starts a server of our own, with a database in `data` or in memory.
    pub(crate) async fn start(data: Option<Scratch>) -> io::Result<Self> {
        let mut arguments = vec!["load-server".to_owned()];
        if let Some(data) = &data {
            arguments.extend(["--data".to_owned(), data.0.display().to_string()]);
        }
        let program = std::env::current_exe()?;
        let mut process = Process::start(&program, &arguments, Stdio::inherit())?;
        let output = process.child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        if line.is_empty() {
            return Err(io::Error::other("the server did not start; its words stand above"));
        }
        let ready = serde_json::from_str(&line)?;
        Ok(Self { ready, process: Some(process), _data: data })
    }

    /// A server of somebody else's.
    pub(crate) fn foreign(address: SocketAddr, id: PeerId) -> Self {
        let all = ALL_TRANSPORTS.iter();
        let addresses = all.map(|transport| (transport.scheme().to_owned(), address)).collect();
        Self { ready: Ready { id, addresses }, process: None, _data: None }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    pub(crate) async fn end(self) {
        if let Some(process) = self.process {
            process.end().await;
        }
    }
}
