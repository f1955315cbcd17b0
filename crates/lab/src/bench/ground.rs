//! What lies under client and server: loopback, or two hosts behind the emulator.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    time::Duration,
};

use portolan_emulator::{Emulator, HostNamespace, Options, StartError};
use portolan_netsim::topology::Topology;
use tokio::{
    io::DuplexStream,
    process::{ChildStdin, ChildStdout},
};

use crate::{
    bench::{
        client::{Errand, visit},
        control::Control,
        link::LinkChoice,
        machine,
        plan::Wishes,
        server,
        subjects::SubjectRef,
    },
    watch,
};

/// Bytes of a pipe between the two threads.
const PIPE: usize = 64 << 10;

/// Where client and server stand.
pub(crate) enum Ground {
    /// Both on this machine's loopback address.
    Loopback,
    /// On two hosts with a link between them.
    Emulated(Box<Emulated>),
}

/// Two hosts and the link between them.
pub(crate) struct Emulated {
    emulator: Emulator,
    client: IpAddr,
    server: IpAddr,
    round_trip: Duration,
}

impl Emulated {
    /// Builds them; only where `launch` said that we are inside.
    fn start(link: &LinkChoice, seed: u64) -> Result<Self, StartError> {
        let emulator = Emulator::start(&Topology::pair(&link.duplex, seed), Options::default())?;
        let address = |side: Side| {
            let host = emulator.host(side.host());
            host.and_then(|host| host.addresses().into_iter().find(IpAddr::is_ipv4))
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        };
        let (client, server) = (address(Side::Client), address(Side::Server));
        Ok(Self { client, server, round_trip: link.traits().round_trip, emulator })
    }

    fn host(&self, side: Side) -> io::Result<&HostNamespace> {
        let host = self.emulator.host(side.host());
        host.ok_or_else(|| io::Error::other("the pair of hosts lacks one"))
    }
}

/// How the two sides are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Staging {
    /// Whether the server is a process of its own.
    pub(crate) server: ServerPlace,
    /// Whether each side keeps to a core of its own.
    pub(crate) pinned: Pinned,
}

/// Where the server side lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerPlace {
    /// A thread of this process.
    Thread,
    /// This program once more.
    Process,
}

/// Whether sides keep to cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pinned {
    /// The system decides.
    No,
    /// The client on the first core, the server on the second.
    Yes,
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Client,
    Server,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    /// Its host's name in a pair.
    fn host(self) -> &'static str {
        match self {
            Self::Client => "alice",
            Self::Server => "bob",
        }
    }

    fn pin(self, pinned: Pinned) {
        match pinned {
            Pinned::No => {}
            Pinned::Yes => machine::pin(self.core()),
        }
    }

    fn core(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Server => 1 % usize::try_from(machine::cores()).unwrap_or(1),
        }
    }
}

impl Ground {
    /// What the wishes need of this link: one for all, or one for each subject.
    pub(crate) fn emulated(link: &LinkChoice, wishes: &Wishes) -> Result<Vec<Self>, StartError> {
        let count = if wishes.side_by_side() { wishes.subjects.len() } else { 1 };
        let start = |_| Ok(Self::Emulated(Box::new(Emulated::start(link, wishes.seed)?)));
        (0..count).map(start).collect()
    }

    fn address(&self, side: Side) -> SocketAddr {
        let address = match (self, side) {
            (Self::Loopback, _) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            (Self::Emulated(pair), Side::Client) => pair.client,
            (Self::Emulated(pair), Side::Server) => pair.server,
        };
        SocketAddr::new(address, 0)
    }

    /// Where the asking side binds.
    pub(crate) fn client_address(&self) -> SocketAddr {
        self.address(Side::Client)
    }

    /// What the link adds to a round trip.
    pub(crate) fn round_trip(&self) -> Duration {
        match self {
            Self::Loopback => Duration::ZERO,
            Self::Emulated(pair) => pair.round_trip,
        }
    }

    /// What is noted from here on belongs to the next sample.
    pub(crate) fn begin_sample(&self) {
        match self {
            Self::Loopback => {}
            Self::Emulated(pair) => pair.emulator.reset_health(),
        }
    }

    /// Why the sample since then should not be trusted.
    pub(crate) fn doubt(&self) -> Option<String> {
        match self {
            Self::Loopback => None,
            Self::Emulated(pair) => pair.emulator.health().doubt(),
        }
    }

    /// Starts both sides; the errand's news tell how it goes, and end when it is over.
    pub(crate) fn start(&self, errand: Errand, staging: Staging) -> io::Result<()> {
        let server = match staging.server {
            ServerPlace::Thread => ServerEnd::Thread(self.server_thread(errand.subject, staging)?),
            ServerPlace::Process => {
                ServerEnd::Process(self.server_process(errand.subject, staging)?)
            }
        };
        self.thread(Side::Client, move || {
            Side::Client.pin(staging.pinned);
            let _ = block_on(async move {
                let (control, _process) = server.control()?;
                visit(errand, control).await;
                io::Result::Ok(())
            });
        })
    }

    fn server_thread(&self, subject: SubjectRef, staging: Staging) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let local = self.address(Side::Server);
        self.thread(Side::Server, move || {
            Side::Server.pin(staging.pinned);
            let (read, write) = tokio::io::split(theirs);
            let _ = block_on(async move {
                server::serve(subject, local, Control::boxed(read, write)).await;
                Ok(())
            });
        })?;
        Ok(ours)
    }

    fn server_process(&self, subject: SubjectRef, staging: Staging) -> io::Result<ServerProcess> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bench-server").args(["--subject", subject.name()]);
        command.args(["--local", &self.address(Side::Server).to_string()]);
        if staging.pinned == Pinned::Yes {
            command.args(["--core", &Side::Server.core().to_string()]);
        }
        if let Some(directory) = watch::directory() {
            command.env(watch::DIRECTORY, directory);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        match self {
            Self::Loopback => Ok(ServerProcess(command.spawn()?)),
            Self::Emulated(pair) => {
                Ok(ServerProcess(pair.host(Side::Server)?.spawn(&mut command)?))
            }
        }
    }

    fn thread(&self, side: Side, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        match self {
            Self::Loopback => {
                std::thread::Builder::new().name(side.name().into()).spawn(work).map(drop)
            }
            Self::Emulated(pair) => pair.host(side)?.spawn_thread(side.name(), work).map(drop),
        }
    }
}

/// Runs one side on a runtime of its own; tasks of the side end with it.
fn block_on(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

enum ServerEnd {
    Thread(DuplexStream),
    Process(ServerProcess),
}

impl ServerEnd {
    /// The line to the server, and what ends it.
    fn control(self) -> io::Result<(Control, Option<ServerProcess>)> {
        match self {
            Self::Thread(pipe) => {
                let (read, write) = tokio::io::split(pipe);
                Ok((Control::boxed(read, write), None))
            }
            Self::Process(mut process) => {
                let (Some(input), Some(output)) = (process.0.stdin.take(), process.0.stdout.take())
                else {
                    return Err(io::Error::other("the server process has no pipes"));
                };
                let (read, write) = (ChildStdout::from_std(output)?, ChildStdin::from_std(input)?);
                Ok((Control::boxed(read, write), Some(process)))
            }
        }
    }
}

/// A server process that ends with its owner.
struct ServerProcess(Child);

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It would end by itself at the end of its input; this does not depend on it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `lab bench-server`: the answering side as a process of its own, told what to do on its
/// standard input.
#[derive(Debug, clap::Args)]
pub struct ServerOptions {
    /// Who answers
    #[arg(long)]
    subject: String,
    /// Where it binds
    #[arg(long)]
    local: SocketAddr,
    /// The core that it keeps to
    #[arg(long)]
    core: Option<usize>,
}

/// Answers until standard input ends.
///
/// # Errors
/// When the subject is unknown or the system gives no runtime.
pub(super) fn serve_process(options: &ServerOptions) -> io::Result<()> {
    let subject = super::subjects::find(&options.subject).map_err(io::Error::other)?;
    if let Some(core) = options.core {
        machine::pin(core);
    }
    machine::raise_open_files();
    let local = options.local;
    block_on(async move {
        let control = Control::boxed(tokio::io::stdin(), tokio::io::stdout());
        server::serve(subject, local, control).await;
        Ok(())
    })
}
