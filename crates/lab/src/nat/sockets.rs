//! The same pairs with real sockets: each host is a network namespace, and the translators between
//! them are emulated.

use std::{
    io,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use portolan_datagram_io::SharedSockets;
use portolan_emulator::{Emulator, Launch, Missing, Options, StartError, launch};
use portolan_nat::{AgentConfig, Candidate, CandidateKind, Mapping, ResponderLimits, Role};
use portolan_nat_io::{PunchEvent, StunPort, StunService};

use thiserror::Error;
use tokio::{
    runtime::Builder,
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    Outcome, Place,
    places::{NAMES, STUN, pair},
    table::{Cell, Matrix},
};

/// Longer than an agent tries.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the pairs could not be tried.
#[derive(Debug, Error)]
pub(super) enum SocketsError {
    /// The system lacks what namespaces need.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A world could not be built.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A host could not be entered.
    #[error("a host cannot be entered")]
    Host(#[from] io::Error),
    /// A host's thread ended without an answer.
    #[error("{0} has ended without an answer")]
    Ended(&'static str),
}

/// As which a peer is seen at both ports of the server.
type Seen = [Option<SocketAddr>; 2];

/// What a peer is told of the other one.
#[derive(Debug, Clone, Copy)]
struct Introduction {
    host: SocketAddr,
    seen: Seen,
}

/// Tries every pair once; or, outside, says how the inside has ended, which has told everything.
pub(super) fn measure() -> Result<Result<Matrix, ExitCode>, SocketsError> {
    match launch()? {
        Launch::Finished(code) => Ok(Err(code)),
        Launch::Inside => {
            let mut failed = None;
            let matrix = Matrix::fill(|one, other| {
                let outcome =
                    if failed.is_some() { Ok(Outcome::Relayed) } else { run([one, other]) };
                let outcome = outcome.unwrap_or_else(|error| {
                    failed = Some(error);
                    Outcome::Relayed
                });
                eprintln!("{} - {}: {outcome:?}", one.name, other.name);
                Cell::new(std::iter::once(outcome))
            });
            failed.map_or(Ok(Ok(matrix)), Err)
        }
    }
}

fn run(places: [&'static Place; 2]) -> Result<Outcome, SocketsError> {
    let world = pair(places, 1);
    let emulator = Emulator::start(&world.topology, Options::default())?;
    let host = |name: &'static str| emulator.host(name).ok_or(SocketsError::Ended(name));
    let (stop, stopped) = oneshot::channel();
    let server = host("stun")?.spawn_thread("stun", move || serve(stopped))?;
    let (told, telling) = mpsc::sync_channel(2);
    let (mut introduce, mut peers) = (Vec::new(), Vec::new());
    for (index, role) in [Role::Controlling, Role::Controlled].into_iter().enumerate() {
        let (sender, introduced) = oneshot::channel();
        let (socket, told) = (world.sockets[index], told.clone());
        let peer = Peer { index, role, socket, told };
        let thread = host(NAMES[index])?.spawn_thread(NAMES[index], || peer.run(introduced))?;
        introduce.push(sender);
        peers.push(thread);
    }
    drop(told);
    let mut seen = [[None; 2]; 2];
    for (index, found) in telling.iter().take(2) {
        seen[index] = found;
    }
    for (index, sender) in introduce.into_iter().enumerate() {
        let other = 1 - index;
        let _gone = sender.send(Introduction { host: world.sockets[other], seen: seen[other] });
    }
    let outcomes = peers.into_iter().zip(NAMES).map(|(thread, name)| join(thread, name));
    let outcomes: Vec<Outcome> = outcomes.collect::<Result<_, _>>()?;
    drop(stop);
    join(server, "stun")?;
    Ok(worse(&outcomes))
}

fn join<T>(thread: JoinHandle<io::Result<T>>, name: &'static str) -> Result<T, SocketsError> {
    Ok(thread.join().map_err(|_| SocketsError::Ended(name))??)
}

/// Both have to have met.
fn worse(outcomes: &[Outcome]) -> Outcome {
    let mut worst = Duration::ZERO;
    for outcome in outcomes {
        match outcome {
            Outcome::Direct(time) => worst = worst.max(*time),
            Outcome::Relayed => return Outcome::Relayed,
        }
    }
    Outcome::Direct(worst)
}

fn serve(stopped: oneshot::Receiver<()>) -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let sockets = SharedSockets::default();
        let open = |address| {
            StunService::open(&sockets, address, None, ResponderLimits::default())
                .map_err(io::Error::other)
        };
        let (one, other) = (open(STUN[0])?, open(STUN[1])?);
        tokio::select! {
            ((), ()) = async { tokio::join!(one.run(), other.run()) } => {}
            _ = stopped => {}
        }
        Ok(())
    })
}

struct Peer {
    index: usize,
    role: Role,
    socket: SocketAddr,
    told: mpsc::SyncSender<(usize, Seen)>,
}

impl Peer {
    fn run(self, introduced: oneshot::Receiver<Introduction>) -> io::Result<Outcome> {
        Builder::new_current_thread().enable_all().build()?.block_on(self.meet(introduced))
    }

    async fn meet(self, introduced: oneshot::Receiver<Introduction>) -> io::Result<Outcome> {
        let sockets = Arc::new(SharedSockets::default());
        let seed = [u8::from(self.role == Role::Controlled); 32];
        let port = StunPort::open(&sockets, self.socket, seed)?;
        let (one, other) = tokio::join!(port.reflexive(STUN[0]), port.reflexive(STUN[1]));
        let seen = [one.ok(), other.ok()];
        let _gone = self.told.send((self.index, seen));
        drop(self.told);
        let Ok(other) = introduced.await else { return Ok(Outcome::Relayed) };
        let (Some(_), Some(reflexive)) = (seen[0], other.seen[0]) else {
            // Without UDP on both sides there is nothing to try.
            return Ok(Outcome::Relayed);
        };
        let since = Instant::now();
        let config = AgentConfig::new(self.role, b"a ticket", seed);
        let mut punching = port.punch(config).map_err(io::Error::other)?;
        punching.set_mapping(mapping(seen), mapping(other.seen));
        punching.vouch(reflexive.ip());
        punching.add_remote(Candidate::new(CandidateKind::Host, other.host, 0));
        punching.add_remote(Candidate::new(CandidateKind::Reflexive, reflexive, 0));
        let outcome = match timeout(PATIENCE, punching.next()).await {
            Ok(Some(PunchEvent::Nominated { .. })) => Outcome::Direct(since.elapsed()),
            Ok(Some(PunchEvent::Lost(..) | PunchEvent::Failed(_)) | None) | Err(_) => {
                Outcome::Relayed
            }
        };
        // The other one may still need our answers.
        let _nothing_more = timeout(Duration::from_secs(2), punching.next()).await;
        Ok(outcome)
    }
}

fn mapping(seen: Seen) -> Mapping {
    match seen {
        [Some(one), Some(other)] if one == other => Mapping::Independent,
        [Some(_), Some(_)] => Mapping::Dependent,
        [_, _] => Mapping::Unknown,
    }
}
