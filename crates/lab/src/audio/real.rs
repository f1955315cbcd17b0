//! Talks over real transports between two hosts behind the emulator.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use portolan::{
    BindConfig, CloseCode, Connection, Expect, Identity, Lifetime, Priority, Transport,
};
use portolan_emulator::{Emulator, Options};
use portolan_netsim::topology::{Duplex, Topology};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Talked, Way,
    talk::{BESIDE_AFTER, Beside, Ear, Heard, Plan, Speaker},
};
use crate::watch;

/// Both hosts are ours alone.
const PORT: u16 = 7_275;

/// A connection that takes longer has failed.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// Bytes written at once beside a talk.
const BLOCK: usize = 64 << 10;

/// A talk that goes on.
pub(super) struct Talking {
    emulator: Emulator,
    speaking: JoinHandle<Result<Spoken, String>>,
    listening: JoinHandle<Result<Heard, String>>,
}

/// What the speaking side knows.
struct Spoken {
    speaker: Speaker,
    bytes: u64,
}

impl Talking {
    /// Builds two hosts with a link of their own, and begins.
    pub(super) fn begin(way: &Way, link: &Duplex, seed: u64, plan: Plan) -> Result<Self, String> {
        let transport = portolan::transport(way.transport).ok_or("no such transport")?;
        let emulator = Emulator::start(&Topology::pair(link, seed), Options::default());
        let emulator = emulator.map_err(text)?;
        let host = |name| emulator.host(name).ok_or("a host is missing");
        let (alice, bob) = (host("alice")?, host("bob")?);
        let remote = SocketAddr::new(ipv4(bob.addresses())?, PORT);
        let (ready, waiting) = mpsc::sync_channel(1);
        let listening =
            bob.spawn_thread("listener", move || block_on(listen(transport, remote, plan, ready)));
        let listening = listening.map_err(text)?;
        waiting.recv().map_err(|_| "the listener did not begin")?;
        let lifetime = way.lifetime(plan.until);
        let speaking = alice
            .spawn_thread("speaker", move || block_on(speak(transport, remote, plan, lifetime)));
        Ok(Self { speaking: speaking.map_err(text)?, listening, emulator })
    }

    /// Waits for its end.
    pub(super) fn end(self) -> Result<Talked, String> {
        let heard = self.listening.join().map_err(|_| "the listener panicked")??;
        let spoken = self.speaking.join().map_err(|_| "the speaker panicked")??;
        let begun = spoken.speaker.begun().ok_or("nothing was said")?;
        let doubt = self.emulator.health().doubt();
        Ok(Talked { heard, begun, bytes: spoken.bytes, doubt })
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(text)?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

fn config(local: SocketAddr) -> BindConfig {
    let config = BindConfig::new(local, Identity::generate());
    config.shared.insert(watch::qlog());
    config
}

async fn listen(
    transport: &'static dyn Transport,
    local: SocketAddr,
    plan: Plan,
    ready: mpsc::SyncSender<()>,
) -> Result<Heard, String> {
    let endpoint = transport.bind(config(local)).await.map_err(text)?;
    // Nobody waits any more only when the talk was given up.
    let _ = ready.send(());
    let accepted = timeout(CONNECT_MAX, endpoint.accept()).await;
    let connection = accepted.map_err(|_| "nobody has connected")?.map_err(text)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(swallow(Arc::clone(&connection)));
    let mut ear = Ear::new(&plan);
    let give_up = Instant::now() + CONNECT_MAX + plan.time;
    while !ear.is_over() && Instant::now() < give_up {
        let due = ear.due().map_or(give_up, Instant::from_std);
        tokio::select! {
            biased;
            datagram = connection.recv_datagram() => match datagram {
                Ok(bytes) => ear.on_datagram(Instant::now().into_std(), &bytes),
                Err(error) => return Err(format!("the connection was lost: {error}")),
            },
            () = sleep_until(due) => {
                if let Some(report) = ear.listen(Instant::now().into_std()) {
                    connection.stats().rtt.into_iter().for_each(|rtt| ear.set_round_trip(rtt));
                    // The next one says more.
                    let _ = connection.send_datagram(report, Lifetime::Once);
                }
            }
        }
    }
    let farewell = endpoint.close(CloseCode::DONE, "enough was heard");
    let _ = timeout(Duration::from_secs(1), farewell).await;
    Ok(ear.into_heard())
}

/// Reads every stream to its end.
async fn swallow(connection: Arc<dyn Connection>) {
    let mut buffer = vec![0; BLOCK];
    while let Ok((_write, mut read)) = connection.accept_stream().await {
        while let Ok(1..) = read.read(&mut buffer).await {}
    }
}

async fn speak(
    transport: &'static dyn Transport,
    remote: SocketAddr,
    plan: Plan,
    lifetime: Lifetime,
) -> Result<Spoken, String> {
    let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let endpoint = transport.bind(config(local)).await.map_err(text)?;
    let connecting = timeout(CONNECT_MAX, endpoint.connect(remote, Expect::Any)).await;
    let connection = connecting.map_err(|_| "no connection in time")?.map_err(text)?;
    let mut tasks = JoinSet::new();
    if plan.beside == Beside::Bulk {
        tasks.spawn(pour(Arc::clone(&connection)));
    }
    let before = connection.stats().bytes_sent;
    let mut speaker = Speaker::new(&plan);
    while !speaker.is_over() {
        let now = Instant::now();
        if let Some(bytes) = speaker.speak(now.into_std()) {
            // A queue that is full drops its oldest; the listener counts what is missing.
            let _ = connection.send_datagram(bytes, lifetime);
        }
        let due = speaker.due().map_or(now, Instant::from_std);
        tokio::select! {
            () = sleep_until(due) => {}
            datagram = connection.recv_datagram() => match datagram {
                Ok(bytes) => speaker.on_datagram(Instant::now().into_std(), &bytes),
                Err(_) => break,
            },
        }
    }
    let bytes = connection.stats().bytes_sent - before;
    Ok(Spoken { speaker, bytes })
}

/// Writes, after a while, for as long as there is somebody.
async fn pour(connection: Arc<dyn Connection>) {
    sleep(BESIDE_AFTER).await;
    let Ok((mut write, _read)) = connection.open_stream(Priority::Bulk).await else { return };
    let block = vec![0; BLOCK];
    while write.write_all(&block).await.is_ok() {}
}

fn ipv4(addresses: Vec<IpAddr>) -> Result<IpAddr, String> {
    let mut addresses = addresses.into_iter();
    addresses.find(IpAddr::is_ipv4).ok_or_else(|| "a host has no address".to_owned())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
