//! `lab audio start`: how soon a shared file is heard, between two peers behind a link.
//!
//! ```text
//!   host alice                                      host bob
//!   peer alice ── Decoder                           server, peer bob with the files
//!        └───────────────── the link ─────────────────┘
//! ```
//!
//! A clock runs from the order to play until the first sample could go to a sink, which then takes
//! sound at its own pace for a while: whatever it has to wait for is *stalled*.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use portolan::{
    Expect, Identity, PeerId, TUNNEL, Transport,
    peer::{Config, Events, Peer},
    protocol::Name,
    server::{Config as ServerConfig, Server},
};
use portolan_emulator::{Emulator, Launch, Options as EmulatorOptions};
use portolan_media::{Interrupt, Pacing, RATE, Source as _, open_sink, open_source};
use portolan_netsim::topology::Topology;
use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::table::say;
use crate::bench::{clock, link::LinkChoice};

/// What is measured when nobody says over what.
const LINKS: [&str; 2] = ["delay=25ms,rate=10Mbit", "delay=100ms,rate=10Mbit"];
const OVER: [&str; 3] = ["tcp", "udp", "quic"];

/// The server's port; bob's host is ours alone.
const PORT: u16 = 7_275;
/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Sound that is taken after the first.
const LISTEN: Duration = Duration::from_secs(3);
/// The file that is made where none is named: seconds of two channels of floats, 3 Mbit/s.
const SECONDS: u32 = 20;
/// Samples of a channel that a sink takes at a time: 20 ms.
const FRAME: usize = RATE as usize / 50;

/// `lab audio start`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Audio files to share and play, one after the other [default: a WAV file that is made]
    files: Vec<PathBuf>,
    /// A network between the two; several times for several [default: 10 Mbit/s with round trips
    /// of 50 and 200 ms]
    #[arg(long = "link", value_name = "LINK")]
    links: Vec<String>,
    /// Over what: tcp, udp, quic [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    over: Vec<String>,
    /// Where the links' chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How one file began.
struct Begun {
    first: Duration,
    stalled: Duration,
}

/// What both hosts are given.
#[derive(Clone)]
struct Plan {
    transport: &'static dyn Transport,
    server: SocketAddr,
    id: PeerId,
    directory: PathBuf,
}

/// Measures what was asked for and prints a table for each link.
pub(super) fn run(options: &Options) -> Result<ExitCode, String> {
    let links = match options.links.as_slice() {
        [] => LINKS.map(str::to_owned).to_vec(),
        named => named.to_vec(),
    };
    let links: Result<Vec<_>, _> = links.iter().map(|link| LinkChoice::parse(link)).collect();
    let links = links.map_err(text)?;
    match portolan_emulator::launch().map_err(text)? {
        Launch::Finished(code) => return Ok(code),
        Launch::Inside => {}
    }
    let directory = scratch()?;
    let files = shared(options, &directory)?;
    let outcome = links.iter().try_for_each(|link| measure(options, link, &directory, &files));
    let _ = std::fs::remove_dir_all(&directory);
    outcome.map(|()| ExitCode::SUCCESS)
}

fn measure(
    options: &Options,
    link: &LinkChoice,
    directory: &Path,
    files: &[String],
) -> Result<(), String> {
    let over = match options.over.as_slice() {
        [] => OVER.map(str::to_owned).to_vec(),
        named => named.to_vec(),
    };
    say(&format!("**{}**: {}\n", link.text, link.description));
    say("| over | file | new session | stalled | session there | stalled |");
    say("|---|---|---|---|---|---|");
    for transport in over {
        let transport = portolan::transport(&transport)
            .ok_or_else(|| format!("there is no transport {transport:?}"))?;
        for file in files {
            // A world of its own for each, so that nothing is known of the way.
            let (new, there) = heard(options.seed, link, (transport, directory), file)?;
            let cells = [new.first, new.stalled, there.first, there.stalled];
            let cells = cells.map(|time| format!("{} ms", time.as_millis())).join(" | ");
            say(&format!("| {} | {file} | {cells} |", transport.scheme()));
        }
    }
    say("");
    Ok(())
}

/// Plays a file twice: with a new session, and with the session that is there then.
fn heard(
    seed: u64,
    link: &LinkChoice,
    (transport, directory): (&'static dyn Transport, &Path),
    file: &str,
) -> Result<(Begun, Begun), String> {
    let emulator = Emulator::start(&Topology::pair(&link.duplex, seed), EmulatorOptions::default());
    let emulator = emulator.map_err(text)?;
    let host = |name| emulator.host(name).ok_or("a host is missing");
    let (alice, bob) = (host("alice")?, host("bob")?);
    let address = bob.addresses().into_iter().find(IpAddr::is_ipv4).ok_or("no address")?;
    let identity = Identity::generate();
    let plan = Plan {
        transport,
        server: SocketAddr::new(address, PORT),
        id: identity.id(),
        directory: directory.to_owned(),
    };
    let (ready, waiting) = mpsc::sync_channel(1);
    let (done, over) = oneshot::channel();
    let theirs = plan.clone();
    let serving = bob.spawn_thread("bob", move || block_on(serve(theirs, identity, (ready, over))));
    let serving = serving.map_err(text)?;
    let ready = waiting.recv();
    let file = file.to_owned();
    let listening = alice.spawn_thread("alice", move || block_on(listen(plan, file)));
    let begun = match ready {
        Ok(()) => listening.map_err(text)?.join().map_err(|_| "alice panicked")?,
        Err(_) => Err("bob did not begin".to_owned()),
    };
    // It may have ended with an error by itself.
    let _ = done.send(());
    serving.join().map_err(|_| "bob panicked")??;
    begun
}

/// Threads that a runtime begins are where the thread is that began it.
fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().map_err(text)?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(
    plan: Plan,
    identity: Identity,
    (ready, over): (mpsc::SyncSender<()>, oneshot::Receiver<()>),
) -> Result<(), String> {
    let transports = portolan::ALL_TRANSPORTS;
    let server = Server::start(ServerConfig::new(plan.server, transports, identity)).await;
    let server = server.map_err(text)?;
    let (peer, _news) = login(&plan, "bob", Some(plan.directory.clone())).await?;
    // Nobody waits any more only when all was given up.
    let _ = ready.send(());
    let _ = over.await;
    let _ = timeout(Duration::from_secs(1), peer.logout()).await;
    let _ = timeout(Duration::from_secs(1), server.shutdown("enough was heard")).await;
    Ok(())
}

async fn login(
    plan: &Plan,
    who: &str,
    share: Option<PathBuf>,
) -> Result<(Peer, JoinHandle<()>), String> {
    let name = Name::new(who).map_err(text)?;
    let expect = Expect::Id(plan.id);
    let identity = Identity::generate();
    let mut config = Config::new(name, identity, plan.server, expect, plan.transport, TUNNEL);
    config.share = share;
    let connected = timeout(PATIENCE, Peer::connect(config)).await;
    let (peer, events) = connected.map_err(|_| "no login in time")?.map_err(text)?;
    Ok((peer, tokio::spawn(swallow(events))))
}

async fn swallow(mut events: Events) {
    while events.next().await.is_some() {}
}

async fn listen(plan: Plan, file: String) -> Result<(Begun, Begun), String> {
    let (peer, _news) = login(&plan, "alice", None).await?;
    let new = begin(&peer, &file).await?;
    let there = begin(&peer, &file).await?;
    let _ = timeout(Duration::from_secs(1), peer.logout()).await;
    Ok((new, there))
}

/// Plays the beginning of a file.
async fn begin(peer: &Peer, file: &str) -> Result<Begun, String> {
    let asked = clock::now();
    let audio = peer.audio(&Name::new("bob").map_err(text)?, file);
    let playing = spawn_blocking(move || {
        let mut decoder = audio.open(&Interrupt::default(), |_| {}).map_err(text)?;
        let mut frame = vec![0.0; FRAME * usize::from(decoder.channels())];
        decoder.read(&mut frame).map_err(text)?;
        let (began, mut due) = (clock::now(), clock::now());
        let mut stalled = Duration::ZERO;
        while began.elapsed() < LISTEN {
            let mut left = frame.as_mut_slice();
            while !left.is_empty() {
                let count = decoder.read(left).map_err(text)?;
                if count == 0 {
                    break;
                }
                left = left.get_mut(count..).unwrap_or_default();
            }
            due += Duration::from_millis(20);
            match due.checked_duration_since(clock::now()) {
                Some(early) => pause(early),
                None => {
                    stalled += clock::now().duration_since(due);
                    due = clock::now();
                }
            }
        }
        Ok(Begun { first: began.duration_since(asked), stalled })
    });
    let played = timeout(PATIENCE, playing).await;
    played.map_err(|_| format!("{file} was not heard within {PATIENCE:?}"))?.map_err(text)?
}

#[expect(clippy::disallowed_methods, reason = "a sink that takes sound as slowly as it is heard")]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// A directory of this run.
fn scratch() -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("lab-audio-{}", std::process::id()));
    std::fs::create_dir_all(&path).map_err(text)?;
    Ok(path)
}

/// Puts what is to be heard into the directory that is shared.
fn shared(options: &Options, directory: &Path) -> Result<Vec<String>, String> {
    if options.files.is_empty() {
        let name = "made.wav".to_owned();
        make(&directory.join(&name))?;
        return Ok(vec![name]);
    }
    let copied = options.files.iter().map(|file| {
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| format!("{} has no name", file.display()))?;
        std::fs::copy(file, directory.join(name))
            .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        Ok(name.to_owned())
    });
    copied.collect()
}

fn make(path: &Path) -> Result<(), String> {
    let word = format!("wav:{}", path.display());
    let mut sink = open_sink(&word, 2, Pacing::Unpaced).map_err(text)?;
    let mut source = open_source(&format!("tone:440:{SECONDS}")).map_err(text)?;
    let (mut mono, mut both) = (vec![0.0; FRAME], Vec::new());
    loop {
        let count = source.read(&mut mono).map_err(text)?;
        if count == 0 {
            return sink.finish().map_err(text);
        }
        both.clear();
        portolan_media::mix(mono.get(..count).unwrap_or_default(), 1, 2, &mut both);
        sink.write(&both).map_err(text)?;
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
